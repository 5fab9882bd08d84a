//! Golden files, a folder for each dialect: `NAME.sse` (a stream) and `NAME.body.json` (a
//! whole answer) give events; `NAME.turn.json` gives the request, or the events of a provider
//! that answers by itself. The comment in the first line of a stream names the provider.

use crate::check;
use crate::ids::Ids;
use crate::run::{self, Outcome, provider};
use crate::turns;
use portunus_protocol::event::Event;
use portunus_providers::{Endpoint, Provider, TurnEvent, TurnRequest, TurnStatus};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn files(dialect: &str, ending: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(dialect);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let found: Vec<_> = paths
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
            Some((name, fs::read_to_string(path).unwrap()))
        })
        .collect();
    assert!(!found.is_empty(), "no {ending} of dialect {dialect}");
    found
}

fn compare(dialect: &str, name: &str, got: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../golden/{dialect}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, got));
}

/// One line for each event, ids counted.
fn lines(outcome: &Outcome) -> String {
    let mut ids = Ids::default();
    let mut out = String::new();
    for event in &outcome.events {
        let mut value = match event {
            TurnEvent::Item(event) => wire(event),
            TurnEvent::End(end) => json!({
                "end": status(&end.status),
                "usage": end.usage,
                "model": end.model,
                "service_tier": end.service_tier,
                "upstream_id": end.upstream_id,
            }),
        };
        ids.count(&mut value);
        writeln!(out, "{value}").unwrap();
    }
    if let Some(failure) = &outcome.failure {
        writeln!(out, "{failure:#?}").unwrap();
    }
    out
}

fn wire(event: &Event) -> Value {
    let bytes = event.encode(0, None).unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut value: Value = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .shift_remove("sequence_number");
    value
}

fn status(status: &TurnStatus) -> String {
    match status {
        TurnStatus::Completed => "completed".to_owned(),
        TurnStatus::Incomplete { reason } => format!("incomplete: {reason}"),
        TurnStatus::Failed { code, message } => format!("failed: {code}: {message}"),
    }
}

fn of_stream(stream: &str) -> &'static dyn Provider {
    let line = stream
        .trim_start_matches('\u{feff}')
        .lines()
        .next()
        .unwrap();
    provider(line.strip_prefix(": provider ").unwrap().trim())
}

fn streams(dialect: &str) {
    let turn = TurnRequest {
        model: "m".to_owned(),
        stream: true,
        ..TurnRequest::default()
    };
    for (name, stream) in files(dialect, ".sse") {
        let provider = of_stream(&stream);
        let whole = run::stream(provider, &turn, [stream.as_bytes()]);
        check::order(&whole);
        let expected = lines(&whole);
        compare(dialect, &name, &expected);
        for at in 0..stream.len() {
            let (head, tail) = stream.as_bytes().split_at(at);
            let cut = run::stream(provider, &turn, [head, tail]);
            assert_eq!(lines(&cut), expected, "{name} cut at {at}");
        }
    }
}

fn bodies(dialect: &str, name_of_provider: &str) {
    let turn = TurnRequest::default();
    for (name, json) in files(dialect, ".body.json") {
        let outcome = run::body(provider(name_of_provider), &turn, json.as_bytes());
        check::order(&outcome);
        compare(dialect, &format!("{name}.body"), &lines(&outcome));
    }
}

fn requests(dialect: &str) {
    for (name, text) in files(dialect, ".turn.json") {
        let (provider_name, turn) = turns::read(&text);
        let provider = provider(&provider_name);
        let endpoint = Endpoint {
            base_url: "https://provider.example/v1".parse().unwrap(),
            credential: Some(SecretString::from("key-1")),
            provider: provider_name,
            settings: Value::Null,
        };
        let got = match provider.encode(&endpoint, &turn) {
            Ok(made) => {
                let body: Value = serde_json::from_slice(&made.body).unwrap();
                let again = provider.encode(&endpoint, &turn).unwrap();
                assert_eq!(made.body, again.body, "the same turn gives the same bytes");
                format!("POST {}\n{body:#}\n{:#?}", made.head.url, made.notes)
            }
            Err(error) => format!("{:#}", serde_json::to_value(error.body()).unwrap()),
        };
        compare(dialect, &format!("{name}.turn"), &got);
    }
}

#[test]
fn chat_streams() {
    streams("chat");
}

#[test]
fn chat_bodies() {
    bodies("chat", "openai-compatible");
}

#[test]
fn chat_requests() {
    requests("chat");
}

#[test]
fn responses_streams() {
    streams("responses");
}

#[test]
fn responses_bodies() {
    bodies("responses", "openai");
}

#[test]
fn responses_requests() {
    requests("responses");
}

#[test]
fn demo_turns() {
    for (name, text) in files("demo", ".turn.json") {
        let (name_of_provider, turn) = turns::read(&text);
        let events = provider(&name_of_provider).local(&turn).unwrap();
        let outcome = Outcome {
            events,
            failure: None,
        };
        check::order(&outcome);
        compare("demo", &name, &lines(&outcome));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn streams_may_be_cut_anywhere(cuts in proptest::collection::vec(0.0f64..1.0, 0..12)) {
        let turn = TurnRequest::default();
        for dialect in ["chat", "responses"] {
            for (_, stream) in files(dialect, ".sse") {
                let bytes = stream.as_bytes();
                let mut places: Vec<usize> = cuts.iter().map(|at| (at * bytes.len() as f64) as usize).collect();
                places.extend([0, bytes.len()]);
                places.sort_unstable();
                let pieces = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
                let provider = of_stream(&stream);
                let cut = lines(&run::stream(provider, &turn, pieces));
                prop_assert_eq!(cut, lines(&run::stream(provider, &turn, [bytes])));
            }
        }
    }

    /// The same for a server that sends events of the Responses API in any order.
    #[test]
    fn odd_events_never_break_the_order(events in proptest::collection::vec(event(), 0..14)) {
        let turn = TurnRequest::default();
        let mut stream = String::new();
        for event in events {
            write!(stream, "data: {event}\n\n").unwrap();
        }
        stream.push_str("data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n");
        check::nesting(&run::stream(provider("openai"), &turn, [stream.as_bytes()]));
    }

    /// Whatever a server says in the shape of chunks, the events keep their order.
    #[test]
    fn odd_chunks_never_break_the_order(chunks in proptest::collection::vec(chunk(), 0..12)) {
        let turn = TurnRequest::default();
        let mut stream = String::new();
        for chunk in chunks {
            write!(stream, "data: {chunk}\n\n").unwrap();
        }
        stream.push_str("data: [DONE]\n\n");
        check::order(&run::stream(provider("openrouter"), &turn, [stream.as_bytes()]));
    }
}

fn chunk() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("a")),
        Just(json!([{"type": "text", "text": "b"}])),
        Just(json!([{"type": "thinking", "thinking": [{"text": "c"}]}]))
    ];
    let call = (proptest::option::of(0u64..3), prop_oneof![Just(Value::Null), Just(json!("")), Just(json!("x")), Just(json!("y"))], prop_oneof![Just(Value::Null), Just(json!("")), Just(json!("f"))], prop_oneof![Just(Value::Null), Just(json!("{}")), Just(json!("{"))])
        .prop_map(|(index, id, name, arguments)| json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}}));
    let finish =
        prop_oneof![4 => Just(Value::Null), 1 => Just(json!("stop")), 1 => Just(json!("length"))];
    let reasoning = prop_oneof![3 => Just(Value::Null), 1 => Just(json!("t"))];
    let details = prop_oneof![3 => Just(json!([])), 1 => Just(json!([{"type": "reasoning.text", "text": "d", "index": 0}])), 1 => Just(json!([{"type": "reasoning.text", "signature": "s", "index": 0}]))];
    let refusal = prop_oneof![5 => Just(Value::Null), 1 => Just(json!("no"))];
    (text, proptest::collection::vec(call, 0..2), finish, reasoning, details, refusal).prop_map(|(content, calls, finish, reasoning, details, refusal)| {
        json!({"choices": [{"index": 0, "finish_reason": finish, "delta": {"content": content, "tool_calls": calls, "reasoning": reasoning, "reasoning_details": details, "refusal": refusal}}]})
    })
}

fn event() -> impl Strategy<Value = Value> {
    let items = prop_oneof![
        Just(json!({"type": "message", "role": "assistant", "content": []})),
        Just(
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ab"}, {"type": "refusal", "refusal": "no"}]})
        ),
        Just(
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "content": [{"type": "reasoning_text", "text": "t"}]})
        ),
        Just(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"})),
        Just(json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "xy"})),
    ];
    let kinds = prop_oneof![
        3 => Just("response.output_item.added"),
        3 => Just("response.output_item.done"),
        1 => Just("response.content_part.added"),
        1 => Just("response.content_part.done"),
        2 => Just("response.output_text.delta"),
        1 => Just("response.output_text.done"),
        1 => Just("response.output_text.annotation.added"),
        1 => Just("response.refusal.delta"),
        1 => Just("response.reasoning_summary_part.added"),
        1 => Just("response.reasoning_summary_text.delta"),
        1 => Just("response.reasoning_summary_part.done"),
        1 => Just("response.reasoning_text.delta"),
        1 => Just("response.reasoning_text.done"),
        2 => Just("response.function_call_arguments.delta"),
        1 => Just("response.function_call_arguments.done"),
        1 => Just("response.custom_tool_call_input.delta"),
    ];
    let ids = prop_oneof![Just("i1"), Just("i2"), Just("")];
    (kinds, items, ids, proptest::option::of(0u64..3), 0u64..2).prop_map(|(kind, mut item, id, index, at)| {
        item["id"] = id.into();
        let part = json!({"type": "output_text", "text": "a"});
        let mut value = json!({"type": kind, "item_id": id, "content_index": at, "summary_index": at, "delta": "a", "text": "ab", "arguments": "ab", "part": part, "annotation": {"n": at}, "item": item});
        if let Some(index) = index {
            value["output_index"] = index.into();
        }
        value
    })
}
