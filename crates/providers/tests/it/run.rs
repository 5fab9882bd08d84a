//! Runs bytes through a provider's decoder.

use portunus_protocol::sse;
use portunus_providers::{Failure, Provider, TurnEvent, TurnRequest, find};

/// What came out before the end or the failure.
pub(crate) struct Outcome {
    pub(crate) events: Vec<TurnEvent>,
    pub(crate) failure: Option<Failure>,
}

pub(crate) fn provider(name: &str) -> &'static dyn Provider {
    find(name).unwrap_or_else(|| panic!("no provider {name}"))
}

/// Decodes a stream that arrives in these pieces.
pub(crate) fn stream<'a>(
    provider: &dyn Provider,
    turn: &TurnRequest,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut events = Vec::new();
    let failure = frames(provider, turn, pieces, &mut events).err();
    Outcome { events, failure }
}

fn frames<'a>(
    provider: &dyn Provider,
    turn: &TurnRequest,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    events: &mut Vec<TurnEvent>,
) -> Result<(), Failure> {
    let mut decoder = provider.decoder(turn);
    let mut framing = sse::Decoder::new(1 << 22);
    for piece in pieces {
        for frame in framing.push(piece).unwrap() {
            events.extend(decoder.frame(&frame)?);
        }
    }
    if let Some(frame) = framing.finish() {
        events.extend(decoder.frame(&frame)?);
    }
    events.extend(decoder.finish()?);
    Ok(())
}

/// Decodes a whole JSON answer.
pub(crate) fn body(provider: &dyn Provider, turn: &TurnRequest, json: &[u8]) -> Outcome {
    let mut decoder = provider.decoder(turn);
    match decoder.body(json) {
        Ok(mut events) => {
            events.extend(decoder.finish().unwrap());
            Outcome {
                events,
                failure: None,
            }
        }
        Err(failure) => Outcome {
            events: Vec::new(),
            failure: Some(failure),
        },
    }
}
