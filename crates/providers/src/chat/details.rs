//! `reasoning_details` (OpenRouter): typed pieces of reasoning that must go back unchanged.

use crate::json::text;
use serde_json::Value;

/// The details of the reasoning that is open.
#[derive(Debug, Default)]
pub(super) struct Details {
    pieces: Vec<Value>,
}

impl Details {
    /// Takes streamed pieces: text of the same piece is joined, later fields win.
    pub(super) fn take(&mut self, details: &[Value]) {
        for detail in details.iter().filter(|detail| detail.is_object()) {
            let same = self.pieces.last_mut().filter(|last| {
                last.get("index") == detail.get("index") && last.get("type") == detail.get("type")
            });
            match same {
                Some(last) => merge(last, detail),
                None => self.pieces.push(detail.clone()),
            }
        }
    }

    /// The pieces as JSON text, if there is anything in them.
    pub(super) fn seal(&mut self) -> Option<String> {
        let pieces = std::mem::take(&mut self.pieces);
        let keys = ["text", "summary", "data", "signature"];
        if !pieces
            .iter()
            .any(|piece| keys.iter().any(|key| text(piece, key).is_some()))
        {
            return None;
        }
        serde_json::to_string(&pieces).ok()
    }
}

fn merge(into: &mut Value, from: &Value) {
    let Some(fields) = from.as_object() else {
        return;
    };
    for (key, value) in fields {
        let grows = matches!(key.as_str(), "text" | "summary" | "data");
        match (text(into, key), value.as_str()) {
            (Some(old), Some(new)) if grows => into[key] = format!("{old}{new}").into(),
            _ if value.is_null() || value == "" => {}
            _ => into[key] = value.clone(),
        }
    }
}
