//! One turn of the model: asked, read as events, sorted into what the client sees at once and
//! what is held back because it is for us to run.

use crate::Gateway;
use crate::answers::{self, Ask};
use crate::attempts::{Attempt, Route};
use crate::call::Principal;
use crate::dispatch::{Send, unreachable};
use crate::error::Error;
use crate::record::{Record, TurnDone};
use crate::route::Target;
use crate::servers::Server;
use crate::sink::Sink;
use crate::{history, run};
use portunus_mcp::Inventory;
use portunus_mcp::approval::{self, Decision};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::event::Event;
use portunus_protocol::item::{FunctionCall, Item};
use portunus_protocol::request::ServerUrlEcho;
use portunus_protocol::sse;
use portunus_providers::{Choice, TurnEnd, TurnEvent, TurnRequest, TurnStatus};
use portunus_store::ToolCallRow;
use std::time::{Duration, Instant};

/// What a turn is run with.
pub(crate) struct Frame<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) principal: &'a Principal,
    pub(crate) route: &'a Route,
    pub(crate) servers: &'a [Server],
    pub(crate) inventory: &'a Inventory,
    /// MCP calls that may still run.
    pub(crate) calls_left: u64,
    /// The client wants one call a turn.
    pub(crate) one_call: bool,
}

/// What came of a turn.
#[derive(Default)]
pub(crate) struct Outcome {
    /// For the history, in the model's order.
    pub(crate) items: Vec<Item>,
    /// Calls to run.
    pub(crate) planned: Vec<run::Planned>,
    /// Calls that may not run, each with what the model is told.
    pub(crate) barred: Vec<(String, &'static str)>,
    /// The bound on calls was met.
    pub(crate) limit_met: bool,
    /// Calls that the client must answer or approve.
    pub(crate) for_client: usize,
    pub(crate) end: Option<TurnEnd>,
}

/// Makes the request of a turn for one target.
pub(crate) type Asker<'a> =
    dyn Fn(&Attempt, &Target) -> Result<TurnRequest, Error> + std::marker::Send + Sync + 'a;

/// Runs one turn, at the target that served the last one, or at the next that can.
pub(crate) async fn run(
    frame: &Frame<'_>,
    ask: &Asker<'_>,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let row = record.begin_turn(frame.route.target()?);
    let mut tries = frame.route.tries(row, record);
    let (tried, result) = loop {
        let mut tried = Tried::default();
        let error = match attempt(frame, ask, row, &mut tried, sink, record).await {
            Err(error) if !tried.is_out => error,
            result => break (tried, result),
        };
        match frame.route.fail(error, &mut tries, record) {
            Ok(()) => record.aim_turn(row, frame.route.target()?),
            Err(error) => break (tried, Err(error)),
        }
    };
    let first = tried.first.map(|at| at.duration_since(started));
    let end = done(
        &tried.outcome,
        result.as_ref().err(),
        started.elapsed(),
        first,
    );
    record.end_turn(row, end);
    if result.is_ok() {
        record.answered();
    }
    result.map(|()| tried.outcome)
}

/// What came of one target.
#[derive(Default)]
struct Tried {
    outcome: Outcome,
    first: Option<Instant>,
    /// Output has left: the turn cannot begin anew.
    is_out: bool,
}

async fn attempt(
    frame: &Frame<'_>,
    ask: &Asker<'_>,
    row: usize,
    tried: &mut Tried,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<(), Error> {
    let (attempt, target) = (frame.route.attempt(), frame.route.target()?);
    let request = ask(attempt, target)?;
    let mut reader = Reader::new(frame, target, &request, row);
    let result = match target.provider.local(&request) {
        Some(events) => reader.take(events, sink, record).await,
        None => reader.ask(attempt, sink, record).await,
    };
    let result = result.and_then(|()| reader.sound());
    *tried = Tried {
        is_out: reader.is_out(),
        first: reader.first,
        outcome: reader.outcome(),
    };
    result
}

fn done(
    outcome: &Outcome,
    error: Option<&Error>,
    took: Duration,
    first: Option<Duration>,
) -> TurnDone {
    let end = outcome.end.as_ref();
    let finish = match (error, end.map(|end| &end.status)) {
        (Some(Error::Gone), _) => "canceled",
        (Some(_), _) | (None, None | Some(TurnStatus::Failed { .. })) => "failed",
        (None, Some(TurnStatus::Incomplete { reason })) => reason,
        (None, Some(TurnStatus::Completed)) if outcome.has_calls() => "tool_calls",
        (None, Some(TurnStatus::Completed)) => "stop",
    };
    TurnDone {
        took,
        first,
        finish: finish.to_owned(),
        model: end.and_then(|end| end.model.clone()),
        usage: end.and_then(|end| end.usage),
        calls: outcome.planned.len() + outcome.barred.len() + outcome.for_client,
    }
}

impl Outcome {
    fn has_calls(&self) -> bool {
        !self.planned.is_empty() || !self.barred.is_empty() || self.for_client > 0
    }
}

/// Told to the model in place of a result.
pub(crate) const OVER: &str = "This call was not run: the limit of tool calls for this response \
                    (max_tool_calls) is reached. Answer with what you have.";

/// As [`OVER`], for a tool that `tool_choice` leaves out.
const NOT_OFFERED: &str = "This call was not run: the tool is not available in this turn.";

/// Where an item of the turn goes.
#[derive(Clone, Copy)]
enum Way {
    /// To the client, at this `output_index`.
    Open(usize),
    /// Nowhere yet: it is a call of an MCP tool.
    Held,
    /// Nowhere: it is a call too many.
    Dropped,
}

struct Reader<'a> {
    frame: &'a Frame<'a>,
    target: &'a Target,
    request: &'a TurnRequest,
    turn: usize,
    ways: Vec<(usize, Way)>,
    calls: usize,
    first: Option<Instant>,
    items: Vec<(usize, Item)>,
    outcome: Outcome,
}

impl<'a> Reader<'a> {
    fn new(
        frame: &'a Frame<'a>,
        target: &'a Target,
        request: &'a TurnRequest,
        turn: usize,
    ) -> Self {
        Self {
            frame,
            target,
            request,
            turn,
            ways: Vec::new(),
            calls: 0,
            first: None,
            items: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn outcome(&mut self) -> Outcome {
        let mut outcome = std::mem::take(&mut self.outcome);
        self.items.sort_by_key(|(index, _)| *index);
        outcome.items = std::mem::take(&mut self.items)
            .into_iter()
            .map(|(_, item)| item)
            .collect();
        outcome
    }

    /// Whether something of the turn has left: an item that the client sees, or a call that is
    /// ours and decided.
    fn is_out(&self) -> bool {
        !self.items.is_empty() || self.ways.iter().any(|(_, way)| matches!(way, Way::Open(_)))
    }

    /// A turn that failed before its first output is an error of its target.
    fn sound(&self) -> Result<(), Error> {
        let end = self.outcome.end.as_ref();
        match end.map(|end| &end.status) {
            Some(TurnStatus::Failed { code, message }) if !self.is_out() => {
                let body = ErrorBody::new(kind::SERVER, message.as_str()).code(code.clone());
                Err(Error::provider(body))
            }
            _ => Ok(()),
        }
    }

    /// Sends the turn and reads the answer.
    async fn ask(
        &mut self,
        attempt: &Attempt,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        let (target, request) = (self.target, self.request);
        let outgoing = target.provider.encode(&target.endpoint, request)?;
        for note in outgoing.notes {
            record.note(note);
        }
        let send = Send {
            target,
            head: outgoing.head,
            body: outgoing.body,
            stream: request.stream,
            turn: self.turn,
            runs_tools: false,
            timeout: attempt.timeout,
            forward: &attempt.forward,
        };
        let response = self
            .frame
            .gateway
            .dispatch(&send, &attempt.retry, record)
            .await?;
        if is_page(&response.headers) {
            let text = format!(
                "The provider {} answered with success, but with an HTML page. Is its address right?",
                target.shown()
            );
            return Err(Error::provider(
                ErrorBody::new(kind::SERVER, text).code(code::SERVER),
            ));
        }
        let decoder = target.provider.decoder(request);
        if is_stream(&response.headers) {
            return self.read(&send, response.body, decoder, sink, record).await;
        }
        let mut decoder = decoder;
        let body = response
            .body
            .bytes()
            .await
            .map_err(|cause| unreachable(&send, cause))?;
        let mut events = decoder.body(&body)?;
        if !matches!(events.last(), Some(TurnEvent::End(_))) {
            events.extend(decoder.finish()?);
        }
        self.take(events, sink, record).await
    }

    async fn read(
        &mut self,
        send: &Send<'_>,
        mut body: portunus_egress::Body,
        mut decoder: Box<dyn portunus_providers::Decoder>,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        let mut frames = sse::Decoder::new(self.frame.gateway.parts.bounds.max_turn_bytes);
        while let Some(chunk) = body
            .chunk()
            .await
            .map_err(|cause| unreachable(send, cause))?
        {
            let found = frames
                .push(&chunk)
                .map_err(|error| Error::Bound(error.to_string()))?;
            for frame in &found {
                self.take(decoder.frame(frame)?, sink, record).await?;
            }
            if self.outcome.end.is_some() {
                // The rest is awaited for the connection's sake alone.
                let drain = self.frame.gateway.parts.bounds.drain;
                drop(tokio::time::timeout(drain, body.chunk()).await);
                return Ok(());
            }
        }
        if let Some(frame) = frames.finish() {
            self.take(decoder.frame(&frame)?, sink, record).await?;
        }
        if self.outcome.end.is_none() {
            self.take(decoder.finish()?, sink, record).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        events: Vec<TurnEvent>,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        for event in events {
            self.first.get_or_insert_with(Instant::now);
            match event {
                TurnEvent::Item(event) => {
                    self.frame.route.answers();
                    sink.begin().await?;
                    self.item(event, sink, record).await?;
                }
                TurnEvent::End(end) => self.outcome.end = Some(end),
            }
        }
        Ok(())
    }

    async fn item(
        &mut self,
        event: Event,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        match event {
            Event::ItemAdded { output_index, item } => self.added(output_index, item, sink).await,
            Event::ItemDone { output_index, item } => {
                self.done(output_index, item, sink, record).await
            }
            Event::Inside(mut inside) => {
                let Some(Way::Open(index)) = self.way(inside.output_index) else {
                    return Ok(());
                };
                inside.output_index = index;
                sink.emit(Event::Inside(inside)).await
            }
            Event::Lifecycle(..) | Event::Error(_) | Event::Other(_) => Ok(()),
        }
    }

    fn way(&self, local: usize) -> Option<Way> {
        // The latest item is meant most of the time.
        let mut ways = self.ways.iter().rev();
        ways.find(|(index, _)| *index == local).map(|(_, way)| *way)
    }

    async fn added(&mut self, local: usize, item: Item, sink: &mut Sink) -> Result<(), Error> {
        let name = match &item {
            Item::FunctionCall(call) => Some(call.name.as_str()),
            Item::CustomToolCall(call) => Some(call.name.as_str()),
            _ => None,
        };
        self.calls += usize::from(name.is_some());
        let way = match name {
            Some(_) if self.frame.one_call && self.calls > 1 => Way::Dropped,
            Some(name) if self.is_for_us(name) => Way::Held,
            _ => Way::Open(sink.add(item).await?),
        };
        self.ways.push((local, way));
        Ok(())
    }

    async fn done(
        &mut self,
        local: usize,
        item: Item,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        match (self.way(local), item) {
            (Some(Way::Open(index)), item) => {
                if matches!(item, Item::FunctionCall(_) | Item::CustomToolCall(_)) {
                    self.outcome.for_client += 1;
                }
                self.items.push((local, item.clone()));
                sink.done(index, item).await
            }
            (Some(Way::Held), Item::FunctionCall(call)) => {
                self.decide(local, call, sink, record).await
            }
            _ => Ok(()),
        }
    }

    /// A call of an MCP tool, or of a tool that is nobody's: the model made its name up. Without
    /// MCP servers the latter is the client's own business.
    fn is_for_us(&self, wire_name: &str) -> bool {
        let known = self.request.tools.iter().any(|tool| tool.name == wire_name);
        self.frame.inventory.find(wire_name).is_some() || !(known || self.frame.servers.is_empty())
    }

    /// Why a call may not run, told to the model; `None` if it may.
    fn barred(&mut self, wire_name: &str) -> Option<&'static str> {
        let planned = self.outcome.planned.len() as u64;
        if planned >= self.frame.calls_left {
            self.outcome.limit_met = true;
            return Some(OVER);
        }
        let offered = self.request.tools.iter().any(|tool| tool.name == wire_name);
        (!offered || self.request.tool_choice == Choice::None).then_some(NOT_OFFERED)
    }

    /// What becomes of a whole call of an MCP tool: it is cut off, over the bound, to be
    /// approved, or to be run.
    async fn decide(
        &mut self,
        local: usize,
        call: FunctionCall,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<(), Error> {
        let Some(found) = self.frame.inventory.find(&call.name) else {
            let barred = (call.call_id.clone(), NOT_OFFERED);
            self.items.push((local, Item::FunctionCall(call)));
            self.outcome.barred.push(barred);
            return Ok(());
        };
        let server = &self.frame.servers[found.server];
        let label = &server.tool.server_label;
        if call.status.as_deref() == Some("incomplete") {
            let (mut item, index) =
                run::announce(sink, label, &found.tool.name, &call.arguments, None).await?;
            "incomplete".clone_into(&mut item.status);
            return sink.done(index, Item::McpCall(item)).await;
        }
        let arguments = call.arguments.clone();
        let call_id = call.call_id.clone();
        let told = self.barred(&call.name);
        let kept = FunctionCall {
            arguments: history::sound(call.arguments),
            ..call
        };
        self.items.push((local, Item::FunctionCall(kept)));
        let row = row_of(self.turn, server, &found.tool.name, &arguments, record);
        if let Some(told) = told {
            record.begin_call(ToolCallRow {
                outcome: "limit".to_owned(),
                ..row
            });
            self.outcome.barred.push((call_id, told));
            return Ok(());
        }
        if approval::decide(&server.tool.require_approval, found.tool) == Decision::Ask {
            self.outcome.for_client += 1;
            let ask = Ask {
                principal: self.frame.principal,
                server,
                tool: found.tool,
                arguments,
                call_id,
            };
            let id = answers::ask(self.frame.gateway, ask, sink).await?;
            record.begin_call(ToolCallRow {
                outcome: "approval_requested".to_owned(),
                item_id: Some(id),
                ..row
            });
            return Ok(());
        }
        let told = run::announce(sink, label, &found.tool.name, &arguments, None).await?;
        let planned = run::Planned::new(found.server, found.tool.clone(), call_id, told);
        self.outcome.planned.push(planned);
        Ok(())
    }
}

/// The row of a call that does not run.
fn row_of(
    turn: usize,
    server: &Server,
    tool: &str,
    arguments: &str,
    record: &Record,
) -> ToolCallRow {
    ToolCallRow {
        turn: crate::record::count(turn),
        server_label: server.tool.server_label.clone(),
        server_url: server
            .tool
            .shown_url(ServerUrlEcho::Origin)
            .unwrap_or_default(),
        tool: tool.to_owned(),
        run_by: "gateway".to_owned(),
        argument_bytes: crate::record::count(arguments.len()),
        arguments: record.keep(arguments),
        ..ToolCallRow::default()
    }
}

fn is_page(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        kind.as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"text/html")
    })
}

fn is_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| {
        !kind
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("application/json")
    })
}
