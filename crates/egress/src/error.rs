//! What can go wrong between a request and its answer.

use std::error::Error;

use crate::guard::Forbidden;

/// The wait that ran out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// DNS, TCP and TLS.
    Connect,
    /// From sending to the head of the answer.
    FirstByte,
    /// Between two pieces of the body.
    Idle,
    /// The whole call.
    Total,
}

impl Phase {
    /// Closed label for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Idle => "idle",
            Self::Total => "total",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Connect => "Timed out while connecting (connect timeout).",
            Self::FirstByte => "Timed out waiting for the answer to begin (first byte timeout).",
            Self::Idle => "Timed out waiting for the answer to go on (idle timeout).",
            Self::Total => "Timed out before the answer was complete (total timeout).",
        }
    }
}

/// Why there is no answer, or no whole one. `Display` is safe to show to a caller: it may name the
/// host, never the path, the query or a header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The guard refused the URL or an address that it resolves to.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name could not be resolved.
    #[error("The host '{host}' could not be resolved.")]
    Dns {
        /// The name that was asked for.
        host: String,
    },
    /// TCP or TLS failed.
    #[error("Could not connect to '{host}': {reason}.")]
    Connect {
        /// Host as in the URL.
        host: String,
        /// The system's or the TLS library's word for it.
        reason: String,
    },
    /// One of the four waits ran out.
    #[error("{}", .0.sentence())]
    Timeout(Phase),
    /// The body, after decompression, is larger than the limit.
    #[error("The answer is larger than {limit_bytes} bytes.")]
    TooLarge {
        /// The limit that was passed, in bytes.
        limit_bytes: usize,
    },
    /// The connection broke, or what came was no HTTP or could not be decompressed.
    #[error("The connection failed: {0}.")]
    Protocol(String),
}

impl SendError {
    /// False only when no byte of the request can have left, so that sending again is safe.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Forbidden(_) | Self::Dns { .. } | Self::Connect { .. } => false,
            Self::Timeout(phase) => *phase != Phase::Connect,
            Self::TooLarge { .. } | Self::Protocol(_) => true,
        }
    }

    /// Closed label for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "forbidden",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Timeout(_) => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Protocol(_) => "protocol",
        }
    }

    /// Sorts an error of the HTTP library. Its own text is not used, because it holds the URL.
    pub(crate) fn sort(error: &reqwest::Error, host: &str) -> Self {
        if let Some(forbidden) = cause::<Forbidden>(error) {
            return Self::Forbidden(forbidden.clone());
        }
        let host = host.to_owned();
        if error.is_connect() && error.is_timeout() {
            Self::Timeout(Phase::Connect)
        } else if error.is_dns() {
            Self::Dns { host }
        } else if error.is_connect() {
            Self::Connect {
                host,
                reason: root(error),
            }
        } else {
            Self::Protocol(root(error))
        }
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn cause<T: Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The innermost cause in words. The outermost error is left out: only it knows the URL.
fn root(error: &reqwest::Error) -> String {
    let inner = chain(error).skip(1).last();
    inner.map_or_else(|| "the exchange broke off".to_owned(), ToString::to_string)
}
