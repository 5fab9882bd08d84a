//! Between the socket and hyper: what hyper leaves to others on a connection of HTTP/1.
//!
//! - hyper answers a head that it cannot read itself, in bare numbers: the answer becomes one
//!   like all others.
//! - It takes a head with both `Content-Length` and `Transfer-Encoding` and drops the first
//!   (RFC 9112 section 6.3 allows that): such a head is told to the service, which refuses it.
//! - It waits without end for a client that does not read: a write has a deadline here.
//! - It closes over bytes that are still coming in, and the reset that follows takes the answer
//!   with it: what comes in after an answer is read and dropped, for a moment.

mod head;
mod refusal;

use head::Heads;
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a client may still send after its last answer.
const LINGER: Duration = Duration::from_secs(2);
/// Pieces in which that is read.
const LINGER_BYTES: usize = 16 << 10;

/// What the two ends of hyper tell each other.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// A request is at work, so that what comes in is its body.
    busy: AtomicBool,
    /// Requests that were answered.
    answered: AtomicU32,
    /// The head that was read last has two lengths.
    two_lengths: AtomicBool,
}

impl Notes {
    /// A request begins; whether its head gives two lengths.
    pub(crate) fn begin(&self) -> bool {
        self.busy.store(true, Ordering::Relaxed);
        self.two_lengths.swap(false, Ordering::Relaxed)
    }

    /// The answer's head is there.
    pub(crate) fn end(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }
}

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// Longest wait for a client that does not read.
    pub(crate) write_timeout: Duration,
    /// Largest head, in bytes.
    pub(crate) header_bytes: usize,
    /// Most fields of a head.
    pub(crate) headers: usize,
}

/// A connection as hyper sees it.
pub(crate) struct Wire<S> {
    stream: S,
    notes: Arc<Notes>,
    caps: Caps,
    heads: Heads,
    /// What goes out in the place of hyper's own answer, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
    /// Runs while the client does not read.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs after the last answer.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, notes: Arc<Notes>, caps: Caps) -> Self {
        Self {
            stream,
            notes,
            heads: Heads::new(caps.header_bytes),
            caps,
            instead: None,
            stalled: None,
            linger: None,
        }
    }

    fn watch(&mut self, bytes: &[u8]) {
        if self.notes.busy.load(Ordering::Relaxed) {
            return;
        }
        let answered = self.notes.answered.load(Ordering::Relaxed);
        if self.heads.push(answered, bytes) {
            self.notes.two_lengths.store(true, Ordering::Relaxed);
        }
    }

    /// The deadline of a write that made no progress.
    fn timed<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<Result<T>>) -> Poll<Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let limit = self.caps.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        let late = "the client does not read its answer";
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, late)))
    }

    /// Writes our answer for hyper's; ready with `length` when it is out.
    fn write_instead(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<usize>> {
        while let Some((bytes, sent)) = &mut self.instead {
            let wrote = Pin::new(&mut self.stream).poll_write(cx, &bytes[*sent..]);
            match wrote {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => *sent += more,
                other => return self.timed(cx, other),
            }
            if *sent == bytes.len() {
                self.instead = None;
            }
        }
        Poll::Ready(Ok(length))
    }

    /// Whether hyper writes an answer of its own, so that ours is to go out.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() {
            self.instead = refusal::instead_of(bytes, &self.caps).map(|bytes| (bytes, 0));
        }
        self.instead.is_some()
    }

    /// Reads on until the client closes or the moment is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; LINGER_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let linger = self
                        .linger
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    if linger.deadline() <= Instant::now() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                // Nothing was on its way.
                Poll::Pending => match &mut self.linger {
                    Some(linger) => return linger.as_mut().poll(cx),
                    None => return Poll::Ready(()),
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.watch(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if self.is_replaced(bytes) {
            return self.write_instead(cx, bytes.len());
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let [only] = slices
            && self.is_replaced(only)
        {
            return self.write_instead(cx, only.len());
        }
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.timed(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.linger.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.timed(cx, shut))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}
