//! The body of an answer: decompressed, counted and timed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::error::{Phase, SendError};

/// No wait is longer, so that adding one to a clock cannot overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The end of the whole call, which cuts every other wait short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(total: Option<Duration>) -> Self {
        Self(total.map(|total| Instant::now() + total.min(LONGEST_WAIT)))
    }

    /// Awaits `work` for at most `wait`; names the phase, or the total, whichever ends first.
    pub(crate) async fn within<F: Future>(
        self,
        phase: Phase,
        wait: Duration,
        work: F,
    ) -> Result<F::Output, SendError> {
        let own = Instant::now() + wait.min(LONGEST_WAIT);
        let (end, phase) = match self.0 {
            Some(total) if total < own => (total, Phase::Total),
            _ => (own, phase),
        };
        timeout_at(end, work)
            .await
            .map_err(|_| SendError::Timeout(phase))
    }
}

/// The body of an answer. Dropping it closes the stream, which cancels the call upstream.
#[derive(Debug)]
pub struct Body {
    pub(crate) inner: reqwest::Response,
    pub(crate) host: String,
    pub(crate) idle: Duration,
    pub(crate) deadline: Deadline,
    pub(crate) limit_bytes: usize,
    pub(crate) seen_bytes: usize,
}

impl Body {
    /// The next piece, decompressed; `None` at the end.
    ///
    /// # Errors
    /// [`SendError::Timeout`] with `Idle` or `Total`, [`SendError::TooLarge`] once more than the
    /// limit was decompressed, [`SendError::Protocol`] when the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        let reading = self.inner.chunk();
        let read = self
            .deadline
            .within(Phase::Idle, self.idle, reading)
            .await?;
        let piece = read.map_err(|error| SendError::sort(&error, &self.host))?;
        let Some(piece) = piece else { return Ok(None) };
        self.seen_bytes = self.seen_bytes.saturating_add(piece.len());
        if self.seen_bytes > self.limit_bytes {
            return Err(SendError::TooLarge {
                limit_bytes: self.limit_bytes,
            });
        }
        Ok(Some(piece))
    }

    /// The whole rest of the body.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub async fn bytes(mut self) -> Result<Bytes, SendError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Bytes read so far, after decompression.
    pub fn seen_bytes(&self) -> usize {
        self.seen_bytes
    }
}
