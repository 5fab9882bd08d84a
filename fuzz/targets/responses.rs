//! Answers of a server of the Responses API, streamed and whole. Its items go on as they come, so
//! that only their order is judged.
#![no_main]
#![expect(dead_code, reason = "the golden tests use the rest")]

#[path = "../../crates/providers/tests/it/run.rs"]
mod run;

use libfuzzer_sys::fuzz_target;
use portunus_protocol::event::Event;
use portunus_protocol::fold::Fold;
use portunus_providers::{TurnEvent, TurnRequest};
use run::Outcome;

/// Items open in order and close once; one end or one failure, and nothing after it.
fn check(outcome: &Outcome) {
    let mut open = Vec::new();
    let mut fold = Fold::new();
    let mut ended = false;
    for event in &outcome.events {
        assert!(!ended, "an event after the end: {event:?}");
        let TurnEvent::Item(event) = event else {
            ended = true;
            continue;
        };
        fold.apply(event);
        match event {
            Event::ItemAdded { output_index, .. } => {
                assert_eq!(*output_index, open.len(), "indices are dense");
                open.push(true);
            }
            Event::ItemDone { output_index, .. } => {
                assert!(
                    std::mem::replace(&mut open[*output_index], false),
                    "done twice"
                );
            }
            Event::Inside(inside) => assert!(open[inside.output_index], "{inside:?}"),
            other => panic!("no item event: {other:?}"),
        }
    }
    assert_eq!(ended, outcome.failure.is_none(), "one end, or a failure");
    assert!(
        !ended || !open.contains(&true),
        "an item is open at the end"
    );
    assert_eq!(fold.into_output().len(), open.len());
}

fuzz_target!(|bytes: &[u8]| {
    let provider = run::provider("openai");
    let turn = TurnRequest {
        model: "m".to_owned(),
        stream: true,
        ..TurnRequest::default()
    };
    let streamed = run::stream(provider, &turn, [bytes]);
    check(&streamed);
    let cut = run::stream(provider, &turn, bytes.chunks(7));
    assert_eq!(cut.events.len(), streamed.events.len());
    assert_eq!(cut.failure.is_some(), streamed.failure.is_some());
    check(&run::body(provider, &turn, bytes));
    let error = provider.classify(400, &http::HeaderMap::new(), bytes);
    assert!(!error.body.message.is_empty());
});
