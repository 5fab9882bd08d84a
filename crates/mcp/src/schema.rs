//! The form of a tool's schema that providers take. The original stays with the tool.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Deepest chain of references that is written out.
const MAX_REF_DEPTH: usize = 6;
/// Nodes that the rewritten schema may have: references may multiply without end.
const MAX_NODES: usize = 5000;

/// Makes `schema` an object schema with `properties`, writes local references out, and takes
/// out what no provider reads. A schema that grows without bound by that loses its
/// definitions instead: the model then sees any object.
pub(crate) fn for_model(schema: &RawValue) -> Box<RawValue> {
    let root: Value = serde_json::from_str(schema.get()).unwrap_or_default();
    let mut rewrite = Rewrite {
        root: &root,
        nodes: 0,
    };
    let rewritten = rewrite
        .schema(&root, 0)
        .unwrap_or_else(|TooLarge| json!({}));
    let mut fields = match rewritten {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if fields.get("type").and_then(Value::as_str) != Some("object") {
        fields.insert("type".to_owned(), "object".into());
    }
    if !fields.get("properties").is_some_and(Value::is_object) {
        fields.insert("properties".to_owned(), json!({}));
    }
    serde_json::value::to_raw_value(&fields).unwrap_or_else(|_| schema.to_owned())
}

struct TooLarge;

struct Rewrite<'a> {
    root: &'a Value,
    nodes: usize,
}

/// Keywords that are left out: addresses, definitions (written out where they are used), and
/// our own protocol's annotation.
const LEFT_OUT: [&str; 6] = [
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "$comment",
    "x-mcp-header",
];
/// Keywords whose value maps names to schemas.
const NAMED: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords whose value is a schema or a list of schemas.
const NESTED: [&str; 14] = [
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
];

impl Rewrite<'_> {
    fn schema(&mut self, schema: &Value, refs: usize) -> Result<Value, TooLarge> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(TooLarge);
        }
        match schema {
            Value::Object(fields) => self.object(fields, refs),
            Value::Array(schemas) => {
                let schemas: Result<Vec<Value>, _> = schemas
                    .iter()
                    .map(|schema| self.schema(schema, refs))
                    .collect();
                schemas.map(Value::Array)
            }
            other => Ok(other.clone()),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, refs: usize) -> Result<Value, TooLarge> {
        let mut out = match fields.get("$ref") {
            Some(reference) => self.referenced(reference, refs)?,
            None => Map::new(),
        };
        for (key, value) in fields.iter().filter(|(key, _)| *key != "$ref") {
            match (key.as_str(), value) {
                (key, _) if LEFT_OUT.contains(&key) => {}
                (key, Value::Object(named)) if NAMED.contains(&key) => {
                    out.insert(key.to_owned(), self.named(named, refs)?);
                }
                (key, _) if NESTED.contains(&key) => {
                    out.insert(key.to_owned(), self.schema(value, refs)?);
                }
                _ => {
                    out.insert(key.clone(), value.clone());
                }
            }
        }
        if out.get("type").and_then(Value::as_str) == Some("array") && !out.contains_key("items") {
            out.insert("items".to_owned(), json!({}));
        }
        Ok(Value::Object(out))
    }

    /// A property whose schema is `true` becomes the empty schema, which means the same.
    fn named(&mut self, named: &Map<String, Value>, refs: usize) -> Result<Value, TooLarge> {
        let mut out = Map::new();
        for (name, schema) in named {
            let schema = match schema {
                Value::Bool(true) | Value::Null => json!({}),
                other => self.schema(other, refs)?,
            };
            out.insert(name.clone(), schema);
        }
        Ok(Value::Object(out))
    }

    /// The fields behind a local reference; none for one that leads elsewhere (never fetched),
    /// nowhere, or round in circles.
    fn referenced(
        &mut self,
        reference: &Value,
        refs: usize,
    ) -> Result<Map<String, Value>, TooLarge> {
        let pointer = reference
            .as_str()
            .and_then(|reference| reference.strip_prefix('#'));
        let target = pointer.and_then(|pointer| self.root.pointer(pointer));
        match target {
            Some(target) if refs < MAX_REF_DEPTH => match self.schema(target, refs + 1)? {
                Value::Object(fields) => Ok(fields),
                _ => Ok(Map::new()),
            },
            _ => Ok(Map::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &Value, expected: &Value) {
        let raw = serde_json::value::to_raw_value(schema).unwrap();
        let got: Value = serde_json::from_str(for_model(&raw).get()).unwrap();
        assert_eq!(&got, expected, "{schema}");
    }

    #[test]
    fn roots_become_objects() {
        let empty = json!({"type": "object", "properties": {}});
        check(&json!({}), &empty);
        check(&json!({"type": "object"}), &empty);
        check(
            &json!({"type": ["object", "null"], "properties": null}),
            &empty,
        );
        check(
            &json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
            &empty,
        );
    }

    #[test]
    fn inner_schemas_are_repaired() {
        check(
            &json!({"type": "object", "properties": {
                "a": {"type": "array"}, "b": true, "c": {"default": null, "enum": [{"$ref": "#/x"}]}}}),
            &json!({"type": "object", "properties": {
                "a": {"type": "array", "items": {}}, "b": {}, "c": {"default": null, "enum": [{"$ref": "#/x"}]}}}),
        );
    }

    #[test]
    fn local_references_are_written_out_and_others_dropped() {
        check(
            &json!({"type": "object", "$defs": {"s": {"type": "string"}}, "properties": {
                "a": {"$ref": "#/$defs/s", "description": "d"},
                "b": {"$ref": "https://example.com/x.json"}}}),
            &json!({"type": "object", "properties": {
                "a": {"type": "string", "description": "d"}, "b": {}}}),
        );
    }

    #[test]
    fn endless_references_end() {
        let circle = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        let raw = serde_json::value::to_raw_value(&circle).unwrap();
        assert!(for_model(&raw).get().len() < 2000);
        let mut defs = Map::new();
        for n in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"anyOf": vec![next; 10]}));
        }
        check(
            &json!({"$defs": defs, "properties": {"a": {"$ref": "#/$defs/d0"}}}),
            &json!({"type": "object", "properties": {}}),
        );
    }
}
