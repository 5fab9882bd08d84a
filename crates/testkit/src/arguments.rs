//! Fills a tool's arguments from its JSON schema and the words of the prompt.

use serde_json::{Map, Value, json};

/// Longest string that is taken over from a prompt, in characters.
const MAX_TEXT: usize = 200;

/// An object that fits `schema`: every required property, made of the prompt's quoted texts,
/// numbers and words.
pub(crate) fn fill(schema: &Value, prompt: &str) -> Value {
    Filler {
        prompt,
        numbers: numbers(prompt).into_iter(),
    }
    .object(schema)
}

struct Filler<'a> {
    prompt: &'a str,
    numbers: std::vec::IntoIter<f64>,
}

impl Filler<'_> {
    fn object(&mut self, schema: &Value) -> Value {
        let mut filled = Map::new();
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            filled.insert(name.to_owned(), self.value(&schema["properties"][name]));
        }
        Value::Object(filled)
    }

    fn value(&mut self, schema: &Value) -> Value {
        if let Some(first) = schema["anyOf"].get(0).or_else(|| schema["oneOf"].get(0)) {
            return self.value(&first.clone());
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.one_of(values);
        }
        match schema["type"].as_str() {
            Some("number") => number(self.next_number()),
            Some("integer") => number(self.next_number().trunc()),
            Some("boolean") => json!(true),
            Some("array") => json!([]),
            Some("object") => self.object(schema),
            _ => json!(self.text(schema["maxLength"].as_u64())),
        }
    }

    fn one_of(&self, values: &[Value]) -> Value {
        let named = |v: &&Value| v.as_str().is_some_and(|s| self.prompt.contains(s));
        values
            .iter()
            .find(named)
            .or(values.first())
            .cloned()
            .unwrap_or(Value::Null)
    }

    fn next_number(&mut self) -> f64 {
        self.numbers.next().unwrap_or(1.0)
    }

    fn text(&self, max_length: Option<u64>) -> String {
        let quoted = self.prompt.split('"').nth(1).filter(|q| !q.is_empty());
        let limit = max_length
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(MAX_TEXT);
        quoted.unwrap_or(self.prompt).chars().take(limit).collect()
    }
}

/// Whole numbers without a fraction, as a model writes them.
fn number(value: f64) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(json!(0))
}

fn numbers(prompt: &str) -> Vec<f64> {
    prompt
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|word| word.trim_matches('.').parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fill;
    use serde_json::json;

    #[test]
    fn every_required_property_is_filled() {
        let schema = json!({"type": "object", "required": ["a", "n", "s", "e", "list"], "properties": {
            "a": {"type": "number"}, "n": {"type": "integer"}, "s": {"type": "string", "maxLength": 3},
            "e": {"enum": ["red", "blue"]}, "list": {"type": "array"}, "optional": {"type": "string"}}});
        let filled = fill(&schema, "Add 2.5 and 40 in blue");
        assert_eq!(
            filled,
            json!({"a": 2.5, "n": 40, "s": "Add", "e": "blue", "list": []})
        );
    }

    #[test]
    fn quoted_text_wins() {
        let schema = json!({"required": ["m"], "properties": {"m": {"type": "string"}}});
        assert_eq!(
            fill(&schema, "Echo \"hi there\" please"),
            json!({"m": "hi there"})
        );
    }
}
