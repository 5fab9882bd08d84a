//! Revisions 2025-03-26 to 2025-11-25: `initialize` opens a session; a POST is answered with
//! JSON or with an event stream that can be taken up again after a break.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::error::Meter;
use crate::fault::Fault;
use crate::message::{self, Answer};
use crate::modern::{PROTOCOL_VERSION, client_info};
use crate::peer::{Ask, Limit, Peer};
use crate::reply::{self, Frames, Reply, Responder};

/// The revision that we name; a server may answer with an older one.
const NEWEST: &str = "2025-11-25";
const KNOWN: [&str; 4] = [NEWEST, "2025-06-18", "2025-03-26", "2024-11-05"];

/// Longest name of an unknown revision that is taken.
const MAX_VERSION_CHARS: usize = 32;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Wait before a broken stream is taken up, when the server named none.
const DEFAULT_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// An open session: its headers and its revision.
pub(crate) struct Streamable {
    head: HeaderMap,
    pub(crate) version: &'static str,
}

/// Opens a session.
pub(crate) async fn open(
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Streamable, Fault> {
    let id = peer.next_id();
    let limit = Limit {
        deadline,
        max_bytes: 1 << 20,
        open_end: false,
    };
    let body = message::request(id, "initialize", initialize());
    let response = peer
        .post(&peer.url, &HeaderMap::new(), body, limit, meter)
        .await?;
    let session_id = response
        .headers
        .get(&SESSION_ID)
        .filter(|id| is_visible(id))
        .cloned();
    let answer = match reply::open(peer, response, limit.max_bytes, meter).await? {
        Reply::Whole(messages) => reply::pick(messages, id)?,
        Reply::Stream(mut frames) => reply::await_answer(&mut frames, id, None, pending(), meter)
            .await?
            .ok_or(Fault::Ended)?,
    };
    let (version, header) = negotiated(&reply::result(peer, answer)?)?;
    let mut head = HeaderMap::new();
    head.insert(PROTOCOL_VERSION, header);
    head.extend(session_id.map(|id| (SESSION_ID, id)));
    let session = Streamable { head, version };
    initialized(peer, &session).await?;
    Ok(session)
}

/// Parameters of `initialize`: no capability is declared.
pub(crate) fn initialize() -> serde_json::Value {
    json!({"protocolVersion": NEWEST, "capabilities": {}, "clientInfo": client_info()})
}

async fn initialized(peer: &Peer, session: &Streamable) -> Result<(), Fault> {
    let body = message::notification("notifications/initialized", json!({}));
    // Any answer will do, and none: a server that minds will say so at the next request.
    match peer.tell(&peer.url, &session.head, body).await {
        Err(fault) if fault.is_unsent() && !fault.is_timeout() => Err(fault),
        _ => Ok(()),
    }
}

/// The revision in an `initialize` result, and the header that names it from now on.
pub(crate) fn negotiated(result: &RawValue) -> Result<(&'static str, HeaderValue), Fault> {
    #[derive(Deserialize)]
    struct Fields {
        #[serde(rename = "protocolVersion")]
        version: String,
    }
    let fields: Fields = serde_json::from_str(result.get())
        .map_err(|_| Fault::Odd("the answer to initialize names no protocol version".to_owned()))?;
    if let Some(known) = KNOWN.iter().find(|known| **known == fields.version) {
        return Ok((known, HeaderValue::from_static(known)));
    }
    let short: String = fields.version.chars().take(MAX_VERSION_CHARS).collect();
    tracing::warn!(version = %short.escape_debug(), "MCP server names an unknown protocol version");
    // It is sent back as the server named it: that is what the server expects to see.
    let echo = HeaderValue::try_from(&fields.version)
        .ok()
        .filter(|_| short == fields.version);
    Ok((NEWEST, echo.unwrap_or(HeaderValue::from_static(NEWEST))))
}

fn is_visible(id: &HeaderValue) -> bool {
    !id.is_empty() && id.as_bytes().iter().all(|b| matches!(b, 0x21..=0x7e))
}

impl Streamable {
    /// Sends one request and reads its answer, over a break of the stream if need be. When the
    /// wait is given up, the server is told: to these revisions a closed stream says nothing.
    pub(crate) async fn ask(
        &self,
        peer: &Arc<Peer>,
        ask: &Ask<'_>,
        meter: &mut Meter,
    ) -> Result<Box<RawValue>, Fault> {
        let id = peer.next_id();
        let mut notice = CancelNotice {
            peer,
            head: &self.head,
            id: Some(id),
        };
        let answer = self.exchange(peer, id, ask, meter).await;
        if !matches!(&answer, Err(fault) if fault.is_timeout() && !fault.is_unsent()) {
            notice.id = None;
        }
        reply::result(peer, answer?)
    }

    async fn exchange(
        &self,
        peer: &Peer,
        id: u64,
        ask: &Ask<'_>,
        meter: &mut Meter,
    ) -> Result<Answer, Fault> {
        let body = message::request(id, ask.method, ask.params);
        let limit = Limit::of(ask);
        let response = peer.post(&peer.url, &self.head, body, limit, meter).await?;
        match reply::open(peer, response, ask.max_bytes, meter).await? {
            Reply::Whole(messages) => reply::pick(messages, id),
            Reply::Stream(frames) => self.follow(peer, id, *frames, limit, meter).await,
        }
    }

    /// Reads a stream until the answer, taking it up again after a break. A server that lets
    /// us come back in vain is given up after `max_resumes`.
    async fn follow(
        &self,
        peer: &Peer,
        id: u64,
        mut frames: Frames,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Answer, Fault> {
        let mut resumes = 0;
        loop {
            let responder = Responder {
                peer,
                url: &peer.url,
                head: &self.head,
            };
            let read =
                reply::await_answer(&mut frames, id, Some(responder), pending(), meter).await;
            let broken = match read {
                Ok(Some(answer)) => {
                    frames.release(peer);
                    return Ok(answer);
                }
                Ok(None) => Fault::Ended,
                Err(fault @ Fault::Send(_)) if !fault.is_timeout() => fault,
                Err(fault) => return Err(fault),
            };
            let Some(last) = frames.last_id.as_deref().and_then(|id| id.parse().ok()) else {
                return Err(broken);
            };
            if resumes == peer.bounds().max_resumes {
                return Err(broken);
            }
            resumes += 1;
            let pause = frames.retry.unwrap_or(DEFAULT_RETRY).min(MAX_RETRY);
            frames = self
                .resume(peer, last, pause, limit, meter)
                .await?
                .after(frames);
        }
    }

    async fn resume(
        &self,
        peer: &Peer,
        last: HeaderValue,
        pause: Duration,
        limit: Limit,
        meter: &mut Meter,
    ) -> Result<Frames, Fault> {
        let at = Instant::now() + pause;
        if at >= limit.deadline {
            return Err(Fault::Deadline);
        }
        sleep_until(at).await;
        let mut head = self.head.clone();
        head.insert(LAST_EVENT_ID, last);
        let response = peer.get(&head, limit, meter).await?;
        if response.status.is_success() && reply::is_event_stream(&response.headers) {
            return Ok(Frames::new(response.body, peer));
        }
        // The request was accepted; that its stream cannot be taken up says nothing of it.
        Err(Fault::Ended)
    }
}

impl Frames {
    /// This stream as the continuation of `earlier`.
    fn after(mut self, earlier: Self) -> Self {
        self.last_id = earlier.last_id;
        self.retry = earlier.retry;
        self
    }
}

/// Tells the server, when dropped with an id, that nobody waits for that request any more.
struct CancelNotice<'a> {
    peer: &'a Arc<Peer>,
    head: &'a HeaderMap,
    id: Option<u64>,
}

impl Drop for CancelNotice<'_> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id, Handle::try_current()) else {
            return;
        };
        let params = json!({"requestId": id, "reason": "the caller no longer waits"});
        let body = message::notification("notifications/cancelled", params);
        let (peer, head) = (Arc::clone(self.peer), self.head.clone());
        let notices = peer.wiring.notices.clone();
        notices.spawn_on(
            async move {
                // Best effort, bounded by `side_timeout`.
                let _ = peer.tell(&peer.url, &head, body).await;
            },
            &runtime,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |text: &str| negotiated(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(
            check(r#"{"protocolVersion":"2025-03-26"}"#).unwrap().0,
            "2025-03-26"
        );
        let (version, header) = check(r#"{"protocolVersion":"2027-01-01"}"#).unwrap();
        assert_eq!((version, header.to_str().unwrap()), (NEWEST, "2027-01-01"));
        assert!(check("{}").is_err());
    }
}
