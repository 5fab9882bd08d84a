//! What one call tells the resolver and learns from the connector.
//!
//! The HTTP library asks its resolver for a bare name and its connector for an opaque request, so
//! the port, the scheme and the clock travel beside the call in a task-local.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service};

use crate::guard::Target;

tokio::task_local! {
    static ATTEMPT: Arc<Attempt>;
}

/// One call on its way: where it wants to go and how long its own connection took to open.
#[derive(Debug)]
pub(crate) struct Attempt {
    target: Target,
    connected: OnceLock<Duration>,
}

impl Attempt {
    pub(crate) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self {
            target,
            connected: OnceLock::new(),
        })
    }

    /// Runs `call` with this attempt in sight of the resolver and the connector.
    pub(crate) async fn watch<F: Future>(self: &Arc<Self>, call: F) -> F::Output {
        ATTEMPT.scope(Arc::clone(self), call).await
    }

    /// Milliseconds for DNS, TCP and TLS; `None` when a pooled connection served the call.
    pub(crate) fn connect_ms(&self) -> Option<u64> {
        self.connected.get().copied().map(whole_ms)
    }
}

/// Whole milliseconds of a wait.
pub(crate) fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// The target of the call that is being polled.
pub(crate) fn current_target() -> Option<Target> {
    ATTEMPT.try_with(|attempt| attempt.target.clone()).ok()
}

/// Measures how long the connector takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTimer;

impl<S> Layer<S> for ConnectTimer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timed { inner }
    }
}

/// A connector with a stop-watch.
#[derive(Clone, Debug)]
pub(crate) struct Timed<S> {
    inner: S,
}

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // Taken now: the library may move a connection that lost its race to another task.
        let attempt = ATTEMPT.try_with(Arc::clone).ok();
        let started = Instant::now();
        let connecting = self.inner.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            if let Some(attempt) = attempt {
                attempt.connected.get_or_init(|| started.elapsed());
            }
            Ok(connection)
        })
    }
}
