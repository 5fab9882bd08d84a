//! `x-mcp-header`: arguments that a tool wants mirrored into `Mcp-Param-*` headers. Source:
//! specification 2026-07-28, "Custom Headers from Tool Parameters".

use http::header::{HeaderMap, HeaderName};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::modern::header_text;

/// One argument and the header that it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    path: Vec<String>,
    header: HeaderName,
}

const ANNOTATION: &str = "x-mcp-header";
/// Keywords whose value is data, not a schema.
const DATA: [&str; 5] = ["const", "default", "enum", "examples", "required"];
/// Keywords whose value maps names to schemas.
const NAMED: [&str; 4] = [
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
];

/// The mirrored arguments of a schema.
///
/// # Errors
/// The rule that an annotation breaks: such a tool must not be offered.
pub(crate) fn find(schema: &RawValue) -> Result<Vec<Mirror>, String> {
    if !schema.get().contains(ANNOTATION) {
        return Ok(Vec::new());
    }
    let schema: Value =
        serde_json::from_str(schema.get()).map_err(|_| "its schema nests too deeply".to_owned())?;
    let mut found = Vec::new();
    walk(&schema, Some(&mut Vec::new()), &mut found)?;
    Ok(found)
}

/// `path` is `None` below any keyword but `properties`: nothing may be annotated there.
fn walk(
    schema: &Value,
    path: Option<&mut Vec<String>>,
    found: &mut Vec<Mirror>,
) -> Result<(), String> {
    match schema {
        Value::Array(schemas) => schemas
            .iter()
            .try_for_each(|schema| walk(schema, None, found)),
        Value::Object(fields) => walk_object(fields, path, found),
        _ => Ok(()),
    }
}

fn walk_object(
    fields: &Map<String, Value>,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Mirror>,
) -> Result<(), String> {
    if let Some(name) = fields.get(ANNOTATION) {
        found.push(annotation(name, fields, path.as_deref(), found)?);
    }
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, schema) in properties {
                    if let Some(path) = path.as_deref_mut() {
                        path.push(name.clone());
                        walk(schema, Some(path), found)?;
                        path.pop();
                    } else {
                        walk(schema, None, found)?;
                    }
                }
            }
            (key, Value::Object(named)) if NAMED.contains(&key) => {
                named
                    .values()
                    .try_for_each(|schema| walk(schema, None, found))?;
            }
            (key, _) if DATA.contains(&key) || key == ANNOTATION => {}
            (_, schema) => walk(schema, None, found)?,
        }
    }
    Ok(())
}

fn annotation(
    name: &Value,
    fields: &Map<String, Value>,
    path: Option<&Vec<String>>,
    found: &[Mirror],
) -> Result<Mirror, String> {
    let path = path
        .filter(|path| !path.is_empty())
        .ok_or("x-mcp-header is set where no plain property is")?;
    let name = name
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or("x-mcp-header has no name")?;
    let header = HeaderName::try_from(format!("mcp-param-{name}"))
        .map_err(|_| "x-mcp-header is not a header name")?;
    if !matches!(
        fields.get("type").and_then(Value::as_str),
        Some("string" | "integer" | "boolean")
    ) {
        return Err("x-mcp-header is set on a type other than string, integer, boolean".to_owned());
    }
    if found.iter().any(|mirror| mirror.header == header) {
        return Err("x-mcp-header names one header twice".to_owned());
    }
    Ok(Mirror {
        path: path.clone(),
        header,
    })
}

/// The headers for one call. Null and absent arguments have none.
pub(crate) fn headers(mirrors: &[Mirror], arguments: &RawValue) -> HeaderMap {
    let mut head = HeaderMap::new();
    if mirrors.is_empty() {
        return head;
    }
    let Ok(arguments) = serde_json::from_str::<Value>(arguments.get()) else {
        return head;
    };
    for mirror in mirrors {
        let value = mirror
            .path
            .iter()
            .try_fold(&arguments, |value, name| value.get(name));
        if let Some(text) = value.and_then(text) {
            head.insert(mirror.header.clone(), header_text(&text));
        }
    }
    head
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(match number.as_f64() {
            // "42.0" is the integer 42 to JSON Schema.
            Some(float) if number.is_f64() && float.fract() == 0.0 => format!("{float:.0}"),
            _ => number.to_string(),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn schema(properties: &Value) -> Box<RawValue> {
        raw(&json!({"type": "object", "properties": properties}))
    }

    #[test]
    fn values_are_mirrored() {
        let schema = schema(&json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "n": {"type": "integer", "x-mcp-header": "N"},
            "deep": {"type": "object", "properties": {
                "flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
            "none": {"type": "string", "x-mcp-header": "None"},
            "x-mcp-header": {"type": "number"},
        }));
        let mirrors = find(&schema).unwrap();
        assert_eq!(mirrors.len(), 4);
        let head = headers(
            &mirrors,
            &raw(&json!({"region": "a\r\nb", "n": 42.0, "deep": {"flag": true}, "none": null})),
        );
        assert_eq!(head.len(), 3);
        assert_eq!(head["mcp-param-region"], "=?base64?YQ0KYg==?=");
        assert_eq!(head["mcp-param-n"], "42");
        assert_eq!(head["mcp-param-flag"], "true");
    }

    #[test]
    fn rule_breakers_are_refused() {
        let one = |property: Value| find(&schema(&json!({"a": property}))).is_err();
        assert!(one(json!({"type": "string", "x-mcp-header": ""})));
        assert!(one(json!({"type": "string", "x-mcp-header": 7})));
        assert!(one(json!({"type": "string", "x-mcp-header": "a b"})));
        assert!(one(json!({"type": "string", "x-mcp-header": "a\r\nb"})));
        assert!(one(json!({"type": "number", "x-mcp-header": "A"})));
        assert!(one(json!({"type": "object", "x-mcp-header": "A"})));
        assert!(one(json!({"x-mcp-header": "A"})));
        assert!(one(
            json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})
        ));
        assert!(one(
            json!({"anyOf": [{"type": "string", "x-mcp-header": "A"}]})
        ));
        assert!(find(&raw(&json!({"x-mcp-header": "A", "type": "string"}))).is_err());
        assert!(
            find(&raw(
                &json!({"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}})
            ))
            .is_err()
        );
        let twice = json!({"a": {"type": "string", "x-mcp-header": "A"},
            "b": {"type": "string", "x-mcp-header": "a"}});
        assert!(find(&schema(&twice)).is_err());
        // Data is no schema.
        assert!(!one(
            json!({"type": "object", "default": {"x-mcp-header": ""}})
        ));
    }
}
