//! Tools and results, read one by one: what is odd about one never touches the next.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::bounds::Bounds;
use crate::digest;
use crate::error::Timing;
use crate::fault::Fault;
use crate::message::string;
use crate::mirror::{self, Mirror};

/// One tool of a server.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The server's own name for it.
    pub name: String,
    /// As the server sent it.
    pub description: Option<String>,
    /// The original JSON schema of the arguments; always an object.
    pub input_schema: Box<RawValue>,
    /// The annotation `readOnlyHint`; false when absent. A server's claim, not a proof.
    pub read_only: bool,
    mirrors: Vec<Mirror>,
}

impl Tool {
    /// A tool that was listed before, for instance in an earlier response.
    #[must_use]
    pub fn new(
        name: String,
        description: Option<String>,
        input_schema: Box<RawValue>,
        read_only: bool,
    ) -> Self {
        let mirrors = mirror::find(&input_schema).unwrap_or_default();
        Self {
            name,
            description,
            input_schema,
            read_only,
            mirrors,
        }
    }

    pub(crate) fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// SHA-256 (hex) of everything that a model or a person decides by: when it changes, an
    /// approval given before no longer holds.
    #[must_use]
    pub fn digest(&self) -> String {
        digest::hex(&digest::of([
            self.name.as_bytes(),
            self.description.as_deref().unwrap_or_default().as_bytes(),
            self.input_schema.get().as_bytes(),
            &[u8::from(self.read_only)],
        ]))
    }
}

/// The tools of a server.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In the server's order.
    pub tools: Arc<[Tool]>,
    /// True when no request was made for this call.
    pub cached: bool,
    /// Time spent by this call; zero when cached.
    pub timing: Timing,
    /// Bytes received by this call; zero when cached.
    pub bytes: u64,
    /// SHA-256 (hex) of the definitions as the server sent them.
    pub digest: String,
    /// The revision that the server speaks, such as `2026-07-28`.
    pub protocol: &'static str,
    /// Warnings: tools that were left out, and why.
    pub dropped: Vec<String>,
}

/// What a tool gave back.
#[derive(Clone, Debug)]
pub struct ToolResult {
    /// The content blocks as sent.
    pub content: Vec<Box<RawValue>>,
    /// `structuredContent` as sent.
    pub structured: Option<Box<RawValue>>,
    /// The tool says that it failed.
    pub is_error: bool,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputSchema")]
    input_schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    execution: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Hints<'a> {
    #[serde(borrow, default, rename = "readOnlyHint")]
    read_only: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "taskSupport")]
    task_support: Option<&'a RawValue>,
}

/// Longest name of a tool that is taken.
const MAX_NAME_BYTES: usize = 1024;
/// Deepest nesting of a schema that is taken: deeper ones break JSON readers.
const MAX_SCHEMA_DEPTH: usize = 64;

/// Reads one tool of a list.
///
/// # Errors
/// A sentence that says which tool is left out and why.
pub(crate) fn read(raw: &RawValue, modern: bool, bounds: &Bounds) -> Result<Tool, String> {
    let fields: Fields<'_> =
        serde_json::from_str(raw.get()).map_err(|_| "a tool is no object".to_owned())?;
    let name = fields
        .name
        .and_then(string)
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME_BYTES)
        .ok_or("a tool has no usable name")?;
    let shown: String = name.escape_debug().take(80).collect();
    let left_out = |why: &str| format!("tool '{shown}' is left out: {why}");
    if raw.get().len() > bounds.max_tool_bytes {
        return Err(left_out(&format!(
            "its definition is larger than {} bytes",
            bounds.max_tool_bytes
        )));
    }
    if hint(fields.execution, |hints| hints.task_support).as_deref() == Some("required") {
        return Err(left_out(
            "it can only be run as a task, which is not offered here",
        ));
    }
    let input_schema = schema(fields.input_schema).map_err(left_out)?;
    let mirrors = if modern {
        mirror::find(&input_schema).map_err(|why| left_out(&why))?
    } else {
        Vec::new()
    };
    let read_only = hint(fields.annotations, |hints| hints.read_only).as_deref() == Some("true");
    Ok(Tool {
        name,
        description: fields.description.and_then(string),
        input_schema,
        read_only,
        mirrors,
    })
}

/// A hint as text: `true` only when it is the boolean, a string without its quotes. A string
/// "true" is not the boolean, so that it reads as `"true"` with them.
fn hint<'a>(
    raw: Option<&'a RawValue>,
    pick: impl Fn(&Hints<'a>) -> Option<&'a RawValue>,
) -> Option<String> {
    let hints: Hints<'a> = serde_json::from_str(raw?.get()).ok()?;
    let raw = pick(&hints)?;
    Some(match string(raw) {
        Some(text) if text != "true" => text,
        _ => raw.get().to_owned(),
    })
}

/// The schema, or the empty one for a tool that has none.
fn schema(raw: Option<&RawValue>) -> Result<Box<RawValue>, &'static str> {
    let text = raw.map_or("true", RawValue::get);
    if text.starts_with('{') {
        return if depth(text) > MAX_SCHEMA_DEPTH {
            Err("its schema nests too deeply")
        } else {
            RawValue::from_string(text.to_owned()).map_err(|_| "its schema is no JSON")
        };
    }
    if text != "true" {
        return Err("its schema is no object");
    }
    RawValue::from_string(r#"{"type":"object"}"#.to_owned()).map_err(|_| "its schema is no JSON")
}

/// Deepest nesting of arrays and objects in a JSON text.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[derive(Deserialize)]
struct ResultFields<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "structuredContent")]
    structured: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "isError")]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "toolResult")]
    tool_result: Option<&'a RawValue>,
}

/// Reads the result of a call, salvaging what is not as it should be.
pub(crate) fn read_result(raw: &RawValue) -> Result<ToolResult, Fault> {
    let fields: ResultFields<'_> = serde_json::from_str(raw.get())
        .map_err(|_| Fault::Odd("the result of the tool is no object".to_owned()))?;
    let content = match (fields.content, fields.tool_result) {
        (Some(content), _) => blocks(content),
        // The form of the first drafts, still sent by some.
        (None, Some(result)) => vec![text_block(
            &string(result).unwrap_or_else(|| result.get().to_owned()),
        )],
        (None, None) => Vec::new(),
    };
    Ok(ToolResult {
        content,
        structured: fields.structured.map(ToOwned::to_owned),
        is_error: fields
            .is_error
            .is_some_and(|raw| raw.get().trim_matches('"') == "true"),
    })
}

fn blocks(content: &RawValue) -> Vec<Box<RawValue>> {
    match serde_json::from_str::<Vec<&RawValue>>(content.get()) {
        Ok(blocks) => blocks.into_iter().map(block).collect(),
        Err(_) => vec![block(content)],
    }
}

fn block(raw: &RawValue) -> Box<RawValue> {
    match string(raw) {
        Some(text) => text_block(&text),
        None if raw.get().starts_with('{') => raw.to_owned(),
        None => text_block(raw.get()),
    }
}

fn text_block(text: &str) -> Box<RawValue> {
    let block = json!({"type": "text", "text": text});
    serde_json::value::to_raw_value(&block).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(text: &str) -> Result<Tool, String> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        read(&raw, true, &Bounds::default())
    }

    #[test]
    fn odd_tools_are_repaired_or_left_out() {
        let repaired = |text: &str| tool(text).unwrap().input_schema.get().to_owned();
        assert_eq!(repaired(r#"{"name":"a"}"#), r#"{"type":"object"}"#);
        assert_eq!(
            repaired(r#"{"name":"a","inputSchema":null}"#),
            r#"{"type":"object"}"#
        );
        assert_eq!(
            repaired(r#"{"name":"a","inputSchema":true,"icons":7}"#),
            r#"{"type":"object"}"#
        );
        assert_eq!(
            repaired(r#"{"name":"a","inputSchema":{ "x":1e2 }}"#),
            r#"{ "x":1e2 }"#
        );
        for bad in [
            "7",
            "{}",
            r#"{"name":""}"#,
            r#"{"name":7}"#,
            r#"{"name":"a","inputSchema":false}"#,
            r#"{"name":"a","inputSchema":"x"}"#,
            r#"{"name":"a","execution":{"taskSupport":"required"}}"#,
            r#"{"name":"a","inputSchema":{"x-mcp-header":"A"}}"#,
        ] {
            assert!(tool(bad).is_err(), "{bad}");
        }
        let deep = format!(
            r#"{{"name":"a","inputSchema":{{"a":{}{}}}}}"#,
            "[".repeat(90),
            "]".repeat(90)
        );
        assert!(tool(&deep).unwrap_err().contains("too deeply"));
        let large = format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(1 << 20));
        assert!(tool(&large).unwrap_err().contains("larger than"));
    }

    #[test]
    fn read_only_is_the_boolean_true_and_nothing_else() {
        let check = |annotations: &str| {
            tool(&format!(r#"{{"name":"a","annotations":{annotations}}}"#))
                .unwrap()
                .read_only
        };
        assert!(check(r#"{"readOnlyHint":true}"#));
        for other in [
            "null",
            "7",
            "{}",
            r#"{"readOnlyHint":"true"}"#,
            r#"{"readOnlyHint":1}"#,
        ] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn results_are_salvaged() {
        let check = |text: &str, blocks: &[&str], is_error| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            let result = read_result(&raw).unwrap();
            let got: Vec<&str> = result.content.iter().map(|block| block.get()).collect();
            assert_eq!(
                (got.as_slice(), result.is_error),
                (blocks, is_error),
                "{text}"
            );
        };
        let a = r#"{"type":"text","text":"a"}"#;
        check(
            r#"{"content":[{"type":"new", "x":1}]}"#,
            &[r#"{"type":"new", "x":1}"#],
            false,
        );
        check(r#"{"content":"a","isError":"true"}"#, &[a], true);
        check(r#"{"content":["a"],"isError":true}"#, &[a], true);
        check(r#"{"content":null,"isError":"no"}"#, &[], false);
        check(r#"{"toolResult":"a"}"#, &[a], false);
        check(r#"{"content":{"type":"text","text":"a"}}"#, &[a], false);
        check("{}", &[], false);
    }
}
