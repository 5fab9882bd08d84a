//! Micro-benchmarks of the hot parts, one case a run: `micro CASE TIMES`. They measure nothing
//! themselves: `benches/micro` counts their instructions, which do not wobble.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use portunus_egress::{Client, Settings, Zone, parse_url};
use portunus_protocol::event::Event;
use portunus_protocol::fold::Fold;
use portunus_protocol::item::Item;
use portunus_protocol::shallow::Shallow;
use portunus_protocol::sse;
use portunus_providers::{Endpoint, Provider, ToolDef, TurnEvent, TurnRequest, find};
use portunus_store::{LogRecord, RequestRow, Store, open};
use serde_json::json;
use serde_json::value::RawValue;
use std::hint::black_box;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Deltas of the streams.
const DELTAS: usize = 100;
/// Rows that go into one statement, as the log writer sends them.
const ROWS: usize = 16;

/// One operation; the number is its bytes of input, 0 where none are read.
type Case = (Box<dyn FnMut()>, usize);
type Named = (&'static str, fn() -> Case);

const CASES: [Named; 7] = [
    ("sse_decode", sse_decode),
    ("shallow_edit", shallow_edit),
    ("chat_encode", chat_encode),
    ("chat_decode", chat_decode),
    ("fold", fold),
    ("guard", guard),
    ("log_row", log_row),
];

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (name, times) = (words.next(), words.next());
    let times: usize = times.and_then(|word| word.parse().ok()).unwrap_or(1);
    for (case, make) in CASES {
        if name.as_deref().is_some_and(|name| name != case) {
            continue;
        }
        let (mut run, bytes) = make();
        for _ in 0..times {
            run();
        }
        println!("{case} {bytes}");
    }
}

/// A chat-completions answer in a hundred pieces.
fn stream() -> Vec<u8> {
    let chunk = |delta: serde_json::Value, end: Option<&str>| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": end}]);
        let body = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk",
            "created": 1, "model": "m", "choices": choices});
        format!("data: {body}\n\n")
    };
    let mut text = chunk(json!({"role": "assistant", "content": ""}), None);
    for number in 0..DELTAS {
        text.push_str(&chunk(json!({"content": format!(" word{number}")}), None));
    }
    text.push_str(&chunk(json!({}), Some("stop")));
    text.push_str("data: [DONE]\n\n");
    text.into_bytes()
}

fn sse_decode() -> Case {
    let bytes = stream();
    let length = bytes.len();
    let run = move || {
        let mut decoder = sse::Decoder::new(1 << 20);
        for piece in bytes.chunks(1024) {
            black_box(decoder.push(black_box(piece)).unwrap());
        }
    };
    (Box::new(run), length)
}

fn shallow_edit() -> Case {
    let messages: Vec<_> = (0..20)
        .map(|n| json!({"role": "user", "content": format!("message {n} {}", "x".repeat(100))}))
        .collect();
    let body = json!({"model": "@slug/m", "stream": true, "input": messages, "store": false});
    let body = body.to_string().into_bytes();
    let length = body.len();
    let run = move || {
        let mut shallow = Shallow::parse(black_box(&body)).unwrap();
        shallow.set_value("model", "m").unwrap();
        black_box(shallow.to_vec().unwrap());
    };
    (Box::new(run), length)
}

fn provider() -> &'static dyn Provider {
    find("openai-compatible").unwrap()
}

fn turn() -> TurnRequest {
    let item = |n: usize| {
        let content = json!([{"type": "input_text", "text": format!("message {n}")}]);
        Item::from_value(json!({"type": "message", "role": "user", "content": content})).unwrap()
    };
    let schema = json!({"type": "object", "properties": {"q": {"type": "string"}}});
    let schema: Arc<RawValue> = Arc::from(serde_json::value::to_raw_value(&schema).unwrap());
    let tool = |n: usize| ToolDef {
        name: format!("tool_{n}"),
        description: Some("Finds things.".to_owned()),
        parameters: Arc::clone(&schema),
        strict: None,
        custom: false,
    };
    TurnRequest {
        model: "m".to_owned(),
        input: (0..20).map(item).map(Arc::new).collect(),
        tools: (0..8).map(tool).collect(),
        stream: true,
        ..TurnRequest::default()
    }
}

fn chat_encode() -> Case {
    let turn = turn();
    let endpoint = Endpoint {
        base_url: "https://a.example/v1".parse().unwrap(),
        credential: None,
        provider: "openai-compatible".to_owned(),
        settings: serde_json::Value::Null,
    };
    let run = move || {
        drop(black_box(
            provider().encode(&endpoint, black_box(&turn)).unwrap(),
        ));
    };
    (Box::new(run), 0)
}

fn frames() -> Vec<sse::Frame> {
    sse::Decoder::new(1 << 20).push(&stream()).unwrap()
}

fn decoded(frames: &[sse::Frame]) -> Vec<TurnEvent> {
    let mut decoder = provider().decoder(&turn());
    let mut events: Vec<TurnEvent> = frames
        .iter()
        .flat_map(|frame| decoder.frame(frame).unwrap())
        .collect();
    events.extend(decoder.finish().unwrap());
    events
}

fn chat_decode() -> Case {
    let frames = frames();
    let bytes = frames.iter().map(|frame| frame.data.len()).sum();
    (Box::new(move || drop(black_box(decoded(&frames)))), bytes)
}

fn fold() -> Case {
    let events: Vec<Event> = decoded(&frames())
        .into_iter()
        .filter_map(|event| match event {
            TurnEvent::Item(event) => Some(event),
            TurnEvent::End(_) => None,
        })
        .collect();
    let run = move || {
        let mut fold = Fold::new();
        for event in &events {
            fold.apply(black_box(event));
        }
        black_box(fold.into_output());
    };
    (Box::new(run), 0)
}

fn guard() -> Case {
    let client = Client::new(Settings::default()).unwrap();
    let raw = "https://mcp.example.com:8443/mcp?team=a";
    let run = move || {
        let url = parse_url(black_box(raw)).unwrap();
        client.check(Zone::Mcp, &url).unwrap();
    };
    (Box::new(run), raw.len())
}

fn log_row() -> Case {
    let runtime = Runtime::new().unwrap();
    let store: Arc<dyn Store> = runtime.block_on(open("sqlite::memory:")).unwrap();
    let mut number = 0;
    let run = move || {
        let record = |n: usize| LogRecord {
            request: RequestRow {
                id: format!("log_{number}_{n}"),
                workspace_id: "default".to_owned(),
                ..RequestRow::default()
            },
            ..LogRecord::default()
        };
        let records: Vec<LogRecord> = (0..ROWS).map(record).collect();
        number += 1;
        runtime.block_on(store.insert_logs(records)).unwrap();
    };
    (Box::new(run), 0)
}
