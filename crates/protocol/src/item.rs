//! Input and output items of the Responses API.
//!
//! Only what the gateway acts on is modelled; each struct keeps the fields it does not
//! know in `extra`, and an item of an unknown type is kept whole as [`Item::Other`].

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Fields that this version does not know.
pub type Extra = Map<String, Value>;

/// One item of `input` or `output`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// Text to or from the model.
    Message(Message),
    /// What the model thought; the opaque part is only good at the provider that made it.
    Reasoning(Reasoning),
    /// A function of the client that the model wants called.
    FunctionCall(FunctionCall),
    /// The client's answer to a [`Item::FunctionCall`].
    FunctionCallOutput(FunctionCallOutput),
    /// A custom tool of the client (free text in place of JSON arguments).
    CustomToolCall(CustomToolCall),
    /// The client's answer to a [`Item::CustomToolCall`].
    CustomToolCallOutput(FunctionCallOutput),
    /// The tools of one MCP server.
    McpListTools(McpListTools),
    /// One call of an MCP tool.
    McpCall(McpCall),
    /// A call that waits for the client's word.
    McpApprovalRequest(McpApprovalRequest),
    /// The client's word on it.
    McpApprovalResponse(McpApprovalResponse),
    /// A pointer to an item of an earlier response.
    ItemReference(ItemReference),
    /// Anything else, as it came.
    #[serde(untagged)]
    Other(Value),
}

impl Item {
    /// The `type` of the item.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Message(_) => "message",
            Self::Reasoning(_) => "reasoning",
            Self::FunctionCall(_) => "function_call",
            Self::FunctionCallOutput(_) => "function_call_output",
            Self::CustomToolCall(_) => "custom_tool_call",
            Self::CustomToolCallOutput(_) => "custom_tool_call_output",
            Self::McpListTools(_) => "mcp_list_tools",
            Self::McpCall(_) => "mcp_call",
            Self::McpApprovalRequest(_) => "mcp_approval_request",
            Self::McpApprovalResponse(_) => "mcp_approval_response",
            Self::ItemReference(_) => "item_reference",
            Self::Other(value) => value.get("type").and_then(Value::as_str).unwrap_or(""),
        }
    }

    /// The id of the item, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Message(item) => item.id.as_deref(),
            Self::Reasoning(item) => item.id.as_deref(),
            Self::FunctionCall(item) => item.id.as_deref(),
            Self::FunctionCallOutput(item) | Self::CustomToolCallOutput(item) => item.id.as_deref(),
            Self::CustomToolCall(item) => item.id.as_deref(),
            Self::McpListTools(item) => Some(&item.id),
            Self::McpCall(item) => Some(&item.id),
            Self::McpApprovalRequest(item) => Some(&item.id),
            Self::McpApprovalResponse(item) => item.id.as_deref(),
            Self::ItemReference(item) => Some(&item.id),
            Self::Other(value) => value.get("id").and_then(Value::as_str),
        }
    }

    /// Reads an item from its JSON value. A missing `type` is a message, or a reference
    /// when there is nothing but an `id`.
    ///
    /// # Errors
    /// When a known type has a field of the wrong form; the text names the field.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_else(|| untyped(&value));
        Ok(match kind {
            "message" => Self::Message(read(value)?),
            "reasoning" => Self::Reasoning(read(value)?),
            "function_call" => Self::FunctionCall(read(value)?),
            "function_call_output" => Self::FunctionCallOutput(read(value)?),
            "custom_tool_call" => Self::CustomToolCall(read(value)?),
            "custom_tool_call_output" => Self::CustomToolCallOutput(read(value)?),
            "mcp_list_tools" => Self::McpListTools(read(value)?),
            "mcp_call" => Self::McpCall(read(value)?),
            "mcp_approval_request" => Self::McpApprovalRequest(read(value)?),
            "mcp_approval_response" => Self::McpApprovalResponse(read(value)?),
            "item_reference" => Self::ItemReference(read(value)?),
            _ => Self::Other(value),
        })
    }
}

fn untyped(value: &Value) -> &'static str {
    match value.as_object() {
        Some(fields) if fields.len() == 1 && fields.contains_key("id") => "item_reference",
        Some(fields) if fields.contains_key("role") => "message",
        _ => "",
    }
}

/// Takes the `type` out first: it is written by the enum's tag and must not be kept twice.
fn read<T: DeserializeOwned>(mut value: Value) -> Result<T, serde_json::Error> {
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("type");
    }
    serde_json::from_value(value)
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.is_object() {
            return Err(D::Error::custom("an item must be an object"));
        }
        Self::from_value(value).map_err(D::Error::custom)
    }
}

/// A message; `status` and `id` are there on output messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// `msg_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `in_progress`, `completed` or `incomplete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A string or a list of parts.
    pub content: Content,
    /// `user`, `system`, `developer` or `assistant`.
    pub role: String,
    /// Unknown fields, such as `phase`.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The content of a message or of a function's output.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts in order.
    Parts(Vec<Part>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            parts @ Value::Array(_) => serde_json::from_value(parts)
                .map(Self::Parts)
                .map_err(D::Error::custom),
            _ => Err(D::Error::custom(
                "the content must be a string or an array of parts",
            )),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Parts(Vec::new())
    }
}

/// One part of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text from the user or developer.
    InputText(InputText),
    /// Text from the model.
    OutputText(OutputText),
    /// The model's refusal.
    Refusal {
        /// Its words.
        refusal: String,
    },
    /// An image to look at.
    InputImage(InputImage),
    /// A file to read.
    InputFile(InputFile),
    /// Anything else, as it came.
    #[serde(untagged)]
    Other(Value),
}

impl Part {
    /// An empty text part, as a stream opens it.
    #[must_use]
    pub fn output_text(text: impl Into<String>) -> Self {
        Self::OutputText(OutputText {
            text: text.into(),
            ..OutputText::default()
        })
    }
}

/// Text to the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputText {
    /// The text.
    pub text: String,
    /// Unknown fields, such as `prompt_cache_breakpoint`.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Text from the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OutputText {
    /// Citations.
    #[serde(default)]
    pub annotations: Vec<Value>,
    /// Log probabilities, when they were asked for.
    #[serde(default)]
    pub logprobs: Vec<Value>,
    /// The text.
    pub text: String,
}

/// An image to look at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputImage {
    /// A `https:` or `data:` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// The id of an uploaded file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// `low`, `high` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A file to read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputFile {
    /// A `data:` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_data: Option<String>,
    /// The id of an uploaded file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// A `https:` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
    /// The name shown to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What the model thought.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reasoning {
    /// `rs_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Raw thoughts: `{"type": "reasoning_text", "text"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<ReasoningPart>>,
    /// State that only the provider can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// Summaries: `{"type": "summary_text", "text"}`.
    #[serde(default)]
    pub summary: Vec<ReasoningPart>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A piece of reasoning text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReasoningPart {
    /// `summary_text` or `reasoning_text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(default)]
    pub text: String,
}

/// A function of the client that the model wants called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FunctionCall {
    /// `fc_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `in_progress`, `completed` or `incomplete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The model's JSON text, as it wrote it.
    pub arguments: String,
    /// By this id the client answers.
    pub call_id: String,
    /// The function.
    pub name: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The answer to a function call or to a custom tool call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FunctionCallOutput {
    /// Optional id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The `call_id` of the call.
    pub call_id: String,
    /// Text or parts.
    pub output: Content,
    /// The gateway made it of a tool's result: what a model does not take of it is described
    /// to it, not refused. Never on the wire.
    #[serde(skip)]
    pub of_tool: bool,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A custom tool of the client that the model wants called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CustomToolCall {
    /// `ctc_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// By this id the client answers.
    pub call_id: String,
    /// Free text.
    pub input: String,
    /// The tool.
    pub name: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The tools of one MCP server. OpenAI leaves `error` out when there is none, and clients
/// refuse a null there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct McpListTools {
    /// `mcpl_…`.
    pub id: String,
    /// The server.
    pub server_label: String,
    /// In the server's order, filtered by `allowed_tools`.
    #[serde(default)]
    pub tools: Vec<McpTool>,
    /// Why there is no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One tool in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct McpTool {
    /// Only `read_only` is shown, as OpenAI does.
    #[serde(default)]
    pub annotations: Option<McpAnnotations>,
    /// As the server sent it; absent if it sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server's own schema, unchanged.
    pub input_schema: Box<RawValue>,
    /// The server's own name.
    pub name: String,
}

/// Hints of the server about a tool: no proof of anything.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct McpAnnotations {
    /// The server says that the tool changes nothing.
    #[serde(default)]
    pub read_only: bool,
}

/// One call of an MCP tool. All nine keys are always written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct McpCall {
    /// `mcp_…`.
    pub id: String,
    /// `in_progress`, `calling`, `completed`, `incomplete` or `failed`.
    #[serde(default)]
    pub status: String,
    /// The request that was approved.
    #[serde(default)]
    pub approval_request_id: Option<String>,
    /// The model's JSON text.
    pub arguments: String,
    /// An object with a `type`; a bare string in histories of 2025.
    #[serde(default)]
    pub error: Option<Value>,
    /// The server's own name of the tool.
    pub name: String,
    /// What the tool said; null on failure.
    #[serde(default)]
    pub output: Option<String>,
    /// The server.
    pub server_label: String,
}

/// A call that waits for the client's word. No status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct McpApprovalRequest {
    /// `mcpr_…`.
    pub id: String,
    /// The model's JSON text.
    pub arguments: String,
    /// The server's own name of the tool.
    pub name: String,
    /// The server.
    pub server_label: String,
}

/// The client's word on an approval request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct McpApprovalResponse {
    /// `mcpa_…`, optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The request.
    pub approval_request_id: String,
    /// Yes or no.
    pub approve: bool,
    /// Told to the model when denied.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A pointer to an item of an earlier response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ItemReference {
    /// The id of the item.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn round_trip(value: &Value) {
        let item = Item::from_value(value.clone()).unwrap();
        assert_eq!(
            &serde_json::to_value(&item).unwrap(),
            value,
            "{}",
            item.kind()
        );
    }

    #[test]
    fn known_and_unknown_items_keep_every_field() {
        round_trip(&json!({"type":"message","role":"user","content":"hi"}));
        round_trip(
            &json!({"type":"message","id":"msg_1","status":"completed","role":"assistant","phase":"final_answer",
            "content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"x"},{"type":"refusal","refusal":"no"}]}),
        );
        round_trip(&json!({"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"}));
        round_trip(
            &json!({"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}","status":"completed","namespace":"n"}),
        );
        round_trip(
            &json!({"type":"mcp_call","id":"mcp_1","status":"failed","approval_request_id":null,"arguments":"{}","error":{"type":"http_error","code":424,"message":"424: "},"name":"t","output":null,"server_label":"s"}),
        );
        round_trip(
            &json!({"type":"mcp_list_tools","id":"mcpl_1","server_label":"s","tools":[{"annotations":{"read_only":false},"input_schema":{"type":"object"},"name":"t"}]}),
        );
        round_trip(&json!({"type":"web_search_call","id":"ws_1","action":{"x":1}}));
        round_trip(
            &json!({"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:x","detail":"low"},{"type":"input_video","u":1}]}),
        );
    }

    #[test]
    fn a_missing_type_is_a_message_or_a_reference() {
        let message = Item::from_value(json!({"role":"user","content":"hi"})).unwrap();
        assert_eq!(message.kind(), "message");
        let reference = Item::from_value(json!({"id":"mcpr_1"})).unwrap();
        assert_eq!(reference.kind(), "item_reference");
    }

    #[test]
    fn a_known_type_with_a_bad_field_is_an_error() {
        assert!(Item::from_value(json!({"type":"mcp_call","id":1})).is_err());
    }
}
