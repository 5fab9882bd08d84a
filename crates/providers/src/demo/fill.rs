//! Arguments of a tool, from the prompt and the schema.

use super::words::{Prompt, is_date, stems_of};
use crate::turn::ToolDef;
use serde_json::{Map, Value, json};

/// How deep objects are filled.
const MAX_DEPTH: usize = 4;
/// Names of a text that only the prompt itself can give.
const WHOLE: &[&str] = &["question", "prompt", "message", "input", "content", "text"];
/// Names of a text that nobody can guess.
const EXACT: &[&str] = &[
    "page", "path", "id", "file", "slug", "uri", "url", "key", "token",
];

/// The arguments as JSON text; of a custom tool, its free text.
pub(super) fn arguments(tool: &ToolDef, prompt: &Prompt) -> String {
    let filler = Filler::new(tool, prompt);
    if tool.custom {
        return filler.free_text();
    }
    filler.object(&schema(tool), 0).to_string()
}

/// The name of the only required argument, if it is a text.
pub(super) fn only_text(tool: &ToolDef) -> Option<String> {
    let schema = schema(tool);
    let [Value::String(key)] = required(&schema) else {
        return None;
    };
    let kind = schema.pointer(&format!("/properties/{key}/type"))?;
    (kind == "string").then(|| key.clone())
}

/// Points for arguments that the prompt can fill, a heavy fine for those that it cannot.
pub(super) fn points(tool: &ToolDef, prompt: &Prompt) -> i32 {
    let schema = schema(tool);
    let required = required(&schema);
    let mut numbers = 0;
    let mut points = 0;
    for key in required.iter().filter_map(Value::as_str) {
        let kind = schema.pointer(&format!("/properties/{key}/type"));
        let kind = kind.and_then(Value::as_str).unwrap_or_default();
        match kind {
            "number" | "integer" => numbers += 1,
            "string" if is_unfillable(key, prompt) => points -= 20,
            "string" if named(key, &["repo", "repository"]) => points += 2,
            _ => {}
        }
    }
    let there = prompt.numbers().len();
    if numbers > there {
        points -= 5;
    } else if numbers >= 2 {
        points += 3;
    }
    points
}

fn is_unfillable(key: &str, prompt: &Prompt) -> bool {
    if named(key, &["repo", "repository"]) {
        return prompt.repository().is_none();
    }
    if named(key, &["url", "uri"]) {
        return url(prompt).is_none();
    }
    named(key, EXACT) && prompt.quoted().is_none()
}

fn named(key: &str, words: &[&str]) -> bool {
    stems_of(key)
        .iter()
        .any(|stem| words.contains(&stem.as_str()))
}

fn url(prompt: &Prompt) -> Option<&str> {
    prompt.word(|word| word.starts_with("http://") || word.starts_with("https://"))
}

fn schema(tool: &ToolDef) -> Value {
    serde_json::from_str(tool.parameters.get()).unwrap_or_default()
}

fn required(schema: &Value) -> &[Value] {
    crate::json::list(schema, "required")
}

struct Filler<'a> {
    prompt: &'a Prompt,
    numbers: std::cell::RefCell<std::vec::IntoIter<f64>>,
    tool: Vec<String>,
}

impl<'a> Filler<'a> {
    fn new(tool: &ToolDef, prompt: &'a Prompt) -> Self {
        Self {
            prompt,
            numbers: prompt.numbers().into_iter().into(),
            tool: stems_of(&tool.name),
        }
    }

    /// The required properties; without any, the first that is a text to look for.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.unwrap_or(&empty);
        let mut out = Map::new();
        if depth > MAX_DEPTH {
            return out.into();
        }
        for key in required(schema).iter().filter_map(Value::as_str) {
            let property = properties.get(key).unwrap_or(&Value::Null);
            out.insert(key.to_owned(), self.value(key, property, properties, depth));
        }
        if out.is_empty()
            && let Some((key, property)) = properties
                .iter()
                .find(|(key, _)| named(key, &["query", "search", "question", "q"]))
        {
            out.insert(key.clone(), self.value(key, property, properties, depth));
        }
        out.into()
    }

    fn value(
        &self,
        key: &str,
        schema: &Value,
        siblings: &Map<String, Value>,
        depth: usize,
    ) -> Value {
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            return self.choice(choices);
        }
        match kind(schema) {
            "number" | "integer" => self.number(schema),
            "boolean" => schema.get("default").cloned().unwrap_or(Value::Bool(false)),
            "array" => self.array(key, schema, siblings, depth),
            "object" => self.object(schema, depth + 1),
            "null" => Value::Null,
            _ => self.text(key, schema, siblings).into(),
        }
    }

    fn choice(&self, choices: &[Value]) -> Value {
        let text = self.prompt.text().to_lowercase();
        let named = choices.iter().find(|choice| {
            let word = choice.as_str().unwrap_or_default().to_lowercase();
            !word.is_empty() && text.contains(&word)
        });
        named.or(choices.first()).cloned().unwrap_or_default()
    }

    fn number(&self, schema: &Value) -> Value {
        let next = self.numbers.borrow_mut().next();
        let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < 9e15;
        match next {
            Some(number) if is_whole(number) => json!(number as i64),
            Some(number) if kind(schema) == "number" => json!(number),
            Some(number) => json!(number.round() as i64),
            None => schema
                .get("default")
                .or_else(|| schema.get("minimum"))
                .cloned()
                .unwrap_or_else(|| json!(1)),
        }
    }

    fn array(
        &self,
        key: &str,
        schema: &Value,
        siblings: &Map<String, Value>,
        depth: usize,
    ) -> Value {
        let item = schema.get("items").unwrap_or(&Value::Null);
        if !matches!(kind(item), "number" | "integer") {
            if depth >= MAX_DEPTH {
                return Value::Array(Vec::new());
            }
            return vec![self.value(key, item, siblings, depth + 1)].into();
        }
        let count = self.numbers.borrow().len().max(1);
        (0..count).map(|_| self.number(item)).collect()
    }

    fn text(&self, key: &str, schema: &Value, siblings: &Map<String, Value>) -> String {
        let prompt = self.prompt;
        if let Some((owner, name)) = prompt.repository() {
            if named(key, &["owner"]) {
                return owner.to_owned();
            }
            if named(key, &["repo", "repository"]) {
                let split = siblings.contains_key("owner");
                return if split {
                    name.to_owned()
                } else {
                    format!("{owner}/{name}")
                };
            }
        }
        let special = if named(key, &["url", "uri"]) {
            url(prompt).map(str::to_owned)
        } else if named(key, &["date", "day"]) {
            prompt.word(is_date).map(str::to_owned)
        } else if named(key, &["amount", "price", "number", "count", "quantity"]) {
            prompt.numbers().first().map(f64::to_string)
        } else if named(key, &["city", "location", "place", "country"]) {
            prompt.proper_name()
        } else if named(key, &["expression", "formula", "dice"]) {
            prompt
                .word(|word| word.bytes().any(|byte| byte.is_ascii_digit()))
                .map(str::to_owned)
        } else {
            None
        };
        let default = schema.get("default").and_then(Value::as_str);
        special
            .or_else(|| prompt.quoted().map(str::to_owned))
            .or_else(|| default.map(str::to_owned))
            .unwrap_or_else(|| self.free(key))
    }

    /// A question goes whole, everything else as the words that matter.
    fn free(&self, key: &str) -> String {
        if named(key, &["question", "prompt"]) {
            return self.prompt.text().to_owned();
        }
        let words = self.prompt.key_words(&self.tool);
        if words.is_empty() || (named(key, WHOLE) && self.prompt.is_question()) {
            return self.prompt.text().to_owned();
        }
        words
    }

    fn free_text(&self) -> String {
        let quoted = self.prompt.quoted().map(str::to_owned);
        quoted.unwrap_or_else(|| self.prompt.text().to_owned())
    }
}

fn kind(schema: &Value) -> &str {
    let first = |kinds: &'_ Vec<Value>| kinds.iter().position(|kind| kind != "null");
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => first(kinds)
            .and_then(|at| schema["type"][at].as_str())
            .unwrap_or("string"),
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}
