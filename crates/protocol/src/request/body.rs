//! The whole body, for the tool loop: every field is acted on, translated or refused.

use super::check::{self, Checked};
use super::choice::ToolChoice;
use super::{Head, Tool};
use crate::error::{ErrorBody, code};
use crate::item::{Content, Item, Message};
use serde_json::{Map, Value};

/// A body that the gateway serves itself.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// System text; null or absent = none.
    pub instructions: Option<String>,
    /// The input, a bare string as one user message.
    pub input: Vec<Item>,
    /// What the model may or must do with its tools.
    pub tool_choice: ToolChoice,
    /// `tool_choice` as it is echoed.
    pub tool_choice_echo: Value,
    /// Whether several calls may come in one turn; absent = true.
    pub parallel_tool_calls: Option<bool>,
    /// How many MCP calls may run.
    pub max_tool_calls: Option<u64>,
    /// Tokens over all turns.
    pub max_output_tokens: Option<u64>,
    /// Whether deltas carry `obfuscation`.
    pub include_obfuscation: bool,
    /// Echoed; 16 pairs at most.
    pub metadata: Map<String, Value>,
    /// Echoed; absent = true.
    pub store: bool,
    /// What goes to the model unchanged or translated.
    pub options: Options,
}

/// Fields that a provider takes as they are or translates.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// 0 to 20.
    pub top_logprobs: Option<u64>,
    /// `{"effort", "summary", …}`.
    pub reasoning: Option<Map<String, Value>>,
    /// `{"format", "verbosity"}`.
    pub text: Option<Map<String, Value>>,
    /// `auto` or `disabled`.
    pub truncation: Option<String>,
    /// Opaque end-user id.
    pub user: Option<String>,
    /// Opaque end-user id, newer form.
    pub safety_identifier: Option<String>,
    /// Groups requests for the provider's prompt cache.
    pub prompt_cache_key: Option<String>,
    /// `in_memory` or `24h`.
    pub prompt_cache_retention: Option<String>,
    /// `auto`, `default`, `flex`, …
    pub service_tier: Option<String>,
    /// Extra output that was asked for.
    pub include: Vec<String>,
    /// Fields that only a native provider knows, as they came.
    pub native: Map<String, Value>,
}

/// Read by [`Head`] or below; everything else is refused by name.
const KNOWN: &[&str] = &[
    "model",
    "stream",
    "tools",
    "instructions",
    "input",
    "tool_choice",
    "parallel_tool_calls",
    "max_tool_calls",
    "max_output_tokens",
    "stream_options",
    "metadata",
    "store",
    "temperature",
    "top_p",
    "top_logprobs",
    "reasoning",
    "text",
    "truncation",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "include",
    "background",
    "conversation",
    "previous_response_id",
];

/// OpenAI's own; they go to a native provider and are refused elsewhere.
const NATIVE: &[&str] = &[
    "prompt",
    "context_management",
    "moderation",
    "access_programs",
    "image",
    "prompt_cache_options",
];

pub(super) const INCLUDE: &[&str] = &[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
];

/// Of [`INCLUDE`]: output of tools that a provider runs itself.
const INCLUDE_NATIVE: &[&str] = &[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];

impl Body {
    /// Reads the whole body behind `head`. Null counts as absent. `native` tells whether the
    /// provider speaks the Responses API itself: then fields that it alone knows, and fields
    /// that nobody here knows, go to it.
    ///
    /// # Errors
    /// The answer to the caller, status 400.
    pub fn parse(head: &Head<'_>, native: bool) -> Result<Self, ErrorBody> {
        let shallow = &head.shallow;
        let choice = check::value(shallow, "tool_choice")?;
        Ok(Self {
            instructions: check::string(shallow, "instructions")?,
            input: head.input()?,
            tool_choice_echo: choice.clone().unwrap_or_else(|| "auto".into()),
            tool_choice: ToolChoice::parse(choice, &head.tools)?,
            parallel_tool_calls: check::boolean(shallow, "parallel_tool_calls")?,
            max_tool_calls: check::integer(shallow, "max_tool_calls", 1)?,
            max_output_tokens: check::integer(shallow, "max_output_tokens", 1)?,
            include_obfuscation: obfuscation(head)?,
            metadata: metadata(check::object(shallow, "metadata")?.unwrap_or_default())?,
            store: check::boolean(shallow, "store")?.unwrap_or(true),
            options: options(head, native)?,
        })
    }
}

fn options(head: &Head<'_>, native: bool) -> Checked<Options> {
    let shallow = &head.shallow;
    Ok(Options {
        temperature: check::decimal(shallow, "temperature", 0, 2)?,
        top_p: check::decimal(shallow, "top_p", 0, 1)?,
        top_logprobs: check::integer_to(shallow, "top_logprobs", 20)?,
        reasoning: reasoning(check::object(shallow, "reasoning")?)?,
        text: text(check::object(shallow, "text")?, native)?,
        truncation: truncation(check::string(shallow, "truncation")?)?,
        user: check::string(shallow, "user")?,
        safety_identifier: check::string_to(shallow, "safety_identifier", 128)?,
        prompt_cache_key: check::string(shallow, "prompt_cache_key")?,
        prompt_cache_retention: check::string(shallow, "prompt_cache_retention")?,
        service_tier: check::string(shallow, "service_tier")?,
        include: include(check::value(shallow, "include")?, native)?,
        native: native_fields(head, native)?,
    })
}

fn native_fields(head: &Head<'_>, native: bool) -> Checked<Map<String, Value>> {
    let mut out = Map::new();
    for key in head.shallow.keys().filter(|key| !KNOWN.contains(key)) {
        let Some(value) = check::value(&head.shallow, key)? else {
            continue;
        };
        if !native && NATIVE.contains(&key) {
            return Err(unsupported(
                key,
                "only a provider that speaks the Responses API serves it",
            ));
        }
        if !native {
            return Err(check::unknown(key));
        }
        out.insert(key.to_owned(), value);
    }
    if !native && let Some((index, kind)) = hosted(&head.tools) {
        return Err(ErrorBody::invalid(
            format!("tools[{index}].type"),
            code::VALUE,
            format!(
                "The tool type '{kind}' is not available with this model: only 'function', 'custom' and 'mcp' are. Tools that OpenAI runs itself need a provider that speaks the Responses API."
            ),
        ));
    }
    Ok(out)
}

fn hosted(tools: &[Tool]) -> Option<(usize, &str)> {
    tools
        .iter()
        .enumerate()
        .find_map(|(index, tool)| match tool {
            Tool::Hosted(kind, _) => Some((index, kind.as_str())),
            _ => None,
        })
}

fn unsupported(key: &str, why: &str) -> ErrorBody {
    let message = format!("Unsupported parameter: '{key}': {why}.");
    ErrorBody::invalid(key, code::UNSUPPORTED, message)
}

type Fields = Map<String, Value>;

fn reasoning(fields: Option<Fields>) -> Checked<Option<Fields>> {
    const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    if let Some(fields) = &fields {
        check::word(fields, "effort", "reasoning.effort", EFFORTS)?;
    }
    Ok(fields)
}

fn text(fields: Option<Fields>, native: bool) -> Checked<Option<Fields>> {
    const FORMATS: &[&str] = &["text", "json_object", "json_schema"];
    const VERBOSITIES: &[&str] = &["low", "medium", "high"];
    let Some(text) = &fields else {
        return Ok(None);
    };
    check::word(text, "verbosity", "text.verbosity", VERBOSITIES)?;
    match text.get("format") {
        None | Some(Value::Null) => {}
        Some(Value::Object(format)) => {
            if !native {
                check::word(format, "type", "text.format.type", FORMATS)?;
            }
            schema(format)?;
        }
        Some(other) => return Err(check::wrong_type("text.format", "an object", other)),
    }
    Ok(fields)
}

fn schema(format: &Fields) -> Checked<()> {
    let is_schema = format.get("type").and_then(Value::as_str) == Some("json_schema");
    for key in ["name", "schema"].into_iter().filter(|_| is_schema) {
        if format.get(key).is_none_or(Value::is_null) {
            return Err(check::missing(&format!("text.format.{key}")));
        }
    }
    Ok(())
}

fn truncation(word: Option<String>) -> Checked<Option<String>> {
    match word.as_deref() {
        None | Some("auto" | "disabled") => Ok(word),
        Some(other) => Err(check::bad_value("truncation", other, &["auto", "disabled"])),
    }
}

fn include(value: Option<Value>, native: bool) -> Checked<Vec<String>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let words = check::into_strings("include", value)?;
    for (index, word) in words.iter().enumerate() {
        let at = format!("include[{index}]");
        if !INCLUDE.contains(&word.as_str()) {
            return Err(check::bad_value(&at, word, INCLUDE));
        }
        if !native && INCLUDE_NATIVE.contains(&word.as_str()) {
            let message = format!(
                "Unsupported value: '{at}': '{word}' is output of a tool that only a provider of the Responses API runs."
            );
            return Err(ErrorBody::invalid(at, code::UNSUPPORTED_VALUE, message));
        }
    }
    Ok(words)
}

fn obfuscation(head: &Head<'_>) -> Checked<bool> {
    let options = check::object(&head.shallow, "stream_options")?.unwrap_or_default();
    match options.get("include_obfuscation") {
        None | Some(Value::Null) => Ok(true),
        Some(value) => check::into_bool("stream_options.include_obfuscation", value),
    }
}

/// Source: API reference, `metadata`: 16 pairs, keys of 64 and values of 512 characters.
fn metadata(fields: Map<String, Value>) -> Checked<Map<String, Value>> {
    if fields.len() > 16 {
        let message = format!(
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object with {} properties instead.",
            fields.len()
        );
        return Err(ErrorBody::invalid(
            "metadata",
            "object_above_max_properties",
            message,
        ));
    }
    for (key, value) in &fields {
        let at = format!("metadata.{key}");
        if key.chars().count() > 64 {
            let message =
                "Invalid 'metadata': property name too long. Expected at most 64 characters.";
            return Err(ErrorBody::invalid(
                "metadata",
                "property_name_above_max_length",
                message,
            ));
        }
        match value {
            Value::String(text) => check::length(&at, text, 512)?,
            other => return Err(check::wrong_type(&at, "a string", other)),
        }
    }
    Ok(fields)
}

pub(super) fn input(value: Option<Value>) -> Checked<Vec<Item>> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Item::Message(Message {
            role: "user".to_owned(),
            content: Content::Text(text),
            ..Message::default()
        })]),
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| input_item(index, item))
            .collect(),
        Some(other) => Err(check::wrong_type("input", "a string or an array", &other)),
    }
}

fn input_item(index: usize, value: Value) -> Checked<Item> {
    let path = format!("input[{index}]");
    if !value.is_object() {
        return Err(check::wrong_type(&path, "an object", &value));
    }
    let item = Item::from_value(value).map_err(|error| {
        let message = format!("Invalid '{path}': {error}.");
        ErrorBody::invalid(path.as_str(), code::VALUE, message)
    })?;
    match &item {
        Item::Message(message) if !ROLES.contains(&message.role.as_str()) => Err(check::bad_value(
            &format!("{path}.role"),
            &message.role,
            ROLES,
        )),
        _ => Ok(item),
    }
}

/// Source: API reference, input messages.
const ROLES: &[&str] = &["user", "system", "developer", "assistant"];
