//! Connections in, and their end: hyper-util's builder with timers and caps (`axum::serve` has
//! no header timeout), one task per connection, a shutdown in steps.

use crate::app::Shared;
use crate::cli::out::complain;
use crate::in_use::{self, InUse};
use crate::live::{Live, ms};
use crate::local::Local;
use crate::{connection, examine, files, router, upkeep};
use anyhow::{Context, Result, anyhow};
use axum::Router;
use futures_util::FutureExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections at a time to what is not for callers: probes, the socket in the data folder.
const SIDE_CONNECTIONS: usize = 256;
/// How long the accept loop rests when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long cut requests have to send their last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A bound gateway that is not serving yet.
pub struct Server {
    app: Shared,
    api: TcpListener,
    metrics: Option<TcpListener>,
    local: Option<Local>,
    secure: bool,
    serving: Option<InUse>,
}

impl Server {
    /// Binds the listeners that the settings name.
    ///
    /// # Errors
    /// When another gateway serves the data folder, an address cannot be bound or the TLS files
    /// are no good.
    pub async fn bind(app: Shared) -> Result<Self> {
        let live = app.live();
        let settings = &live.settings;
        // Only SQLite is one gateway's alone.
        let serving = match settings.database_url().starts_with("sqlite:") {
            true => Some(in_use::serving(&settings.data_dir)?),
            false => None,
        };
        let tls = examine::acceptor(settings).map_err(|problem| anyhow!(problem.message))?;
        let api = bind(settings.listen, "listen").await?;
        let metrics = match settings.metrics.listen {
            Some(address) => Some(bind(address, "metrics.listen").await?),
            None => None,
        };
        let local = Local::bind(&settings.data_dir)
            .inspect_err(|error| tracing::warn!(%error, "no socket in the data folder"))
            .ok();
        let listeners = std::iter::once(&api).chain(&metrics);
        let own = listeners.filter_map(|listener| listener.local_addr().ok());
        live.client().settings().own.set(own.collect());
        let secure = tls.is_some();
        app.go_live(Live {
            tls,
            ..Live::clone(&live)
        });
        Ok(Self {
            app,
            api,
            metrics,
            local,
            secure,
            serving,
        })
    }

    /// Where the API listens; the port is real when 0 was asked for.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.api.local_addr()
    }

    /// Where the metrics have a listener of their own.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// `http://127.0.0.1:8787`, `https://…` with TLS.
    ///
    /// # Errors
    /// When the system does not tell the address.
    pub fn base_url(&self) -> std::io::Result<String> {
        let scheme = if self.secure { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.address()?))
    }

    /// Serves until `stop`, then ends in steps: `/readyz` says 503; the listeners close; running
    /// requests have `shutdown.grace_ms`; those left are told and cut; the log is written out.
    /// `now` ends the waiting.
    pub async fn run(self, stop: CancellationToken, now: CancellationToken) {
        let app = Arc::clone(&self.app);
        let _until_the_end = self.serving;
        upkeep::start(&app).await;
        let closed = CancellationToken::new();
        let api = Front::new(router::api(&app), &closed, &app);
        let mut listeners = JoinSet::new();
        if let Some(local) = self.local {
            listeners.spawn(api.clone().serve(local));
        }
        let connections = files::connections(app.live().settings.limits.connections);
        let api = Front {
            secure: self.secure,
            slots: Arc::new(Semaphore::new(connections)),
            ..api
        };
        listeners.spawn(api.serve(self.api));
        if let Some(listener) = self.metrics {
            let front = Front::new(router::probes(&app), &closed, &app);
            listeners.spawn(front.serve(listener));
        }
        stop.cancelled().await;
        tokio::select! {
            () = drain(&app, &closed, &mut listeners) => {}
            () = now.cancelled() => tracing::warn!("second signal: ending at once"),
        }
        // What is left is dropped here and now, so that it has filed its row before the log ends.
        app.life.cut.cancel();
        app.life.gone.cancel();
        closed.cancel();
        while listeners.join_next().await.is_some() {}
        app.close().await;
    }
}

/// Serves something else beside the gateway, with the same timers and caps, until `closed`.
pub fn beside(
    app: &Shared,
    router: Router,
    listener: TcpListener,
    closed: &CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    Front::new(router, closed, app).serve(listener)
}

async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (setting {setting})"))
}

/// The steps of an orderly end, after the signal.
async fn drain(app: &Shared, closed: &CancellationToken, listeners: &mut JoinSet<()>) {
    let shutdown = &app.live().settings.shutdown;
    complain(&format!(
        "portunus is ending: {} requests still run; they have {} ms, a second signal ends at once",
        app.metrics.inflight.get(),
        shutdown.grace_ms
    ));
    app.life.draining.cancel();
    app.metrics.draining();
    tokio::time::sleep(Duration::from_millis(shutdown.delay_ms)).await;
    closed.cancel();
    let finished = async { while listeners.join_next().await.is_some() {} };
    tokio::pin!(finished);
    let grace = Duration::from_millis(shutdown.grace_ms);
    if tokio::time::timeout(grace, &mut finished).await.is_ok() {
        return;
    }
    tracing::warn!(
        grace_ms = shutdown.grace_ms,
        "grace is over: cutting what still runs"
    );
    app.life.cut.cancel();
    let _cut_or_dropped = tokio::time::timeout(LAST_WORDS, finished).await;
}

/// A connection's bytes.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// What connections come from.
trait Accept: Send + Sync + 'static {
    type Stream: Stream;

    fn accept(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> std::io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Ok(stream)
    }
}

impl Accept for Local {
    type Stream = UnixStream;

    async fn accept(&self) -> std::io::Result<UnixStream> {
        let (stream, _) = UnixListener::accept(&self.listener).await?;
        Ok(stream)
    }
}

/// What all connections of one listener share.
#[derive(Clone)]
struct Front {
    router: Router,
    slots: Arc<Semaphore>,
    /// Whether it speaks TLS; with which certificate, the live settings say.
    secure: bool,
    closed: CancellationToken,
    app: Shared,
}

impl Front {
    fn new(router: Router, closed: &CancellationToken, app: &Shared) -> Self {
        Self {
            router,
            slots: Arc::new(Semaphore::new(SIDE_CONNECTIONS)),
            secure: false,
            closed: closed.clone(),
            app: Arc::clone(app),
        }
    }

    /// Accepts until closed, then waits for the connections to finish what they do.
    async fn serve<L: Accept>(self, listener: L) {
        let mut connections = JoinSet::new();
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.closed.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.accept(&listener) => match accepted {
                    Ok((stream, slot)) => {
                        failing = false;
                        connections.spawn(self.clone().until_gone(stream, slot));
                    }
                    Err(error) => {
                        // One line for each time that it begins.
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "cannot accept connections");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        // Who has connected already is served; the system would reset those that nobody took.
        let late = Self {
            closed: CancellationToken::new(),
            ..self.clone()
        };
        tokio::task::yield_now().await;
        while let Some(Ok((stream, slot))) = self.accept(&listener).now_or_never() {
            connections.spawn(late.clone().until_gone(stream, slot));
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// The next connection, once there is a slot for it.
    async fn accept<L: Accept>(
        &self,
        listener: &L,
    ) -> std::io::Result<(L::Stream, Option<OwnedSemaphorePermit>)> {
        // Never closed, so there is always a permit in the end.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        Ok((listener.accept().await?, slot))
    }

    async fn until_gone<S: Stream>(self, stream: S, _slot: Option<OwnedSemaphorePermit>) {
        let _open = Open::new(&self.app);
        tokio::select! {
            () = self.connection(stream) => {}
            () = self.app.life.gone.cancelled() => {}
        }
    }

    async fn connection<S: Stream>(&self, stream: S) {
        let live = self.app.live();
        let (limits, tls) = (&live.settings.limits, live.tls.as_ref());
        let Some(tls) = tls.filter(|_| self.secure) else {
            return connection::serve(stream, limits, &self.router, &self.closed).await;
        };
        let handshake = tls.accept(stream);
        match tokio::time::timeout(ms(limits.header_timeout_ms), handshake).await {
            Ok(Ok(stream)) => connection::serve(stream, limits, &self.router, &self.closed).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
    }
}

/// Counts an open connection for as long as it lives.
struct Open(Shared);

impl Open {
    fn new(app: &Shared) -> Self {
        app.metrics.connections.inc();
        Self(Arc::clone(app))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
