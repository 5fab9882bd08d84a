//! One connection: hyper with timers and caps, between a watched stream and the router.

use crate::live::ms;
use crate::marks::TwoLengths;
use crate::pace::Pace;
use crate::settings::Limits;
use crate::wire::{Caps, Notes, Wire};
use axum::Router;
use axum::response::Response;
use futures_util::TryFutureExt;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Most HTTP/2 requests at a time on one connection.
const H2_STREAMS: u32 = 100;
/// How long a connection that is to end may take for it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection to its end; once `closed`, what it is asked is finished and no more.
pub(crate) async fn serve<S>(
    stream: S,
    limits: &Limits,
    router: &Router,
    closed: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let caps = Caps {
        write_timeout: ms(limits.write_timeout_ms),
        header_bytes: limits.header_bytes,
        headers: limits.headers,
    };
    let talk = Talk::new(router);
    let wire = Wire::new(stream, Arc::clone(&talk.notes), caps);
    let service = service_fn(|request| talk.answer(request));
    let builder = builder(limits);
    let connection = builder.serve_connection(TokioIo::new(wire), service);
    tokio::pin!(connection);
    let rest = tokio::select! {
        ended = connection.as_mut() => return end(ended),
        () = silent(&talk.spoke, ms(limits.header_timeout_ms)) => {
            return tracing::debug!("no request within the header timeout");
        }
        () = closed.cancelled() => None,
        over = talk.pace.over(caps.write_timeout) => {
            tracing::debug!(?over, "closing a connection");
            Some(LAST_WORDS)
        }
    };
    connection.as_mut().graceful_shutdown();
    match rest {
        None => end(connection.await),
        Some(rest) => drop(tokio::time::timeout(rest, connection).await),
    }
}

fn end<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// What the requests of one connection share.
struct Talk {
    router: Router,
    spoke: Notify,
    notes: Arc<Notes>,
    pace: Arc<Pace>,
}

impl Talk {
    fn new(router: &Router) -> Self {
        Self {
            router: router.clone(),
            spoke: Notify::new(),
            notes: Arc::default(),
            pace: Pace::new(),
        }
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + 'static {
        self.spoke.notify_one();
        if self.notes.begin() {
            request.extensions_mut().insert(TwoLengths);
        }
        // One of HTTP/1 is held to its pace by the writes.
        let turn = (request.version() == Version::HTTP_2).then(|| self.pace.begin());
        let notes = Arc::clone(&self.notes);
        let answer = self.router.clone().oneshot(request);
        answer.map_ok(move |answer| {
            notes.end();
            match turn {
                Some(turn) => turn.watch(answer),
                None => answer,
            }
        })
    }
}

/// Ends when a connection has not sent one whole request head in time. hyper's own timer does
/// not run while it still finds out which HTTP version the client speaks.
async fn silent(spoke: &Notify, limit: Duration) {
    if tokio::time::timeout(limit, spoke.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
