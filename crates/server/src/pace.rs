//! Whether the client of an HTTP/2 connection takes what it asked for.
//!
//! A window that stays shut is no silence on the socket: pings go to and fro, and no timer of the
//! connection fires, while the answer waits. Here an answer is handed out in small pieces, and
//! each is owed until the next is asked for.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Largest piece: what HTTP/2 may hold of an answer that nobody reads.
const PIECE_BYTES: usize = 16 << 10;
/// After this long without a request or an answer a connection is closed.
const IDLE: Duration = Duration::from_secs(600);

/// The answers of one connection.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since when each piece is owed, by the number of its request.
    owed: HashMap<u64, Instant>,
    begun: u64,
    open: usize,
    /// The last beginning of a request or end of an answer.
    moved: Instant,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// An answer waits for its reader.
    Stalled,
    /// Nothing happens.
    Idle,
}

impl Pace {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            owed: HashMap::new(),
            begun: 0,
            open: 0,
            moved: Instant::now(),
        })))
    }

    /// Ends when the connection is to end; an answer may be owed for `limit`.
    pub(crate) async fn over(&self, limit: Duration) -> Over {
        loop {
            tokio::time::sleep(limit / 4).await;
            if let Some(over) = self.state().over(limit) {
                return over;
            }
        }
    }

    /// Counts a request in, until its answer is over.
    pub(crate) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.state();
        state.begun += 1;
        state.open += 1;
        state.moved = Instant::now();
        Turn {
            number: state.begun,
            pace: Arc::clone(self),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn over(&self, limit: Duration) -> Option<Over> {
        if self.owed.values().any(|since| since.elapsed() > limit) {
            return Some(Over::Stalled);
        }
        (self.begun > 0 && self.open == 0 && self.moved.elapsed() > IDLE).then_some(Over::Idle)
    }
}

/// A request and its answer.
pub(crate) struct Turn {
    number: u64,
    pace: Arc<Pace>,
}

impl Turn {
    /// The answer, its body held to the pace.
    pub(crate) fn watch(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|inner| {
            Body::new(Paced {
                inner,
                rest: Bytes::new(),
                turn: self,
            })
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.owed.remove(&self.number);
        state.open -= 1;
        state.moved = Instant::now();
    }
}

/// The body of an answer, in pieces.
struct Paced {
    inner: Body,
    rest: Bytes,
    turn: Turn,
}

impl Paced {
    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let mut state = self.turn.pace.state();
        state.owed.insert(self.turn.number, Instant::now());
        Frame::data(piece)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.turn.pace.state().owed.remove(&self.turn.number);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(next.map(|frame| {
            Ok(match frame?.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.piece()
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_is_whole_and_owed_between_its_pieces() {
        let pace = Pace::new();
        let sent = Bytes::from(vec![7; PIECE_BYTES * 2 + 5]);
        let answer = Response::new(Body::from(sent.clone()));
        let mut body = pace.begin().watch(answer).into_body();
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE_BYTES);
            assert_eq!(pace.state().over(Duration::ZERO), Some(Over::Stalled));
            assert_eq!(pace.state().over(Duration::from_secs(9)), None);
            got.extend_from_slice(&data);
        }
        assert_eq!(got, sent);
        assert_eq!(pace.state().over(Duration::ZERO), None);
        drop(body);
        assert_eq!(pace.state().open, 0);
    }

    #[test]
    fn a_request_that_waits_for_its_answer_is_no_silence() {
        let pace = Pace::new();
        drop(pace.begin());
        let long_ago = Instant::now().checked_sub(IDLE * 2).unwrap();
        pace.state().moved = long_ago;
        assert_eq!(pace.state().over(IDLE), Some(Over::Idle));
        let turn = pace.begin();
        pace.state().moved = long_ago;
        assert_eq!(pace.state().over(IDLE), None);
        drop(turn);
        assert_eq!(pace.state().over(IDLE), None);
    }

    #[tokio::test]
    async fn an_answer_that_is_dropped_is_not_owed() {
        let pace = Pace::new();
        let answer = Response::new(Body::from("x"));
        let mut body = pace.begin().watch(answer).into_body();
        assert!(body.frame().await.is_some());
        drop(body);
        assert_eq!(pace.state().over(Duration::ZERO), None);
    }
}
