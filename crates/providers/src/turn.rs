//! One turn of the loop: what is asked of the model and what comes back.

use portunus_protocol::event::Event;
use portunus_protocol::item::Item;
use portunus_protocol::request::Options;
use portunus_protocol::response::Usage;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What is asked of the model in one turn.
#[derive(Clone, Debug, Default)]
pub struct TurnRequest {
    /// The model's name at the provider.
    pub model: String,
    /// System text that stands before the input.
    pub instructions: Option<String>,
    /// The whole history. Names in `function_call` and `mcp_call` items are wire names.
    pub input: Vec<Arc<Item>>,
    /// The functions that the model may call.
    pub tools: Vec<ToolDef>,
    /// Tools that the provider itself runs, as they came; only the Responses dialect takes
    /// them.
    pub hosted_tools: Vec<Value>,
    /// What the model may or must do with its tools.
    pub tool_choice: Choice,
    /// Whether several calls may come in one turn; `None` = the provider's default.
    pub parallel_tool_calls: Option<bool>,
    /// Bound on the tokens of this turn.
    pub max_output_tokens: Option<u64>,
    /// The other fields of the client's request.
    pub options: Options,
    /// Whether the answer is to come as a stream of events. One that nobody watches is asked for
    /// as a whole: it is read at once.
    pub stream: bool,
    /// Counts from 0 within one response.
    pub turn_index: u32,
}

/// One function that the model may call. An `Arc<RawValue>` is made of a `Box<RawValue>` by
/// `Arc::from(boxed)`.
#[derive(Clone, Debug)]
pub struct ToolDef {
    /// The wire name, `^[a-zA-Z0-9_-]{1,64}$`.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON schema of its arguments, unchanged; of a custom tool its `format` or null.
    pub parameters: Arc<RawValue>,
    /// Whether the arguments must follow the schema; `None` = not said.
    pub strict: Option<bool>,
    /// A custom tool: free text in place of JSON arguments.
    pub custom: bool,
}

/// What the model may or must do with its tools in this turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// It decides.
    #[default]
    Auto,
    /// It may call none.
    None,
    /// It must call one.
    Required,
    /// It must call the tool of this wire name.
    Function(String),
}

/// What a decoder tells.
#[derive(Clone, Debug)]
pub enum TurnEvent {
    /// An item event. `output_index` counts from 0 inside the turn; ids are ours.
    Item(Event),
    /// The turn is over: exactly one, the last event.
    End(TurnEnd),
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// Well, cut short, or badly.
    pub status: TurnStatus,
    /// Tokens, if the provider told.
    pub usage: Option<Usage>,
    /// The model's name as the provider reports it.
    pub model: Option<String>,
    /// The tier that was used.
    pub service_tier: Option<String>,
    /// The settings that the model ran with.
    pub effective: Effective,
    /// The provider's own id of the answer.
    pub upstream_id: Option<String>,
}

/// Settings that the model ran with, its own defaults included, as the provider reports them.
/// Null: it said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// `{"effort", "summary", …}`.
    pub reasoning: Value,
    /// 0 to 2.
    pub temperature: Value,
    /// 0 to 1.
    pub top_p: Value,
    /// `in_memory` or `24h`.
    pub prompt_cache_retention: Value,
}

/// The status of a turn that ended by a terminal sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnStatus {
    /// All said.
    Completed,
    /// Cut short.
    Incomplete {
        /// `max_output_tokens` or `content_filter`.
        reason: String,
    },
    /// The provider gave up.
    Failed {
        /// A code for `response.error.code`.
        code: String,
        /// For a person; safe to show.
        message: String,
    },
}
