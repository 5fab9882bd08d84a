//! Answers: whole, streamed, or refused.

use crate::attempts::Route;
use crate::call::{Reply, ReplyBody};
use crate::error::Error;
use crate::record::Record;
use crate::tool_loop::{Done, Job, Refused};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use portunus_protocol::sse;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Runs a job and answers with its events or with its response.
pub(crate) async fn of_loop(job: Box<Job>, streamed: bool, record: Record) -> Reply {
    let route = job.route();
    if streamed {
        return stream_of(job, record).await;
    }
    match Box::pin(job.run(None, record)).await {
        Ok(done) => whole(&done, &route),
        Err(refused) => refusal(&refused),
    }
}

/// An answer that is refused before anything was run.
pub(crate) fn refuse(error: Error, record: Record) -> Reply {
    let refused = Refused {
        error: record.cleaned(error),
        tool_may_have_run: record.tool_may_have_run(),
        retries: record.retry_count(),
        used: record.used(),
    };
    record.refuse(&refused.error);
    refusal(&refused)
}

/// The status is known with the first event: until then a failure is a plain answer.
async fn stream_of(job: Box<Job>, record: Record) -> Reply {
    let route = job.route();
    let bounds = job.gateway().parts.bounds;
    let pause = bounds.keep_alive;
    let (to, mut from) = mpsc::channel(bounds.event_queue);
    let mut task = JoinSet::new();
    task.spawn(job.run(Some(to), record));
    let Some(first) = from.recv().await else {
        return match task.join_next().await {
            Some(Ok(Err(refused))) => refusal(&refused),
            _ => answer_of(
                &Error::Internal("the loop ended without an event".to_owned()),
                true,
            ),
        };
    };
    let events = Events {
        from,
        _task: task,
        pause,
    };
    let rest = stream::unfold(events, |mut events| async move {
        events.next().await.map(|bytes| (Ok(bytes), events))
    });
    let body = stream::once(async move { Ok(first) }).chain(rest).boxed();
    Reply {
        status: 200,
        headers: stream_headers(route.used()),
        body: ReplyBody::Stream(body),
    }
}

/// Owns the loop: dropped with the body, it stops the loop.
struct Events {
    from: mpsc::Receiver<Bytes>,
    _task: JoinSet<Result<Done, Refused>>,
    pause: Duration,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        match tokio::time::timeout(self.pause, self.from.recv()).await {
            Ok(event) => event,
            Err(_) => Some(Bytes::from_static(sse::KEEP_ALIVE)),
        }
    }
}

fn whole(done: &Done, route: &Route) -> Reply {
    match serde_json::to_vec(&done.response) {
        Ok(body) => {
            let mut headers = base_headers(route.used());
            set_retries(&mut headers, done.retries);
            set(&mut headers, header::CONTENT_TYPE, "application/json");
            Reply {
                status: 200,
                headers,
                body: ReplyBody::Full(body.into()),
            }
        }
        Err(error) => answer_of(&Error::Internal(format!("response: {error}")), true),
    }
}

/// A JSON text as it is.
pub(crate) fn json(body: String) -> Reply {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, "application/json");
    Reply {
        status: 200,
        headers,
        body: ReplyBody::Full(body.into()),
    }
}

fn refusal(refused: &Refused) -> Reply {
    let mut reply = answer_of(&refused.error, refused.tool_may_have_run);
    match refused.error.source() {
        "provider" => reply.headers.extend(base_headers(refused.used.clone())),
        "gateway" => set(
            &mut reply.headers,
            name("x-portkey-gateway-exception"),
            "true",
        ),
        _ => {}
    }
    // Portkey's -1: all retries failed.
    let retries = if refused.retries > 0 { -1 } else { 0 };
    set_retries(&mut reply.headers, retries);
    reply
}

/// How many times a model turn was repeated. A stream of the loop goes without: its head is
/// out before the turns are over.
pub(crate) fn set_retries(headers: &mut HeaderMap, retries: i64) {
    headers.insert(
        name("x-portkey-retry-attempt-count"),
        HeaderValue::from(retries),
    );
}

/// The answer that an error makes, in OpenAI's and Portkey's shape at once.
pub(crate) fn answer_of(error: &Error, tool_may_have_run: bool) -> Reply {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, "application/json");
    set(
        &mut headers,
        name("x-portunus-error-source"),
        error.source(),
    );
    if tool_may_have_run {
        // The SDKs repeat 408, 409, 429 and 5xx by themselves: the tool would run again.
        set(&mut headers, name("x-should-retry"), "false");
    }
    if let Error::Provider(failure) = error.last()
        && let Some(wait) = failure.retry_after
    {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(wait.as_secs().max(1)),
        );
    }
    let body = error.body().envelope().to_string();
    Reply {
        status: error.status(),
        headers,
        body: ReplyBody::Full(body.into()),
    }
}

/// Headers of every answer that came from a provider. Without `used`, the target is not known
/// yet: the stream begins with the lists of tools. Source: Portkey, "Response headers".
pub(crate) fn base_headers(used: Option<(&'static str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some((provider, index)) = used {
        set(&mut headers, name("x-portkey-provider"), provider);
        if let Ok(index) = HeaderValue::try_from(index) {
            headers.insert(name("x-portkey-last-used-option-index"), index);
        }
    }
    set(&mut headers, name("x-portkey-cache-status"), "DISABLED");
    headers
}

/// Headers of a stream of events.
pub(crate) fn stream_headers(used: Option<(&'static str, String)>) -> HeaderMap {
    let mut headers = base_headers(used);
    set(
        &mut headers,
        header::CONTENT_TYPE,
        "text/event-stream; charset=utf-8",
    );
    set(&mut headers, header::CACHE_CONTROL, "no-cache");
    set(&mut headers, name("x-accel-buffering"), "no");
    headers
}

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
