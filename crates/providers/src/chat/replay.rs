//! Reasoning that goes back to the vendor that made it.

use super::history::Turn;
use crate::compat::{Replay, Row};
use crate::envelope::Envelope;
use portunus_protocol::item::Reasoning;
use serde_json::{Map, Value};

/// Whether the model's thoughts of this turn are known.
pub(super) fn has_text(turn: &Turn<'_>) -> bool {
    turn.reasoning.iter().any(|item| !text(item).is_empty())
}

/// The fields of the assistant message that carry the reasoning.
pub(super) fn fields(row: &Row, model: &str, turn: &Turn<'_>) -> Map<String, Value> {
    let mut out = Map::new();
    match row.quirks.replay {
        Replay::Never => {}
        Replay::Content(filler) => {
            let texts: Vec<_> = turn.reasoning.iter().map(|item| text(item)).collect();
            let text = texts.join("\n");
            if !text.is_empty() {
                out.insert("reasoning_content".to_owned(), text.into());
            } else if !turn.calls.is_empty() {
                out.insert("reasoning_content".to_owned(), filler.into());
            }
        }
        Replay::Details => {
            let details: Vec<_> = turn
                .reasoning
                .iter()
                .flat_map(|item| details(row, model, item))
                .collect();
            if !details.is_empty() {
                out.insert("reasoning_details".to_owned(), details.into());
            }
        }
    }
    out
}

/// Raw thoughts, or their summary when there are none.
fn text(item: &Reasoning) -> String {
    let raw = item.content.iter().flatten();
    let mut text: String = raw.map(|part| part.text.as_str()).collect();
    if text.is_empty() {
        text = item.summary.iter().map(|part| part.text.as_str()).collect();
    }
    text
}

/// The vendor's own details, if this vendor and model made them.
fn details(row: &Row, model: &str, item: &Reasoning) -> Vec<Value> {
    let envelope = item.encrypted_content.as_deref().and_then(Envelope::open);
    envelope
        .filter(|envelope| envelope.provider == row.name && envelope.model == model)
        .and_then(|envelope| serde_json::from_str(&envelope.state).ok())
        .unwrap_or_default()
}
