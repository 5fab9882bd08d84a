//! What a caller of this crate is told.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use portunus_egress::{Forbidden, Phase, SendError};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::tool::ToolResult;

/// Where the time of a list or a call went, summed over its requests. A kept list has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Opening connections, in milliseconds; 0 when warm ones were used.
    pub connect_ms: u64,
    /// From sending to the heads of the answers, in milliseconds.
    pub wait_ms: u64,
    /// Reading the answers, in milliseconds; with event streams the work of the tool is here.
    pub read_ms: u64,
}

/// Spent time and received bytes while an operation runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) connect: Duration,
    pub(crate) wait: Duration,
    pub(crate) read: Duration,
    pub(crate) bytes: u64,
}

impl Meter {
    pub(crate) fn add(&mut self, other: Self) {
        self.connect += other.connect;
        self.wait += other.wait;
        self.read += other.read;
        self.bytes += other.bytes;
    }

    pub(crate) fn timing(&self) -> Timing {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Timing {
            connect_ms: ms(self.connect),
            wait_ms: ms(self.wait),
            read_ms: ms(self.read),
        }
    }
}

/// Why a server's tools could not be listed, as a closed label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListErrorKind {
    /// The address is one that this gateway does not call.
    Forbidden,
    /// Name resolution, connection or TLS failed.
    Unreachable,
    /// It took too long.
    Timeout,
    /// 401 or 403.
    Auth,
    /// A redirect, which is not followed.
    Redirect,
    /// Another status that is not 2xx.
    Status,
    /// The server answered with a JSON-RPC error.
    Rpc,
    /// The answer is not of this protocol, or ended early.
    Protocol,
    /// The answer is larger than the bound.
    TooLarge,
}

impl ListErrorKind {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Send(SendError::Forbidden(_)) => Self::Forbidden,
            _ if fault.is_timeout() => Self::Timeout,
            _ if fault.is_unsent() => Self::Unreachable,
            _ if fault.is_auth() => Self::Auth,
            Fault::Refused { status, .. } if status.is_redirection() => Self::Redirect,
            Fault::Refused { .. } => Self::Status,
            Fault::Rpc { .. } => Self::Rpc,
            Fault::TooLarge { .. } => Self::TooLarge,
            Fault::Send(_) | Fault::Odd(_) | Fault::Ended | Fault::Deadline => Self::Protocol,
        }
    }
}

/// The tools of a server could not be listed. Its Display is OpenAI's sentence.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "Error retrieving tool list from MCP server: '{label}'. Http status code: {} ({})",
    self.http_status(), self.reason()
)]
pub struct ListError {
    /// The kind of failure.
    pub kind: ListErrorKind,
    /// The server's status, if it gave one.
    pub status: Option<u16>,
    /// Time that was spent.
    pub timing: Timing,
    label: String,
    fault: Arc<Fault>,
}

impl ListError {
    pub(crate) fn new(label: &str, fault: Arc<Fault>, timing: Timing) -> Self {
        Self {
            kind: ListErrorKind::of(&fault),
            status: fault.status().map(|status| status.as_u16()),
            timing,
            label: label.to_owned(),
            fault,
        }
    }

    /// The status of the sentence: the server's, else 424 (Failed Dependency).
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.status
            .unwrap_or(StatusCode::FAILED_DEPENDENCY.as_u16())
    }

    fn reason(&self) -> &'static str {
        StatusCode::from_u16(self.http_status())
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown")
    }

    /// What exactly happened, for the log; holds no secrets.
    #[must_use]
    pub fn detail(&self) -> String {
        self.fault.to_string()
    }

    /// The guard's verdict, when the address itself was refused.
    #[must_use]
    pub fn forbidden(&self) -> Option<&Forbidden> {
        self.fault.forbidden()
    }
}

/// A tool call that gave no tool result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with a JSON-RPC error.
    #[error("JSON-RPC error {code}: {message}")]
    Protocol {
        /// JSON-RPC error code.
        code: i64,
        /// The server's text, bounded.
        message: String,
    },
    /// The server answered with a status that is not 2xx.
    #[error("status {status}: {message}")]
    Http {
        /// The status.
        status: u16,
        /// What the body began with; for the log.
        message: String,
    },
    /// It took too long.
    #[error("no answer in time ({phase:?})")]
    Timeout {
        /// Where the time ran out.
        phase: Phase,
    },
    /// No connection, a broken one, or an answer that is not of this protocol.
    #[error("{message}")]
    Transport {
        /// One sentence that may be shown; says so when the outcome is unknown.
        message: String,
    },
    /// The address is one that this gateway does not call.
    #[error("{0}")]
    Forbidden(Forbidden),
}

/// What OpenAI says for every failure that is not the tool's own.
const UNKNOWN_ERROR: &str = "An unknown error occurred while executing the tool.";

impl CallError {
    /// The error object of an `mcp_call` item (`mcp_protocol_error` or `http_error`).
    #[must_use]
    pub fn item_error(&self) -> Value {
        let http = |code: u16, message: String| json!({"type": "http_error", "code": code, "message": message});
        match self {
            Self::Protocol { code, message } => {
                json!({"type": "mcp_protocol_error", "code": code, "message": message})
            }
            Self::Http { status, .. } => http(*status, UNKNOWN_ERROR.to_owned()),
            Self::Timeout { .. } => http(424, "424: ".to_owned()),
            Self::Transport { .. } | Self::Forbidden(_) => http(424, format!("424: {self}")),
        }
    }

    /// `unknown`: the tool may have run.
    pub(crate) fn of(fault: Fault, unknown: bool) -> Self {
        match fault {
            Fault::Send(SendError::Timeout(phase)) => Self::Timeout { phase },
            Fault::Send(SendError::Forbidden(forbidden)) => Self::Forbidden(forbidden),
            Fault::Deadline => Self::Timeout {
                phase: Phase::Total,
            },
            Fault::Refused { status, text, .. } => Self::Http {
                status: status.as_u16(),
                message: text,
            },
            Fault::Rpc { error, .. } => Self::Protocol {
                code: error.code,
                message: error.message,
            },
            other => Self::Transport {
                message: transport_message(&other, unknown),
            },
        }
    }
}

fn transport_message(fault: &Fault, unknown: bool) -> String {
    let note = if unknown {
        " The outcome of this call is unknown: the tool may have run."
    } else {
        " The tool was not run."
    };
    format!("The MCP server could not be used: {fault}.{note}")
}

/// What came of a tool call. The request was sent at most once.
#[derive(Debug)]
pub struct CallOutcome {
    /// The tool's result, or why there is none.
    pub result: Result<ToolResult, CallError>,
    /// Where the time went.
    pub timing: Timing,
    /// Bytes of the server's answers, decompressed.
    pub bytes: u64,
    /// True when the tool may have run although there is no result.
    pub outcome_unknown: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_error(fault: Fault) -> ListError {
        ListError::new("x", Arc::new(fault), Timing::default())
    }

    #[test]
    fn the_sentence_names_the_servers_status_or_424() {
        let refused = |status| Fault::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            text: String::new(),
            challenge: false,
        };
        assert_eq!(
            list_error(refused(401)).to_string(),
            "Error retrieving tool list from MCP server: 'x'. Http status code: 401 (Unauthorized)"
        );
        assert_eq!(
            list_error(Fault::Ended).to_string(),
            "Error retrieving tool list from MCP server: 'x'. Http status code: 424 (Failed Dependency)"
        );
        assert_eq!(list_error(refused(307)).kind, ListErrorKind::Redirect);
        assert_eq!(list_error(refused(403)).kind, ListErrorKind::Auth);
        assert_eq!(list_error(Fault::Deadline).kind, ListErrorKind::Timeout);
    }

    #[test]
    fn item_errors_have_the_three_recorded_shapes() {
        let protocol = CallError::Protocol {
            code: -32602,
            message: "no".to_owned(),
        };
        let refused = CallError::Http {
            status: 500,
            message: "secret page".to_owned(),
        };
        let timeout = CallError::of(Fault::Deadline, true);
        assert_eq!(
            protocol.item_error(),
            json!({"type": "mcp_protocol_error", "code": -32602, "message": "no"})
        );
        assert_eq!(
            refused.item_error(),
            json!({"type": "http_error", "code": 500, "message": UNKNOWN_ERROR})
        );
        assert_eq!(
            timeout.item_error(),
            json!({"type": "http_error", "code": 424, "message": "424: "})
        );
        let broken = CallError::of(Fault::Ended, true).item_error();
        assert!(
            broken["message"]
                .as_str()
                .unwrap()
                .contains("outcome of this call is unknown")
        );
    }
}
