//! The response object and its usage.

use crate::error::ErrorBody;
use crate::item::Item;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a response stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits to run (background).
    Queued,
    /// Runs.
    #[default]
    InProgress,
    /// Ended well.
    Completed,
    /// Cut short; `incomplete_details.reason` says why.
    Incomplete,
    /// Ended badly; `error` says why.
    Failed,
    /// Stopped by its client.
    Cancelled,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A response, fields in OpenAI's order. Fields that are only echoed are JSON values.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Response {
    /// `resp_…`.
    pub id: String,
    /// Always `response`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Where it stands.
    pub status: Status,
    /// Echo.
    pub background: bool,
    /// Seconds since 1970; null unless completed.
    pub completed_at: Option<i64>,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Echo, `0.0`.
    pub frequency_penalty: f64,
    /// `{"reason"}` when incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    /// Echo.
    pub instructions: Value,
    /// Echo.
    pub max_output_tokens: Option<u64>,
    /// Echo.
    pub max_tool_calls: Option<u64>,
    /// The model's name as the provider reports it.
    pub model: String,
    /// Null.
    pub moderation: Value,
    /// The items in order of `output_index`.
    pub output: Vec<Item>,
    /// Echo, default true.
    pub parallel_tool_calls: bool,
    /// Echo, `0.0`.
    pub presence_penalty: f64,
    /// Echo.
    pub previous_response_id: Option<String>,
    /// Echo.
    pub prompt_cache_key: Value,
    /// Echo.
    pub prompt_cache_retention: Value,
    /// Echo.
    pub reasoning: Value,
    /// Echo.
    pub safety_identifier: Value,
    /// `auto` while it runs, what was used at the end.
    pub service_tier: Value,
    /// Echo, default true.
    pub store: bool,
    /// Echo.
    pub temperature: Value,
    /// Echo.
    pub text: Value,
    /// Echo.
    pub tool_choice: Value,
    /// Echo, secrets cut out.
    pub tools: Vec<Value>,
    /// Echo.
    pub top_logprobs: Value,
    /// Echo.
    pub top_p: Value,
    /// Echo.
    pub truncation: Value,
    /// Null until the end.
    pub usage: Option<Usage>,
    /// Echo.
    pub user: Value,
    /// Echo.
    pub metadata: Map<String, Value>,
}

/// Why a response failed. The list of codes is open: real traffic has more than the types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseError {
    /// Such as `server_error`, `rate_limit_exceeded`.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl ResponseError {
    /// The error of a failed response that says the same as the `error` event before it.
    #[must_use]
    pub fn of(body: &ErrorBody) -> Self {
        // The list of codes of a failed response knows no connector error (trace c).
        let code = match body.code.as_deref() {
            None | Some(crate::error::code::HTTP) => crate::error::code::SERVER,
            Some(code) => code,
        };
        Self {
            code: code.to_owned(),
            message: body.message.clone(),
        }
    }
}

/// Why a response was cut short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    /// `max_output_tokens` or `content_filter`.
    pub reason: String,
}

/// Tokens of a response or of one turn. `input_tokens` contains the cached ones,
/// `output_tokens` the reasoning ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All tokens that went in.
    pub input_tokens: u64,
    /// Of those, by kind.
    pub input_tokens_details: InputDetails,
    /// All tokens that came out.
    pub output_tokens: u64,
    /// Of those, by kind.
    pub output_tokens_details: OutputDetails,
    /// The sum of both.
    pub total_tokens: u64,
}

/// Input tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputDetails {
    /// Written to the provider's prompt cache.
    pub cache_write_tokens: u64,
    /// Read from it.
    pub cached_tokens: u64,
}

/// Output tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputDetails {
    /// Spent on thinking.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// The usage of both together; never wraps, a hostile provider may send anything.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            input_tokens_details: InputDetails {
                cache_write_tokens: self
                    .input_tokens_details
                    .cache_write_tokens
                    .saturating_add(other.input_tokens_details.cache_write_tokens),
                cached_tokens: self
                    .input_tokens_details
                    .cached_tokens
                    .saturating_add(other.input_tokens_details.cached_tokens),
            },
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            output_tokens_details: OutputDetails {
                reasoning_tokens: self
                    .output_tokens_details
                    .reasoning_tokens
                    .saturating_add(other.output_tokens_details.reasoning_tokens),
            },
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_adds_up_and_never_wraps() {
        let one = Usage {
            input_tokens: 3,
            output_tokens: 4,
            total_tokens: 7,
            ..Usage::default()
        };
        assert_eq!(one.plus(one).total_tokens, 14);
        let huge = Usage {
            total_tokens: u64::MAX,
            ..one
        };
        assert_eq!(huge.plus(one).total_tokens, u64::MAX);
    }

    #[test]
    fn a_sparse_response_of_a_sloppy_server_reads() {
        let text =
            r#"{"id":"r","object":"response","status":"completed","output":[],"usage":null}"#;
        let response: Response = serde_json::from_str(text).unwrap();
        assert_eq!(response.status, Status::Completed);
    }
}
