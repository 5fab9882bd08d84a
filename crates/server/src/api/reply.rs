//! The gateway's reply as HTTP: a place among the requests at work that is held to the last
//! byte, and last words for streams that the end of the process cuts.

use crate::answer::Refusal;
use crate::app::Life;
use crate::metrics::Metrics;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, StatusCode};
use portunus_gateway::{Reply, ReplyBody};
use portunus_protocol::error::{ErrorBody, kind};
use portunus_protocol::event;
use portunus_protocol::sse::{Decoder, Frame};
use prometheus_client::metrics::gauge::Gauge;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio_util::sync::WaitForCancellationFutureOwned;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const ENDING: &str = "The gateway is shutting down; the request was cut.";
const SHUTTING_DOWN: &str = "shutting_down";
/// An event that is longer is counted, but not looked into.
const EVENT_MAX_BYTES: usize = 32 << 20;

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
pub fn with_place(reply: Reply, place: Place, life: &Life) -> Response {
    let body = match reply.body {
        ReplyBody::Full(bytes) => Body::from(bytes),
        ReplyBody::Stream(inner) => Body::from_stream(Streaming {
            inner: Some(inner),
            cut: Box::pin(life.cut.clone().cancelled_owned()),
            heard: Heard::new(),
            _place: place,
        }),
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

type Inner = Pin<Box<dyn Stream<Item = Result<Bytes, Infallible>> + Send>>;

struct Streaming {
    inner: Option<Inner>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    heard: Heard,
    _place: Place,
}

impl Stream for Streaming {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match inner.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.heard.piece(&bytes);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.cut.as_mut().poll(cx).is_ready() => {
                self.inner = None;
                Poll::Ready(self.heard.last_words().map(Ok))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a stream has said so far: as much as is needed to end it in its own terms.
struct Heard {
    events: Decoder,
    /// Data of the first event, `response.created`.
    created: Option<String>,
    seen: u64,
    /// The terminal event is out.
    ended: bool,
}

impl Heard {
    fn new() -> Self {
        Self {
            events: Decoder::new(EVENT_MAX_BYTES),
            created: None,
            seen: 0,
            ended: false,
        }
    }

    fn piece(&mut self, bytes: &[u8]) {
        let Ok(frames) = self.events.push(bytes) else {
            // Passed over, but it was an event.
            self.events = Decoder::new(EVENT_MAX_BYTES);
            self.seen += 1;
            return;
        };
        for frame in frames {
            self.seen += 1;
            self.ended |= is_terminal(&frame);
            self.created.get_or_insert(frame.data);
        }
    }

    /// What is said when the end of the process cuts the stream; `None` when it has its end.
    fn last_words(&self) -> Option<Bytes> {
        let body = ErrorBody::new(kind::UNAVAILABLE, ENDING).code(SHUTTING_DOWN);
        (!self.ended).then(|| event::last_words(self.created.as_deref(), self.seen, &body))
    }
}

fn is_terminal(frame: &Frame) -> bool {
    // Without an `event:` line the type stands at the beginning of the data.
    let kind = frame.event.as_deref().or_else(|| frame.data.get(..40));
    let names = [
        "response.completed",
        "response.incomplete",
        "response.failed",
    ];
    names
        .iter()
        .any(|name| kind.unwrap_or_default().contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    fn place(metrics: &Metrics) -> Place {
        Admission::new(1).enter(metrics).unwrap()
    }

    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"},\"sequence_number\":0}\n\n";

    /// What a client gets of a stream that says `pieces` and is then cut.
    async fn cut_after(pieces: &[&'static str], metrics: &Metrics) -> Vec<String> {
        let life = Life::default();
        let said: Vec<_> = pieces
            .iter()
            .map(|text| Ok(Bytes::from_static(text.as_bytes())))
            .collect();
        let inner = futures_util::stream::iter(said).chain(futures_util::stream::pending());
        let reply = Reply {
            status: 200,
            headers: http::HeaderMap::new(),
            body: ReplyBody::Stream(Box::pin(inner)),
        };
        let mut stream = with_place(reply, place(metrics), &life)
            .into_body()
            .into_data_stream();
        for _ in pieces {
            assert!(stream.next().await.unwrap().is_ok());
        }
        assert_eq!(metrics.inflight.get(), 1);
        life.cut.cancel();
        let rest: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        rest.iter()
            .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_cut_stream_ends_with_error_and_failed() {
        let metrics = Metrics::default();
        // The second event comes in two pieces, the third is cut.
        let pieces = [CREATED, "data: {\"type\":", "\"x\"}\n\ndata: {\"half"];
        let words = cut_after(&pieces, &metrics).await.concat();
        let mut lines = words.trim().lines();
        assert!(words.starts_with("\n\n"), "{words}");
        assert_eq!(lines.next(), Some("event: error"));
        let error = lines.next().unwrap();
        for part in [
            "\"sequence_number\":2,\"error\":{",
            "\"code\":\"shutting_down\"",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(lines.nth(1), Some("event: response.failed"));
        let failed = lines.next().unwrap();
        for part in [
            "\"sequence_number\":3",
            "\"id\":\"resp_1\"",
            "\"status\":\"failed\"",
        ] {
            assert!(failed.contains(part), "{failed}");
        }
        assert_eq!(metrics.inflight.get(), 0);
    }

    #[tokio::test]
    async fn a_stream_that_has_its_end_gets_no_second_one() {
        let metrics = Metrics::default();
        for end in [
            "event: response.completed\ndata: {}\n\n",
            "data: {\"type\":\"response.incomplete\",\"response\":{}, \"sequence_number\":9}\n\n",
        ] {
            assert!(cut_after(&[CREATED, end], &metrics).await.is_empty());
        }
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
