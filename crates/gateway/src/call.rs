//! What comes in from the server and what goes back to it.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use portunus_store::ApiKeyDefaults;
use secrecy::SecretString;
use std::convert::Infallible;
use std::time::Instant;

/// Who calls: an API key that was found good.
#[derive(Clone, Debug, Default)]
pub struct Principal {
    /// The owner of everything that the call may see.
    pub workspace_id: String,
    /// Row id of the API key.
    pub api_key_id: Option<String>,
    /// Name of the API key.
    pub api_key_name: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What the call gets when it names nothing itself.
    pub defaults: ApiKeyDefaults,
}

/// One request of the data plane.
#[derive(Debug)]
pub struct Call {
    /// The path that is called, as the log names it.
    pub endpoint: &'static str,
    /// Who calls.
    pub principal: Principal,
    /// The headers as received; the gateway key is already taken out.
    pub headers: HeaderMap,
    /// The body as received.
    pub body: Bytes,
    /// When the request came in.
    pub received: Instant,
    /// `req_…`, as in the answer's header.
    pub request_id: String,
    /// As in the answer's header; never empty.
    pub trace_id: String,
    /// A provider key that the caller sent itself, as `Authorization` beside a gateway key.
    pub caller_credential: Option<SecretString>,
}

impl Call {
    /// The text of a header; empty counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
pub(crate) fn test_call(headers: &[(&str, &str)]) -> Call {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(
            http::HeaderName::try_from(*name).unwrap(),
            value.parse().unwrap(),
        );
    }
    Call {
        endpoint: "/v1/responses",
        principal: Principal::default(),
        headers: map,
        body: Bytes::new(),
        received: Instant::now(),
        request_id: "req_1".to_owned(),
        trace_id: "t".to_owned(),
        caller_credential: None,
    }
}

/// The answer. The server adds trace id, request id and processing time.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ReplyBody,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The body of an answer.
pub enum ReplyBody {
    /// Whole.
    Full(Bytes),
    /// As it comes; dropping it cancels the request.
    Stream(BoxStream<'static, Result<Bytes, Infallible>>),
}
