//! Schemas of functions: bytes stay as they came unless the root is no object schema.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The schema; one without a `type` (MCP servers send `{}`) becomes an object schema.
pub(crate) fn object(schema: &RawValue) -> Cow<'_, RawValue> {
    let fields = serde_json::from_str::<Map<String, Value>>(schema.get());
    let Ok(mut fields) = fields else {
        return raw(r#"{"type":"object","properties":{}}"#.to_owned())
            .map_or(Cow::Borrowed(schema), Cow::Owned);
    };
    let is_object = fields.get("type").is_some_and(|kind| kind == "object");
    if is_object && fields.contains_key("properties") {
        return Cow::Borrowed(schema);
    }
    if !is_object && fields.contains_key("type") {
        return Cow::Borrowed(schema);
    }
    fields.insert("type".to_owned(), "object".into());
    fields
        .entry("properties")
        .or_insert_with(|| Value::Object(Map::new()));
    serde_json::to_string(&fields)
        .ok()
        .and_then(raw)
        .map_or(Cow::Borrowed(schema), Cow::Owned)
}

/// The schema of a function that takes free text as `input`: a custom tool.
pub(crate) fn one_input() -> Box<RawValue> {
    const SCHEMA: &str =
        r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;
    raw(SCHEMA.to_owned()).unwrap_or_default()
}

fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_schema_without_a_root_is_changed() {
        for (input, output) in [
            (
                r#"{"type": "object", "properties": {"n": {"maximum": 12345678901234567890123}}}"#,
                r#"{"type": "object", "properties": {"n": {"maximum": 12345678901234567890123}}}"#,
            ),
            ("{}", r#"{"type":"object","properties":{}}"#),
            (
                r#"{"type":"object"}"#,
                r#"{"type":"object","properties":{}}"#,
            ),
            ("null", r#"{"type":"object","properties":{}}"#),
            (
                r#"{"properties":{"a":{}}}"#,
                r#"{"properties":{"a":{}},"type":"object"}"#,
            ),
        ] {
            let raw = RawValue::from_string(input.to_owned()).unwrap();
            assert_eq!(object(&raw).get(), output);
        }
        assert!(one_input().get().contains("input"));
    }
}
