//! The gateway's reply as HTTP, and a place among the requests at work that is held to its last
//! byte.

use crate::answer::Refusal;
use crate::metrics::Metrics;
use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, StatusCode};
use portunus_gateway::{Reply, ReplyBody};
use portunus_protocol::error::{ErrorBody, kind};
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const ENDING: &str = "The gateway is shutting down; the request was cut.";
const SHUTTING_DOWN: &str = "shutting_down";

/// How many model requests may be at work.
#[derive(Debug)]
pub struct Admission {
    most: AtomicUsize,
    taken: Arc<AtomicUsize>,
}

/// A place among the requests at work; given back when dropped.
#[derive(Debug)]
pub struct Place {
    taken: Arc<AtomicUsize>,
    inflight: Gauge,
}

impl Admission {
    /// Room for this many requests.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            most: AtomicUsize::new(places),
            taken: Arc::default(),
        }
    }

    /// Room for another number of requests; those at work stay.
    pub fn allow(&self, places: usize) {
        self.most.store(places, Ordering::Relaxed);
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 503 with `retry-after` when all are taken.
    pub fn enter(&self, metrics: &Metrics) -> Result<Place, Refusal> {
        // Dropped, and so given back, when it is one too many.
        let place = Place {
            taken: Arc::clone(&self.taken),
            inflight: metrics.inflight.clone(),
        };
        metrics.inflight.inc();
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.most.load(Ordering::Relaxed) {
            return Ok(place);
        }
        metrics.shed("concurrency");
        let message = "Too many requests are at work (setting limits.concurrency). Try again.";
        Err(Refusal::busy(message))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.inflight.dec();
    }
}

/// The reply as an answer; a stream keeps its place until its end.
pub fn with_place(reply: Reply, place: Place) -> Response {
    let body = match reply.body {
        ReplyBody::Full(bytes) => Body::from(bytes),
        ReplyBody::Stream(inner) => Body::from_stream(inner.inspect(move |_| {
            let _held = &place;
        })),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = reply.headers;
    response
}

/// The answer to a request that the end of the process cuts before its head. Tools may have
/// run, so no client is to repeat it.
#[must_use]
pub fn cut() -> Refusal {
    let body = ErrorBody::new(kind::UNAVAILABLE, ENDING).code(SHUTTING_DOWN);
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, body);
    refusal
        .headers
        .push((SHOULD_RETRY, HeaderValue::from_static("false")));
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn a_stream_keeps_its_place_to_its_end() {
        let metrics = Metrics::default();
        let reply = Reply {
            status: 200,
            headers: http::HeaderMap::new(),
            body: ReplyBody::Stream(Box::pin(futures_util::stream::iter([Ok(Bytes::new())]))),
        };
        let place = Admission::new(1).enter(&metrics).unwrap();
        let mut stream = with_place(reply, place).into_body().into_data_stream();
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(metrics.inflight.get(), 1);
        assert!(stream.next().await.is_none());
        drop(stream);
        assert_eq!(metrics.inflight.get(), 0);
    }

    #[test]
    fn a_full_house_is_503() {
        let metrics = Metrics::default();
        let admission = Admission::new(1);
        let held = admission.enter(&metrics).unwrap();
        assert_eq!(admission.enter(&metrics).unwrap_err().status, 503);
        drop(held);
        assert!(admission.enter(&metrics).is_ok());
    }
}
