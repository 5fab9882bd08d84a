//! Answers of a chat-completions server, streamed and whole, by the oracle of the golden tests.
#![no_main]

#[path = "../../crates/providers/tests/it/check.rs"]
mod check;
#[path = "../../crates/providers/tests/it/run.rs"]
mod run;

use libfuzzer_sys::fuzz_target;
use portunus_providers::TurnRequest;

fuzz_target!(|bytes: &[u8]| {
    let provider = run::provider("openai-compatible");
    let turn = TurnRequest {
        model: "m".to_owned(),
        stream: true,
        ..TurnRequest::default()
    };
    let streamed = run::stream(provider, &turn, [bytes]);
    check::nesting(&streamed);
    let cut = run::stream(provider, &turn, bytes.chunks(7));
    assert_eq!(cut.events.len(), streamed.events.len());
    assert_eq!(cut.failure.is_some(), streamed.failure.is_some());
    check::nesting(&run::body(provider, &turn, bytes));
    let error = provider.classify(400, &http::HeaderMap::new(), bytes);
    assert!(!error.body.message.is_empty());
});
