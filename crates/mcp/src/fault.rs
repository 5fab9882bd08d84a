//! What can go wrong with one exchange, before it is told to anyone.

use http::StatusCode;
use portunus_egress::{Forbidden, SendError};

use crate::message::RpcError;

/// Why an exchange gave no answer. Texts hold no secrets: they were blanked where read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The request could not be sent, or the answer could not be read.
    #[error("{0}")]
    Send(SendError),
    /// A status other than 2xx without a JSON-RPC error in the body.
    #[error("status {status}: {text}")]
    Refused {
        status: StatusCode,
        text: String,
        challenge: bool,
    },
    /// A JSON-RPC error, in an answer of any status.
    #[error("JSON-RPC error {}: {} (status {status})", error.code, error.message)]
    Rpc { error: RpcError, status: StatusCode },
    /// A 2xx answer that is no answer of this protocol.
    #[error("{0}")]
    Odd(String),
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer came")]
    Ended,
    /// The answer is larger than we take.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    /// Our own clock ran out.
    #[error("no answer in time")]
    Deadline,
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLarge { limit_bytes } => Self::TooLarge { limit_bytes },
            other => Self::Send(other),
        }
    }
}

impl Fault {
    /// The server's status, if it gave one that is an error.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Rpc { status, .. } if !status.is_success() => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn forbidden(&self) -> Option<&Forbidden> {
        match self {
            Self::Send(SendError::Forbidden(forbidden)) => Some(forbidden),
            _ => None,
        }
    }

    pub(crate) fn rpc_code(&self) -> Option<i64> {
        match self {
            Self::Rpc { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// True for 401 and 403: another try with the same credential is of no use.
    pub(crate) fn is_auth(&self) -> bool {
        matches!(
            self.status(),
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        )
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Deadline | Self::Send(SendError::Timeout(_)))
    }

    /// True when no byte of the request can have reached the server.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Send(error) if !error.may_have_been_sent())
    }

    /// True when a request may have been worked on although there is no answer. A JSON-RPC
    /// error is an answer; a 4xx is a refusal before any work.
    pub(crate) fn may_have_run(&self) -> bool {
        match self {
            Self::Send(error) => error.may_have_been_sent(),
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Rpc { .. } => false,
            Self::Odd(_) | Self::Ended | Self::TooLarge { .. } | Self::Deadline => true,
        }
    }

    /// The server no longer knows our session: 404 by the specification, in practice any
    /// error whose text says so.
    pub(crate) fn is_session_loss(&self) -> bool {
        let says_session = match self {
            Self::Refused { text, .. } => mentions_session(text),
            Self::Rpc { error, .. } => mentions_session(&error.message),
            _ => return false,
        };
        says_session || self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// A session loss that the HTTP layer itself reported, so that the request surely did
    /// not run: the only case in which a tool call may be sent with a new session.
    pub(crate) fn is_session_loss_before_run(&self) -> bool {
        let early = matches!(
            self.status(),
            Some(StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
        );
        early && self.is_session_loss()
    }

    /// True when a list may be asked once more over a new connection.
    pub(crate) fn is_worth_a_new_connection(&self) -> bool {
        let busy = self.status() == Some(StatusCode::TOO_MANY_REQUESTS);
        let hopeless = self.is_timeout() || self.is_unsent() || busy;
        !hopeless && (!self.is_auth() || self.is_session_loss())
    }
}

fn mentions_session(text: &str) -> bool {
    text.to_ascii_lowercase().contains("session")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, text: &str) -> Fault {
        let status = StatusCode::from_u16(status).unwrap();
        Fault::Refused {
            status,
            text: text.to_owned(),
            challenge: false,
        }
    }

    fn rpc(status: u16, message: &str) -> Fault {
        let error = RpcError {
            code: -32000,
            message: message.to_owned(),
            data: None,
        };
        Fault::Rpc {
            error,
            status: StatusCode::from_u16(status).unwrap(),
        }
    }

    #[test]
    fn session_loss_and_what_may_be_sent_again() {
        let cases = [
            (refused(404, ""), true, true),
            (rpc(404, "Session not found"), true, true),
            (
                rpc(400, "Bad Request: No valid session ID provided"),
                true,
                true,
            ),
            (refused(400, "bad json"), false, false),
            (refused(503, "unknown session"), true, false),
            (refused(401, "session expired"), true, false),
            (rpc(200, "Invalid session"), true, false),
            (refused(500, "boom"), false, false),
            (Fault::Ended, false, false),
        ];
        for (fault, loss, again) in cases {
            assert_eq!(fault.is_session_loss(), loss, "{fault}");
            assert_eq!(fault.is_session_loss_before_run(), again, "{fault}");
        }
    }

    #[test]
    fn what_may_have_run() {
        let cases = [
            (refused(400, ""), false),
            (refused(401, ""), false),
            (refused(500, ""), true),
            (rpc(500, ""), false),
            (Fault::Odd(String::new()), true),
            (Fault::Ended, true),
            (Fault::Deadline, true),
            (Fault::TooLarge { limit_bytes: 1 }, true),
        ];
        for (fault, expected) in cases {
            assert_eq!(fault.may_have_run(), expected, "{fault}");
        }
    }
}
