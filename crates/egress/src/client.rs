//! The client: one connection pool per zone, every wait bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use tokio::time::Instant;
use url::Url;

use crate::allow::AllowList;
use crate::body::{Body, Deadline};
use crate::connect::{Attempt, ConnectTimer, whole_ms};
use crate::error::{Phase, SendError};
use crate::guard::{Forbidden, Rules, Target, Zone};
use crate::header::strip_hop_by_hop;
use crate::own::Own;
use crate::resolve::{GuardedResolver, Lookup, system_lookup};
use crate::spelling::parse_url;

/// Idle connections kept per host.
const MAX_IDLE_PER_HOST: usize = 64;

/// An idle connection is not used again after this. Many servers (llama.cpp, uvicorn, Node) close
/// theirs after 5 s, and a request that meets the closing is lost.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// How often a live HTTP/2 connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// What the client is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What callers' MCP servers may reach beyond the public Internet.
    pub mcp_allow: AllowList,
    /// What providers may reach beyond public and private addresses.
    pub provider_allow: AllowList,
    /// Longest wait for DNS, TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest wait from sending to the head of the answer. Default 300 s.
    pub first_byte_timeout: Duration,
    /// Longest wait between two pieces of a body. Default 120 s.
    pub idle_timeout: Duration,
    /// Most bytes of one body, counted after decompression. Default 64 MiB.
    pub max_body_bytes: usize,
    /// Where this process itself listens: nothing opens that.
    pub own: Own,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mcp_allow: AllowList::default(),
            provider_allow: AllowList::default(),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(120),
            max_body_bytes: 64 * 1024 * 1024,
            own: Own::default(),
        }
    }
}

/// Bounds of one call; `None` takes the value of [`Settings`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Longest wait from sending to the head of the answer.
    pub first_byte: Option<Duration>,
    /// Longest wait between two pieces of the body.
    pub idle: Option<Duration>,
    /// Longest duration of the whole call, body included; `None` means no such bound.
    pub total: Option<Duration>,
    /// Most bytes of the body, counted after decompression.
    pub max_body_bytes: Option<usize>,
}

/// Where the time before the body went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// DNS, TCP and TLS; `None` when a pooled connection served the call.
    pub connect_ms: Option<u64>,
    /// From the call of [`Client::send`] to the head of the answer, connecting included.
    pub wait_ms: u64,
}

impl Timing {
    /// The wait without the time that connecting took.
    pub fn wait_after_connect_ms(&self) -> u64 {
        self.wait_ms.saturating_sub(self.connect_ms.unwrap_or(0))
    }
}

/// The head of an answer and the way to its body.
#[derive(Debug)]
pub struct Response {
    /// Status as the server sent it; a redirect is an answer like any other.
    pub status: http::StatusCode,
    /// Headers as the server sent them, without those of the connection, and without
    /// `Content-Encoding` and `Content-Length` when the body was compressed.
    pub headers: http::HeaderMap,
    /// The body, decompressed.
    pub body: Body,
    /// Where the time went so far.
    pub timing: Timing,
}

/// The HTTP client could not be built: the TLS set-up failed.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up: {0}")]
pub struct BuildError(#[source] reqwest::Error);

/// The only way out of the process. Cheap to clone; clones share their pools.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    provider: Lane,
    mcp: Lane,
    settings: Settings,
}

/// One zone: its rules and its connections.
#[derive(Debug)]
struct Lane {
    rules: Arc<Rules>,
    http: reqwest::Client,
    /// False when the system has no root certificates, so that no https peer is trusted.
    rooted: bool,
}

impl Client {
    /// Builds the client and loads the system's root certificates, once.
    ///
    /// # Errors
    /// [`BuildError`] when the TLS library cannot be set up. A system without any root
    /// certificate is no error, but every https call will fail; a warning says so.
    pub fn new(settings: Settings) -> Result<Self, BuildError> {
        Self::with_lookup(settings, &system_lookup())
    }

    pub(crate) fn with_lookup(settings: Settings, lookup: &Lookup) -> Result<Self, BuildError> {
        let lane = |zone, allow: &AllowList| {
            Lane::new(
                Rules {
                    zone,
                    allow: allow.clone(),
                    own: settings.own.clone(),
                },
                settings.connect_timeout,
                lookup,
            )
        };
        let provider = lane(Zone::Provider, &settings.provider_allow)?;
        let mcp = lane(Zone::Mcp, &settings.mcp_allow)?;
        if !mcp.rooted {
            tracing::warn!(
                "this system has no root certificates, so https calls will fail: install \
                 ca-certificates or set SSL_CERT_FILE"
            );
        }
        Ok(Self {
            inner: Arc::new(Inner {
                provider,
                mcp,
                settings,
            }),
        })
    }

    /// What the client was built from.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// False when this system has no root certificates: every https call will fail.
    pub fn has_root_certificates(&self) -> bool {
        self.inner.mcp.rooted
    }

    /// Judges scheme, host name, literal address, user info and port without asking DNS.
    ///
    /// # Errors
    /// [`Forbidden`] says what is wrong in public words. `Ok` is not yet leave to go: the addresses
    /// are judged when [`Client::send`] knows them.
    pub fn check(&self, zone: Zone, url: &Url) -> Result<(), Forbidden> {
        self.lane(zone).rules.check_url(url).map(drop)
    }

    /// True when the operator's allow-list names this host, or the network of its literal
    /// address: an inside server that only the gateway can reach. A name that merely resolves
    /// into a listed network is not known without DNS and gives false.
    pub fn is_allow_listed(&self, zone: Zone, url: &Url) -> bool {
        self.lane(zone).rules.is_listed(url)
    }

    /// Sends one request, once, and waits for the head of the answer.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::may_have_been_sent`] tells whether the server may have seen
    /// the request. Dropping the future cancels the call.
    pub async fn send(
        &self,
        zone: Zone,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<Response, SendError> {
        let started = Instant::now();
        let deadline = Deadline::after(limits.total);
        let lane = self.lane(zone);
        let (request, target) = lane.admit(request)?;
        let host = target.host.to_string();
        let attempt = Attempt::new(target);
        let settings = &self.inner.settings;
        let wait = limits.first_byte.unwrap_or(settings.first_byte_timeout);
        let sending = Box::pin(attempt.watch(lane.http.execute(request)));
        let sent = deadline.within(Phase::FirstByte, wait, sending).await?;
        let mut inner = sent.map_err(|error| SendError::sort(&error, &host))?;
        let mut headers = std::mem::take(inner.headers_mut());
        strip_hop_by_hop(&mut headers);
        Ok(Response {
            status: inner.status(),
            headers,
            timing: Timing {
                connect_ms: attempt.connect_ms(),
                wait_ms: whole_ms(started.elapsed()),
            },
            body: Body {
                inner,
                host,
                idle: limits.idle.unwrap_or(settings.idle_timeout),
                deadline,
                limit_bytes: limits.max_body_bytes.unwrap_or(settings.max_body_bytes),
                seen_bytes: 0,
            },
        })
    }

    fn lane(&self, zone: Zone) -> &Lane {
        match zone {
            Zone::Provider => &self.inner.provider,
            Zone::Mcp => &self.inner.mcp,
        }
    }
}

impl Lane {
    fn new(rules: Rules, connect_timeout: Duration, lookup: &Lookup) -> Result<Self, BuildError> {
        let rules = Arc::new(rules);
        let resolver = GuardedResolver {
            rules: Arc::clone(&rules),
            lookup: Arc::clone(lookup),
        };
        let resolver = Arc::new(resolver);
        let builder = || http_builder(connect_timeout).dns_resolver(Arc::clone(&resolver));
        // A bare machine may have no root certificates; plain http to inside hosts must still work.
        let (http, rooted) = match builder().build() {
            Ok(http) => (http, true),
            Err(_) => (
                builder().tls_certs_only([]).build().map_err(BuildError)?,
                false,
            ),
        };
        Ok(Self {
            rules,
            http,
            rooted,
        })
    }

    /// Judges a request and turns it into the library's own. The URL that was judged is the one
    /// that is sent.
    fn admit(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<(reqwest::Request, Target), SendError> {
        let (head, body) = request.into_parts();
        let url = parse_url(&head.uri.to_string())?;
        let target = self.rules.check_url(&url)?;
        let mut admitted = reqwest::Request::new(head.method, url);
        let mut headers = head.headers;
        strip_hop_by_hop(&mut headers);
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        *admitted.headers_mut() = headers;
        if !body.is_empty() {
            *admitted.body_mut() = Some(body.into());
        }
        Ok((admitted, target))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that opens sockets"
)]
fn http_builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("portunus/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .connector_layer(ConnectTimer)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .pool_idle_timeout(MAX_IDLE)
        .http2_keep_alive_interval(PING_INTERVAL)
}

#[cfg(test)]
mod tests;
