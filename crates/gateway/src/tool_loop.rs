//! The one loop: list the tools, ask the model, run what it calls, ask again. A call without
//! MCP tools is the loop with one turn.

use crate::answers::{self, Answered, digest_of};
use crate::attempts::{Attempt, Route};
use crate::call::{Call, Principal};
use crate::error::Error;
use crate::journal::Journal;
use crate::record::Record;
use crate::resume::Resume;
use crate::route::Target;
use crate::run::{self, Runner};
use crate::servers::Server;
use crate::sink::{Ending, Last, Sink};
use crate::state::{Context, Keep, Notes};
use crate::turn::{self, Frame, Outcome};
use crate::{Gateway, Read, front, history, lists};
use bytes::Bytes;
use portunus_mcp::Inventory;
use portunus_protocol::error::{ErrorBody, kind};
use portunus_protocol::item::{Content, Item};
use portunus_protocol::request::{Body, Head, Tool, ToolChoice};
use portunus_protocol::response::{Response, Usage};
use portunus_providers::{Choice, Dialect, ToolDef, TurnRequest, TurnStatus};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::mpsc;

mod early;
mod offer;

use offer::{Offered, client_tool, client_tool_name, described, hosted, nothing_to_choose};

/// One request that the gateway runs itself.
pub(crate) struct Job {
    gateway: Arc<Gateway>,
    principal: Principal,
    /// Items of earlier responses, oldest first.
    earlier: Vec<Item>,
    /// Labels of servers whose lists are in the context already.
    known: HashSet<String>,
    answered: Vec<Answered>,
    keep: Option<Keep>,
    journal: Option<Journal>,
    route: Arc<Route>,
    servers: Vec<Server>,
    tools: Vec<Tool>,
    /// The request as it was sent, for targets after the first.
    sent: Bytes,
    /// The target that `body` was read for.
    first: usize,
    body: Body,
    /// Whether the client watches the events.
    streamed: bool,
    response: Response,
}

/// A job that ended without a response.
pub(crate) struct Refused {
    pub(crate) error: Error,
    pub(crate) tool_may_have_run: bool,
    pub(crate) retries: i64,
    /// Provider and place of the target that was tried last.
    pub(crate) used: Option<(&'static str, String)>,
}

/// A job that ended with a response.
pub(crate) struct Done {
    pub(crate) response: Response,
    pub(crate) retries: i64,
}

/// The smallest bound on output tokens that OpenAI takes.
const LEAST_TOKENS: u64 = 16;

/// What the turns of one response have in common.
struct State {
    history: Vec<Arc<Item>>,
    /// All tools; a turn may offer fewer.
    tools: Vec<Offered>,
    calls_made: u64,
    /// The bound on calls was met: the model gets one more turn, with its tools off.
    tools_off: bool,
}

/// What a request of a turn is made from, whichever target it goes to.
struct Turn<'a> {
    index: u32,
    tokens_left: Option<u64>,
    state: &'a State,
}

impl Job {
    pub(crate) async fn new(
        gateway: &Arc<Gateway>,
        call: &Call,
        read: Read<'_>,
        record: &mut Record,
    ) -> Result<Self, Error> {
        let Read {
            head,
            route,
            servers,
            mut context,
            ..
        } = read;
        front::require_input(&head)?;
        let mut body = first_body(&head, &route, record)?;
        let target = route.target()?;
        let native = target.dialect() == Dialect::Responses;
        body.input = context.resolve(body.input);
        let lists = servers.len();
        context
            .fill_lists(gateway, &call.principal, &mut body.input, lists)
            .await?;
        let earlier = context.earlier();
        history::check(&earlier, &body.input, native)?;
        if route.targets().count() == 1 {
            early::check(target, &body)?;
        }
        let answered = answers::find(gateway, &call.principal, &servers, &body.input).await?;
        let notes = Notes {
            native: false,
            servers: servers
                .iter()
                .map(|s| (s.tool.server_label.clone(), digest_of(s)))
                .collect(),
        };
        let mut keep = Keep::of(gateway, call, &head, target, notes);
        if let Some(keep) = &mut keep {
            keep.input(&body.input);
        }
        let mut response =
            front::response(&head, &body, &target.model, gateway.parts.policy.server_url);
        response.store = keep.is_some();
        if !native {
            // Nobody but a native provider cuts the input.
            response.truncation = "disabled".into();
        }
        Ok(Self {
            gateway: Arc::clone(gateway),
            principal: call.principal.clone(),
            known: known(&earlier, &body.input, &context, &servers),
            earlier,
            answered,
            keep,
            journal: Journal::of(call),
            first: route.at(),
            route,
            servers,
            tools: head.tools,
            sent: call.body.clone(),
            body,
            streamed: head.stream,
            response,
        })
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn route(&self) -> Arc<Route> {
        Arc::clone(&self.route)
    }

    /// Runs to the end. With `out`, every event goes there, and a failure after the first one
    /// becomes the stream's end; without, a failure is the answer. The record is closed in
    /// every case.
    pub(crate) async fn run(
        mut self: Box<Self>,
        out: Option<mpsc::Sender<Bytes>>,
        mut record: Record,
    ) -> Result<Done, Refused> {
        let streamed = out.is_some();
        let response = std::mem::take(&mut self.response);
        let mut sink = Sink::new(response, self.body.include_obfuscation, out);
        record.responded(sink.response_id());
        let ran = self.in_time(&mut sink, &mut record).await;
        let ran = ran.map_err(|error| record.cleaned(error));
        record.first_token(sink.first_delta());
        let keep = streamed || matches!(ran, Err(Error::Bound(_)));
        let failed = match ran {
            Err(error) if !(sink.begun() && keep) => error,
            ran => match finish(sink, &ran, record.usage()).await {
                Ok(last) => {
                    self.store(&last).await;
                    return end(last, ran.err(), record).await;
                }
                Err(error) => error,
            },
        };
        let refused = Refused {
            error: failed,
            tool_may_have_run: record.tool_may_have_run(),
            retries: record.retry_count(),
            used: record.used(),
        };
        match refused.error {
            // Dropped without an end, the record says that the client went away.
            Error::Gone => drop(record),
            _ => record.refuse(&refused.error),
        }
        Err(refused)
    }

    /// All turns, unless the time is over or the process ends.
    async fn in_time(&mut self, sink: &mut Sink, record: &mut Record) -> Result<Ending, Error> {
        let limit = self.gateway.parts.bounds.wall_clock;
        let cut = self.gateway.parts.cut.clone();
        tokio::select! {
            ran = self.turns(sink, record) => ran,
            () = tokio::time::sleep(limit) => Err(bound(&format!("{} seconds", limit.as_secs()))),
            () = cut.cancelled() => Err(Error::ShuttingDown),
        }
    }

    async fn turns(&mut self, sink: &mut Sink, record: &mut Record) -> Result<Ending, Error> {
        let inventory = self.inventory(sink, record).await?;
        let answered = std::mem::take(&mut self.answered);
        let resumed = self.resume(&inventory).run(answered, sink, record).await?;
        if resumed.asked_anew {
            return Ok(Ending::Completed);
        }
        let mut input = std::mem::take(&mut self.earlier);
        input.append(&mut self.body.input);
        let mut state = State {
            history: history::translate(input, &inventory, &self.servers, resumed.told),
            tools: self.offered(&inventory)?,
            calls_made: resumed.ran,
            tools_off: false,
        };
        let max_turns = self.gateway.parts.bounds.max_turns;
        for turn in 0..max_turns {
            let Some(left) = self.tokens_left(turn, record)? else {
                return Ok(Ending::Incomplete("max_output_tokens".to_owned()));
            };
            let frame = self.frame(&state, &inventory);
            let ask = |attempt: &Attempt, target: &Target| {
                let turn = Turn {
                    index: turn,
                    tokens_left: left,
                    state: &state,
                };
                self.request(&turn, attempt, target)
            };
            let outcome = Box::pin(turn::run(&frame, &ask, sink, record)).await?;
            if let Some(ending) = self.after(outcome, turn, &mut state, sink, record).await? {
                return Ok(ending);
            }
        }
        Err(bound(&format!("{max_turns} turns")))
    }

    fn runner(&self, turn: usize) -> Runner<'_> {
        Runner {
            gateway: &self.gateway,
            servers: &self.servers,
            journal: self.journal.as_ref(),
            turn,
        }
    }

    fn resume<'a>(&'a self, inventory: &'a Inventory) -> Resume<'a> {
        Resume {
            runner: self.runner(0),
            principal: &self.principal,
            inventory,
            max_calls: self.max_calls(),
        }
    }

    async fn store(&mut self, last: &Last) {
        let Some(keep) = self.keep.take() else { return };
        let response = last.response();
        let json = serde_json::to_string(response).unwrap_or_default();
        keep.store(self.gateway.parts.store.as_ref(), response.into(), json)
            .await;
    }

    async fn inventory(&self, sink: &mut Sink, record: &mut Record) -> Result<Inventory, Error> {
        if self.servers.is_empty() {
            return Ok(Inventory::new());
        }
        let listed = lists::run(&self.gateway, &self.servers, &self.known, sink, record).await?;
        let taken: Vec<&str> = self.tools.iter().filter_map(client_tool_name).collect();
        Ok(Inventory::build(listed, &taken))
    }

    /// MCP calls that one response may make.
    fn max_calls(&self) -> u64 {
        let ours = self.gateway.parts.bounds.max_tool_calls;
        self.body
            .max_tool_calls
            .map_or(ours, |theirs| theirs.min(ours))
    }

    fn frame<'a>(&'a self, state: &State, inventory: &'a Inventory) -> Frame<'a> {
        let left = self.max_calls().saturating_sub(state.calls_made);
        Frame {
            gateway: &self.gateway,
            principal: &self.principal,
            route: &self.route,
            servers: &self.servers,
            inventory,
            calls_left: if state.tools_off { 0 } else { left },
            one_call: self.body.parallel_tool_calls == Some(false),
        }
    }

    /// Acts on what a turn brought; `Some` ends the response.
    async fn after(
        &self,
        outcome: Outcome,
        turn: u32,
        state: &mut State,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<Option<Ending>, Error> {
        let Outcome {
            items,
            planned,
            barred,
            limit_met,
            for_client,
            end,
        } = outcome;
        let end = end.ok_or_else(|| Error::Internal("a turn without an end".to_owned()))?;
        sink.report(&end);
        match end.status {
            TurnStatus::Failed { code, message } => {
                let body = ErrorBody::new(kind::SERVER, message).code(code);
                return Err(Error::provider(body));
            }
            TurnStatus::Incomplete { reason } => return Ok(Some(Ending::Incomplete(reason))),
            TurnStatus::Completed => {}
        }
        let no_calls = planned.is_empty() && barred.is_empty();
        if (no_calls || state.tools_off) && planned.is_empty() {
            return Ok(Some(Ending::Completed));
        }
        state.calls_made += planned.len() as u64;
        state.tools_off |= limit_met;
        let answers = if planned.is_empty() {
            Vec::new()
        } else {
            let turn = usize::try_from(turn).unwrap_or(usize::MAX);
            run::run(self.runner(turn), planned, sink, record).await?
        };
        if for_client > 0 {
            return Ok(Some(Ending::Completed));
        }
        let answered = answers
            .into_iter()
            .map(|answer| history::answer(answer.call_id, answer.said));
        let refused = barred
            .into_iter()
            .map(|(id, told)| history::answer(id, Content::Text(told.to_owned())));
        state.history.extend(
            items
                .into_iter()
                .chain(answered)
                .chain(refused)
                .map(Arc::new),
        );
        Ok(None)
    }

    /// Output tokens that the next turn may use; `None` when there are too few for one. OpenAI
    /// refuses a bound below [`LEAST_TOKENS`], which only the caller's own may be.
    #[expect(clippy::option_option, reason = "the outer says whether to go on")]
    fn tokens_left(&self, turn: u32, record: &Record) -> Result<Option<Option<u64>>, Error> {
        let spent = record.usage().map_or(0, |usage| usage.output_tokens);
        let max = self.body.max_output_tokens;
        let left = max.map(|max| max.saturating_sub(spent));
        let native = self.route.target()?.dialect() == Dialect::Responses;
        let least = if native && turn > 0 { LEAST_TOKENS } else { 1 };
        Ok(left.is_none_or(|left| left >= least).then_some(left))
    }

    /// The request of a turn, as one target gets it.
    fn request(
        &self,
        turn: &Turn<'_>,
        attempt: &Attempt,
        target: &Target,
    ) -> Result<TurnRequest, Error> {
        let other;
        let body = if self.route.at() == self.first {
            &self.body
        } else {
            other = self.body_for(turn, attempt, target)?;
            &other
        };
        let (tools, tool_choice) = offer(body, turn)?;
        Ok(TurnRequest {
            model: target.model.clone(),
            instructions: body.instructions.clone(),
            input: turn.state.history.clone(),
            tools,
            hosted_tools: self.tools.iter().filter_map(hosted).collect(),
            tool_choice,
            parallel_tool_calls: body.parallel_tool_calls,
            max_output_tokens: match (turn.tokens_left, body.max_output_tokens) {
                (Some(left), Some(max)) => Some(left.min(max)),
                (left, max) => left.or(max),
            },
            options: body.options.clone(),
            stream: self.streamed,
            turn_index: turn.index,
        })
    }

    /// The body as a target other than the first reads it: fields that the first one alone
    /// knows are refused.
    fn body_for(&self, turn: &Turn<'_>, attempt: &Attempt, target: &Target) -> Result<Body, Error> {
        let head = Head::parse(&self.sent)?;
        let native = target.dialect() == Dialect::Responses;
        let mut history = turn.state.history.iter();
        if let Some(odd) = history.find(|item| matches!(***item, Item::Other(_)))
            && !native
        {
            return Err(history::unknown_item("input", odd.kind()));
        }
        read_body(&head, attempt, native)
    }

    fn offered(&self, inventory: &Inventory) -> Result<Vec<Offered>, Error> {
        let own = self.tools.iter().filter_map(client_tool);
        let own = own
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::Internal(e.to_string()))?;
        let mcp = inventory.functions().map(|function| {
            let server = &self.servers[function.server].tool;
            Offered {
                label: Some(server.server_label.clone()),
                name: function.tool.name.clone(),
                def: ToolDef {
                    name: function.wire_name.to_owned(),
                    description: described(function.description, server),
                    parameters: Arc::from(function.schema.to_owned()),
                    strict: Some(false),
                    custom: false,
                },
            }
        });
        Ok(own.into_iter().chain(mcp).collect())
    }
}

/// The tools that the model gets in a turn, and what it may do with them. A demand holds
/// for the first turn only: else the loop would never end.
fn offer(body: &Body, turn: &Turn<'_>) -> Result<(Vec<ToolDef>, Choice), Error> {
    let mut offered: Vec<&Offered> = turn.state.tools.iter().collect();
    let first = turn.index == 0;
    let choice = match &body.tool_choice {
        _ if turn.state.tools_off => Choice::None,
        ToolChoice::None => Choice::None,
        ToolChoice::Among(refs) => {
            offered.retain(|tool| tool.is_among(refs));
            Choice::Auto
        }
        ToolChoice::ForceAmong(refs) => {
            offered.retain(|tool| tool.is_among(refs));
            if offered.is_empty() {
                return Err(nothing_to_choose());
            }
            if first {
                Choice::Required
            } else {
                Choice::Auto
            }
        }
        ToolChoice::Required if first => Choice::Required,
        ToolChoice::Force(refs) if first => {
            offered.retain(|tool| tool.is_among(refs));
            match offered.as_slice() {
                [] => return Err(nothing_to_choose()),
                [only] => Choice::Function(only.def.name.clone()),
                _ => Choice::Required,
            }
        }
        ToolChoice::Auto | ToolChoice::Required | ToolChoice::Force(_) => Choice::Auto,
    };
    Ok((
        offered.into_iter().map(|tool| tool.def.clone()).collect(),
        choice,
    ))
}

/// The body as the first target that can take it reads it.
fn first_body(head: &Head<'_>, route: &Route, record: &mut Record) -> Result<Body, Error> {
    let mut tries = route.tries(0, record);
    loop {
        let native = route.target()?.dialect() == Dialect::Responses;
        match read_body(head, route.attempt(), native) {
            Ok(body) => {
                route.skip(tries);
                return Ok(body);
            }
            Err(error) => route.fail(error, &mut tries, record)?,
        }
    }
}

/// The body with what the config overrides for a target.
fn read_body(head: &Head<'_>, attempt: &Attempt, native: bool) -> Result<Body, Error> {
    if !attempt.overrides() {
        return Ok(Body::parse(head, native)?);
    }
    let bytes = attempt.overridden(&head.shallow)?.to_vec()?;
    Ok(Body::parse(&Head::parse(&bytes)?, native)?)
}

/// Servers whose lists need not be told again: the list is in the context, and as far as it is
/// known was made at the same URL.
fn known(
    earlier: &[Item],
    input: &[Item],
    context: &Context,
    servers: &[Server],
) -> HashSet<String> {
    let urls = context.listed_servers();
    let listed: HashSet<&str> = earlier
        .iter()
        .chain(input)
        .filter_map(listed_label)
        .collect();
    let same = |server: &&Server| {
        let label = &server.tool.server_label;
        listed.contains(label.as_str())
            && urls.get(label).is_none_or(|url| *url == digest_of(server))
    };
    servers
        .iter()
        .filter(same)
        .map(|server| server.tool.server_label.clone())
        .collect()
}

fn listed_label(item: &Item) -> Option<&str> {
    match item {
        Item::McpListTools(list) if !list.tools.is_empty() => Some(&list.server_label),
        _ => None,
    }
}

/// Files the record, then lets the last event go. A client that is gone by now has missed
/// nothing but that.
async fn end(last: Last, failed: Option<Error>, record: Record) -> Result<Done, Refused> {
    let (retries, of_target) = (record.retry_count(), record.target_retries());
    let tool_may_have_run = record.tool_may_have_run();
    let used = record.used();
    record.end(200, last.response(), failed.as_ref());
    match last.send().await {
        Ok(response) => Ok(Done {
            response,
            retries: of_target,
        }),
        Err(error) => Err(Refused {
            error,
            tool_may_have_run,
            retries,
            used,
        }),
    }
}

/// The end of what has begun, good or bad.
async fn finish(
    sink: Sink,
    ran: &Result<Ending, Error>,
    usage: Option<Usage>,
) -> Result<Last, Error> {
    match ran {
        Ok(ending) => sink.end(ending.clone(), usage).await,
        Err(error) => sink.fail(error, usage).await,
    }
}

fn bound(which: &str) -> Error {
    Error::Bound(format!(
        "The response was stopped by a bound of the gateway: {which}. The output so far is kept. \
         Whoever runs this gateway can raise the bound in its settings."
    ))
}
