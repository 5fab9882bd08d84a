//! One turn as the body of a Responses call: stateless, nothing stored there.

use crate::envelope::Envelope;
use crate::media::Takes;
use crate::output;
use crate::provider::EncodeError;
use crate::schema;
use crate::turn::{Choice, ToolDef, TurnRequest};
use bytes::Bytes;
use portunus_protocol::error::code;
use portunus_protocol::item::{Item, McpCall, Reasoning};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashSet;

/// Asks for the state of the model's thoughts, which a stateless call must send back.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Models that think; the others answer 400 when they are asked for encrypted thoughts.
const THINKERS: &[&str] = &["o1", "o3", "o4", "gpt-5", "codex", "computer-use"];

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    stream: bool,
    store: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tool<'a> {
    Function {
        r#type: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Cow<'a, RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    Custom {
        r#type: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<&'a RawValue>,
    },
    Hosted(&'a Value),
}

/// The body and the notes about what was changed.
pub(super) fn encode(
    provider: &str,
    turn: &TurnRequest,
) -> Result<(Bytes, Vec<String>), EncodeError> {
    let mut history = History::new(provider, turn);
    for (index, item) in turn.input.iter().enumerate() {
        history.item(index, item)?;
    }
    history.drop_thoughts();
    let tools = turn.tools.iter().map(tool);
    let request = Request {
        model: &turn.model,
        instructions: turn.instructions.as_deref(),
        input: history.out,
        tools: tools
            .chain(turn.hosted_tools.iter().map(Tool::Hosted))
            .collect(),
        stream: turn.stream,
        store: false,
        rest: fields(turn),
    };
    let body = serde_json::to_vec(&request).map_err(|error| EncodeError {
        param: None,
        code: code::JSON,
        message: format!("The request for '{provider}' has no JSON form: {error}."),
    })?;
    Ok((body.into(), history.notes))
}

fn tool(tool: &ToolDef) -> Tool<'_> {
    let description = tool.description.as_deref();
    if tool.custom {
        return Tool::Custom {
            r#type: "custom",
            name: &tool.name,
            description,
            format: Some(&*tool.parameters).filter(|format| format.get() != "null"),
        };
    }
    Tool::Function {
        r#type: "function",
        name: &tool.name,
        description,
        parameters: schema::object(&tool.parameters),
        strict: tool.strict,
    }
}

fn fields(turn: &TurnRequest) -> Map<String, Value> {
    let options = &turn.options;
    let mut out = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    set("tool_choice", tool_choice(turn));
    set(
        "parallel_tool_calls",
        turn.parallel_tool_calls.map(Value::from),
    );
    set("max_output_tokens", turn.max_output_tokens.map(Value::from));
    set("temperature", options.temperature.map(Value::from));
    set("top_p", options.top_p.map(Value::from));
    set("top_logprobs", options.top_logprobs.map(Value::from));
    set("reasoning", options.reasoning.clone().map(Value::from));
    set("text", options.text.clone().map(Value::from));
    set("truncation", text(&options.truncation));
    set("user", text(&options.user));
    set("safety_identifier", text(&options.safety_identifier));
    set("prompt_cache_key", text(&options.prompt_cache_key));
    set(
        "prompt_cache_retention",
        text(&options.prompt_cache_retention),
    );
    set("service_tier", text(&options.service_tier));
    set("include", include(turn));
    for (key, value) in &options.native {
        set(key, Some(value.clone()));
    }
    out
}

fn tool_choice(turn: &TurnRequest) -> Option<Value> {
    match &turn.tool_choice {
        Choice::Auto => None,
        _ if turn.tools.is_empty() && turn.hosted_tools.is_empty() => None,
        Choice::None => Some("none".into()),
        Choice::Required => Some("required".into()),
        Choice::Function(name) => {
            let custom = turn
                .tools
                .iter()
                .any(|tool| tool.custom && tool.name == *name);
            let kind = if custom { "custom" } else { "function" };
            Some(json!({"type": kind, "name": name}))
        }
    }
}

fn include(turn: &TurnRequest) -> Option<Value> {
    let mut words = turn.options.include.clone();
    let thinks = turn.options.reasoning.is_some()
        || THINKERS.iter().any(|prefix| turn.model.starts_with(prefix));
    if thinks && !words.iter().any(|word| word == ENCRYPTED) {
        words.push(ENCRYPTED.to_owned());
    }
    (!words.is_empty()).then(|| words.into())
}

/// Gathers the input. Thoughts wait for the item that they led to: OpenAI refuses a
/// reasoning item without it.
struct History<'a> {
    provider: &'a str,
    takes: Takes,
    answered: HashSet<&'a str>,
    thoughts: Vec<Value>,
    out: Vec<Value>,
    notes: Vec<String>,
}

impl<'a> History<'a> {
    fn new(provider: &'a str, turn: &'a TurnRequest) -> Self {
        let answered = turn.input.iter().filter_map(|item| match item.as_ref() {
            Item::FunctionCallOutput(output) | Item::CustomToolCallOutput(output) => {
                Some(output.call_id.as_str())
            }
            _ => None,
        });
        Self {
            provider,
            takes: Takes::native(&turn.model),
            answered: answered.collect(),
            thoughts: Vec::new(),
            out: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn item(&mut self, index: usize, item: &Item) -> Result<(), EncodeError> {
        match item {
            Item::Reasoning(reasoning) => self.reasoning(index, reasoning),
            Item::McpCall(call) => self.mcp_call(call),
            // The loop acts on these; no model ever sees them.
            Item::McpListTools(_) | Item::McpApprovalRequest(_) | Item::McpApprovalResponse(_) => {}
            Item::FunctionCall(call)
                if call.status.as_deref() == Some("incomplete")
                    && !self.answered.contains(call.call_id.as_str()) =>
            {
                self.drop_thoughts();
                self.notes
                    .push(format!("input[{index}]: the cut call was left out"));
            }
            Item::ItemReference(_) => {
                return Err(self.unresolved(index));
            }
            Item::Message(message) if message.role != "assistant" => {
                self.drop_thoughts();
                self.plain(item);
            }
            Item::FunctionCallOutput(output) if output.of_tool => {
                self.drop_thoughts();
                self.out.push(json!({
                    "type": "function_call_output",
                    "call_id": output.call_id,
                    "output": self.takes.fit(&output.output),
                }));
            }
            Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_) => {
                self.drop_thoughts();
                self.plain(item);
            }
            Item::Message(_) | Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                self.out.append(&mut self.thoughts);
                self.plain(item);
            }
            Item::Other(value) => {
                self.out.append(&mut self.thoughts);
                self.out.push(value.clone());
            }
        }
        Ok(())
    }

    /// An item without the id and the status that we gave it: nothing is stored there.
    fn plain(&mut self, item: &Item) {
        // All items serialise: they came from JSON.
        let mut value = serde_json::to_value(item).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("id");
            fields.shift_remove("status");
        }
        self.out.push(value);
    }

    fn reasoning(&mut self, index: usize, item: &Reasoning) {
        let Some(encrypted) = &item.encrypted_content else {
            self.notes.push(format!(
                "input[{index}]: thoughts without state were left out"
            ));
            return;
        };
        let (id, state) = match Envelope::open(encrypted) {
            Some(envelope) if envelope.provider == self.provider => {
                (Some(envelope.id), envelope.state)
            }
            Some(envelope) => {
                self.notes.push(format!(
                    "input[{index}]: thoughts of '{}' were left out",
                    envelope.provider
                ));
                return;
            }
            None => (item.id.clone(), encrypted.clone()),
        };
        let mut value = json!({
            "type": "reasoning",
            "summary": item.summary,
            "encrypted_content": state,
        });
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            value["id"] = id.into();
        }
        self.thoughts.push(value);
    }

    /// A call that the gateway ran is a function call to the model.
    fn mcp_call(&mut self, call: &McpCall) {
        self.out.append(&mut self.thoughts);
        self.out.push(json!({
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }));
        let output = output::of_mcp_call(call);
        self.out.push(json!({
            "type": "function_call_output",
            "call_id": call.id,
            "output": output.as_deref().unwrap_or("The call was not run."),
        }));
    }

    fn drop_thoughts(&mut self) {
        if !self.thoughts.is_empty() {
            self.thoughts.clear();
            self.notes
                .push("thoughts that led to nothing were left out".to_owned());
        }
    }

    fn unresolved(&self, index: usize) -> EncodeError {
        let param = format!("input[{index}]");
        EncodeError {
            code: code::VALUE,
            message: format!(
                "Invalid '{param}': a reference to an item cannot be sent to the provider '{}'.",
                self.provider
            ),
            param: Some(param),
        }
    }
}
