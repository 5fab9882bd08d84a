//! Turns from JSON, as golden files write them.

use portunus_protocol::item::Item;
use portunus_protocol::request::Options;
use portunus_providers::{Choice, ToolDef, TurnRequest};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Written {
    pub(crate) provider: String,
    #[serde(default)]
    model: String,
    instructions: Option<String>,
    #[serde(default)]
    input: Vec<Item>,
    #[serde(default)]
    tools: Vec<WrittenTool>,
    #[serde(default)]
    hosted_tools: Vec<Value>,
    tool_choice: Option<String>,
    parallel_tool_calls: Option<bool>,
    max_output_tokens: Option<u64>,
    #[serde(default)]
    options: Map<String, Value>,
}

#[derive(Deserialize)]
struct WrittenTool {
    name: String,
    description: Option<String>,
    parameters: Box<RawValue>,
    strict: Option<bool>,
    #[serde(default)]
    custom: bool,
}

pub(crate) fn read(text: &str) -> (String, TurnRequest) {
    let written: Written = serde_json::from_str(text).unwrap();
    let tools = written.tools.into_iter().map(|tool| ToolDef {
        name: tool.name,
        description: tool.description,
        parameters: Arc::from(tool.parameters),
        strict: tool.strict,
        custom: tool.custom,
    });
    let turn = TurnRequest {
        model: written.model,
        stream: true,
        instructions: written.instructions,
        input: written
            .input
            .into_iter()
            .map(marked)
            .map(Arc::new)
            .collect(),
        tools: tools.collect(),
        hosted_tools: written.hosted_tools,
        tool_choice: match written.tool_choice.as_deref() {
            None | Some("auto") => Choice::Auto,
            Some("none") => Choice::None,
            Some("required") => Choice::Required,
            Some(name) => Choice::Function(name.to_owned()),
        },
        parallel_tool_calls: written.parallel_tool_calls,
        max_output_tokens: written.max_output_tokens,
        options: options(&written.options),
        turn_index: 0,
    };
    (written.provider, turn)
}

/// A result that the gateway made is marked by a field in the file.
fn marked(mut item: Item) -> Item {
    if let Item::FunctionCallOutput(output) = &mut item {
        output.of_tool = output.extra.shift_remove("of_tool").is_some();
    }
    item
}

fn options(fields: &Map<String, Value>) -> Options {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    let object = |key: &str| fields.get(key).and_then(Value::as_object).cloned();
    Options {
        temperature: fields.get("temperature").and_then(Value::as_f64),
        top_p: fields.get("top_p").and_then(Value::as_f64),
        top_logprobs: fields.get("top_logprobs").and_then(Value::as_u64),
        reasoning: object("reasoning"),
        text: object("text"),
        truncation: text("truncation"),
        user: text("user"),
        safety_identifier: text("safety_identifier"),
        prompt_cache_key: text("prompt_cache_key"),
        prompt_cache_retention: text("prompt_cache_retention"),
        service_tier: text("service_tier"),
        include: fields
            .get("include")
            .and_then(|words| serde_json::from_value(words.clone()).ok())
            .unwrap_or_default(),
        native: object("native").unwrap_or_default(),
    }
}
