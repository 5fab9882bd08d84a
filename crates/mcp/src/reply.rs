//! The answer to one request: a JSON body or an event stream, read with tolerance.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::FusedFuture as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use portunus_egress::{Body, Response};
use portunus_protocol::sse::{Decoder, Frame};
use tokio::runtime::Handle;
use tokio::time::Instant;
use url::Url;

use crate::error::Meter;
use crate::fault::Fault;
use crate::message::{self, Answer, Match, Message};
use crate::peer::Peer;

/// Most that is read of an error's body.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// Characters of a foreign body that an error shows.
const PREVIEW_CHARS: usize = 80;
/// How long a stream may go on after the answer.
const LINGER: Duration = Duration::from_millis(300);
/// Messages that may lie unread in an idle stream before it is given up.
const MAX_QUEUED: usize = 1000;
/// Requests of a server that are answered at the same time.
const MAX_REPLIES: usize = 16;

/// A 2xx answer.
pub(crate) enum Reply {
    Whole(Vec<Message>),
    Stream(Box<Frames>),
}

/// Sorts an answer by status and content.
pub(crate) async fn open(
    peer: &Peer,
    response: Response,
    max_bytes: usize,
    meter: &mut Meter,
) -> Result<Reply, Fault> {
    if !response.status.is_success() {
        return Err(refusal(peer, response, meter).await);
    }
    if is_event_stream(&response.headers) {
        return Ok(Reply::Stream(Box::new(Frames::new(response.body, peer))));
    }
    let (status, mut body) = (response.status, response.body);
    let bytes = read(&mut body, max_bytes, meter).await?;
    let text = String::from_utf8_lossy(&bytes);
    if let Some(messages) = message::parse(&text).or_else(|| events(&text)) {
        return Ok(Reply::Whole(messages));
    }
    Err(Fault::Odd(odd(peer, status, &text)))
}

/// A body with an event stream's content under another name.
fn events(text: &str) -> Option<Vec<Message>> {
    let text = text.trim_start();
    let looks = ["data:", "event:", "id:", "retry:", ":"]
        .iter()
        .any(|p| text.starts_with(p));
    let mut decoder = Decoder::new(text.len() + 1);
    let mut frames = if looks {
        decoder.push(text.as_bytes()).ok()?
    } else {
        return None;
    };
    frames.extend(decoder.finish());
    Some(
        frames
            .iter()
            .filter_map(|frame| message::parse(&frame.data))
            .flatten()
            .collect(),
    )
}

fn odd(peer: &Peer, status: StatusCode, text: &str) -> String {
    if text.trim().is_empty() {
        return format!("the server answered {status} without a body where an answer was due");
    }
    format!(
        "the answer is not JSON-RPC; it begins with: {}",
        preview(peer, text)
    )
}

fn preview(peer: &Peer, text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    peer.blank(&flat)
        .chars()
        .filter(|c| !c.is_control())
        .take(PREVIEW_CHARS)
        .collect()
}

/// What an answer that is not 2xx means.
async fn refusal(peer: &Peer, response: Response, meter: &mut Meter) -> Fault {
    let status = response.status;
    if status.is_redirection() {
        let text = "the server redirects; redirects are not followed, name the final URL";
        return Fault::Refused {
            status,
            text: text.to_owned(),
            challenge: false,
        };
    }
    let challenge = response.headers.contains_key(WWW_AUTHENTICATE);
    let mut body = response.body;
    // A refusal with a broken or endless body is still a refusal.
    let bytes = if is_event_stream(&response.headers) {
        Vec::new()
    } else {
        read_some(&mut body, MAX_REFUSAL_BYTES, meter).await
    };
    let text = String::from_utf8_lossy(&bytes);
    let error = message::parse(&text)
        .into_iter()
        .flatten()
        .find_map(|message| match message {
            Message::Answer(answer) => answer.outcome.err(),
            _ => None,
        });
    match error {
        Some(error) => Fault::Rpc {
            error: blank(peer, error),
            status,
        },
        None => Fault::Refused {
            status,
            text: preview(peer, &text),
            challenge,
        },
    }
}

fn blank(peer: &Peer, mut error: message::RpcError) -> message::RpcError {
    error.message = peer.blank(&error.message);
    error
}

/// True for `text/event-stream`, with or without parameters.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
}

async fn next_chunk(body: &mut Body, meter: &mut Meter) -> Result<Option<bytes::Bytes>, Fault> {
    let begun = Instant::now();
    let chunk = body.chunk().await;
    meter.read += begun.elapsed();
    let chunk = chunk?;
    meter.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
    Ok(chunk)
}

async fn read(body: &mut Body, limit: usize, meter: &mut Meter) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(body, meter).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(Fault::TooLarge { limit_bytes: limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn read_some(body: &mut Body, limit: usize, meter: &mut Meter) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < limit
        && let Ok(Some(chunk)) = next_chunk(body, meter).await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(limit - bytes.len())]);
    }
    bytes
}

/// An event stream as a queue of frames and messages.
pub(crate) struct Frames {
    body: Body,
    decoder: Decoder,
    frames: VecDeque<Frame>,
    messages: VecDeque<Message>,
    ended: bool,
    /// Last `id:`, for a resume.
    pub(crate) last_id: Option<String>,
    /// Last `retry:`.
    pub(crate) retry: Option<Duration>,
    pub(crate) bytes: usize,
}

impl Frames {
    pub(crate) fn new(body: Body, peer: &Peer) -> Self {
        Self {
            body,
            decoder: Decoder::new(peer.bounds().max_event_bytes),
            frames: VecDeque::new(),
            messages: VecDeque::new(),
            ended: false,
            last_id: None,
            retry: None,
            bytes: 0,
        }
    }

    /// Reads one chunk into the queue; false at the end of the stream.
    async fn fill(&mut self, meter: &mut Meter) -> Result<bool, Fault> {
        if self.ended {
            return Ok(false);
        }
        if let Some(chunk) = next_chunk(&mut self.body, meter).await? {
            self.bytes += chunk.len();
            let frames = self.decoder.push(&chunk).map_err(|error| Fault::TooLarge {
                limit_bytes: error.limit_bytes,
            })?;
            self.frames.extend(frames);
            return Ok(true);
        }
        self.ended = true;
        self.frames.extend(self.decoder.finish());
        Ok(!self.frames.is_empty())
    }

    /// The next event. Safe to drop while it waits: nothing is lost.
    pub(crate) async fn frame(&mut self, meter: &mut Meter) -> Result<Option<Frame>, Fault> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.retry = frame.retry_ms.map(Duration::from_millis).or(self.retry);
                if frame.id.is_some() {
                    self.last_id.clone_from(&frame.id);
                }
                return Ok(Some(frame));
            }
            if !self.fill(meter).await? {
                return Ok(None);
            }
        }
    }

    /// The next message; events that are none are skipped. Safe to drop like `frame`.
    pub(crate) async fn message(&mut self, meter: &mut Meter) -> Result<Option<Message>, Fault> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            let Some(frame) = self.frame(meter).await? else {
                return Ok(None);
            };
            self.messages
                .extend(message::parse(&frame.data).into_iter().flatten());
        }
    }

    /// Lets a stream whose answer was read come to its end, so that its connection can be used
    /// again; one that stays open is closed soon.
    pub(crate) fn release(mut self, peer: &Peer) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !self.is_alive() {
            return;
        }
        let rest = async move {
            let mut meter = Meter::default();
            while let Ok(true) = self.fill(&mut meter).await {
                self.frames.clear();
            }
        };
        let bounded = tokio::time::timeout(LINGER, rest);
        peer.wiring.notices.spawn_on(bounded, &runtime);
    }

    /// Takes in what has already arrived. False when the stream is over or overfull.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut meter = Meter::default();
        while self.frames.len() < MAX_QUEUED {
            match self.fill(&mut meter).now_or_never() {
                None => return true,
                Some(Ok(true)) if !self.ended => {}
                Some(_) => return false,
            }
        }
        false
    }
}

/// Where answers to a server's own requests go.
pub(crate) struct Responder<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) url: &'a Url,
    pub(crate) head: &'a HeaderMap,
}

/// Reads a stream until the answer to request `id`. A server's own requests are answered
/// without waiting for it; `side` (the POST of a legacy stream) runs along and its failure
/// ends the wait. `None` when the stream ended first.
pub(crate) async fn await_answer(
    frames: &mut Frames,
    id: u64,
    responder: Option<Responder<'_>>,
    side: impl Future<Output = Result<Meter, Fault>>,
    meter: &mut Meter,
) -> Result<Option<Answer>, Fault> {
    let mut side = pin!(side.fuse());
    let mut replies = FuturesUnordered::new();
    let mut stray = None;
    loop {
        let message = tokio::select! {
            message = frames.message(meter) => message?,
            done = &mut side, if !side.is_terminated() => {
                meter.add(done?);
                continue;
            }
            Some(_) = replies.next(), if !replies.is_empty() => continue,
        };
        match message {
            Some(Message::Answer(answer)) if is_for(&answer, id) => return Ok(Some(answer)),
            Some(Message::Answer(answer)) => stray = stray.or(Some(answer)),
            Some(Message::Request { id, method }) => {
                if let Some(to) = responder.as_ref().filter(|_| replies.len() < MAX_REPLIES) {
                    let body = message::reply(&id, &method);
                    replies.push(to.peer.tell(to.url, to.head, body));
                }
            }
            Some(Message::Notice) => {}
            // The only answer on a stream that was opened for this one request is its
            // answer, whatever id it carries.
            None => return Ok(stray),
        }
    }
}

/// Takes the answer to request `id` out of a whole body. HTTP has already tied the body to
/// the request, so that a lone answer with another id is taken too.
pub(crate) fn pick(messages: Vec<Message>, id: u64) -> Result<Answer, Fault> {
    let mut stray = None;
    for message in messages {
        match message {
            Message::Answer(answer) if is_for(&answer, id) => return Ok(answer),
            Message::Answer(answer) => stray = stray.or(Some(answer)),
            Message::Request { .. } | Message::Notice => {}
        }
    }
    stray.ok_or_else(|| Fault::Odd("the body holds no answer to the request".to_owned()))
}

fn is_for(answer: &Answer, id: u64) -> bool {
    message::match_id(answer.id.as_deref(), id) != Match::Other
}

/// The result of an answer; its error with all secrets blanked.
pub(crate) fn result(
    peer: &Peer,
    answer: Answer,
) -> Result<Box<serde_json::value::RawValue>, Fault> {
    answer.outcome.map_err(|error| Fault::Rpc {
        error: blank(peer, error),
        status: StatusCode::OK,
    })
}
