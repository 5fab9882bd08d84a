//! Chat completions, streamed or whole, as events of the Responses API.

use super::calls::Calls;
use super::details::Details;
use super::usage;
use crate::classify;
use crate::compat::{Replay, Row};
use crate::envelope::Envelope;
use crate::failure::Failure;
use crate::json::{list, text, word};
use crate::provider::Decoder;
use crate::turn::{Effective, TurnEnd, TurnEvent, TurnRequest, TurnStatus};
use crate::writer::{Ending, TurnWriter};
use portunus_protocol::response::Usage;
use portunus_protocol::sse::Frame;
use serde_json::{Value, json};

/// Reads one answer of a vendor.
pub(super) struct ChatDecoder {
    provider: &'static str,
    /// Whether opaque reasoning goes back to this vendor.
    keeps_details: bool,
    /// The model that was asked, for the envelope of opaque reasoning.
    asked: String,
    /// Custom tools; they went as functions and come back as custom calls.
    custom: Vec<String>,
    writer: TurnWriter,
    calls: Calls,
    details: Details,
    citations: Vec<Value>,
    finish: Option<String>,
    usage: Option<Usage>,
    model: Option<String>,
    service_tier: Option<String>,
    id: Option<String>,
    ended: bool,
}

impl ChatDecoder {
    pub(super) fn new(row: &Row, turn: &TurnRequest) -> Self {
        let custom = turn.tools.iter().filter(|tool| tool.custom);
        Self {
            provider: row.name,
            keeps_details: row.quirks.replay == Replay::Details,
            asked: turn.model.clone(),
            custom: custom.map(|tool| tool.name.clone()).collect(),
            writer: TurnWriter::new(),
            calls: Calls::default(),
            details: Details::default(),
            citations: Vec::new(),
            finish: None,
            usage: None,
            model: None,
            service_tier: None,
            id: None,
            ended: false,
        }
    }

    fn bad(&mut self, what: &str) -> Failure {
        self.ended = true;
        Failure::bad_answer(self.provider, what)
    }

    fn parse(&mut self, json: &[u8], whole: bool) -> Result<(), Failure> {
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(_) => return Err(self.bad("sent something that is no JSON")),
        };
        if let Some(failure) = classify::inside(self.provider, &value) {
            self.ended = true;
            return Err(failure);
        }
        self.chunk(&value, whole);
        Ok(())
    }

    fn chunk(&mut self, value: &Value, whole: bool) {
        keep(&mut self.model, text(value, "model"));
        keep(&mut self.service_tier, text(value, "service_tier"));
        keep(&mut self.id, text(value, "id"));
        self.usage = usage::of_chunk(value).or(self.usage);
        self.cite(value);
        let first = list(value, "choices")
            .iter()
            .find(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0);
        let Some(choice) = first else {
            return;
        };
        let key = if whole { "message" } else { "delta" };
        let said = choice.get(key).or_else(|| choice.get("message"));
        if let Some(said) = said {
            self.said(said, logprobs(choice), whole);
        }
        keep(&mut self.finish, text(choice, "finish_reason"));
    }

    /// What the model said: a delta, or a whole message.
    fn said(&mut self, said: &Value, logprobs: Vec<Value>, whole: bool) {
        self.reasoning(said);
        match said.get("content") {
            Some(Value::String(text)) => self.text(text, logprobs),
            Some(Value::Array(parts)) => self.parts(parts),
            _ => {}
        }
        if let Some(refusal) = text(said, "refusal") {
            self.seal_reasoning();
            self.writer.refusal(refusal);
        }
        for annotation in list(said, "annotations") {
            self.writer.annotation(flat_citation(annotation));
        }
        self.tool_calls(said, whole);
    }

    fn reasoning(&mut self, said: &Value) {
        let details = list(said, "reasoning_details");
        self.details.take(details);
        let plain = text(said, "reasoning_content").or_else(|| text(said, "reasoning"));
        match plain {
            Some(delta) => self.writer.reasoning(delta),
            None => {
                for detail in details {
                    let delta = text(detail, "text").or_else(|| text(detail, "summary"));
                    self.writer.reasoning(delta.unwrap_or_default());
                }
            }
        }
    }

    fn text(&mut self, delta: &str, logprobs: Vec<Value>) {
        if !delta.is_empty() {
            self.seal_reasoning();
        }
        self.writer.text(delta, logprobs);
    }

    /// Content as a list: text, or thoughts (Mistral, Databricks).
    fn parts(&mut self, parts: &[Value]) {
        for part in parts {
            match text(part, "type") {
                Some("thinking" | "reasoning") => {
                    let thoughts = inner_text(part);
                    self.writer.reasoning(&thoughts);
                }
                _ => self.text(text(part, "text").unwrap_or_default(), Vec::new()),
            }
        }
    }

    fn tool_calls(&mut self, said: &Value, whole: bool) {
        let calls = list(said, "tool_calls");
        let legacy = said
            .get("function_call")
            .filter(|call| text(call, "name").is_some() || text(call, "arguments").is_some())
            .map(|call| json!({"index": 0, "function": call}));
        if !calls.is_empty() || legacy.is_some() {
            self.seal_reasoning();
        }
        for call in calls.iter().chain(&legacy) {
            if whole {
                self.calls.whole(call, &mut self.writer, &self.custom);
            } else {
                self.calls.delta(call, &mut self.writer, &self.custom);
            }
        }
    }

    /// The thoughts are over: their opaque part goes with them.
    fn seal_reasoning(&mut self) {
        let sealed = self.details.seal().filter(|_| self.keeps_details);
        if let Some(state) = sealed {
            let envelope = Envelope {
                provider: self.provider.to_owned(),
                model: self.asked.clone(),
                id: String::new(),
                state,
            };
            self.writer.encrypted(envelope.seal());
        }
    }

    /// Perplexity repeats its sources on every chunk; they are attached at the end.
    fn cite(&mut self, value: &Value) {
        let results = list(value, "search_results");
        let sources = if results.is_empty() {
            list(value, "citations")
        } else {
            results
        };
        if !sources.is_empty() {
            self.citations = sources.iter().filter_map(source_citation).collect();
        }
    }

    fn end(&mut self) -> Result<Vec<TurnEvent>, Failure> {
        self.ended = true;
        for citation in std::mem::take(&mut self.citations) {
            self.writer.annotation(citation);
        }
        self.seal_reasoning();
        let finish = self.finish.as_deref().unwrap_or_default();
        let empty = !self.writer.has_written() && self.calls.is_empty();
        let Some(status) = status(finish, empty) else {
            return Err(self.bad("ended its answer before it said anything"));
        };
        let cut = status != TurnStatus::Completed;
        let calls = self.calls.finish(cut, &mut self.writer, &self.custom);
        if calls.is_err() {
            return Err(self.bad("sent a tool call without a name"));
        }
        let ending = if cut {
            Ending::Incomplete
        } else {
            Ending::Completed
        };
        let end = TurnEnd {
            status,
            usage: self.usage,
            model: self.model.take(),
            service_tier: self.service_tier.take(),
            effective: Effective::default(),
            upstream_id: self.id.take(),
        };
        Ok(self.writer.end(end, ending))
    }
}

impl Decoder for ChatDecoder {
    fn frame(&mut self, frame: &Frame) -> Result<Vec<TurnEvent>, Failure> {
        let data = frame.data.trim();
        if self.ended || data.is_empty() {
            return Ok(Vec::new());
        }
        if data == "[DONE]" {
            return self.end();
        }
        self.parse(data.as_bytes(), false)?;
        Ok(self.writer.take())
    }

    fn body(&mut self, json: &[u8]) -> Result<Vec<TurnEvent>, Failure> {
        if self.ended {
            return Ok(Vec::new());
        }
        self.parse(json, true)?;
        if self.finish.is_none() && !self.writer.has_written() {
            return Err(self.bad("sent an answer without choices"));
        }
        self.end()
    }

    fn finish(&mut self) -> Result<Vec<TurnEvent>, Failure> {
        if self.ended {
            return Ok(Vec::new());
        }
        if self.finish.is_none() {
            return Err(self.bad("ended its stream in the middle of the answer"));
        }
        self.end()
    }
}

/// The status that a finish reason stands for; `None` when an answer without anything in it
/// ends without a reason. With calls or text, an unknown word is an end like any other.
fn status(finish: &str, empty: bool) -> Option<TurnStatus> {
    let incomplete = |reason: &str| TurnStatus::Incomplete {
        reason: reason.to_owned(),
    };
    match finish.to_ascii_lowercase().as_str() {
        "stop" | "eos" | "end_turn" | "stop_sequence" | "tool_calls" | "function_call" => {
            Some(TurnStatus::Completed)
        }
        "length" | "model_length" | "max_tokens" | "max_length" => {
            Some(incomplete("max_output_tokens"))
        }
        "content_filter" | "content_filtered" | "safety" | "sensitive" => {
            Some(incomplete("content_filter"))
        }
        word @ ("error" | "network_error" | "malformed_function_call") => {
            Some(TurnStatus::Failed {
                code: "server_error".to_owned(),
                message: format!("The model's answer broke off: {word}."),
            })
        }
        _ => (!empty).then_some(TurnStatus::Completed),
    }
}

fn keep(place: &mut Option<String>, found: Option<&str>) {
    if let Some(found) = found {
        *place = Some(found.to_owned());
    }
}

fn logprobs(choice: &Value) -> Vec<Value> {
    choice
        .get("logprobs")
        .map(|logprobs| list(logprobs, "content").to_vec())
        .unwrap_or_default()
}

/// `{"thinking": "…" | [{"text"}]}` or `{"summary": [{"text"}]}`.
fn inner_text(part: &Value) -> String {
    if let Some(plain) = text(part, "thinking").or_else(|| text(part, "text")) {
        return plain.to_owned();
    }
    let thinking = list(part, "thinking").iter();
    let all = thinking.chain(list(part, "summary"));
    all.filter_map(|inner| text(inner, "text")).collect()
}

/// Chat nests the fields of a citation under its type; Responses does not.
fn flat_citation(annotation: &Value) -> Value {
    let Some(kind) = text(annotation, "type") else {
        return annotation.clone();
    };
    match annotation.get(kind) {
        Some(Value::Object(fields)) => {
            let mut out = json!({ "type": kind });
            for (key, value) in fields {
                out[key] = value.clone();
            }
            out
        }
        _ => annotation.clone(),
    }
}

fn source_citation(source: &Value) -> Option<Value> {
    let url = source
        .as_str()
        .map(str::to_owned)
        .or_else(|| word(source, "url"))?;
    let title = text(source, "title").unwrap_or(&url);
    Some(
        json!({"type": "url_citation", "start_index": 0, "end_index": 0, "title": title, "url": url}),
    )
}
