//! The MCP calls of one turn: told, sent at most once, answered.

use crate::Gateway;
use crate::error::Error;
use crate::journal::Journal;
use crate::lists::timed;
use crate::record::{Record, whole_ms};
use crate::servers::Server;
use crate::sink::Sink;
use futures_util::StreamExt;
use futures_util::stream;
use portunus_mcp::output::{self, Output};
use portunus_mcp::{CallError, CallOutcome, Tool, told};
use portunus_protocol::event::{Event, ItemEvent, name};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::item::{Content, Item, McpCall};
use portunus_protocol::request::ServerUrlEcho;
use portunus_store::ToolCallRow;
use serde_json::value::RawValue;
use std::time::Duration;

/// A call that the model wants and that may run.
pub(crate) struct Planned {
    /// Which server of the request.
    pub(crate) server: usize,
    /// Which tool of it.
    pub(crate) tool: Tool,
    /// By this id the model's call is answered.
    pub(crate) call_id: String,
    /// The item, as it was told so far.
    item: McpCall,
    output_index: usize,
}

/// An answer for the model.
pub(crate) struct Answer {
    pub(crate) call_id: String,
    pub(crate) said: Content,
}

/// Tells the beginning of a call: everything up to the point where it runs.
pub(crate) async fn announce(
    sink: &mut Sink,
    label: &str,
    tool: &str,
    arguments: &str,
    approved: Option<String>,
) -> Result<(McpCall, usize), Error> {
    let mut item = McpCall {
        id: id::make(Kind::McpCall),
        status: "in_progress".to_owned(),
        approval_request_id: approved,
        name: tool.to_owned(),
        server_label: label.to_owned(),
        ..McpCall::default()
    };
    let index = sink.add(Item::McpCall(item.clone())).await?;
    sink.mark(name::MCP_IN_PROGRESS, &item.id, index).await?;
    let inside = |kind| ItemEvent::new(kind, &item.id, index);
    let delta = Some(arguments.to_owned());
    let whole = delta.clone();
    sink.emit(Event::Inside(ItemEvent {
        delta,
        ..inside(name::MCP_ARGUMENTS_DELTA)
    }))
    .await?;
    sink.emit(Event::Inside(ItemEvent {
        arguments: whole,
        ..inside(name::MCP_ARGUMENTS_DONE)
    }))
    .await?;
    arguments.clone_into(&mut item.arguments);
    Ok((item, index))
}

impl Planned {
    pub(crate) fn new(
        server: usize,
        tool: Tool,
        call_id: String,
        (item, output_index): (McpCall, usize),
    ) -> Self {
        Self {
            server,
            tool,
            call_id,
            item,
            output_index,
        }
    }
}

/// What calls are run with.
#[derive(Clone, Copy)]
pub(crate) struct Runner<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) servers: &'a [Server],
    pub(crate) journal: Option<&'a Journal>,
    pub(crate) turn: usize,
}

/// Runs the calls of one turn, several at once, and returns the answers in order of the calls.
pub(crate) async fn run(
    runner: Runner<'_>,
    planned: Vec<Planned>,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Vec<Answer>, Error> {
    record.tools_begin();
    let result = run_all(runner, planned, sink, record).await;
    record.tools_end();
    result
}

async fn run_all(
    runner: Runner<'_>,
    planned: Vec<Planned>,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Vec<Answer>, Error> {
    let Runner {
        gateway,
        servers,
        journal,
        turn,
    } = runner;
    let bounds = &gateway.parts.bounds;
    if let Some(journal) = journal {
        journal
            .intend(gateway, planned.iter().map(|call| &call.item))
            .await?;
    }
    let rows: Vec<usize> = planned
        .iter()
        .map(|call| record.begin_call(row_of(call, servers, turn, record)))
        .collect();
    record.tool_goes_out();
    let mut calls = Vec::with_capacity(planned.len());
    for (place, call) in planned.iter().enumerate() {
        calls.push(timed(place, send(gateway, &servers[call.server], call)));
    }
    let mut calls = stream::iter(calls).buffer_unordered(bounds.max_parallel_calls);
    let mut said: Vec<Content> = planned.iter().map(|_| Content::default()).collect();
    while let Some((place, outcome, took)) = calls.next().await {
        if let Some(journal) = journal {
            journal
                .ended(gateway, &planned[place].item.id, &outcome)
                .await;
        }
        let output = map(&outcome, bounds.max_tool_output_bytes);
        let told = told::of(output.output.as_deref(), output.error.as_ref());
        let kept = record.keep(&told::plain(&told));
        let failed = outcome.result.as_ref().err();
        let failed = failed.and_then(|error| record.keep_words(&error.to_string()));
        if let Some(row) = record.call(rows[place]) {
            fill(row, &outcome, took);
            row.error = failed;
            row.result = kept;
        }
        said[place] = told;
        end(&planned[place], output, sink).await?;
    }
    drop(calls);
    let answers = planned.into_iter().zip(said);
    Ok(answers
        .map(|(call, said)| Answer {
            call_id: call.call_id,
            said,
        })
        .collect())
}

async fn send(gateway: &Gateway, server: &Server, call: &Planned) -> CallOutcome {
    let text = if call.item.arguments.trim().is_empty() {
        "{}"
    } else {
        &call.item.arguments
    };
    let arguments: Result<&RawValue, _> = serde_json::from_str(text);
    match (&server.spec, arguments) {
        (Some(spec), Ok(arguments)) if arguments.get().starts_with('{') => {
            Box::pin(gateway.parts.pool.call(spec, &call.tool, arguments)).await
        }
        _ => not_run("The arguments are not a JSON object."),
    }
}

/// The outcome of a call that was not sent.
fn not_run(message: &str) -> CallOutcome {
    // JSON-RPC 2.0, section 5.1: invalid params.
    let error = CallError::Protocol {
        code: -32602,
        message: message.to_owned(),
    };
    let timing = portunus_mcp::Timing::default();
    CallOutcome {
        result: Err(error),
        timing,
        bytes: 0,
        outcome_unknown: false,
    }
}

fn map(outcome: &CallOutcome, max_bytes: usize) -> Output {
    match &outcome.result {
        Ok(result) => output::of(result, max_bytes),
        Err(error) => output::of_error(error),
    }
}

async fn end(call: &Planned, output: Output, sink: &mut Sink) -> Result<(), Error> {
    let mut item = call.item.clone();
    let (status, event) = match output.error {
        None => ("completed", name::MCP_COMPLETED),
        Some(_) => ("failed", name::MCP_FAILED),
    };
    status.clone_into(&mut item.status);
    item.output = output.output;
    item.error = output.error;
    sink.mark(event, &item.id, call.output_index).await?;
    sink.done(call.output_index, Item::McpCall(item)).await
}

/// The row of a call that is about to be sent: canceled, unless something else comes.
fn row_of(call: &Planned, servers: &[Server], turn: usize, record: &Record) -> ToolCallRow {
    let tool = &servers[call.server].tool;
    ToolCallRow {
        turn: crate::record::count(turn),
        item_id: Some(call.item.id.clone()),
        server_label: call.item.server_label.clone(),
        server_url: tool.shown_url(ServerUrlEcho::Origin).unwrap_or_default(),
        tool: call.item.name.clone(),
        run_by: "gateway".to_owned(),
        argument_bytes: crate::record::count(call.item.arguments.len()),
        outcome: "canceled".to_owned(),
        error: Some("canceled, outcome unknown: the tool may have run".to_owned()),
        arguments: record.keep(&call.item.arguments),
        ..ToolCallRow::default()
    }
}

fn fill(row: &mut ToolCallRow, outcome: &CallOutcome, took: Duration) {
    let ms = |ms: u64| i64::try_from(ms).ok();
    word(outcome).clone_into(&mut row.outcome);
    row.total_ms = Some(whole_ms(took));
    row.connect_ms = ms(outcome.timing.connect_ms);
    row.wait_ms = ms(outcome.timing.wait_ms);
    row.read_ms = ms(outcome.timing.read_ms);
    row.result_bytes = i64::try_from(outcome.bytes).ok();
}

fn word(outcome: &CallOutcome) -> &'static str {
    match &outcome.result {
        Ok(result) if result.is_error => "tool_error",
        Ok(_) => "completed",
        Err(CallError::Protocol { .. }) => "protocol_error",
        Err(CallError::Timeout { .. }) => "timeout",
        Err(CallError::Http { .. }) => "http_error",
        Err(_) if outcome.outcome_unknown => "outcome_unknown",
        Err(_) => "http_error",
    }
}
