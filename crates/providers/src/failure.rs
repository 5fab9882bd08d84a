//! What went wrong at a provider, sorted so that the caller and the retry logic can act.

use portunus_protocol::error::{ErrorBody, code, kind};
use std::time::Duration;

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request is wrong: the same request fails everywhere.
    BadRequest,
    /// The provider refused the stored credential.
    Auth,
    /// The credential is known but may not do this.
    Permission,
    /// The model or the path does not exist.
    NotFound,
    /// Too many requests or tokens per time.
    RateLimit,
    /// Money or quota is used up.
    Quota,
    /// The provider has no room at the moment.
    Overloaded,
    /// The provider broke.
    Server,
    /// The provider took too long.
    Timeout,
    /// The provider's filter refused the content.
    ContentFilter,
    /// The answer cannot be read, or ended in its middle.
    BadAnswer,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The provider.
    Upstream,
    /// The caller's request.
    Client,
    /// The gateway's own settings, such as a stale credential.
    Gateway,
}

/// A failure of one attempt at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub kind: FailureKind,
    /// Who is at fault.
    pub source: Source,
    /// Whether another attempt may help.
    pub retry: bool,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// The HTTP status for our caller.
    pub status: u16,
    /// The error for our caller: OpenAI's shape, public text, no secrets.
    pub body: ErrorBody,
    /// The provider's HTTP status; `None` when the failure came inside a stream.
    pub upstream_status: Option<u16>,
    /// The provider's own word for the error.
    pub upstream_code: Option<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.body.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// An answer that cannot be read, or that ended in its middle. `what` completes the
    /// sentence "The provider 'x' …".
    pub(crate) fn bad_answer(provider: &str, what: &str) -> Self {
        let message = format!("The provider '{provider}' {what}.");
        Self {
            kind: FailureKind::BadAnswer,
            source: Source::Upstream,
            retry: true,
            retry_after: None,
            status: 502,
            body: ErrorBody::new(kind::SERVER, message).code(code::SERVER),
            upstream_status: None,
            upstream_code: None,
        }
    }
}
