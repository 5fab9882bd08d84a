//! The demo provider: a handful of rules in the place of a model, so that a fresh machine
//! can run the whole way without a key. It says in every answer that it is no language model.
//!
//! It picks a tool by matching words of the prompt against names and descriptions, fills the
//! arguments from the prompt and the schema, calls at most two tools, and quotes what they
//! said. The same turn always gives the same answer.

mod choose;
mod fill;
mod history;
mod quote;
mod words;

use crate::failure::Failure;
use crate::provider::{Decoder, Dialect, EncodeError, Endpoint, Head, Outgoing, Provider};
use crate::turn::{Choice, Effective, ToolDef, TurnEnd, TurnEvent, TurnRequest, TurnStatus};
use crate::writer::{Ending, TurnWriter};
use bytes::Bytes;
use history::History;
use http::HeaderMap;
use portunus_protocol::id::{self, Kind};
use portunus_protocol::response::Usage;
use portunus_protocol::sse::Frame;
use words::Prompt;

/// Tools that are called for one question before it is answered.
const MAX_CALLS: usize = 2;
/// Bytes of one piece of text as it is streamed, about.
const PIECE: usize = 24;
/// Stands at the end of every answer.
const LABEL: &str =
    "(This is the demo model inside Portunus: a few fixed rules, no language model.)";

/// The provider `demo`.
#[derive(Debug)]
pub(crate) struct Demo;

/// The one instance.
pub(crate) static DEMO: Demo = Demo;

impl Provider for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Demo
    }

    fn default_base_url(&self) -> Option<&'static str> {
        Some("https://demo.invalid")
    }

    fn env_key(&self) -> Option<&'static str> {
        None
    }

    fn needs_credential(&self) -> bool {
        false
    }

    fn runs_mcp(&self) -> bool {
        false
    }

    fn head(&self, endpoint: &Endpoint) -> Result<Head, EncodeError> {
        Ok(Head {
            url: endpoint.base_url.clone(),
            headers: HeaderMap::new(),
        })
    }

    fn encode(&self, endpoint: &Endpoint, _turn: &TurnRequest) -> Result<Outgoing, EncodeError> {
        Ok(Outgoing {
            head: Provider::head(self, endpoint)?,
            body: Bytes::from_static(b"{}"),
            notes: Vec::new(),
        })
    }

    fn decoder(&self, _turn: &TurnRequest) -> Box<dyn Decoder> {
        Box::new(NoServer)
    }

    fn classify(&self, _status: u16, _headers: &HeaderMap, _body: &[u8]) -> Failure {
        no_server()
    }

    fn local(&self, turn: &TurnRequest) -> Option<Vec<TurnEvent>> {
        Some(answer(turn))
    }
}

/// There is nothing to read: the demo has no server.
struct NoServer;

impl Decoder for NoServer {
    fn frame(&mut self, _frame: &Frame) -> Result<Vec<TurnEvent>, Failure> {
        Err(no_server())
    }

    fn body(&mut self, _json: &[u8]) -> Result<Vec<TurnEvent>, Failure> {
        Err(no_server())
    }

    fn finish(&mut self) -> Result<Vec<TurnEvent>, Failure> {
        Err(no_server())
    }
}

fn no_server() -> Failure {
    Failure::bad_answer("demo", "has no server; it answers inside the gateway")
}

fn answer(turn: &TurnRequest) -> Vec<TurnEvent> {
    let history = History::read(turn);
    let prompt = Prompt::new(&history.question);
    let mut writer = TurnWriter::new();
    let said = match next_call(turn, &prompt, &history) {
        Some((tool, arguments)) => {
            call(&mut writer, tool, &arguments);
            arguments
        }
        None => {
            let text = format!("{}\n\n{LABEL}", text(turn, &prompt, &history));
            for piece in pieces(&text) {
                writer.text(piece, Vec::new());
            }
            text
        }
    };
    writer.end(end(turn, &history, &said), Ending::Completed)
}

/// The tool to call next, with its arguments as JSON text.
fn next_call<'a>(
    turn: &'a TurnRequest,
    prompt: &Prompt,
    history: &History,
) -> Option<(&'a ToolDef, String)> {
    let tools = turn.tools.as_slice();
    let tool = match &turn.tool_choice {
        Choice::None => None,
        Choice::Function(name) => tools.iter().find(|tool| tool.name == *name),
        Choice::Required => choose::best(tools, prompt).or(tools.first()),
        Choice::Auto if history.results.len() >= MAX_CALLS => None,
        Choice::Auto => match history.results.last() {
            None => choose::fitting(tools, prompt),
            Some(result) => return choose::follow_up(tools, prompt, result),
        },
    }?;
    Some((tool, fill::arguments(tool, prompt)))
}

fn call(writer: &mut TurnWriter, tool: &ToolDef, arguments: &str) {
    let call_id = id::make(Kind::Call);
    if tool.custom {
        return writer.custom_call(&call_id, &tool.name, arguments);
    }
    let key = writer.begin_call(&call_id, &tool.name);
    writer.call_delta(key, arguments);
    writer.end_call(key, Ending::Completed);
}

fn text(turn: &TurnRequest, prompt: &Prompt, history: &History) -> String {
    if history.results.is_empty() {
        return without_tools(turn, prompt);
    }
    let names: Vec<_> = history
        .results
        .iter()
        .map(|result| format!("`{}`", result.tool))
        .collect();
    let Some((tool, passage)) = quote::best(&history.results, prompt) else {
        return format!("I called {}, which said nothing.", names.join(" and "));
    };
    let quoted = passage.lines().map(|line| format!("> {line}"));
    let quoted: Vec<_> = quoted.map(|line| line.trim_end().to_owned()).collect();
    format!(
        "I called {}. From what `{tool}` said, this fits the question best:\n\n{}",
        names.join(" and "),
        quoted.join("\n")
    )
}

fn without_tools(turn: &TurnRequest, prompt: &Prompt) -> String {
    if prompt.is_empty() {
        return "There is no question to answer.".to_owned();
    }
    let asked = quote::shorten(prompt.text(), 160);
    if turn.tools.is_empty() || turn.tool_choice == Choice::None {
        return format!(
            "You asked: \"{asked}\". Without tools there is nothing that I could tell you."
        );
    }
    let names: Vec<_> = turn
        .tools
        .iter()
        .take(8)
        .map(|tool| tool.name.as_str())
        .collect();
    format!(
        "You asked: \"{asked}\". None of the tools seems to fit it (there are: {}).",
        names.join(", ")
    )
}

fn end(turn: &TurnRequest, history: &History, said: &str) -> TurnEnd {
    let input = history.words;
    let output = said.split_whitespace().count() as u64;
    TurnEnd {
        status: TurnStatus::Completed,
        usage: Some(Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: input.saturating_add(output),
            ..Usage::default()
        }),
        model: Some(turn.model.clone()),
        service_tier: None,
        effective: Effective::default(),
        upstream_id: None,
    }
}

/// The text in pieces of some words, as a stream brings it.
fn pieces(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if c == ' ' && at - start >= PIECE {
            out.push(&text[start..at]);
            start = at;
        }
    }
    out.push(&text[start..]);
    out
}

#[cfg(test)]
mod tests;
