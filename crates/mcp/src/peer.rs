//! One server as the transports see it: address, headers, limits, and the sending of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request};
use portunus_egress::{Client, Limits, Response, Zone};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::bounds::Bounds;
use crate::error::Meter;
use crate::fault::Fault;
use crate::message::Params;
use crate::spec::{Secrets, ServerSpec};

/// What a pool shares with every peer.
#[derive(Clone)]
pub(crate) struct Wiring {
    pub(crate) client: Client,
    pub(crate) bounds: Bounds,
    pub(crate) ids: Arc<AtomicU64>,
    /// Notices of cancellation that are still on their way.
    pub(crate) notices: TaskTracker,
}

/// A server with the credential of one operation. Lives as long as the operation.
pub(crate) struct Peer {
    pub(crate) wiring: Wiring,
    pub(crate) url: Url,
    head: HeaderMap,
    secrets: Secrets,
}

/// One request to a server, whatever its transport.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    pub(crate) params: Params<'a>,
    /// `Mcp-Param-*` headers (2026-07-28 only).
    pub(crate) mirrored: HeaderMap,
    pub(crate) deadline: Instant,
    /// Largest answer.
    pub(crate) max_bytes: usize,
}

/// Event streams carry progress and comments beside the answer: their whole may be this many
/// times larger than the answer itself.
const STREAM_FACTOR: usize = 4;

impl Peer {
    pub(crate) fn new(wiring: Wiring, spec: &ServerSpec) -> Arc<Self> {
        Arc::new(Self {
            wiring,
            url: spec.url.clone(),
            head: spec.head(),
            secrets: spec.secrets(),
        })
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.wiring.bounds
    }

    /// An id that no other request of this process carries.
    pub(crate) fn next_id(&self) -> u64 {
        self.wiring.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// `text` without secrets; for everything that a server says and we repeat.
    pub(crate) fn blank(&self, text: &str) -> String {
        self.secrets.blank(text)
    }

    /// Posts a JSON-RPC message to `url`, which is the server's own or of the same origin.
    pub(crate) async fn post(
        &self,
        url: &Url,
        extra: &HeaderMap,
        body: Bytes,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Response, Fault> {
        let mut head = extra.clone();
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        self.send(Method::POST, url, head, body, limit, meter).await
    }

    /// Opens an event stream at the server's URL.
    pub(crate) async fn get(
        &self,
        extra: &HeaderMap,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Response, Fault> {
        let mut head = extra.clone();
        head.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.send(Method::GET, &self.url, head, Bytes::new(), limit, meter)
            .await
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        own: HeaderMap,
        body: Bytes,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Response, Fault> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = without_fragment(url)
            .parse()
            .map_err(|_| Fault::Odd("the URL cannot be requested".to_owned()))?;
        *request.headers_mut() = self.head.clone();
        request.headers_mut().extend(own);
        let begun = Instant::now();
        let sent = self.wiring.client.send(Zone::Mcp, request, limit.limits());
        match timeout_at(limit.deadline, sent).await {
            Ok(Ok(response)) => {
                let timing = response.timing;
                meter.connect += Duration::from_millis(timing.connect_ms.unwrap_or(0));
                meter.wait += Duration::from_millis(timing.wait_after_connect_ms());
                Ok(response)
            }
            Ok(Err(error)) => {
                meter.wait += begun.elapsed();
                Err(error.into())
            }
            Err(_) => {
                meter.wait += begun.elapsed();
                Err(Fault::Deadline)
            }
        }
    }

    /// Posts something whose answer does not matter, within `side_timeout`. The body of the
    /// answer is read a little, so that the connection can be used again.
    pub(crate) async fn tell(
        &self,
        url: &Url,
        extra: &HeaderMap,
        body: Bytes,
    ) -> Result<http::StatusCode, Fault> {
        let limit = Limit {
            deadline: Instant::now() + self.bounds().side_timeout,
            max_bytes: 64 << 10,
            open_end: false,
        };
        let mut response = self
            .post(url, extra, body, limit, &mut Meter::default())
            .await?;
        let is_stream = crate::reply::is_event_stream(&response.headers);
        while !is_stream
            && matches!(
                timeout_at(limit.deadline, response.body.chunk()).await,
                Ok(Ok(Some(_)))
            )
        {}
        Ok(response.status)
    }
}

/// Until when, and how much, one HTTP exchange may take.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) deadline: Instant,
    pub(crate) max_bytes: usize,
    /// The body is a stream that outlives this operation: only its head has a deadline.
    pub(crate) open_end: bool,
}

impl Limit {
    pub(crate) fn of(ask: &Ask<'_>) -> Self {
        Self {
            deadline: ask.deadline,
            max_bytes: ask.max_bytes,
            open_end: false,
        }
    }

    fn limits(&self) -> Limits {
        // Our own clock ends an operation; egress only needs to know that nobody waits
        // longer than that.
        let left = self.deadline.saturating_duration_since(Instant::now());
        let whole = Duration::from_secs(24 * 3600);
        Limits {
            first_byte: Some(left),
            idle: Some(if self.open_end { whole } else { left }),
            total: Some(if self.open_end { whole } else { left }),
            max_body_bytes: Some(self.max_bytes.saturating_mul(STREAM_FACTOR)),
        }
    }
}

fn without_fragment(url: &Url) -> &str {
    url.as_str().split('#').next().unwrap_or_default()
}
