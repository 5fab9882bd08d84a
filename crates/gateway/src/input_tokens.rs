//! `POST /v1/responses/input_tokens`: how many tokens a request would put into its model, as
//! the model's own provider counts them.
//!
//! The gateway counts nothing itself: it has no vendor's tokenizer, and a guess would be taken
//! for a count. What only the gateway would add to the request (its history, its tools) the
//! provider cannot count either.

use crate::attempts::Route;
use crate::call::{Call, Reply};
use crate::dispatch::{self, Send};
use crate::error::Error;
use crate::plan::{self, Plan};
use crate::record::{Record, TurnDone};
use crate::route::Target;
use crate::{Gateway, Read, reply};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_providers::Dialect;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

/// The path, as the log names it.
pub const INPUT_TOKENS: &str = "/v1/responses/input_tokens";

/// Fields of a request that can be counted: a config overrides no others here, since providers
/// refuse them.
const COUNTED: &[&str] = &[
    "model",
    "instructions",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
    "parallel_tool_calls",
];

impl Gateway {
    /// Serves `POST /v1/responses/input_tokens`.
    pub async fn input_tokens(self: &Arc<Self>, call: Call) -> Reply {
        let mut record = Record::open(&self.parts, &call);
        record.counts(self.budget.enter(), self.unfiled.token());
        match self.counted(&call, &mut record).await {
            Ok((body, route)) => {
                record.answered();
                let mut reply = reply::json(body.clone());
                reply.headers.extend(reply::base_headers(route.used()));
                reply::set_retries(&mut reply.headers, record.target_retries());
                record.end_relayed(reply.status, "completed", Some(&body));
                reply
            }
            Err(error) => reply::refuse(error, record),
        }
    }

    /// The provider's answer, and the route that led to it.
    async fn counted(
        self: &Arc<Self>,
        call: &Call,
        record: &mut Record,
    ) -> Result<(String, Arc<Route>), Error> {
        let read = self.read(call, record).await?;
        record.planned(Plan::PassThrough, !read.servers.is_empty());
        let route = Arc::clone(&read.route);
        let mut tries = route.tries(0, record);
        let turn = record.begin_turn(route.target()?);
        let started = Instant::now();
        loop {
            let error = match self.count_at(&read, record).await {
                Ok(body) => {
                    route.answers();
                    record.aim_turn(turn, route.target()?);
                    record.end_turn(turn, done(started));
                    return Ok((body, route));
                }
                Err(error) => error,
            };
            route.fail(error, &mut tries, record)?;
        }
    }

    /// The answer of the target that is tried now.
    async fn count_at(&self, read: &Read<'_>, record: &mut Record) -> Result<String, Error> {
        let (attempt, target) = (read.route.attempt(), read.route.target()?);
        check(target, read)?;
        let mut head = target.provider.head(&target.endpoint)?;
        if let Ok(mut path) = head.url.path_segments_mut() {
            path.push("input_tokens");
        }
        let mut body = attempt.overridden_among(&read.head.shallow, COUNTED)?;
        if read.head.model != target.model {
            body.set_value("model", &target.model)?;
        }
        let send = Send {
            target,
            head,
            body: body.to_vec()?.into(),
            stream: false,
            turn: 0,
            runs_tools: false,
            timeout: attempt.timeout,
            forward: &attempt.forward,
        };
        let response = self.dispatch(&send, &attempt.retry, record).await?;
        let whole = response.body.bytes().await;
        let whole = whole.map_err(|cause| dispatch::unreachable(&send, cause))?;
        counted(&whole).ok_or_else(|| no_count(target))
    }
}

/// Whether the provider of `target` can count the request as it would be served.
fn check(target: &Target, read: &Read<'_>) -> Result<(), Error> {
    if target.dialect() != Dialect::Responses {
        let what = format!(
            "the provider {} has no way to count the input of a response, and the gateway does not guess",
            target.shown()
        );
        return Err(uncounted("model", &what));
    }
    if read.context.is_ours() {
        let named = read.head.is_set("previous_response_id");
        let at = if named {
            "previous_response_id"
        } else {
            "input"
        };
        let what = "an earlier response that is named is known to the gateway alone, so the \
                    provider cannot count it. Send the earlier items in 'input'";
        return Err(uncounted(at, what));
    }
    let alone = std::iter::once(target);
    if plan::decide(alone, &read.head, &read.servers, read.execution, false)? == Plan::ToolLoop {
        let what = "the gateway would run the tools of the MCP servers, and their lists are made \
                    when the request is served. Leave the 'mcp' tools out, or send the tools as functions";
        return Err(uncounted("tools", what));
    }
    read.context.check_native(target)
}

fn uncounted(param: &str, why: &str) -> Error {
    let message = format!("Unsupported value: '{param}': {why}.");
    ErrorBody::invalid(param, code::UNSUPPORTED_VALUE, message).into()
}

/// The answer, if it is a count.
fn counted(whole: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Count {
        #[serde(rename = "input_tokens")]
        _input_tokens: u64,
    }
    serde_json::from_slice::<Count>(whole).ok()?;
    String::from_utf8(whole.to_vec()).ok()
}

fn no_count(target: &Target) -> Error {
    let text = format!(
        "The provider {} answered with success, but not with a count of tokens.",
        target.shown()
    );
    Error::provider(ErrorBody::new(kind::SERVER, text).code(code::SERVER))
}

/// Nothing was made, so nothing is billed.
fn done(started: Instant) -> TurnDone {
    TurnDone {
        took: started.elapsed(),
        first: None,
        finish: "completed".to_owned(),
        model: None,
        usage: None,
        calls: 0,
    }
}
