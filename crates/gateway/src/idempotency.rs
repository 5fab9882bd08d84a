//! `Idempotency-Key`: one key, one effect.
//!
//! The first request with a key runs; the same request again gets the same answer; another body
//! under the key is refused. A first request whose end nobody saw (the process died, the client
//! went away) is never run again by itself: what is known of its tool calls is told.
//! Source: draft-ietf-httpapi-idempotency-key-header.

use crate::Gateway;
use crate::call::{Call, Reply, ReplyBody};
use crate::error::Error;
use crate::record::{Record, whole_ms};
use crate::reply;
use crate::secrets::Secrets;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use portunus_mcp::fingerprint;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::request::Head;
use portunus_store::{Claimed, IDEMPOTENCY_RUNNING, IdempotencyRow};
use portunus_store::{JOURNAL_DONE, JOURNAL_INTENT, JournalRow};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

/// The header that carries the key.
pub(crate) const HEADER: &str = "idempotency-key";

/// The code of a request whose key another one holds.
const IN_USE: &str = "idempotency_key_in_use";

/// Longest key.
const MAX_KEY_BYTES: usize = 255;

/// The key of one caller, while its request runs in this process.
struct Running {
    gateway: Arc<Gateway>,
    workspace_id: String,
    api_key_id: String,
    key: String,
    secrets: Secrets,
}

impl Running {
    fn name(&self) -> String {
        format!("{}\n{}\n{}", self.workspace_id, self.api_key_id, self.key)
    }

    /// Keeps the answer for a repetition. One that is too long is only known to be over.
    async fn finish(&self, status: u16, content_type: &str, body: &[u8]) {
        let fits = body.len() <= self.gateway.parts.bounds.max_repeated_bytes;
        let text = if fits {
            self.blanked(&String::from_utf8_lossy(body))
        } else {
            String::new()
        };
        let store = &self.gateway.parts.store;
        let (workspace, caller, key) = (&self.workspace_id, &self.api_key_id, &self.key);
        let kept = store
            .finish_idempotency(
                workspace,
                caller,
                key,
                i64::from(status),
                content_type,
                &text,
            )
            .await;
        if let Err(error) = kept {
            tracing::error!(%error, "an answer could not be kept for its idempotency key");
        }
    }

    /// The answer without the request's secrets: a whole JSON text, or the data of each event.
    fn blanked(&self, answer: &str) -> String {
        if !answer.starts_with("event:") && !answer.starts_with(':') {
            return self.secrets.blank_json(answer.to_owned());
        }
        let line = |line: &str| match line.strip_prefix("data: ") {
            Some(data) => format!("data: {}\n", self.secrets.blank_json(data.to_owned())),
            None => format!("{line}\n"),
        };
        answer.lines().map(line).collect()
    }

    async fn release(&self) {
        let store = &self.gateway.parts.store;
        let (workspace, caller, key) = (&self.workspace_id, &self.api_key_id, &self.key);
        if let Err(error) = store.release_idempotency(workspace, caller, key).await {
            tracing::error!(%error, "an idempotency key could not be freed");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self
            .gateway
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.name());
    }
}

impl Gateway {
    /// Serves a request under a key.
    pub(crate) async fn respond_once(self: &Arc<Self>, call: Call, key: String) -> Reply {
        match self.claim(&call, key).await {
            Ok(Claim::Run(running)) => run(running, call).await,
            Ok(Claim::Again(row)) => again(&self.parts, &call, *row),
            Err(error) => reply::refuse(error, Record::open(&self.parts, &call)),
        }
    }

    async fn claim(self: &Arc<Self>, call: &Call, key: String) -> Result<Claim, Error> {
        if key.len() > MAX_KEY_BYTES {
            let message = format!("Invalid '{HEADER}': at most {MAX_KEY_BYTES} bytes.");
            return Err(ErrorBody::invalid(HEADER, code::VALUE, message).into());
        }
        let row = self.claim_row(call, key);
        let now = row.created_at_ms;
        match self.parts.store.claim_idempotency(&row, now).await? {
            Claimed::Yours => Ok(Claim::Run(self.start(call, row))),
            Claimed::Done(row) => Ok(Claim::Again(Box::new(row))),
            Claimed::OtherBody => Err(other_body()),
            Claimed::Running(row) => Err(self.no_second(row).await?),
        }
    }

    fn claim_row(&self, call: &Call, key: String) -> IdempotencyRow {
        let now = Timestamp::now().as_millisecond();
        IdempotencyRow {
            workspace_id: call.principal.workspace_id.clone(),
            api_key_id: call.principal.api_key_id.clone().unwrap_or_default(),
            key,
            body_digest: fingerprint(&String::from_utf8_lossy(&call.body)),
            state: IDEMPOTENCY_RUNNING.to_owned(),
            owner: format!("{}:{}", self.process, call.request_id),
            created_at_ms: now,
            expires_at_ms: now.saturating_add(whole_ms(self.parts.bounds.idempotency_life)),
            ..IdempotencyRow::default()
        }
    }

    fn start(self: &Arc<Self>, call: &Call, row: IdempotencyRow) -> Running {
        let running = Running {
            gateway: Arc::clone(self),
            workspace_id: row.workspace_id,
            api_key_id: row.api_key_id,
            key: row.key,
            secrets: Head::parse(&call.body)
                .map(|head| Secrets::of(&head))
                .unwrap_or_default(),
        };
        let mut names = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(running.name());
        drop(names);
        running
    }

    /// Why a request does not run while, or after, the first one of its key was begun.
    async fn no_second(&self, row: IdempotencyRow) -> Result<Error, Error> {
        let name = format!("{}\n{}\n{}", row.workspace_id, row.api_key_id, row.key);
        let here = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&name);
        let (process, request_id) = row.owner.split_once(':').unwrap_or((&row.owner, ""));
        if here && process == self.process {
            let message = "A request with this idempotency key is running. Wait for its answer.";
            return Ok(conflict(IN_USE, message.to_owned()));
        }
        let store = &self.parts.store;
        let elsewhere = process != self.process && store.lives(process).await?;
        let calls = store.journal(&row.workspace_id, request_id).await?;
        let calls = told(&calls, elsewhere);
        if elsewhere {
            let message = format!(
                "The first request with this idempotency key is running in another process of this \
                 gateway, or was cut off there. Wait for its answer. Its tool calls: {calls}."
            );
            return Ok(conflict(IN_USE, message));
        }
        let message = format!(
            "The first request with this idempotency key was cut off: it has no answer. It is not \
             run again by itself. Its tool calls: {calls}. Send a new key to run it again."
        );
        Ok(conflict("idempotency_outcome_unknown", message))
    }
}

/// What is known of tool calls, as a list; `alive` is whether the process that made them is.
fn told(calls: &[JournalRow], alive: bool) -> String {
    let end = |call: &JournalRow| match call.state.as_str() {
        JOURNAL_DONE => "ran",
        JOURNAL_INTENT if alive => "at work",
        _ => "outcome unknown",
    };
    let told: Vec<String> = calls
        .iter()
        .map(|call| format!("'{}' of '{}': {}", call.tool, call.server_label, end(call)))
        .collect();
    if told.is_empty() {
        "none".to_owned()
    } else {
        told.join(", ")
    }
}

enum Claim {
    Run(Running),
    Again(Box<IdempotencyRow>),
}

fn conflict(code: &'static str, message: String) -> Error {
    let body = ErrorBody::new(kind::INVALID_REQUEST, message)
        .param(HEADER)
        .code(code);
    Error::Refused { status: 409, body }
}

fn other_body() -> Error {
    let message = "This idempotency key was used for a request with another body. Send a new key.";
    let body = ErrorBody::invalid(HEADER, "idempotency_key_reused", message);
    Error::Refused { status: 422, body }
}

async fn run(running: Running, call: Call) -> Reply {
    let gateway = Arc::clone(&running.gateway);
    let Reply {
        status,
        headers,
        body,
    } = gateway.respond(call).await;
    let content_type = content_type(&headers);
    match body {
        ReplyBody::Full(bytes) => {
            // An error before any tool could run had no effect: the key is free again.
            let no_effect = status >= 400 && !headers.contains_key("x-should-retry");
            if no_effect {
                running.release().await;
            } else {
                running.finish(status, &content_type, &bytes).await;
            }
            Reply {
                status,
                headers,
                body: ReplyBody::Full(bytes),
            }
        }
        ReplyBody::Stream(inner) => {
            let seen = Seen {
                inner,
                running,
                status,
                content_type,
                bytes: Vec::new(),
            };
            let body = stream::unfold(seen, Seen::step).boxed();
            Reply {
                status,
                headers,
                body: ReplyBody::Stream(body),
            }
        }
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value.unwrap_or("application/json").to_owned()
}

/// A stream on its way, with a copy of what went by.
struct Seen {
    inner: BoxStream<'static, Result<Bytes, Infallible>>,
    running: Running,
    status: u16,
    content_type: String,
    bytes: Vec<u8>,
}

impl Seen {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let Some(Ok(chunk)) = self.inner.next().await else {
            self.running
                .finish(self.status, &self.content_type, &self.bytes)
                .await;
            return None;
        };
        if self.bytes.len() <= self.running.gateway.parts.bounds.max_repeated_bytes {
            self.bytes.extend_from_slice(&chunk);
        }
        Some((Ok(chunk), self))
    }
}

/// The answer of the first request, again.
fn again(parts: &crate::Parts, call: &Call, row: IdempotencyRow) -> Reply {
    let mut record = Record::open(parts, call);
    record.note("The answer of an earlier request with the same idempotency key.".to_owned());
    let status = row
        .status
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(200);
    let answer = row.answer.unwrap_or_default();
    if answer.is_empty() {
        let message =
            "The first request with this idempotency key is over, but its answer was too \
                       long to be kept."
                .to_owned();
        return reply::refuse(conflict("idempotency_answer_not_kept", message), record);
    }
    let mut headers = HeaderMap::new();
    let kind = row.content_type.as_deref().unwrap_or("application/json");
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let replayed = HeaderName::from_static("x-portunus-idempotent-replay");
    headers.insert(replayed, HeaderValue::from_static("true"));
    record.end_relayed(status, "completed", None);
    Reply {
        status,
        headers,
        body: ReplyBody::Full(answer.into()),
    }
}
