//! Stream events of the Responses API.
//!
//! An event has no number until it is sent: the one place that sends gives the numbers.

use crate::error::ErrorBody;
use crate::item::{Extra, Item, Part};
use crate::response::{Response, ResponseError, Status};
use crate::sse;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// Names of the item events that the gateway makes or acts on.
pub mod name {
    #![expect(missing_docs, reason = "each is OpenAI's own name of the event")]
    pub const ITEM_ADDED: &str = "response.output_item.added";
    pub const ITEM_DONE: &str = "response.output_item.done";
    pub const PART_ADDED: &str = "response.content_part.added";
    pub const PART_DONE: &str = "response.content_part.done";
    pub const TEXT_DELTA: &str = "response.output_text.delta";
    pub const TEXT_DONE: &str = "response.output_text.done";
    pub const REFUSAL_DELTA: &str = "response.refusal.delta";
    pub const REFUSAL_DONE: &str = "response.refusal.done";
    pub const ANNOTATION_ADDED: &str = "response.output_text.annotation.added";
    pub const SUMMARY_PART_ADDED: &str = "response.reasoning_summary_part.added";
    pub const SUMMARY_PART_DONE: &str = "response.reasoning_summary_part.done";
    pub const SUMMARY_DELTA: &str = "response.reasoning_summary_text.delta";
    pub const SUMMARY_DONE: &str = "response.reasoning_summary_text.done";
    pub const REASONING_DELTA: &str = "response.reasoning_text.delta";
    pub const REASONING_DONE: &str = "response.reasoning_text.done";
    pub const ARGUMENTS_DELTA: &str = "response.function_call_arguments.delta";
    pub const ARGUMENTS_DONE: &str = "response.function_call_arguments.done";
    pub const CUSTOM_INPUT_DELTA: &str = "response.custom_tool_call_input.delta";
    pub const CUSTOM_INPUT_DONE: &str = "response.custom_tool_call_input.done";
    pub const LIST_IN_PROGRESS: &str = "response.mcp_list_tools.in_progress";
    pub const LIST_COMPLETED: &str = "response.mcp_list_tools.completed";
    pub const LIST_FAILED: &str = "response.mcp_list_tools.failed";
    pub const MCP_IN_PROGRESS: &str = "response.mcp_call.in_progress";
    pub const MCP_COMPLETED: &str = "response.mcp_call.completed";
    pub const MCP_FAILED: &str = "response.mcp_call.failed";
    pub const MCP_ARGUMENTS_DELTA: &str = "response.mcp_call_arguments.delta";
    pub const MCP_ARGUMENTS_DONE: &str = "response.mcp_call_arguments.done";
}

/// The stage of a response that a lifecycle event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `response.created`, always first.
    Created,
    /// `response.queued` (background).
    Queued,
    /// `response.in_progress`.
    InProgress,
    /// `response.completed`, terminal.
    Completed,
    /// `response.incomplete`, terminal.
    Incomplete,
    /// `response.failed`, terminal.
    Failed,
}

impl Stage {
    const ALL: [Self; 6] = [
        Self::Created,
        Self::Queued,
        Self::InProgress,
        Self::Completed,
        Self::Incomplete,
        Self::Failed,
    ];

    /// The `type` of the event.
    #[must_use]
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Created => "response.created",
            Self::Queued => "response.queued",
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete => "response.incomplete",
            Self::Failed => "response.failed",
        }
    }

    /// Whether no event may follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Incomplete | Self::Failed)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.event_name() == name)
    }
}

/// One event of a stream.
#[expect(
    clippy::large_enum_variant,
    reason = "events are passed on at once, never kept in bulk"
)]
#[derive(Clone, Debug)]
pub enum Event {
    /// The response as a whole moved on.
    Lifecycle(Stage, Box<Response>),
    /// An item began.
    ItemAdded {
        /// Its place in `output`.
        output_index: usize,
        /// As it begins: no text, no arguments.
        item: Item,
    },
    /// An item ended.
    ItemDone {
        /// Its place in `output`.
        output_index: usize,
        /// As it is in `output`.
        item: Item,
    },
    /// Something happened inside an item.
    Inside(ItemEvent),
    /// The fatal event; `response.failed` follows.
    Error(ErrorBody),
    /// Anything else, as it came.
    Other(Value),
}

/// What happened inside an item: one flat struct for all kinds, each with the fields that
/// the table of the API reference gives it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ItemEvent {
    /// The `type`, see [`name`].
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The item.
    #[serde(default)]
    pub item_id: String,
    /// Its place in `output`.
    #[serde(default)]
    pub output_index: usize,
    /// Which part of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    /// Which summary of a reasoning item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
    /// Which annotation of a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation_index: Option<usize>,
    /// New text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<String>,
    /// The whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The whole refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The whole arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// The whole input of a custom tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The part that began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The annotation that was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<Value>,
    /// Log probabilities of the delta or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<Value>>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ItemEvent {
    /// An event of `kind` on the item `item_id` at `output_index`, without other fields.
    #[must_use]
    pub fn new(kind: &'static str, item_id: &str, output_index: usize) -> Self {
        Self {
            kind: Cow::Borrowed(kind),
            item_id: item_id.to_owned(),
            output_index,
            ..Self::default()
        }
    }
}

#[derive(Serialize)]
struct Numbered<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct LifecycleBody<'a> {
    response: &'a Response,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    output_index: usize,
    item: &'a Item,
}

#[derive(Serialize)]
struct ErrorEventBody<'a> {
    error: &'a ErrorBody,
}

#[derive(Serialize)]
struct Inside<'a> {
    sequence_number: u64,
    #[serde(flatten)]
    event: &'a ItemEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<&'a str>,
}

impl Event {
    /// The `type` of the event.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Lifecycle(stage, _) => stage.event_name(),
            Self::ItemAdded { .. } => name::ITEM_ADDED,
            Self::ItemDone { .. } => name::ITEM_DONE,
            Self::Inside(event) => &event.kind,
            Self::Error(_) => "error",
            Self::Other(value) => value.get("type").and_then(Value::as_str).unwrap_or(""),
        }
    }

    /// Whether the event carries new text, so that `obfuscation` goes with it.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        matches!(self, Self::Inside(event) if event.delta.is_some())
    }

    /// The event as bytes of an event stream, numbered. `obfuscation` is random text that
    /// hides the length of a delta; it is written on deltas only.
    ///
    /// # Errors
    /// Never in practice: all types here serialise.
    pub fn encode(
        &self,
        sequence_number: u64,
        obfuscation: Option<&str>,
    ) -> Result<Bytes, serde_json::Error> {
        let kind = self.kind();
        match self {
            Self::Lifecycle(_, response) => sse::encode(
                kind,
                &Numbered {
                    kind,
                    sequence_number,
                    body: LifecycleBody { response },
                },
            ),
            Self::ItemAdded { output_index, item } | Self::ItemDone { output_index, item } => {
                let body = ItemBody {
                    output_index: *output_index,
                    item,
                };
                sse::encode(
                    kind,
                    &Numbered {
                        kind,
                        sequence_number,
                        body,
                    },
                )
            }
            Self::Inside(event) => {
                let obfuscation = obfuscation.filter(|_| self.is_delta());
                sse::encode(
                    kind,
                    &Inside {
                        sequence_number,
                        event,
                        obfuscation,
                    },
                )
            }
            Self::Error(error) => sse::encode(
                kind,
                &Numbered {
                    kind,
                    sequence_number,
                    body: ErrorEventBody { error },
                },
            ),
            Self::Other(value) => {
                let mut value = value.clone();
                value["sequence_number"] = sequence_number.into();
                sse::encode(kind, &value)
            }
        }
    }

    /// Reads the `data:` of one event. The sequence number and `obfuscation` are dropped.
    ///
    /// # Errors
    /// When the text is no JSON object or a known event has a field of the wrong form.
    pub fn parse(data: &str) -> Result<Self, serde_json::Error> {
        let mut value: Value = serde_json::from_str(data)?;
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("sequence_number");
            fields.shift_remove("obfuscation");
        }
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        if let Some(stage) = Stage::named(&kind) {
            let response = serde_json::from_value(value["response"].take())?;
            return Ok(Self::Lifecycle(stage, Box::new(response)));
        }
        let output_index = value
            .get("output_index")
            .and_then(Value::as_u64)
            .unwrap_or(0) as usize;
        match kind.as_str() {
            name::ITEM_ADDED => Ok(Self::ItemAdded {
                output_index,
                item: Item::from_value(value["item"].take())?,
            }),
            name::ITEM_DONE => Ok(Self::ItemDone {
                output_index,
                item: Item::from_value(value["item"].take())?,
            }),
            "error" => Ok(Self::Error(error_of(&value)?)),
            _ if value.get("item_id").is_some() => Ok(Self::Inside(serde_json::from_value(value)?)),
            _ => Ok(Self::Other(value)),
        }
    }
}

/// The error is nested on the wire and flat in OpenAI's types: both are read.
fn error_of(value: &Value) -> Result<ErrorBody, serde_json::Error> {
    let inner = value.get("error").filter(|error| error.is_object());
    let mut body: ErrorBody = serde_json::from_value(inner.unwrap_or(value).clone())?;
    if inner.is_none() {
        body.kind = Cow::Borrowed(crate::error::kind::SERVER);
    }
    Ok(body)
}

/// The end of a stream that is cut: the `error` event, then `response.failed`, which is made
/// from the data of `response.created` if that went out. `seen` is how many events did. A blank
/// line comes first, because the last piece may have ended inside of an event.
#[must_use]
pub fn last_words(created: Option<&str>, seen: u64, body: &ErrorBody) -> Bytes {
    let failed = created.and_then(|data| match Event::parse(data) {
        Ok(Event::Lifecycle(_, mut response)) => {
            response.status = Status::Failed;
            response.error = Some(ResponseError::of(body));
            Some(Event::Lifecycle(Stage::Failed, response))
        }
        _ => None,
    });
    let mut out = BytesMut::from(&b"\n\n"[..]);
    for (event, number) in [Event::Error(body.clone())]
        .iter()
        .chain(&failed)
        .zip(seen..)
    {
        // Never in practice an error: all types here serialise.
        out.extend_from_slice(&event.encode(number, None).unwrap_or_default());
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(event: &Event) -> String {
        String::from_utf8(event.encode(7, Some("xyz")).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_delta_is_numbered_and_obfuscated() {
        let event = Event::Inside(ItemEvent {
            delta: Some("hi".to_owned()),
            content_index: Some(0),
            logprobs: Some(Vec::new()),
            ..ItemEvent::new(name::TEXT_DELTA, "msg_1", 2)
        });
        assert_eq!(
            text_of(&event),
            "event: response.output_text.delta\ndata: {\"sequence_number\":7,\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":2,\"content_index\":0,\"delta\":\"hi\",\"logprobs\":[],\"obfuscation\":\"xyz\"}\n\n"
        );
    }

    #[test]
    fn mcp_events_carry_item_and_index_only() {
        let text = text_of(&Event::Inside(ItemEvent::new(
            name::MCP_COMPLETED,
            "mcp_1",
            1,
        )));
        assert_eq!(
            text,
            "event: response.mcp_call.completed\ndata: {\"sequence_number\":7,\"type\":\"response.mcp_call.completed\",\"item_id\":\"mcp_1\",\"output_index\":1}\n\n"
        );
    }

    #[test]
    fn the_fatal_event_is_nested_and_reads_back() {
        let body = ErrorBody::new(crate::error::kind::SERVER, "boom").code("server_error");
        let text = text_of(&Event::Error(body.clone()));
        assert!(
            text.contains(r#""error":{"message":"boom","type":"server_error""#),
            "{text}"
        );
        let data = text.split("data: ").nth(1).unwrap();
        let Event::Error(back) = Event::parse(data).unwrap() else {
            panic!("no error")
        };
        assert_eq!(back, body);
    }

    #[test]
    fn unknown_events_are_kept() {
        let event = Event::parse(r#"{"type":"response.shell","x":1,"sequence_number":3}"#).unwrap();
        assert!(text_of(&event).contains(r#""x":1,"sequence_number":7"#));
    }

    #[test]
    fn last_words_end_what_was_begun() {
        let body = ErrorBody::new(crate::error::kind::UNAVAILABLE, "cut").code("shutting_down");
        let created = r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress"},"sequence_number":0}"#;
        let words = last_words(Some(created), 7, &body);
        let mut frames = sse::Decoder::new(1 << 20).push(&words).unwrap().into_iter();
        let (error, failed) = (frames.next().unwrap(), frames.next().unwrap());
        assert_eq!(frames.next(), None);
        assert_eq!(
            (error.event.as_deref(), failed.event.as_deref()),
            (Some("error"), Some("response.failed"))
        );
        let error: Value = serde_json::from_str(&error.data).unwrap();
        assert_eq!(error["sequence_number"], 7);
        assert_eq!(
            error["error"],
            serde_json::json!({"message": "cut", "type": "service_unavailable_error", "param": null, "code": "shutting_down"})
        );
        let failed: Value = serde_json::from_str(&failed.data).unwrap();
        assert_eq!(failed["sequence_number"], 8);
        assert_eq!(failed["response"]["id"], "resp_1");
        assert_eq!(failed["response"]["status"], "failed");
        assert_eq!(failed["response"]["error"]["code"], "shutting_down");

        let nothing_begun = last_words(None, 0, &body);
        assert_eq!(
            sse::Decoder::new(1 << 20)
                .push(&nothing_begun)
                .unwrap()
                .len(),
            1
        );
    }
}
