//! One attempt after another at one target: send, classify, repeat if the config says so.

use crate::Gateway;
use crate::attempts::random;
use crate::config::Retry;
use crate::error::Error;
use crate::record::{Record, whole_ms};
use crate::route::{Target, Way};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use portunus_egress::{Limits, Phase, Response, SendError, Zone};
use portunus_providers::Head;
use portunus_store::AttemptRow;
use std::time::{Duration, Instant};

/// A wait that a provider asks for is granted up to here.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What is sent to a provider.
pub(crate) struct Send<'a> {
    pub(crate) target: &'a Target,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    pub(crate) stream: bool,
    pub(crate) turn: usize,
    /// Whether the provider runs tools in this call: then it is sent once.
    pub(crate) runs_tools: bool,
    /// The caller's own bound on the wait for the head of an answer.
    pub(crate) timeout: Option<Duration>,
    /// Headers of the request that the provider gets too.
    pub(crate) forward: &'a HeaderMap,
}

impl Send<'_> {
    fn patience(&self, ours: Duration) -> Duration {
        self.timeout.map_or(ours, |theirs| theirs.min(ours))
    }
}

impl Gateway {
    /// Sends until there is a good head, or an error that stays. The body of a good answer is
    /// not yet read, so that nothing has reached the client.
    pub(crate) async fn dispatch(
        &self,
        send: &Send<'_>,
        retry: &Retry,
        record: &mut Record,
    ) -> Result<Response, Error> {
        let mut slot = None;
        for tried in 0.. {
            let sent = self.attempt(send, record).await;
            // This retry is over: its room is for the next.
            drop(slot.take());
            let error = match sent {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let left = self
                .parts
                .bounds
                .wall_clock
                .saturating_sub(record.elapsed());
            let pause = wait(&error, retry, tried, send.runs_tools, random());
            let Some(pause) = pause.filter(|pause| *pause < left) else {
                return Err(error);
            };
            slot = self.budget.retry();
            if slot.is_none() {
                record.note("A retry was refused: too many requests retry already.".to_owned());
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            record.retries(1);
        }
        Err(Error::Internal("no attempt was made".to_owned()))
    }

    async fn attempt(&self, send: &Send<'_>, record: &mut Record) -> Result<Response, Error> {
        let started = Instant::now();
        let row = record.begin_attempt(row_of(send));
        let result = self.exchange(send, record, row).await;
        let failed = result
            .as_ref()
            .err()
            .map(|error| record.keep_words(&error.body().message));
        if let Some(text) = failed
            && let Some(row) = record.attempt(row)
        {
            "failed".clone_into(&mut row.outcome);
            row.error = text;
            row.total_ms = Some(whole_ms(started.elapsed()));
        }
        result
    }

    async fn exchange(
        &self,
        send: &Send<'_>,
        record: &mut Record,
        row: usize,
    ) -> Result<Response, Error> {
        let bounds = &self.parts.bounds;
        let left = bounds.wall_clock.saturating_sub(record.elapsed());
        let limits = Limits {
            first_byte: Some(send.patience(bounds.provider_first_byte.min(left))),
            idle: Some(bounds.provider_idle),
            total: None,
            max_body_bytes: Some(bounds.max_turn_bytes),
        };
        let request = request(send)?;
        let (client, zone) = match send.target.way {
            Way::Operator => (&self.parts.client, Zone::Provider),
            Way::Public => (&self.parts.public_only, Zone::Mcp),
        };
        let sent = Box::pin(client.send(zone, request, limits)).await;
        let response = sent.map_err(|cause| match (cause, send.timeout) {
            (SendError::Timeout(Phase::FirstByte), Some(limit)) => Error::RequestTimeout(limit),
            (cause, _) => unreachable(send, cause),
        })?;
        if let Some(row) = record.attempt(row) {
            row.connect_ms = response
                .timing
                .connect_ms
                .and_then(|ms| i64::try_from(ms).ok());
            row.wait_ms = i64::try_from(response.timing.wait_ms).ok();
            row.status_code = Some(i64::from(response.status.as_u16()));
            row.upstream_request_id = upstream_id(&response.headers);
        }
        if response.status.is_success() {
            return Ok(response);
        }
        Err(refused(send, response, bounds.max_error_bytes).await)
    }
}

async fn refused(send: &Send<'_>, response: Response, max_bytes: usize) -> Error {
    let status = response.status.as_u16();
    let headers = response.headers;
    let body = bounded(response.body, max_bytes).await;
    send.target
        .provider
        .classify(status, &headers, &body)
        .into()
}

/// The beginning of an error body; what cannot be read is as good as empty.
async fn bounded(mut body: portunus_egress::Body, max_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok(Some(chunk)) = body.chunk().await {
        out.extend_from_slice(&chunk);
        if out.len() >= max_bytes {
            break;
        }
    }
    out
}

fn row_of(send: &Send<'_>) -> AttemptRow {
    AttemptRow {
        turn: crate::record::count(send.turn),
        provider: send.target.provider.name().to_owned(),
        virtual_key: send.target.slug.clone(),
        model: Some(send.target.model.clone()),
        url_origin: Some(send.head.url.origin().ascii_serialization()),
        ..AttemptRow::default()
    }
}

fn request(send: &Send<'_>) -> Result<http::Request<Bytes>, Error> {
    let mut request = http::Request::post(send.head.url.as_str())
        .body(send.body.clone())
        .map_err(|error| Error::Internal(format!("provider URL: {error}")))?;
    let mut headers = send.head.headers.clone();
    let accept = if send.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let mut default = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(header::CONTENT_TYPE, "application/json");
    default(header::ACCEPT, accept);
    forward(&mut headers, send.forward);
    *request.headers_mut() = headers;
    Ok(request)
}

/// Forwarded headers take the place of none that the virtual key or its provider wants.
fn forward(headers: &mut HeaderMap, forwarded: &HeaderMap) {
    for name in forwarded.keys() {
        if headers.contains_key(name) {
            continue;
        }
        for value in forwarded.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

pub(crate) fn unreachable(send: &Send<'_>, cause: portunus_egress::SendError) -> Error {
    Error::Unreachable {
        provider: send.target.shown(),
        cause,
    }
}

fn upstream_id(headers: &HeaderMap) -> Option<String> {
    let value = headers
        .get("x-request-id")
        .or_else(|| headers.get("request-id"))?;
    Some(value.to_str().ok()?.chars().take(128).collect())
}

/// How long to wait before the next attempt; `None` = no further attempt. `random` is from 0 to
/// below 1: those that fail together do not come back together.
fn wait(
    error: &Error,
    retry: &Retry,
    tried: u32,
    runs_tools: bool,
    random: f64,
) -> Option<Duration> {
    if tried >= retry.attempts {
        return None;
    }
    let backoff = Duration::from_secs(1 << tried.min(4)).mul_f64(0.5 + random / 2.0);
    let listed = |status: u16| retry.on_status_codes.contains(&status);
    match error {
        Error::Unreachable { cause, .. } if !cause.may_have_been_sent() => Some(backoff),
        Error::RequestTimeout(_) if !runs_tools && listed(408) => Some(backoff),
        Error::Provider(failure) if !runs_tools || failure.upstream_status == Some(429) => {
            listed(failure.upstream_status?).then_some(())?;
            let asked = failure.retry_after.filter(|_| retry.use_retry_after);
            // Never before the time that was asked for.
            let asked = asked.map(|asked| asked.mul_f64(1.0 + random / 10.0));
            Some(asked.unwrap_or(backoff)).filter(|wait| *wait <= MAX_WAIT)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
