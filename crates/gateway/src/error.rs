//! Everything that ends a request badly, and the one place that says what its caller sees.

use portunus_egress::{Phase, SendError};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_providers::{EncodeError, Failure, FailureKind, Source};
use portunus_store::StoreError;
use std::time::Duration;

/// Why a request ended badly.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request is wrong.
    Invalid(ErrorBody),
    /// The request is refused with a status of its own, such as 404.
    Refused { status: u16, body: ErrorBody },
    /// The provider answered with an error, or its answer cannot be read.
    Provider(Box<Failure>),
    /// The provider could not be reached, or fell silent.
    Unreachable { provider: String, cause: SendError },
    /// The provider took longer than the request allowed.
    RequestTimeout(Duration),
    /// The tools of an MCP server could not be listed.
    McpList { sentence: String, detail: String },
    /// Every target of a route failed; `tried` lists them.
    AllFailed { tried: String, last: Box<Error> },
    /// A bound of ours was met; the text names it.
    Bound(String),
    /// The gateway itself failed; the cause is for the log only.
    Internal(String),
    /// The database does not answer at the moment; the cause is for the log only.
    Database(String),
    /// The client went away.
    Gone,
    /// The process ends and takes the request with it.
    ShuttingDown,
}

/// What the caller of a failed request is told.
struct Told {
    status: u16,
    source: &'static str,
    body: ErrorBody,
}

impl Error {
    /// The provider gave up inside of an answer that had begun well.
    pub(crate) fn provider(body: ErrorBody) -> Self {
        Self::failure(FailureKind::Server, Source::Upstream, body)
    }

    fn failure(kind: FailureKind, source: Source, body: ErrorBody) -> Self {
        Self::Provider(Box::new(Failure {
            kind,
            source,
            retry: false,
            retry_after: None,
            status: 502,
            body,
            upstream_status: None,
            upstream_code: None,
        }))
    }

    /// HTTP status, as long as no byte of the answer is out.
    pub(crate) fn status(&self) -> u16 {
        self.told().status
    }

    /// The error object.
    pub(crate) fn body(&self) -> ErrorBody {
        self.told().body
    }

    /// Whose fault: `client`, `gateway`, `provider` or `mcp`.
    pub(crate) fn source(&self) -> &'static str {
        self.told().source
    }

    /// The error of one target: the last, where there were several.
    pub(crate) fn last(&self) -> &Self {
        match self {
            Self::AllFailed { last, .. } => last,
            other => other,
        }
    }

    /// What the log gets beside the public text.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self.last() {
            Self::McpList { detail, .. } => Some(detail),
            Self::Internal(cause) | Self::Database(cause) => Some(cause),
            _ => None,
        }
    }

    fn told(&self) -> Told {
        let server = |text: String| ErrorBody::new(kind::SERVER, text).code(code::SERVER);
        let (status, source, body) = match self {
            Self::Invalid(body) => (400, "client", body.clone()),
            Self::Refused { status, body } => (*status, "client", body.clone()),
            Self::Provider(failure) => (failure.status, blame(failure), failure.body.clone()),
            Self::Unreachable { provider, cause } => unreachable(provider, cause),
            Self::RequestTimeout(limit) => {
                let text = format!(
                    "Request exceeded the timeout sent in the request: {}ms",
                    limit.as_millis()
                );
                (
                    408,
                    "provider",
                    ErrorBody::new(kind::TIMEOUT, text).code("request_timeout"),
                )
            }
            Self::McpList { sentence, .. } => {
                let body = ErrorBody::new(kind::EXTERNAL_CONNECTOR, sentence.as_str());
                (424, "mcp", body.param("tools").code(code::HTTP))
            }
            Self::AllFailed { tried, last } => {
                let told = last.told();
                let text = format!(
                    "All targets of the route failed: {tried}. The last one: {}",
                    told.body.message
                );
                let body = ErrorBody {
                    message: text,
                    ..told.body
                };
                (told.status, told.source, body)
            }
            Self::Bound(text) => (500, "gateway", server(text.clone())),
            Self::Internal(_) => (500, "gateway", server(INTERNAL.to_owned())),
            Self::Database(_) => {
                let body = ErrorBody::new(kind::UNAVAILABLE, DATABASE).code(code::DATABASE);
                (503, "gateway", body)
            }
            Self::ShuttingDown => {
                let text = "The gateway was stopped while it handled the request.".to_owned();
                let body = ErrorBody::new(kind::UNAVAILABLE, text).code("shutting_down");
                (503, "gateway", body)
            }
            Self::Gone => (499, "client", server("The client went away.".to_owned())),
        };
        Told {
            status,
            source,
            body,
        }
    }
}

const INTERNAL: &str = "The gateway failed while it handled your request. It is not your fault: \
     try again, and give the request id to whoever runs this gateway if it stays.";

const DATABASE: &str = "The gateway's database does not answer at the moment. Try again.";

fn blame(failure: &Failure) -> &'static str {
    match failure.source {
        Source::Upstream => "provider",
        Source::Client => "client",
        Source::Gateway => "gateway",
    }
}

fn unreachable(provider: &str, cause: &SendError) -> (u16, &'static str, ErrorBody) {
    let silent = format!("The provider {provider} did not answer: {cause}");
    let broken = format!("The answer of the provider {provider} broke off: {cause}");
    let (status, source, kind, code, text) = match cause {
        SendError::Forbidden(_) => {
            let text =
                format!("{silent} Whoever runs this gateway can allow it in [providers] allow.");
            (502, "gateway", kind::SERVER, "forbidden_address", text)
        }
        SendError::Timeout(Phase::Connect) | SendError::Dns { .. } | SendError::Connect { .. } => (
            502,
            "provider",
            kind::SERVER,
            "provider_unreachable",
            silent,
        ),
        SendError::Timeout(Phase::FirstByte) => {
            (504, "provider", kind::TIMEOUT, "provider_timeout", silent)
        }
        SendError::Timeout(_) => (504, "provider", kind::TIMEOUT, "provider_timeout", broken),
        SendError::TooLarge { .. } | SendError::Protocol(_) => {
            (502, "provider", kind::SERVER, code::SERVER, broken)
        }
    };
    (status, source, ErrorBody::new(kind, text).code(code))
}

/// The refusal of a value, by its path; `rule` completes "it …".
pub(crate) fn invalid(at: &str, rule: &str) -> Error {
    ErrorBody::invalid(at, code::VALUE, format!("Invalid '{at}': it {rule}.")).into()
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Self {
        Self::Invalid(body)
    }
}

impl From<serde_json::Error> for Error {
    /// What we write ourselves could not be written.
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(format!("json: {error}"))
    }
}

impl From<EncodeError> for Error {
    /// A stored credential that is missing is not the caller's fault; all else is.
    fn from(error: EncodeError) -> Self {
        let body = error.body();
        if error.code != code::PROVIDER_AUTH {
            return Self::Invalid(body);
        }
        Self::failure(FailureKind::Auth, Source::Gateway, body)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Provider(Box::new(failure))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.is_transient() {
            true => Self::Database(format!("store: {error}")),
            false => Self::Internal(format!("store: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, status: u16, source: &str, code: &str) {
        assert_eq!(error.status(), status, "{error:?}");
        assert_eq!(error.source(), source, "{error:?}");
        assert_eq!(error.body().code.as_deref(), Some(code), "{error:?}");
    }

    #[test]
    fn each_error_says_whose_fault_it_is() {
        let provider = || "p".to_owned();
        let timeout = SendError::Timeout(Phase::Idle);
        check(
            &Error::Unreachable {
                provider: provider(),
                cause: timeout,
            },
            504,
            "provider",
            "provider_timeout",
        );
        let dns = SendError::Dns {
            host: "h".to_owned(),
        };
        check(
            &Error::Unreachable {
                provider: provider(),
                cause: dns,
            },
            502,
            "provider",
            "provider_unreachable",
        );
        let list = Error::McpList {
            sentence: "s".to_owned(),
            detail: "d".to_owned(),
        };
        check(&list, 424, "mcp", "http_error");
        check(
            &Error::Bound("b".to_owned()),
            500,
            "gateway",
            "server_error",
        );
    }

    #[test]
    fn an_internal_cause_stays_inside() {
        let error = Error::Internal("canary".to_owned());
        assert!(!error.body().message.contains("canary"));
        assert_eq!(error.cause(), Some("canary"));
    }
}
