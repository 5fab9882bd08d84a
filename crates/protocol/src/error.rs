//! The error object of the OpenAI API: `{"error": {"message", "type", "param", "code"}}`.
//!
//! Source: OpenAI API reference, "Error codes"; the official SDKs read these four keys.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Values of `error.type` that the gateway itself gives.
pub mod kind {
    /// The request is wrong: the caller can mend it.
    pub const INVALID_REQUEST: &str = "invalid_request_error";
    /// The gateway or the provider failed.
    pub const SERVER: &str = "server_error";
    /// A remote MCP server failed.
    pub const EXTERNAL_CONNECTOR: &str = "external_connector_error";
    /// A limit of requests was met.
    pub const REQUESTS: &str = "requests";
    /// Time ran out.
    pub const TIMEOUT: &str = "timeout_error";
    /// Too much work at the moment.
    pub const UNAVAILABLE: &str = "service_unavailable_error";
}

/// Values of `error.code` that the gateway itself gives.
pub mod code {
    /// A required field is absent.
    pub const MISSING: &str = "missing_required_parameter";
    /// A field that does not exist.
    pub const UNKNOWN: &str = "unknown_parameter";
    /// A field that exists but is not served here.
    pub const UNSUPPORTED: &str = "unsupported_parameter";
    /// A field of the wrong JSON type.
    pub const TYPE: &str = "invalid_type";
    /// A value outside of what the field takes.
    pub const VALUE: &str = "invalid_value";
    /// A value that exists but is not served here.
    pub const UNSUPPORTED_VALUE: &str = "unsupported_value";
    /// Two fields of which one alone may be given.
    pub const EXCLUSIVE: &str = "mutually_exclusive_parameters";
    /// None of several fields of which one must be given.
    pub const MISSING_EXCLUSIVE: &str = "missing_mutually_exclusive_parameters";
    /// The body is no JSON object.
    pub const JSON: &str = "invalid_json";
    /// The gateway key is absent or wrong.
    pub const API_KEY: &str = "invalid_api_key";
    /// The model cannot be had.
    pub const MODEL: &str = "model_not_found";
    /// A remote MCP server could not be listed or called.
    pub const HTTP: &str = "http_error";
    /// The provider refused the stored credential.
    pub const PROVIDER_AUTH: &str = "provider_auth_error";
    /// The gateway's database does not answer.
    pub const DATABASE: &str = "database_unavailable";
    /// Generic fault of the gateway or the provider.
    pub const SERVER: &str = "server_error";
}

/// The inner error object. `param` names the field by path, such as `tools[1].server_url`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong and how to mend it, for a person.
    #[serde(default)]
    pub message: String,
    /// The class of the error, see [`kind`].
    #[serde(rename = "type", default = "server_kind")]
    pub kind: Cow<'static, str>,
    /// Path of the field at fault.
    #[serde(default)]
    pub param: Option<String>,
    /// Stable word for programs, see [`code`].
    #[serde(default)]
    pub code: Option<Cow<'static, str>>,
}

fn server_kind() -> Cow<'static, str> {
    Cow::Borrowed(kind::SERVER)
}

impl ErrorBody {
    /// An error of class `kind` without a field and without a code.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind: Cow::Borrowed(kind),
            param: None,
            code: None,
        }
    }

    /// An `invalid_request_error` about one field.
    pub fn invalid(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind::INVALID_REQUEST, message)
            .param(param)
            .code(code)
    }

    /// The same error about the field at `param`.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same error with the code `code`.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The body of an error answer, in OpenAI's and in Portkey's shape at once: Portkey's
    /// SDKs print the top-level `message`, OpenAI's read `error`.
    #[must_use]
    pub fn envelope(&self) -> Value {
        json!({"error": self, "status": "failure", "message": self.message})
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorBody {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope_carries_both_shapes() {
        let body = ErrorBody::invalid("model", code::MISSING, "no model").envelope();
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(body["error"]["param"], "model");
        assert_eq!(body["error"]["code"], "missing_required_parameter");
        assert_eq!(body["message"], "no model");
        assert_eq!(body["status"], "failure");
    }

    #[test]
    fn all_four_keys_are_there_when_null() {
        let text = ErrorBody::new(kind::SERVER, "x").envelope().to_string();
        assert!(
            text.contains(r#""param":null"#) && text.contains(r#""code":null"#),
            "{text}"
        );
    }
}
