//! What was asked last, and what the tools have said since.

use crate::output;
use crate::turn::TurnRequest;
use portunus_protocol::item::{Content, Item};

/// The open question of a conversation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last message of the user.
    pub(super) question: String,
    /// The results since then, in order.
    pub(super) results: Vec<Result>,
    /// Words of the whole input: the demo's tokens.
    pub(super) words: u64,
}

/// What a tool said.
#[derive(Debug)]
pub(super) struct Result {
    pub(super) tool: String,
    pub(super) text: String,
}

impl History {
    pub(super) fn read(turn: &TurnRequest) -> Self {
        let mut out = Self::default();
        out.count(turn.instructions.as_deref().unwrap_or_default());
        let mut calls: Vec<(&str, &str)> = Vec::new();
        for item in &turn.input {
            match item.as_ref() {
                Item::Message(message) => {
                    let text = plain(&message.content);
                    out.count(&text);
                    if message.role == "user" {
                        out.question = text;
                        out.results.clear();
                    }
                }
                Item::FunctionCall(call) => calls.push((&call.call_id, &call.name)),
                Item::CustomToolCall(call) => calls.push((&call.call_id, &call.name)),
                Item::FunctionCallOutput(output) | Item::CustomToolCallOutput(output) => {
                    let name = calls.iter().rfind(|(id, _)| *id == output.call_id);
                    let name = name.map_or("tool", |(_, name)| *name);
                    out.result(name, plain(&output.output));
                }
                Item::McpCall(call) => {
                    let text = output::of_mcp_call(call).unwrap_or_default();
                    out.result(&call.name, text);
                }
                _ => {}
            }
        }
        out
    }

    fn result(&mut self, tool: &str, text: String) {
        self.count(&text);
        self.results.push(Result {
            tool: tool.to_owned(),
            text,
        });
    }

    fn count(&mut self, text: &str) {
        self.words += text.split_whitespace().count() as u64;
    }
}

fn plain(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => {
            let texts = parts.iter().map(|part| part.in_words(None));
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}
