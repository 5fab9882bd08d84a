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
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::WaitForCancellationFutureOwned;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const ENDING: &str = "The gateway is shutting down; the request was cut.";

/// How many model requests may be at work.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
}

/// A place among the requests at work; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    inflight: Gauge,
}

impl Admission {
    /// Room for this many requests.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 503 with `retry-after` when all are taken.
    pub fn enter(&self, metrics: &Metrics) -> Result<Place, Refusal> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            metrics.shed("concurrency");
            Refusal::busy("Too many requests are at work (setting limits.concurrency). Try again.")
        })?;
        metrics.inflight.inc();
        Ok(Place {
            _permit: permit,
            inflight: metrics.inflight.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
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
            last: Bytes::new(),
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
    let body = ErrorBody::new(kind::UNAVAILABLE, ENDING).code("shutting_down");
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
    last: Bytes,
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
                self.last = bytes.clone();
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.cut.as_mut().poll(cx).is_ready() => {
                self.inner = None;
                Poll::Ready(Some(Ok(last_words(&self.last))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An `error` event in OpenAI's form that follows on the events sent so far.
fn last_words(last: &[u8]) -> Bytes {
    let event = json!({
        "type": "error", "code": "shutting_down", "message": ENDING, "param": null,
        "sequence_number": sequence_number(last).map_or(0, |number| number + 1),
    });
    // The last piece may have ended inside of an event; a blank line ends it.
    let end = if last.is_empty() || last.ends_with(b"\n\n") {
        ""
    } else {
        "\n\n"
    };
    Bytes::from(format!("{end}event: error\ndata: {event}\n\n"))
}

/// The last sequence number that was sent.
fn sequence_number(sent: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(sent);
    let (_, after) = text.rsplit_once("\"sequence_number\":")?;
    let digits: String = after
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use tokio_util::sync::CancellationToken;

    fn place(metrics: &Metrics) -> Place {
        Admission::new(1).enter(metrics).unwrap()
    }

    #[tokio::test]
    async fn a_cut_stream_ends_with_an_error_event() {
        let metrics = Metrics::default();
        let life = Life {
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let first = Bytes::from_static(b"data: {\"type\":\"x\",\"sequence_number\":41}\n\n");
        let inner = futures_util::stream::iter([Ok(first)]).chain(futures_util::stream::pending());
        let reply = Reply {
            status: 200,
            headers: http::HeaderMap::new(),
            body: ReplyBody::Stream(Box::pin(inner)),
        };
        let mut stream = with_place(reply, place(&metrics), &life)
            .into_body()
            .into_data_stream();
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(metrics.inflight.get(), 1);
        life.cut.cancel();
        let words = stream.next().await.unwrap().unwrap();
        let words = std::str::from_utf8(&words).unwrap();
        assert!(words.starts_with("event: error\ndata: {"), "{words}");
        assert!(words.contains("\"sequence_number\":42"), "{words}");
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

    #[test]
    fn words_after_half_an_event_begin_a_new_one() {
        assert!(last_words(b"data: {\"a\"").starts_with(b"\n\nevent: error"));
        assert!(last_words(b"").starts_with(b"event: error"));
    }
}
