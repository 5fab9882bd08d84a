//! The provider's bytes as they are, with a tap on a copy.

use crate::Gateway;
use crate::attempts::{Attempt, Route};
use crate::call::{Call, Reply, ReplyBody};
use crate::dispatch::Send;
use crate::error::Error;
use crate::record::Record;
use crate::reply;
use crate::route::Target;
use crate::state::{Context, Keep, Notes};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, header};
use portunus_egress::Body;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::request::Head;
use portunus_store::Store;
use std::convert::Infallible;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

mod tap;

use tap::Tap;

/// A call whose head came back good.
pub(crate) struct Relay {
    /// Provider and place in the config.
    used: Option<(&'static str, String)>,
    head: HeaderMap,
    status: u16,
    answer: Answer,
    tap: Tap,
    store: Arc<dyn Store>,
    cut: CancellationToken,
    retries: i64,
}

enum Answer {
    Whole(Bytes),
    Stream(Body),
}

impl Gateway {
    /// Sends the client's bytes, with nothing but the model and what a config overrides
    /// replaced, to one target after the other.
    pub(crate) async fn relay(
        self: &Arc<Self>,
        call: &Call,
        head: &Head<'_>,
        context: &Context,
        route: &Route,
        record: &mut Record,
    ) -> Result<Box<Relay>, Error> {
        let runs_tools = head.mcp_tools().next().is_some();
        let mut tap = Tap::new(
            route.target()?,
            head,
            self.parts.bounds.max_tapped_event_bytes,
            record,
        );
        let mut tries = route.tries(0, record);
        loop {
            let target = route.target()?;
            tap.aim(target, record);
            let asked = self.asked(call, head, context, route, &mut tap);
            let sent = match asked {
                Ok(send) => self.answer(&send, route, &mut tap, record).await,
                Err(error) => Err(error),
            };
            if runs_tools && sent.as_ref().err().is_none_or(may_have_run) {
                record.tool_goes_out();
            }
            let error = match sent {
                Ok((headers, status, answer)) => {
                    route.answers();
                    if let Answer::Whole(_) = &answer {
                        tap.store(self.parts.store.as_ref()).await;
                    }
                    return Ok(Box::new(Relay {
                        used: route.used(),
                        head: headers,
                        status,
                        answer,
                        tap,
                        store: Arc::clone(&self.parts.store),
                        cut: self.parts.cut.clone(),
                        retries: record.target_retries(),
                    }));
                }
                Err(error) => error,
            };
            // A tool that may have run is not run again somewhere else.
            if record.tool_may_have_run() {
                return Err(error);
            }
            route.fail(error, &mut tries, record)?;
        }
    }

    /// What is sent to the target that is tried now.
    fn asked<'a>(
        &self,
        call: &Call,
        head: &Head<'_>,
        context: &Context,
        route: &'a Route,
        tap: &mut Tap,
    ) -> Result<Send<'a>, Error> {
        let (attempt, target) = (route.attempt(), route.target()?);
        context.check_native(target)?;
        tap.keep = self.keep_native(call, head, target)?;
        Ok(Send {
            target,
            head: target.provider.head(&target.endpoint)?,
            body: body(call, head, target, attempt)?,
            stream: head.stream,
            turn: 0,
            runs_tools: head.mcp_tools().next().is_some(),
            timeout: attempt.timeout,
            forward: &attempt.forward,
        })
    }

    /// The answer of one target: a stream that begins, or a whole response.
    async fn answer(
        &self,
        send: &Send<'_>,
        route: &Route,
        tap: &mut Tap,
        record: &mut Record,
    ) -> Result<(HeaderMap, u16, Answer), Error> {
        let response = self.dispatch(send, &route.attempt().retry, record).await?;
        let status = response.status.as_u16();
        if is_stream(&response.headers) {
            return Ok((response.headers, status, Answer::Stream(response.body)));
        }
        let whole = response.body.bytes().await;
        let whole = whole.map_err(|cause| crate::dispatch::unreachable(send, cause))?;
        if send.stream || !tap.whole(&whole, record) {
            return Err(no_response(send.target));
        }
        Ok((response.headers, status, Answer::Whole(whole)))
    }
}

impl Gateway {
    /// What is needed to store the provider's response under the caller's key.
    fn keep_native(
        &self,
        call: &Call,
        head: &Head<'_>,
        target: &Target,
    ) -> Result<Option<Keep>, Error> {
        let notes = Notes {
            native: true,
            ..Notes::default()
        };
        let Some(mut keep) = Keep::of(self, call, head, target, notes) else {
            return Ok(None);
        };
        keep.input(&head.input()?);
        Ok(Some(keep))
    }
}

fn body(call: &Call, head: &Head<'_>, target: &Target, attempt: &Attempt) -> Result<Bytes, Error> {
    if head.model == target.model && !attempt.overrides() {
        return Ok(call.body.clone());
    }
    let mut body = attempt.overridden(&head.shallow)?;
    body.set_value("model", &target.model)?;
    Ok(body.to_vec()?.into())
}

fn no_response(target: &Target) -> Error {
    let name = target.shown();
    let text = format!(
        "The provider {name} answered with success, but not with a response. Is its address \
         that of a server that speaks the Responses API?"
    );
    Error::provider(ErrorBody::new(kind::SERVER, text).code(code::SERVER))
}

/// Whether the provider may have run a tool before it failed: not when the request did not
/// reach it, and not when it was refused.
fn may_have_run(error: &Error) -> bool {
    match error {
        Error::Unreachable { cause, .. } => cause.may_have_been_sent(),
        Error::Provider(failure) => failure.upstream_status.is_none_or(|status| status >= 500),
        _ => false,
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

impl Relay {
    /// The answer; the record goes with it and is closed when the last byte is out.
    pub(crate) fn reply(self: Box<Self>, record: Record) -> Reply {
        let headers = self.headers();
        let Self {
            status,
            answer,
            tap,
            store,
            cut,
            ..
        } = *self;
        let body = match answer {
            Answer::Whole(bytes) => {
                tap.close(status, record);
                ReplyBody::Full(bytes)
            }
            Answer::Stream(body) => {
                let relayed = Relayed {
                    body: Some(body),
                    tap,
                    store,
                    cut,
                    record: Some(record),
                    status,
                };
                ReplyBody::Stream(stream::unfold(relayed, Relayed::step).boxed())
            }
        };
        Reply {
            status,
            headers,
            body,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = match self.answer {
            Answer::Whole(_) => reply::base_headers(self.used.clone()),
            Answer::Stream(_) => reply::stream_headers(self.used.clone()),
        };
        for name in [
            header::CONTENT_TYPE,
            http::HeaderName::from_static("openai-version"),
        ] {
            if let Some(value) = self.head.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        reply::set_retries(&mut headers, self.retries);
        headers
    }
}

/// A stream on its way. Dropped before its end, the record says that the client went away, and
/// the provider's connection is closed with the body.
struct Relayed {
    body: Option<Body>,
    tap: Tap,
    store: Arc<dyn Store>,
    /// The process ends: what still runs is told.
    cut: CancellationToken,
    record: Option<Record>,
    status: u16,
}

impl Relayed {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let body = self.body.as_mut()?;
        let chunk = tokio::select! {
            biased;
            chunk = body.chunk() => chunk,
            () = self.cut.cancelled() => return self.ended(Some(Error::ShuttingDown)),
        };
        match chunk {
            Ok(Some(chunk)) => {
                self.see(&chunk).await;
                Some((Ok(chunk), self))
            }
            Ok(None) => self.ended(None),
            Err(cause) => {
                let provider = self.tap.provider();
                self.ended(Some(Error::Unreachable { provider, cause }))
            }
        }
    }

    /// The record is closed with the terminal event, before that is out: who has seen the end
    /// finds the row, and who leaves after it has not left early.
    async fn see(&mut self, chunk: &[u8]) {
        let Some(record) = self.record.as_mut() else {
            return;
        };
        self.tap.chunk(chunk, record);
        if !self.tap.is_over() {
            return;
        }
        self.tap.store(self.store.as_ref()).await;
        if let Some(record) = self.record.take() {
            std::mem::take(&mut self.tap).close(self.status, record);
        }
    }

    /// A stream that ends without its terminal event gets an error event and
    /// `response.failed`, so that no client takes it for whole.
    fn ended(mut self, cause: Option<Error>) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.body = None;
        let mut record = self.record.take()?;
        self.tap.finish(&mut record);
        let last = self.tap.last_words(cause, &mut record);
        let tap = std::mem::take(&mut self.tap);
        tap.close(self.status, record);
        last.map(|bytes| (Ok(bytes), self))
    }
}
