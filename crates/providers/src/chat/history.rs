//! The items of a history as chat messages.
//!
//! Chat wants every call answered by tool messages right after the assistant message that
//! made it. So items are first gathered into assistant turns and then written down. The same
//! history always gives the same bytes: prompt caches depend on it.

use super::content::{self, Answer, reject};
use super::replay;
use crate::compat::{Replay, Row};
use crate::digest;
use crate::media::Takes;
use crate::output;
use crate::provider::EncodeError;
use crate::turn::TurnRequest;
use portunus_protocol::error::code;
use portunus_protocol::item::{FunctionCallOutput, Item, McpCall, Message, Reasoning};
use serde_json::{Map, Value, json};

/// Stands where a call has no result.
const NOT_RUN: &str = "The call was not run.";

/// The messages and what was changed on the way.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) messages: Vec<Value>,
    pub(super) notes: Vec<String>,
}

enum Entry<'a> {
    Said { role: &'a str, content: Value },
    Turn(Turn<'a>),
}

/// One turn of the assistant.
#[derive(Default)]
pub(super) struct Turn<'a> {
    pub(super) reasoning: Vec<&'a Reasoning>,
    text: Vec<String>,
    pub(super) calls: Vec<Call<'a>>,
}

pub(super) struct Call<'a> {
    id: &'a str,
    name: &'a str,
    arguments: String,
    cut: bool,
    answer: Option<Answer>,
}

struct Gather<'a> {
    row: &'a Row,
    takes: Takes,
    system: Vec<String>,
    entries: Vec<Entry<'a>>,
    notes: Vec<String>,
}

/// Translates the instructions and the input of `turn`; `also` are instructions of ours.
pub(super) fn history(
    row: &Row,
    turn: &TurnRequest,
    also: Option<String>,
) -> Result<History, EncodeError> {
    let mut gather = Gather {
        row,
        takes: Takes::chat(row, &turn.model),
        system: turn.instructions.iter().cloned().chain(also).collect(),
        entries: Vec::new(),
        notes: Vec::new(),
    };
    for (index, item) in turn.input.iter().enumerate() {
        gather.item(&format!("input[{index}]"), item)?;
    }
    Ok(gather.write(&turn.model))
}

impl<'a> Gather<'a> {
    fn item(&mut self, path: &str, item: &'a Item) -> Result<(), EncodeError> {
        match item {
            Item::Message(message) => self.message(path, message)?,
            Item::Reasoning(reasoning) => self.add(|turn| turn.reasoning.push(reasoning)),
            Item::FunctionCall(call) => {
                let cut = call.status.as_deref() == Some("incomplete");
                self.call(&call.call_id, &call.name, object(&call.arguments), cut);
            }
            Item::CustomToolCall(call) => {
                self.call(&call.call_id, &call.name, wrapped(&call.input), false);
            }
            Item::McpCall(call) => {
                self.call(&call.id, &call.name, object(&call.arguments), false);
                self.answer(&call.id, mcp_answer(call));
            }
            Item::FunctionCallOutput(output) | Item::CustomToolCallOutput(output) => {
                self.tool_output(path, output)?;
            }
            // The loop acts on these; no model ever sees them.
            Item::McpListTools(_) | Item::McpApprovalRequest(_) | Item::McpApprovalResponse(_) => {}
            Item::ItemReference(_) | Item::Other(_) => {
                let what = format!("an item of type '{}'", item.kind());
                return Err(reject(self.row, path, &what));
            }
        }
        Ok(())
    }

    fn message(&mut self, path: &str, message: &'a Message) -> Result<(), EncodeError> {
        match message.role.as_str() {
            "assistant" => {
                let text = content::plain(self.row, path, &message.content)?;
                self.add(|turn| turn.text.push(text));
            }
            "system" | "developer" => {
                let text = content::plain(self.row, path, &message.content)?;
                self.system_text(path, text);
            }
            _ => {
                let content = content::user(self.row, path, &message.content)?;
                let role = "user";
                self.entries.push(Entry::Said { role, content });
            }
        }
        Ok(())
    }

    fn system_text(&mut self, path: &str, text: String) {
        if self.entries.is_empty() && self.row.quirks.system_first {
            self.system.push(text);
        } else if self.row.quirks.system_first {
            self.notes
                .push(format!("{path}: system text moved to the front"));
            self.system.push(text);
        } else {
            let role = self.system_role();
            let content = text.into();
            self.entries.push(Entry::Said { role, content });
        }
    }

    fn system_role(&self) -> &'static str {
        if self.row.quirks.developer {
            "developer"
        } else {
            "system"
        }
    }

    /// Adds to the assistant turn that is being gathered. A result ends a turn: what the
    /// model said after it is a new one.
    fn add(&mut self, change: impl FnOnce(&mut Turn<'a>)) {
        if let Some(Entry::Turn(turn)) = self.entries.last_mut()
            && turn.calls.iter().all(|call| call.answer.is_none())
        {
            return change(turn);
        }
        let mut turn = Turn::default();
        change(&mut turn);
        self.entries.push(Entry::Turn(turn));
    }

    fn call(&mut self, id: &'a str, name: &'a str, arguments: String, cut: bool) {
        let call = Call {
            id,
            name,
            arguments,
            cut,
            answer: None,
        };
        self.add(|turn| turn.calls.push(call));
    }

    /// Gives `answer` to the nearest earlier call of this id that has none: ids may repeat
    /// from turn to turn.
    fn answer(&mut self, id: &str, answer: Answer) -> bool {
        let calls = self
            .entries
            .iter_mut()
            .rev()
            .filter_map(|entry| match entry {
                Entry::Turn(turn) => Some(turn.calls.iter_mut()),
                Entry::Said { .. } => None,
            });
        let open = calls
            .flatten()
            .find(|call| call.id == id && call.answer.is_none());
        match open {
            Some(call) => {
                call.answer = Some(answer);
                true
            }
            None => false,
        }
    }

    fn tool_output(&mut self, path: &str, output: &FunctionCallOutput) -> Result<(), EncodeError> {
        let answer = match output.of_tool {
            true => content::answer(self.row, path, &self.takes.fit(&output.output))?,
            false => content::answer(self.row, path, &output.output)?,
        };
        if self.answer(&output.call_id, answer) {
            return Ok(());
        }
        Err(EncodeError {
            param: Some(format!("{path}.call_id")),
            code: code::VALUE,
            message: format!(
                "No tool call found for function call output with call_id {}.",
                output.call_id
            ),
        })
    }

    fn write(mut self, model: &str) -> History {
        let mut out = History {
            notes: std::mem::take(&mut self.notes),
            ..History::default()
        };
        if !self.system.is_empty() {
            let text = self.system.join("\n\n");
            out.messages
                .push(json!({"role": self.system_role(), "content": text}));
        }
        let open_loop = self.open_loop();
        let thinks = self.entries[open_loop..]
            .iter()
            .any(|entry| matches!(entry, Entry::Turn(turn) if replay::has_text(turn)));
        for (index, entry) in self.entries.into_iter().enumerate() {
            match entry {
                Entry::Said { role, content } => out.said(self.row, role, &content),
                Entry::Turn(turn) => {
                    let mut state = Map::new();
                    let replays = match self.row.quirks.replay {
                        Replay::Content(_) => thinks && index >= open_loop,
                        _ => true,
                    };
                    if replays {
                        state = replay::fields(self.row, model, &turn);
                    }
                    out.turn(self.row, turn, state);
                }
            }
        }
        out
    }

    /// Where the last message of the user ends and the loop over its tools begins.
    fn open_loop(&self) -> usize {
        let last = self
            .entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Said { role: "user", .. }));
        last.map_or(0, |index| index + 1)
    }
}

impl History {
    fn said(&mut self, row: &Row, role: &str, content: &Value) {
        let after_tool = self
            .messages
            .last()
            .is_some_and(|last| last["role"] == "tool");
        if after_tool && row.quirks.filler_after_tool {
            self.messages
                .push(json!({"role": "assistant", "content": "OK"}));
        }
        self.messages
            .push(json!({"role": role, "content": content}));
    }

    fn turn(&mut self, row: &Row, turn: Turn<'_>, state: Map<String, Value>) {
        let (calls, dropped): (Vec<_>, Vec<_>) = turn
            .calls
            .into_iter()
            .partition(|call| !call.cut || call.answer.is_some());
        for call in dropped {
            self.notes
                .push(format!("the cut call '{}' was left out", call.id));
        }
        let text = turn.text.join("\n\n");
        if text.is_empty() && calls.is_empty() {
            return;
        }
        let content = if text.is_empty() {
            Value::Null
        } else {
            text.into()
        };
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), content);
        message.extend(state);
        if !calls.is_empty() {
            let list: Vec<_> = calls.iter().map(|call| call.wire(row)).collect();
            message.insert("tool_calls".to_owned(), list.into());
        }
        self.messages.push(message.into());
        self.answers(row, calls);
    }

    fn answers(&mut self, row: &Row, calls: Vec<Call<'_>>) {
        let mut media = Vec::new();
        for call in calls {
            let id = wire_id(row, call.id);
            let mut answer = call.answer.unwrap_or_else(|| {
                self.notes
                    .push(format!("the call '{}' has no result", call.id));
                text_answer(NOT_RUN)
            });
            if !answer.media.is_empty() {
                let pointer = "The files of this result are in the next message.";
                answer.text = [answer.text.as_str(), pointer].join("\n").trim().to_owned();
                media
                    .push(json!({"type": "text", "text": format!("Files of the result of {id}:")}));
                media.append(&mut answer.media);
            }
            self.messages
                .push(json!({"role": "tool", "tool_call_id": id, "content": answer.text}));
        }
        if !media.is_empty() {
            self.said(row, "user", &media.into());
        }
    }
}

impl Call<'_> {
    fn wire(&self, row: &Row) -> Value {
        json!({
            "id": wire_id(row, self.id),
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        })
    }
}

/// A call id in the form that the vendor takes.
fn wire_id(row: &Row, id: &str) -> String {
    if row.quirks.short_ids {
        let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return if fits {
            id.to_owned()
        } else {
            digest::short(id)
        };
    }
    if id.is_empty() || id.len() > 64 {
        return format!("call_{}", digest::short(id));
    }
    id.to_owned()
}

/// Arguments as a JSON object; servers answer 500 to anything else in a history.
fn object(arguments: &str) -> String {
    if arguments.trim().is_empty() {
        return "{}".to_owned();
    }
    match serde_json::from_str::<Map<String, Value>>(arguments) {
        Ok(_) => arguments.to_owned(),
        Err(_) => wrapped(arguments),
    }
}

/// Free text as the arguments of a function with the one property `input`.
fn wrapped(input: &str) -> String {
    json!({ "input": input }).to_string()
}

fn text_answer(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        media: Vec::new(),
    }
}

fn mcp_answer(call: &McpCall) -> Answer {
    text_answer(&output::of_mcp_call(call).unwrap_or_else(|| NOT_RUN.to_owned()))
}
