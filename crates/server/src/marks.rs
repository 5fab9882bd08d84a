//! What every request gets on arrival and every answer carries: a request id, a trace id,
//! the time it took.

use crate::answer::Refusal;
use crate::app::Shared;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use portunus_protocol::id;
use std::convert::Infallible;
use std::time::Instant;
use tracing::Instrument;

const TRACE_ID: HeaderName = HeaderName::from_static("x-portkey-trace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Longest trace id that is taken over from a caller.
const TRACE_ID_MAX_BYTES: usize = 128;

/// When a request came in and by which ids it is found again.
#[derive(Clone, Debug)]
pub struct Marks {
    /// When the head was read.
    pub received: Instant,
    /// Ours, `req_…`.
    pub request_id: String,
    /// The caller's (`x-portkey-trace-id`, else `traceparent`), else ours.
    pub trace_id: String,
}

impl Marks {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            received: Instant::now(),
            request_id: id::make(id::Kind::Request),
            trace_id: trace_id(headers),
        }
    }

    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        let took = self.received.elapsed().as_millis().to_string();
        let fields = [
            (TRACE_ID, &self.trace_id),
            (REQUEST_ID, &self.request_id),
            (PROCESSING_MS, &took),
        ];
        for (name, text) in fields {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Put on a request by the connection that read it: its head gives two lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoLengths;

/// Never empty: Portkey's SDKs repeat a failed call whose answer lacks it.
fn trace_id(headers: &HeaderMap) -> String {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
    };
    let own = text("x-portkey-trace-id")
        .filter(|id| !id.is_empty() && id.len() <= TRACE_ID_MAX_BYTES && !id.contains('\t'));
    own.or_else(|| text("traceparent").and_then(parent_trace))
        .map_or_else(new_trace_id, str::to_owned)
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn parent_trace(value: &str) -> Option<&str> {
    let id = value.split('-').nth(1)?;
    let sound = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (sound && id.bytes().any(|b| b != b'0')).then_some(id)
}

fn new_trace_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Outermost layer: marks the request, counts it, and puts the marks on whatever answer
/// comes back, refusals and caught panics included.
pub async fn layer(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let marks = Marks::of(request.headers());
    let matched = request
        .extensions()
        .get::<MatchedPath>()
        .map(|p| p.as_str().to_owned());
    // The one request extension of the server: it must exist before any extractor runs.
    request.extensions_mut().insert(marks.clone());
    let method = request.method().clone();
    let keeps_alive = request.version() < Version::HTTP_2;
    let span = tracing::info_span!("request", id = %marks.request_id);
    let mut response = match request.extensions().get::<TwoLengths>() {
        Some(TwoLengths) => Refusal::two_lengths().into_response(),
        None => next.run(request).instrument(span).await,
    };
    marks.put(response.headers_mut());
    if keeps_alive && app.life.draining.is_cancelled() {
        // The next request is for another process.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    let endpoint = matched.as_deref().unwrap_or("other");
    app.metrics.answered(
        &method,
        endpoint,
        response.status(),
        marks.received.elapsed(),
    );
    tracing::debug!(request_id = %marks.request_id, %method, endpoint,
        status = response.status().as_u16(), "answered");
    response
}

impl<S: Sync> FromRequestParts<S> for Marks {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        trace_id(&headers)
    }

    #[test]
    fn the_callers_trace_id_is_kept() {
        assert_eq!(traced("x-portkey-trace-id", "my trace"), "my trace");
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            traced("traceparent", parent),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
    }

    #[test]
    fn a_bad_one_is_replaced_and_never_empty() {
        for bad in ["", "  ", &"x".repeat(129), "caf\u{e9}"] {
            assert_eq!(traced("x-portkey-trace-id", bad).len(), 32, "{bad:?}");
        }
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        assert_ne!(traced("traceparent", &zero), "0".repeat(32));
    }
}
