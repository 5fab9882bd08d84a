//! Revision 2024-11-05, HTTP with server-sent events: a GET stream names an endpoint, requests
//! are posted there, answers come on the stream.
//!
//! A stream serves one request at a time and is owned by it; between two requests it lies in
//! a small stock. So nobody has to read it in the background, and a cancelled request takes
//! its stream with it, which is the clearest sign of cancellation that this revision has.

use std::sync::Mutex;

use http::header::HeaderMap;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::error::Meter;
use crate::fault::Fault;
use crate::message::{self, Answer};
use crate::modern::PROTOCOL_VERSION;
use crate::peer::{Ask, Limit, Peer};
use crate::reply::{self, Frames, Responder};
use crate::streamable::{initialize, negotiated};

/// Idle streams that are kept for one server.
const MAX_STOCK: usize = 4;

/// An open stream with its endpoint.
pub(crate) struct EventStream {
    frames: Frames,
    endpoint: Url,
    head: HeaderMap,
    used: Instant,
    /// False once the stream has served a request.
    fresh: bool,
}

/// Streams of one server that wait for a request.
#[derive(Default)]
pub(crate) struct Stock(Mutex<Vec<EventStream>>);

/// Opens a stream and a session on it.
pub(crate) async fn open(
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<EventStream, Fault> {
    let probe = deadline.min(Instant::now() + peer.bounds().probe_timeout);
    let limit = Limit {
        deadline: probe,
        max_bytes: peer.bounds().max_result_bytes,
        open_end: true,
    };
    let response = peer.get(&HeaderMap::new(), limit, meter).await?;
    let mut frames = match (
        response.status.is_success(),
        reply::is_event_stream(&response.headers),
    ) {
        (true, true) => Frames::new(response.body, peer),
        (true, false) => return Err(Fault::Odd("GET gives no event stream".to_owned())),
        (false, _) => {
            // Only sorts the refusal: it cannot succeed.
            reply::open(peer, response, 1 << 16, meter).await?;
            return Err(Fault::Ended);
        }
    };
    let endpoint = timeout_at(probe, endpoint(peer, &mut frames, meter))
        .await
        .map_err(|_| Fault::Deadline)??;
    let mut stream = EventStream {
        frames,
        endpoint,
        head: HeaderMap::new(),
        used: Instant::now(),
        fresh: true,
    };
    stream.initialize(peer, deadline, meter).await?;
    Ok(stream)
}

/// The first event names the endpoint, absolute or relative, on the server's own origin.
async fn endpoint(peer: &Peer, frames: &mut Frames, meter: &mut Meter) -> Result<Url, Fault> {
    let frame = frames.frame(meter).await?.ok_or(Fault::Ended)?;
    if frame.event.as_deref() != Some("endpoint") {
        return Err(Fault::Odd(
            "the event stream does not begin with an endpoint".to_owned(),
        ));
    }
    let url = peer
        .url
        .join(frame.data.trim())
        .map_err(|_| Fault::Odd("the endpoint of the event stream is no URL".to_owned()))?;
    if url.origin() != peer.url.origin() {
        let why = "the endpoint of the event stream is on another origin";
        return Err(Fault::Odd(why.to_owned()));
    }
    Ok(url)
}

impl EventStream {
    async fn initialize(
        &mut self,
        peer: &Peer,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<(), Fault> {
        let id = peer.next_id();
        let body = message::request(id, "initialize", initialize());
        let limit = Limit {
            deadline,
            max_bytes: 1 << 20,
            open_end: false,
        };
        let answer = self.exchange(peer, id, body, limit, meter).await?;
        let (_, header) = negotiated(&reply::result(peer, answer)?)?;
        self.head.insert(PROTOCOL_VERSION, header);
        let body = message::notification("notifications/initialized", json!({}));
        match peer.tell(&self.endpoint, &self.head, body).await {
            Err(fault) if fault.is_unsent() && !fault.is_timeout() => Err(fault),
            _ => Ok(()),
        }
    }

    async fn ask(
        &mut self,
        peer: &Peer,
        ask: &Ask<'_>,
        meter: &mut Meter,
    ) -> Result<Answer, Fault> {
        let id = peer.next_id();
        let body = message::request(id, ask.method, ask.params);
        self.exchange(peer, id, body, Limit::of(ask), meter).await
    }

    async fn exchange(
        &mut self,
        peer: &Peer,
        id: u64,
        body: bytes::Bytes,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Answer, Fault> {
        let responder = Responder {
            peer,
            url: &self.endpoint,
            head: &self.head,
        };
        let post = post(peer, &self.endpoint, &self.head, body, limit);
        let answer = reply::await_answer(&mut self.frames, id, Some(responder), post, meter);
        timeout_at(limit.deadline, answer)
            .await
            .map_err(|_| Fault::Deadline)??
            .ok_or(Fault::Ended)
    }
}

/// Posts to the endpoint; only a refusal matters, the answer comes on the stream.
async fn post(
    peer: &Peer,
    endpoint: &Url,
    head: &HeaderMap,
    body: bytes::Bytes,
    limit: Limit,
) -> Result<Meter, Fault> {
    let mut meter = Meter::default();
    let response = peer.post(endpoint, head, body, limit, &mut meter).await?;
    if !response.status.is_success() {
        reply::open(peer, response, 1 << 16, &mut meter).await?;
    }
    Ok(meter)
}

impl Stock {
    /// A stock with one stream in it.
    pub(crate) fn with(stream: EventStream) -> Self {
        Self(Mutex::new(vec![stream]))
    }

    /// Sends one request on an idle stream or on a new one, and keeps the stream if it is
    /// still good. A request that an old stream's session refused is sent once more.
    pub(crate) async fn ask(
        &self,
        peer: &Peer,
        ask: &Ask<'_>,
        meter: &mut Meter,
    ) -> Result<Box<RawValue>, Fault> {
        // Lets the connections take note of what has already arrived, above all of an end.
        tokio::task::yield_now().await;
        let mut stream = match self.take(peer) {
            Some(stream) => stream,
            None => open(peer, ask.deadline, meter).await?,
        };
        let first = stream.ask(peer, ask, meter).await;
        let answer = match first {
            Err(fault) if !stream.fresh && fault.is_session_loss_before_run() => {
                stream = open(peer, ask.deadline, meter).await?;
                stream.ask(peer, ask, meter).await?
            }
            other => other?,
        };
        self.keep(stream, peer);
        reply::result(peer, answer)
    }

    fn take(&self, peer: &Peer) -> Option<EventStream> {
        let idle = peer.bounds().session_idle;
        let mut stock = self.0.lock().ok()?;
        while let Some(mut stream) = stock.pop() {
            if stream.used.elapsed() < idle && stream.frames.is_alive() {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, mut stream: EventStream, peer: &Peer) {
        // The body has a bound over its whole life: retire a stream long before it is met.
        let worn = stream.frames.bytes > peer.bounds().max_result_bytes;
        stream.used = Instant::now();
        stream.fresh = false;
        if let Ok(mut stock) = self.0.lock()
            && !worn
            && stock.len() < MAX_STOCK
        {
            stock.push(stream);
        }
    }
}
