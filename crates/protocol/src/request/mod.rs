//! The body of `POST /v1/responses`: what is read from it, and what is refused.
//!
//! Two readings. [`Head`] takes the few fields that decide where the call goes, and is all
//! that a pass-through needs. [`Body`] takes everything, for the tool loop, which must not
//! ignore a field in silence. Every refusal is an [`ErrorBody`] with the path of the field.

mod body;
mod check;
mod choice;
mod tool;

pub use body::{Body, Options};
pub use choice::{ToolChoice, ToolRef};
pub use tool::{
    AllowedTools, FunctionTool, McpTool, REDACTED, RequireApproval, ServerUrlEcho, Tool,
    ToolFilter, shown_url,
};

use crate::error::{ErrorBody, code, kind};
use crate::item::Item;
use crate::shallow::Shallow;
use serde_json::Value;

/// The fields that decide where a call goes.
#[derive(Debug)]
pub struct Head<'a> {
    /// The body, inner bytes as they came.
    pub shallow: Shallow<'a>,
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The tools; `mcp` entries are read and checked, the others are kept as they came.
    pub tools: Vec<Tool>,
}

impl<'a> Head<'a> {
    /// Reads and checks the head of a body.
    ///
    /// # Errors
    /// The answer to the caller, status 400.
    pub fn parse(body: &'a [u8]) -> Result<Self, ErrorBody> {
        let shallow = Shallow::parse(body).map_err(|error| not_json(&error))?;
        let model = match check::string(&shallow, "model")? {
            Some(model) if !model.is_empty() => model,
            _ => return Err(check::missing("model")),
        };
        let stream = check::boolean(&shallow, "stream")?.unwrap_or(false);
        let tools = tool::parse_all(check::strict(&shallow, "tools")?)?;
        if check::strict(&shallow, "tool_choice")?.is_some_and(|choice| tool::names_server(&choice))
        {
            let message = "Invalid 'tool_choice': name MCP servers there by 'server_label' alone.";
            return Err(ErrorBody::invalid("tool_choice", code::VALUE, message));
        }
        Ok(Self {
            shallow,
            model,
            stream,
            tools,
        })
    }

    /// The `mcp` tools, each with its index in `tools`.
    pub fn mcp_tools(&self) -> impl Iterator<Item = (usize, &McpTool)> {
        self.tools
            .iter()
            .enumerate()
            .filter_map(|(index, tool)| match tool {
                Tool::Mcp(mcp) => Some((index, mcp.as_ref())),
                _ => None,
            })
    }

    /// The items of `input`; a bare string is one user message.
    ///
    /// # Errors
    /// The answer to the caller, status 400.
    pub fn input(&self) -> Result<Vec<Item>, ErrorBody> {
        body::input(check::value(&self.shallow, "input")?)
    }

    /// A top-level string field, if it is there and a string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.shallow
            .get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Whether `key` is there and neither null nor false.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.shallow
            .get(key)
            .is_some_and(|raw| !matches!(raw.get(), "null" | "false"))
    }
}

fn not_json(error: &serde_json::Error) -> ErrorBody {
    let message = format!(
        "We could not parse the JSON body of your request: {error}. The API expects a JSON object."
    );
    ErrorBody::new(kind::INVALID_REQUEST, message).code(code::JSON)
}

/// The name of a JSON type as OpenAI's messages spell it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
