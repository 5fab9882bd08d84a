//! What the log learns from a relayed answer: time to the first token, usage, and the lists
//! and calls that the provider ran itself.

use crate::error::Error;
use crate::record::{Record, TurnDone, count};
use crate::route::Target;
use crate::state::{Ended, Keep};
use bytes::Bytes;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::event::{Event, last_words};
use portunus_protocol::item::Item;
use portunus_protocol::request::{Head, ServerUrlEcho};
use portunus_protocol::response::{ResponseError, Status, Usage};
use portunus_protocol::sse::{Decoder, Frame};
use portunus_store::{Store, ToolCallRow, ToolListRow};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Instant;

/// The last event of a stream.
#[derive(Deserialize)]
struct Terminal<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

/// What is read of the provider's response object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen<'a> {
    id: String,
    status: Status,
    model: String,
    error: Option<ResponseError>,
    usage: Option<Usage>,
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// What is read of an item that is not looked into further.
#[derive(Deserialize)]
struct SeenItem<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<String>,
}

/// Reads a copy of what goes by. The default one reads nothing.
#[derive(Default)]
pub(super) struct Tap {
    started: Option<Instant>,
    first: Option<Instant>,
    frames: Option<Decoder>,
    seen: u64,
    turn: usize,
    /// As an error names it.
    provider: String,
    /// Label and shown URL of each server of the request.
    servers: Vec<(String, String)>,
    /// The first response object, to build a failed one from.
    created: Option<String>,
    outcome: Option<&'static str>,
    /// The terminal event was seen.
    over: bool,
    /// An event was too long to be looked into: from then on nothing is known.
    blind: bool,
    /// The tools as the response may show them.
    tools: Value,
    body: Option<String>,
    /// `None` when nothing is to be stored.
    pub(super) keep: Option<Keep>,
    learned: Option<Ended>,
}

impl Tap {
    pub(super) fn new(
        target: &Target,
        head: &Head<'_>,
        max_event_bytes: usize,
        record: &mut Record,
    ) -> Self {
        let servers = head.mcp_tools().map(|(_, tool)| {
            let url = tool.shown_url(ServerUrlEcho::Origin).unwrap_or_default();
            (tool.server_label.clone(), url)
        });
        Self {
            started: Some(Instant::now()),
            frames: Some(Decoder::new(max_event_bytes)),
            turn: record.begin_turn(target),
            provider: target.shown(),
            servers: servers.collect(),
            tools: head
                .tools
                .iter()
                .map(|tool| tool.echo(ServerUrlEcho::Origin))
                .collect(),
            ..Self::default()
        }
    }

    /// The call goes to another target.
    pub(super) fn aim(&mut self, target: &Target, record: &mut Record) {
        self.provider = target.shown();
        record.aim_turn(self.turn, target);
    }

    /// A whole JSON answer; false when it is no response.
    pub(super) fn whole(&mut self, body: &[u8], record: &mut Record) -> bool {
        let Ok(text) = std::str::from_utf8(body) else {
            return false;
        };
        let seen = serde_json::from_str::<Seen<'_>>(text).ok();
        let seen = seen.filter(|seen| !seen.id.is_empty() && seen.output.is_some());
        let found = seen.is_some();
        if let Some(seen) = seen {
            self.seen(text, seen, record);
        }
        found
    }

    /// A piece of a stream.
    pub(super) fn chunk(&mut self, chunk: &[u8], record: &mut Record) {
        let Some(decoder) = &mut self.frames else {
            return;
        };
        let Ok(frames) = decoder.push(chunk) else {
            self.frames = None;
            self.blind = true;
            record.note("An event of the provider was too long to be looked into.".to_owned());
            return;
        };
        for frame in &frames {
            self.frame(frame, record);
        }
    }

    /// The last event, when its blank line is missing.
    pub(super) fn finish(&mut self, record: &mut Record) {
        let last = self.frames.as_mut().and_then(Decoder::finish);
        if let Some(frame) = last {
            self.frame(&frame, record);
        }
    }

    fn frame(&mut self, frame: &Frame, record: &mut Record) {
        self.seen += 1;
        let kind = frame
            .event
            .as_deref()
            .unwrap_or_else(|| kind_of(&frame.data));
        if kind.ends_with(".delta") && self.first.is_none() {
            self.first = Some(Instant::now());
            record.first_token(self.first);
        }
        match kind {
            "response.created" => self.created = Some(frame.data.clone()),
            "response.completed" | "response.incomplete" | "response.failed" => {
                if let Ok(event) = serde_json::from_str::<Terminal<'_>>(&frame.data) {
                    let response = event.response.map_or("null", RawValue::get);
                    self.terminal(response, record);
                }
            }
            "error" => {
                if let Ok(Event::Error(body)) = Event::parse(&frame.data) {
                    self.outcome = Some("failed");
                    record.blame(&Error::provider(body));
                }
            }
            _ => {}
        }
    }

    /// The provider as an error names it.
    pub(super) fn provider(&self) -> String {
        self.provider.clone()
    }

    /// Whether the terminal event was seen.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the response object of the last event.
    fn terminal(&mut self, json: &str, record: &mut Record) {
        match serde_json::from_str::<Seen<'_>>(json) {
            Ok(seen) => self.seen(json, seen, record),
            Err(error) => {
                self.over = true;
                self.body = self.without_tools(json);
                record.note(format!("The provider's response is odd: {error}"));
            }
        }
    }

    fn seen(&mut self, json: &str, seen: Seen<'_>, record: &mut Record) {
        self.over = true;
        // Without tools there is no secret to cut out, and the text is kept as it came.
        let plain = self.tools.as_array().is_none_or(Vec::is_empty)
            && seen.tools.is_none_or(|tools| tools.get() == "[]");
        self.body = match plain {
            true => Some(json.to_owned()),
            false => self.without_tools(json),
        };
        self.learn(seen, record);
    }

    /// The response with the tools as they may be shown.
    fn without_tools(&mut self, json: &str) -> Option<String> {
        let mut value: Value = serde_json::from_str(json).ok()?;
        if let Some(tools) = value.get_mut("tools") {
            *tools = self.tools.take();
        }
        Some(value.to_string())
    }

    fn learn(&mut self, response: Seen<'_>, record: &mut Record) {
        self.outcome = Some(match response.status {
            Status::Completed => "completed",
            Status::Incomplete => "incomplete",
            _ => "failed",
        });
        record.responded(&response.id);
        if let Some(error) = &response.error {
            let body = ErrorBody::new(kind::SERVER, error.message.as_str());
            record.blame(&Error::provider(body.code(error.code.clone())));
        }
        let (mut item_ids, mut calls) = (Vec::new(), 0);
        for raw in response.output.unwrap_or_default() {
            let Ok(item) = serde_json::from_str::<SeenItem<'_>>(raw.get()) else {
                continue;
            };
            calls += usize::from(is_call(&item.kind));
            item_ids.extend(item.id);
            if item.kind.starts_with("mcp_")
                && let Ok(item) = serde_json::from_str(raw.get())
            {
                self.item(&item, record);
            }
        }
        let took = self.started.map(|at| at.elapsed()).unwrap_or_default();
        let first = self
            .first
            .zip(self.started)
            .map(|(first, at)| first.duration_since(at));
        let finish = self.outcome.unwrap_or("failed").to_owned();
        let model = Some(response.model.clone()).filter(|model| !model.is_empty());
        record.end_turn(
            self.turn,
            TurnDone {
                took,
                first,
                finish,
                model,
                usage: response.usage,
                calls,
            },
        );
        self.learned = Some(Ended {
            id: response.id,
            model: response.model,
            status: response.status,
            item_ids,
        });
    }

    /// A list or call that the provider ran itself: its times are not known.
    fn item(&self, item: &Item, record: &mut Record) {
        match item {
            Item::McpListTools(list) => {
                let row = record.begin_list(ToolListRow {
                    item_id: Some(list.id.clone()),
                    server_label: list.server_label.clone(),
                    server_url: self.url(&list.server_label),
                    run_by: "provider".to_owned(),
                    tools: count(list.tools.len()),
                    error: list
                        .error
                        .as_deref()
                        .and_then(|error| record.keep_words(error)),
                    ..ToolListRow::default()
                });
                if let Some(row) = record.list(row) {
                    let outcome = if list.error.is_none() {
                        "completed"
                    } else {
                        "failed"
                    };
                    outcome.clone_into(&mut row.outcome);
                }
            }
            Item::McpCall(call) => {
                let outcome = if call.error.is_none() {
                    "completed"
                } else {
                    "tool_error"
                };
                let mut row =
                    self.call_row(&call.server_label, &call.name, &call.arguments, record);
                row.item_id = Some(call.id.clone());
                outcome.clone_into(&mut row.outcome);
                row.result_bytes = call.output.as_ref().map(|output| count(output.len()));
                row.result = call.output.as_ref().and_then(|output| record.keep(output));
                row.error = call
                    .error
                    .as_ref()
                    .and_then(|error| record.keep_words(&error.to_string()));
                record.begin_call(row);
            }
            Item::McpApprovalRequest(call) => {
                let mut row =
                    self.call_row(&call.server_label, &call.name, &call.arguments, record);
                row.item_id = Some(call.id.clone());
                "approval_requested".clone_into(&mut row.outcome);
                record.begin_call(row);
            }
            _ => {}
        }
    }

    fn call_row(&self, label: &str, tool: &str, arguments: &str, record: &Record) -> ToolCallRow {
        ToolCallRow {
            server_label: label.to_owned(),
            server_url: self.url(label),
            tool: tool.to_owned(),
            run_by: "provider".to_owned(),
            argument_bytes: count(arguments.len()),
            arguments: record.keep(arguments),
            ..ToolCallRow::default()
        }
    }

    fn url(&self, label: &str) -> String {
        let server = self.servers.iter().find(|(known, _)| known == label);
        server.map(|(_, url)| url.clone()).unwrap_or_default()
    }

    /// Stores the response under the caller's key, so that its ids may be named again.
    pub(super) async fn store(&mut self, store: &dyn Store) {
        if let (Some(keep), Some(response)) = (self.keep.take(), self.learned.take()) {
            let json = self.body.clone().unwrap_or_default();
            keep.store(store, response, json).await;
        }
    }

    /// What a stream gets that ended without its terminal event; `None` when it had one.
    pub(super) fn last_words(
        &mut self,
        cause: Option<Error>,
        record: &mut Record,
    ) -> Option<Bytes> {
        // A blind tap may have missed the end of a stream that ended by itself.
        if self.outcome.is_some() || self.over || (self.blind && cause.is_none()) {
            return None;
        }
        self.outcome = Some("failed");
        let error = cause.unwrap_or_else(|| cut_off(&self.provider));
        record.blame(&error);
        Some(last_words(
            self.created.as_deref(),
            self.seen,
            &error.body(),
        ))
    }

    /// Files the record.
    pub(super) fn close(self, status: u16, mut record: Record) {
        let took = self.started.map(|at| at.elapsed()).unwrap_or_default();
        if let Some(row) = record.last_attempt() {
            self.outcome
                .unwrap_or("completed")
                .clone_into(&mut row.outcome);
            row.total_ms = Some(crate::record::whole_ms(took));
        }
        record.end_relayed(
            status,
            self.outcome.unwrap_or("completed"),
            self.body.as_deref(),
        );
    }
}

fn is_call(kind: &str) -> bool {
    matches!(
        kind,
        "mcp_call" | "mcp_approval_request" | "function_call" | "custom_tool_call"
    )
}

/// The `type` of an event without an `event:` line, if it stands at its beginning.
fn kind_of(data: &str) -> &str {
    let rest = data.trim_start().strip_prefix('{').map(str::trim_start);
    let rest = rest
        .and_then(|rest| rest.strip_prefix("\"type\""))
        .map(str::trim_start);
    let rest = rest
        .and_then(|rest| rest.strip_prefix(':'))
        .map(str::trim_start);
    rest.and_then(|rest| rest.strip_prefix('"')?.split('"').next())
        .unwrap_or("")
}

fn cut_off(provider: &str) -> Error {
    let text =
        format!("The provider {provider} ended its stream before the response was complete.");
    Error::provider(ErrorBody::new(kind::SERVER, text).code(code::SERVER))
}
