//! The form that the final text is to have.
//!
//! Where a vendor cannot be held to it by a field, or where the field would keep the model from
//! calling its tools, the model is told in words.

use super::content::reject;
use crate::compat::Row;
use crate::provider::EncodeError;
use crate::turn::TurnRequest;
use serde_json::{Map, Value, json};

/// How a turn asks for its form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Format {
    /// `response_format`.
    pub(super) field: Option<Value>,
    /// For the instructions.
    pub(super) words: Option<String>,
    /// For the log.
    pub(super) note: Option<&'static str>,
}

/// Decides for one turn.
pub(super) fn format(row: &Row, turn: &TurnRequest) -> Result<Format, EncodeError> {
    let text = turn.options.text.as_ref();
    let format = text.and_then(|text| text.get("format"));
    let Some(format) = format.filter(|format| !format.is_null()) else {
        return Ok(Format::default());
    };
    let schema = match format.get("type").and_then(Value::as_str) {
        None | Some("text") => return Ok(Format::default()),
        Some("json_object") => None,
        Some("json_schema") => Some(format),
        Some(other) => {
            let what = format!("the format '{other}'");
            return Err(reject(row, "text.format.type", &what));
        }
    };
    Ok(choose(row, !turn.tools.is_empty(), schema))
}

fn choose(row: &Row, beside_tools: bool, schema: Option<&Value>) -> Format {
    let object = || Some(json!({"type": "json_object"}));
    if beside_tools && !row.quirks.format_beside_tools {
        return Format {
            field: None,
            words: Some(words(schema)),
            note: Some("text.format: told in words beside tools, not enforced"),
        };
    }
    match schema {
        Some(schema) if row.quirks.json_schema => Format {
            field: Some(json_schema(row, schema)),
            ..Format::default()
        },
        Some(_) => Format {
            field: object(),
            words: Some(words(schema)),
            note: Some("text.format: sent as json_object, the schema is told in words"),
        },
        None => Format {
            field: object(),
            ..Format::default()
        },
    }
}

fn words(schema: Option<&Value>) -> String {
    let ask = "Write your final answer as one JSON object and nothing else.";
    let Some(schema) = schema.and_then(|format| format.get("schema")) else {
        return ask.to_owned();
    };
    format!("{ask} It must conform to this JSON schema:\n{schema}")
}

fn json_schema(row: &Row, format: &Value) -> Value {
    let mut inner = Map::new();
    for key in ["name", "description", "schema", "strict"] {
        let taken = key != "strict" || row.quirks.strict_schema;
        if let Some(value) = format.get(key).filter(|value| taken && !value.is_null()) {
            inner.insert(key.to_owned(), value.clone());
        }
    }
    json!({"type": "json_schema", "json_schema": inner})
}
