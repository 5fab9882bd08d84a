//! Recorded traffic of real servers, where it is at hand: `PORTUNUS_WIRE` names the folder,
//! else it is looked for beside the workspace. Nothing of it is kept here.

use crate::check;
use crate::run::{self, Outcome, provider};
use http::HeaderMap;
use portunus_protocol::event::{Event, name};
use portunus_protocol::fold::Fold;
use portunus_providers::{FailureKind, Provider, TurnEvent, TurnRequest};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/wire");
    let wire = std::env::var_os("PORTUNUS_WIRE").map_or(beside, PathBuf::from);
    let path = wire.join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no recorded traffic at {}", path.display());
    None
}

fn files(folder: &Path, endings: &[&str]) -> Vec<(String, PathBuf)> {
    let mut out: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            endings
                .iter()
                .any(|ending| name.ends_with(ending))
                .then_some((name, path))
        })
        .collect();
    out.sort();
    out
}

fn vendor(file: &str) -> &'static dyn Provider {
    let names = [
        ("mistral", "mistral-ai"),
        ("openrouter", "openrouter"),
        ("deepseek", "deepseek"),
        ("groq", "groq"),
        ("perplexity", "perplexity-ai"),
        ("xai", "x-ai"),
        ("openai", "openai-chat"),
    ];
    let found = names.iter().find(|(prefix, _)| file.starts_with(prefix));
    provider(found.map_or("openai-compatible", |(_, name)| name))
}

/// All deltas of a kind.
fn deltas(outcome: &Outcome, kind: &str) -> String {
    let inside = outcome.events.iter().filter_map(|event| match event {
        TurnEvent::Item(Event::Inside(event)) if event.kind == kind => event.delta.as_deref(),
        _ => None,
    });
    inside.collect()
}

/// The text of the deltas of a chat stream, read without the decoder.
fn chat_text(stream: &str) -> String {
    let mut out = String::new();
    for line in stream.lines() {
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        match &value["choices"][0]["delta"]["content"] {
            Value::String(text) => out.push_str(text),
            Value::Array(parts) => {
                out.extend(parts.iter().filter_map(|part| part["text"].as_str()));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn chat_streams() {
    let Some(folder) = folder("chat") else { return };
    let mut failed = BTreeSet::new();
    for (file, path) in files(&folder, &[".sse"]) {
        let stream = fs::read_to_string(path).unwrap();
        let outcome = run::stream(vendor(&file), &TurnRequest::default(), [stream.as_bytes()]);
        println!("{file}");
        check::order(&outcome);
        if outcome.failure.is_some() {
            failed.insert(file.clone());
        }
        // Two data lines of one event are one chunk: the plain reading cannot see that.
        if file != "sse_framing.1.sse" {
            assert_eq!(
                deltas(&outcome, name::TEXT_DELTA),
                chat_text(&stream),
                "{file}"
            );
        }
    }
    let expected = [
        "groq_error_in_stream_tool_use_failed.1.sse",
        "openrouter_stream_error_in_chunk.1.sse",
        "truncated_streamed.1.sse",
    ];
    assert_eq!(
        failed.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn chat_answers_and_errors() {
    let Some(folder) = folder("chat") else { return };
    for (file, path) in files(&folder, &[".json"]) {
        let case: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for exchange in case["exchanges"].as_array().unwrap() {
            let answer = &exchange["response"];
            let status = answer["status"].as_u64().unwrap() as u16;
            if answer["body"].is_null() && status == 200 {
                continue;
            }
            let body = match &answer["body"] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            if status == 200 && answer["body"]["choices"].is_array() {
                whole(&file, &answer["body"], &body);
            } else {
                let failure = vendor(&file).classify(status, &HeaderMap::new(), body.as_bytes());
                assert!((400..600).contains(&failure.status), "{file}: {failure:?}");
                assert!(!failure.body.message.is_empty(), "{file}");
            }
        }
    }
}

fn whole(file: &str, answer: &Value, body: &str) {
    let outcome = run::body(vendor(file), &TurnRequest::default(), body.as_bytes());
    assert!(outcome.failure.is_none(), "{file}: {:?}", outcome.failure);
    check::order(&outcome);
    let message = &answer["choices"][0]["message"];
    if let Some(text) = message["content"].as_str() {
        assert_eq!(deltas(&outcome, name::TEXT_DELTA), text, "{file}");
    }
    let calls = message["tool_calls"].as_array().map_or(0, Vec::len);
    let begun = outcome.events.iter().filter(|event| {
        matches!(event, TurnEvent::Item(Event::ItemAdded { item, .. }) if item.kind() == "function_call")
    });
    assert_eq!(begun.count(), calls, "{file}");
}

fn responses_text(lines: &[Value]) -> String {
    let deltas = lines
        .iter()
        .filter(|event| event["type"] == name::TEXT_DELTA);
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}

/// The recorded events fold to the recorded output.
fn folds(file: &str, events: &[Value], output: &Value) {
    let mut fold = Fold::new();
    for event in events {
        fold.apply(&Event::parse(&event.to_string()).unwrap());
    }
    let mut folded = serde_json::to_value(fold.into_output()).unwrap();
    let mut output = output.clone();
    for side in [&mut folded, &mut output] {
        for item in side.as_array_mut().unwrap() {
            neutral(item);
        }
    }
    assert_eq!(folded, output, "{file}");
}

/// What a vendor changes between an item's end and the final response.
fn neutral(item: &mut Value) {
    let fields = item.as_object_mut().unwrap();
    fields.retain(|key, value| {
        !value.is_null() && !["id", "encrypted_content", "status"].contains(&key.as_str())
    });
    // Known to be missing from the events of all servers but one.
    if fields["type"] == "mcp_list_tools" {
        fields.remove("tools");
    }
    // OpenRouter leaves it out where it is empty.
    let parts = fields.get_mut("content").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        part.as_object_mut().unwrap().remove("logprobs");
    }
}

fn check_responses(file: &str, stream: &str) -> Outcome {
    let outcome = run::stream(
        provider("openai"),
        &TurnRequest::default(),
        [stream.as_bytes()],
    );
    println!("{file}");
    check::order(&outcome);
    let data = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    let events: Vec<Value> = data
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect();
    assert_eq!(
        deltas(&outcome, name::TEXT_DELTA),
        responses_text(&events),
        "{file}"
    );
    let last = events
        .iter()
        .rev()
        .find(|event| event["type"] == "response.completed");
    if let Some(response) = last.map(|event| &event["response"]) {
        let done = outcome
            .events
            .iter()
            .filter(|event| matches!(event, TurnEvent::Item(Event::ItemDone { .. })));
        assert_eq!(
            done.count(),
            response["output"].as_array().unwrap().len(),
            "{file}"
        );
        folds(file, &events, &response["output"]);
    }
    outcome
}

#[test]
fn responses_streams() {
    let mut failed = Vec::new();
    for name in ["openai-responses", "responses"] {
        let Some(folder) = folder(name) else { return };
        for (file, path) in files(&folder, &[".sse", ".chunks.txt"]) {
            let mut stream = fs::read_to_string(path).unwrap();
            if file.ends_with(".chunks.txt") {
                stream = stream
                    .lines()
                    .map(|line| format!("data: {line}\n\n"))
                    .collect();
            }
            // Resumed streams begin in the middle, which no turn of ours does.
            if check_responses(&file, &stream).failure.is_some() {
                failed.push(file);
            }
        }
    }
    assert_eq!(
        failed,
        [
            "error-quota-stream.2025-11.chunks.txt",
            "openai_error_in_stream.1.sse"
        ]
    );
}

#[test]
fn a_real_llama_cpp_server() {
    let Some(folder) = folder("llama-server") else {
        return;
    };
    let mut streams = 0;
    for (file, path) in files(&folder, &[".response.txt"]) {
        let text = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_stream = head.contains("text/event-stream");
        streams += usize::from(is_stream);
        let is_chat = file.starts_with("chat_")
            || file.starts_with("plain_chat")
            || file.starts_with("error_");
        if is_chat && is_stream {
            let outcome = run::stream(
                provider("llama-cpp"),
                &TurnRequest::default(),
                [body.as_bytes()],
            );
            check::order(&outcome);
            assert_eq!(
                outcome.failure.is_some(),
                file.starts_with("error_"),
                "{file}"
            );
            assert_eq!(
                deltas(&outcome, name::TEXT_DELTA),
                chat_text(body),
                "{file}"
            );
        } else if file.starts_with("responses_") && is_stream {
            let outcome = check_responses(&file, body);
            assert_eq!(outcome.failure.is_some(), file.contains("error"), "{file}");
        } else if is_chat && status >= 400 {
            let failure =
                provider("llama-cpp").classify(status, &HeaderMap::new(), body.as_bytes());
            let bad_key = file.starts_with("error_auth");
            assert_eq!(
                failure.kind == FailureKind::Auth,
                bad_key,
                "{file}: {failure:?}"
            );
        }
    }
    assert!(streams > 5, "only {streams} streams");
}
