//! Rows of the request log, and the filter that selects them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything about one request, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The request as a whole.
    pub request: RequestRow,
    /// Calls of a provider, failed ones too, in order.
    pub attempts: Vec<AttemptRow>,
    /// Turns of the model, in order.
    pub turns: Vec<TurnRow>,
    /// Tool lists fetched from MCP servers, in order of the request.
    pub tool_lists: Vec<ToolListRow>,
    /// Tool calls, in order of emission.
    pub tool_calls: Vec<ToolCallRow>,
}

/// Everything about one request, as it is read.
pub type LogDetail = LogRecord;

impl LogRecord {
    /// The row of the log list: no bodies, counts in place of the lists.
    #[must_use]
    pub fn summary(&self) -> LogSummary {
        let request = RequestRow {
            request_body: None,
            response_body: None,
            ..self.request.clone()
        };
        LogSummary {
            request,
            tool_lists: i64::try_from(self.tool_lists.len()).unwrap_or(i64::MAX),
        }
    }

    /// Bytes of all payload bodies together.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let calls = self
            .tool_calls
            .iter()
            .map(|call| size(&call.arguments) + size(&call.result));
        size(&self.request.request_body) + size(&self.request.response_body) + calls.sum::<usize>()
    }

    /// Removes all payload bodies; everything that is counted or measured stays.
    pub fn drop_payload(&mut self) {
        self.request.request_body = None;
        self.request.response_body = None;
        for call in &mut self.tool_calls {
            call.arguments = None;
            call.result = None;
        }
    }
}

/// A row of the log list: the request without its bodies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The request; `request_body` and `response_body` are always `None`.
    #[serde(flatten)]
    pub request: RequestRow,
    /// How many tool lists were asked for.
    pub tool_lists: i64,
}

/// One request. Tokens and money are `None` when unknown, never 0 instead.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    /// `log-…`, sortable.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// When the request arrived, Unix time.
    pub created_at_ms: i64,
    /// Trace that the caller named, or one of ours.
    pub trace_id: String,
    /// Span that the caller named.
    pub span_id: Option<String>,
    /// Parent span that the caller named.
    pub parent_span_id: Option<String>,
    /// Span name that the caller gave.
    pub span_name: Option<String>,
    /// `req_…`, as in the answer's header.
    pub request_id: String,
    /// `resp_…`.
    pub response_id: Option<String>,
    /// Path of the endpoint, e.g. `/v1/responses`.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// HTTP status of our answer; 499 when the client went away.
    pub status_code: u16,
    /// `completed`, `incomplete`, `failed`, `canceled` or `refused`.
    pub outcome: String,
    /// Whose fault: `gateway`, `provider`, `mcp` or `client`.
    pub error_source: Option<String>,
    /// Closed error code.
    pub error_code: Option<String>,
    /// Error text, free of secrets.
    pub error_message: Option<String>,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// Row id of the API key.
    pub api_key_id: Option<String>,
    /// Name of the API key at that time.
    pub api_key_name: Option<String>,
    /// Slug of the virtual key.
    pub virtual_key: Option<String>,
    /// Slug of the saved config.
    pub config: Option<String>,
    /// Id of the saved config.
    pub config_id: Option<String>,
    /// Which version of the saved config it was.
    pub config_version_id: Option<String>,
    /// Strategy of the config, saved or not; none without targets.
    pub mode: Option<String>,
    /// Where in the config the target stood that was used last, such as `config.targets[1]`; none
    /// when that is the config itself.
    pub last_used_option: Option<String>,
    /// Provider that answered last.
    pub provider: Option<String>,
    /// Model in the request.
    pub model_asked: Option<String>,
    /// Model that the provider says it used.
    pub model_served: Option<String>,
    /// `pass_through` or `tool_loop`.
    pub execution: Option<String>,
    /// Who ran the MCP tools: `provider` or `gateway`.
    pub mcp_execution: Option<String>,
    /// Input tokens over all turns.
    pub input_tokens: Option<i64>,
    /// Part of the input that was read from the provider's cache.
    pub cached_input_tokens: Option<i64>,
    /// Part of the input that was written to the provider's cache.
    pub cache_write_tokens: Option<i64>,
    /// Output tokens over all turns.
    pub output_tokens: Option<i64>,
    /// Part of the output that was reasoning.
    pub reasoning_tokens: Option<i64>,
    /// Input and output together.
    pub total_tokens: Option<i64>,
    /// Cost in 10^-12 US dollars.
    pub cost_picodollars: Option<i64>,
    /// Where the prices came from.
    pub price_source: Option<String>,
    /// From arrival to the last byte.
    pub total_ms: i64,
    /// From arrival to the first token.
    pub first_token_ms: Option<i64>,
    /// Part of the time that was ours.
    pub gateway_ms: Option<i64>,
    /// Part of the time spent on providers.
    pub provider_ms: Option<i64>,
    /// Part of the time spent on tools.
    pub tools_ms: Option<i64>,
    /// Turns of the model.
    pub turns: i64,
    /// Tool calls.
    pub tool_calls: i64,
    /// Tool calls that failed.
    pub tool_errors: i64,
    /// Calls of a provider.
    pub attempts: i64,
    /// Retries, where retrying was configured.
    pub retry_count: Option<i64>,
    /// Portkey's word: `DISABLED`, `MISS`, `HIT`, ….
    pub cache_status: String,
    /// The client: source, runtime, runtime_version, sdk_version, user_agent.
    pub client: Value,
    /// The caller's metadata: a map of strings.
    pub metadata: Value,
    /// `none`, `metadata`, `redacted` or `full`.
    pub payload_level: String,
    /// Request body, by payload level.
    pub request_body: Option<String>,
    /// Response body, by payload level.
    pub response_body: Option<String>,
    /// First 80 characters of the input, for the list.
    pub preview: Option<String>,
    /// Remarks, e.g. fields that a provider cannot take.
    pub notes: Vec<String>,
}

impl fmt::Debug for RequestRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("created_at_ms", &self.created_at_ms)
            .field("endpoint", &self.endpoint)
            .field("status_code", &self.status_code)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// One call of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Turn that it served, from 0.
    pub turn: i64,
    /// Position, from 0, over the whole request or within the turn.
    pub index: i64,
    /// Provider name.
    pub provider: String,
    /// Slug of the virtual key.
    pub virtual_key: Option<String>,
    /// Model as the provider calls it.
    pub model: Option<String>,
    /// Scheme, host and port that were called.
    pub url_origin: Option<String>,
    /// Start, counted from the arrival of the request.
    pub started_offset_ms: i64,
    /// Time to connect; `None` for a pooled connection.
    pub connect_ms: Option<i64>,
    /// From sending to the head of the answer.
    pub wait_ms: Option<i64>,
    /// From start to the last byte.
    pub total_ms: Option<i64>,
    /// HTTP status of the provider.
    pub status_code: Option<i64>,
    /// `completed`, `failed`, `canceled`, ….
    pub outcome: String,
    /// Error text, free of secrets.
    pub error: Option<String>,
    /// The provider's own request id.
    pub upstream_request_id: Option<String>,
}

/// One turn of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnRow {
    /// From 0.
    pub index: i64,
    /// Start, counted from the arrival of the request.
    pub started_offset_ms: i64,
    /// Provider that answered.
    pub provider: String,
    /// Model that answered.
    pub model: Option<String>,
    /// From start to the first token.
    pub wait_ms: Option<i64>,
    /// From start to the end of the turn.
    pub total_ms: i64,
    /// Why the turn ended.
    pub finish: String,
    /// Input tokens.
    pub input_tokens: Option<i64>,
    /// Part of the input that was read from the provider's cache.
    pub cached_input_tokens: Option<i64>,
    /// Part of the input that was written to the provider's cache.
    pub cache_write_tokens: Option<i64>,
    /// Output tokens.
    pub output_tokens: Option<i64>,
    /// Part of the output that was reasoning.
    pub reasoning_tokens: Option<i64>,
    /// Input and output together.
    pub total_tokens: Option<i64>,
    /// Cost in 10^-12 US dollars.
    pub cost_picodollars: Option<i64>,
    /// Tool calls that the model asked for.
    pub tool_calls: i64,
}

/// One tool list that was asked of an MCP server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolListRow {
    /// Position among the tool lists of the request, from 0.
    pub index: i64,
    /// `mcpl_…`.
    pub item_id: Option<String>,
    /// The server's name in the request.
    pub server_label: String,
    /// The server's URL in redacted form.
    pub server_url: String,
    /// Start, counted from the arrival of the request.
    pub started_offset_ms: i64,
    /// Whether the list came from our cache.
    pub cached: bool,
    /// `gateway` or `provider`.
    pub run_by: String,
    /// Protocol revision spoken.
    pub protocol: Option<String>,
    /// How many tools there were.
    pub tools: i64,
    /// Bytes received.
    pub bytes: Option<i64>,
    /// SHA-256 of the definitions, hexadecimal.
    pub digest: Option<String>,
    /// Time to connect.
    pub connect_ms: Option<i64>,
    /// From sending to the head of the answer.
    pub wait_ms: Option<i64>,
    /// Time to read the answer.
    pub read_ms: Option<i64>,
    /// From start to end.
    pub total_ms: Option<i64>,
    /// `completed` or `failed`.
    pub outcome: String,
    /// Error text, free of secrets.
    pub error: Option<String>,
    /// Tools that were left out, and why.
    pub warnings: Vec<String>,
}

/// One call of a tool.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCallRow {
    /// Position, from 0, over the whole request or within the turn.
    pub index: i64,
    /// Turn that asked for it, from 0.
    pub turn: i64,
    /// `mcp_…`.
    pub item_id: Option<String>,
    /// The server's name in the request.
    pub server_label: String,
    /// The server's URL in redacted form.
    pub server_url: String,
    /// The tool's name on the server.
    pub tool: String,
    /// `gateway` or `provider`.
    pub run_by: String,
    /// Start, counted from the arrival of the request.
    pub started_offset_ms: i64,
    /// Size of the arguments.
    pub argument_bytes: i64,
    /// Size of the result.
    pub result_bytes: Option<i64>,
    /// Time to connect.
    pub connect_ms: Option<i64>,
    /// From sending to the head of the answer.
    pub wait_ms: Option<i64>,
    /// Time to read the answer.
    pub read_ms: Option<i64>,
    /// From start to end.
    pub total_ms: Option<i64>,
    /// `completed`, `tool_error`, `protocol_error`, `http_error`, `timeout`, `canceled`,
    /// `outcome_unknown`, `approval_requested` or `limit`.
    pub outcome: String,
    /// Error text, free of secrets.
    pub error: Option<String>,
    /// Arguments, by payload level.
    pub arguments: Option<String>,
    /// Result, by payload level.
    pub result: Option<String>,
}

impl fmt::Debug for ToolCallRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCallRow")
            .field("index", &self.index)
            .field("server_label", &self.server_label)
            .field("tool", &self.tool)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Which requests to list. An empty list or `None` does not filter; all set ones must match.
/// All ends of ranges are inclusive; a row whose value is unknown is in no range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// HTTP status of our answer, any of these.
    pub status_code: Vec<u16>,
    /// Model asked for or served, any of these.
    pub ai_model: Vec<String>,
    /// Slug of the virtual key, any of these.
    pub virtual_keys: Vec<String>,
    /// Id of the API key, any of these.
    pub api_key_ids: Vec<String>,
    /// Id of the routing config, any of these.
    pub configs: Vec<String>,
    /// Provider, any of these.
    pub providers: Vec<String>,
    /// Exactly this trace.
    pub trace_id: Option<String>,
    /// Whose fault, any of these: `gateway`, `provider`, `mcp`, `client`.
    pub error_source: Vec<String>,
    /// Earliest arrival, Unix time.
    pub time_of_generation_min_ms: Option<i64>,
    /// Latest arrival, Unix time.
    pub time_of_generation_max_ms: Option<i64>,
    /// Least cost in 10^-12 US dollars.
    pub cost_min_picodollars: Option<i64>,
    /// Greatest cost in 10^-12 US dollars.
    pub cost_max_picodollars: Option<i64>,
    /// Fewest tokens, input and output together.
    pub total_units_min: Option<i64>,
    /// Most tokens, input and output together.
    pub total_units_max: Option<i64>,
    /// Fewest input tokens.
    pub prompt_token_min: Option<i64>,
    /// Most input tokens.
    pub prompt_token_max: Option<i64>,
    /// Fewest output tokens.
    pub completion_token_min: Option<i64>,
    /// Most output tokens.
    pub completion_token_max: Option<i64>,
    /// Label of an MCP server that was asked for its tools or called.
    pub mcp_server: Option<String>,
    /// Name of a tool that was called (on `mcp_server`, when that is set too).
    pub mcp_tool: Option<String>,
    /// Text that the preview, the error, the model or an id contains; case of ASCII letters is ignored.
    pub contains: Option<String>,
}
