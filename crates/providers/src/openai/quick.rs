//! Events that need no tree of values: deltas, which are most of a stream, and those that hold
//! the whole response, which repeats the tools. Whatever is odd is left to the thorough way.

use portunus_protocol::event::{ItemEvent, name};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The events that add text.
const DELTAS: [&str; 7] = [
    name::TEXT_DELTA,
    name::ARGUMENTS_DELTA,
    name::REASONING_DELTA,
    name::SUMMARY_DELTA,
    name::REFUSAL_DELTA,
    name::CUSTOM_INPUT_DELTA,
    name::MCP_ARGUMENTS_DELTA,
];

/// What was read of an event.
#[expect(clippy::large_enum_variant, reason = "acted on at once, never kept")]
pub(super) enum Quick<'a> {
    /// It tells nothing new.
    Nothing,
    /// More text, and the index that the upstream gave.
    Delta(Option<u64>, ItemEvent),
    /// The end: the type, and what counts of the response.
    End(&'a str, Value),
    /// Not an event of this kind, or an odd one.
    Unknown,
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(default, rename = "type")]
    kind: Option<&'a str>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    item_id: String,
    output_index: Option<usize>,
    content_index: Option<usize>,
    summary_index: Option<usize>,
    delta: String,
    logprobs: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    response: &'a RawValue,
}

/// The fields of a response that count at its end.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ending<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    service_tier: Option<&'a RawValue>,
    reasoning: Option<&'a RawValue>,
    temperature: Option<&'a RawValue>,
    top_p: Option<&'a RawValue>,
    prompt_cache_retention: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    incomplete_details: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
}

/// Reads one event; its type is in the data, or else it is `named` beside them. The items of an
/// end are read only when they are needed.
pub(super) fn read<'a>(data: &'a str, named: Option<&'a str>, items_needed: bool) -> Quick<'a> {
    let Ok(Peek { kind }) = serde_json::from_str(data) else {
        return Quick::Unknown;
    };
    let kind = kind.filter(|kind| !kind.is_empty()).or(named);
    let read = match kind {
        Some("response.created" | "response.in_progress" | "response.queued") => {
            Some(Quick::Nothing)
        }
        Some(kind @ ("response.completed" | "response.incomplete")) => {
            ending(data, items_needed).map(|response| Quick::End(kind, response))
        }
        Some(kind) => DELTAS
            .into_iter()
            .find(|delta| *delta == kind)
            .and_then(|kind| delta(kind, data)),
        None => None,
    };
    read.unwrap_or(Quick::Unknown)
}

fn delta(kind: &'static str, data: &str) -> Option<Quick<'static>> {
    let delta: Delta = serde_json::from_str(data).ok()?;
    let event = ItemEvent {
        kind: Cow::Borrowed(kind),
        item_id: delta.item_id,
        output_index: delta.output_index.unwrap_or(0),
        content_index: delta.content_index,
        summary_index: delta.summary_index,
        delta: Some(delta.delta),
        logprobs: delta.logprobs,
        ..ItemEvent::default()
    };
    Some(Quick::Delta(delta.output_index.map(|at| at as u64), event))
}

fn ending(data: &str, items_needed: bool) -> Option<Value> {
    let outer: Outer<'_> = serde_json::from_str(data).ok()?;
    response(outer.response.get(), items_needed)
}

/// What counts of a whole response; `None` when it is odd.
pub(super) fn response(json: &str, items_needed: bool) -> Option<Value> {
    let fields: Ending<'_> = serde_json::from_str(json).ok()?;
    let named = [
        ("id", fields.id),
        ("status", fields.status),
        ("model", fields.model),
        ("service_tier", fields.service_tier),
        ("reasoning", fields.reasoning),
        ("temperature", fields.temperature),
        ("top_p", fields.top_p),
        ("prompt_cache_retention", fields.prompt_cache_retention),
        ("usage", fields.usage),
        ("incomplete_details", fields.incomplete_details),
        ("output", fields.output.filter(|_| items_needed)),
    ];
    let mut out = Map::new();
    for (key, raw) in named {
        if let Some(raw) = raw {
            out.insert(key.to_owned(), serde_json::from_str(raw.get()).ok()?);
        }
    }
    Some(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_keeps_what_counts() {
        let data = r#"{"type":"response.completed","response":{"id":"r","tools":[{"a":1}],"output":[1],"usage":null}}"#;
        let Quick::End(kind, value) = read(data, None, true) else {
            panic!("not quick")
        };
        assert_eq!(kind, "response.completed");
        assert_eq!(value, serde_json::json!({"id": "r", "output": [1]}));
        assert!(
            matches!(read(data, None, false), Quick::End(_, value) if value.get("output").is_none())
        );
    }

    #[test]
    fn what_is_odd_is_left_to_the_thorough_way() {
        for odd in [
            "{",
            "[]",
            r#"{"type":7}"#,
            r#"{"type":"response.completed"}"#,
            r#"{"type":"response.completed","response":{"id":1,"id":2}}"#,
            r#"{"type":"response.output_text.delta","delta":7}"#,
            r#"{"type":"response.output_item.added","item":{}}"#,
        ] {
            assert!(matches!(read(odd, None, true), Quick::Unknown), "{odd}");
        }
    }
}
