//! What happened to one request, filed exactly once, whatever ends it.

use crate::attempts::Counted;
use crate::call::Call;
use crate::error::Error;
use crate::payload;
use crate::plan::Plan;
use crate::policy::{Parts, PayloadLevel};
use crate::price::Prices;
use crate::route::Target;
use crate::secrets::Secrets;
use jiff::Timestamp;
use portunus_protocol::request::Head;
use portunus_protocol::response::{Response, Status, Usage};
use portunus_store::log_writer::LogWriter;
use portunus_store::{
    AttemptRow, LogRecord, RequestRow, ToolCallRow, ToolListRow, TurnRow, new_id,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

mod target;

/// Sees each finished record, for metrics. Must be quick: it runs at the end of a request.
pub trait Observer: Send + Sync {
    /// One request is over.
    fn finished(&self, record: &LogRecord);
}

/// An open record. When it is dropped without an end, the client went away, or the process
/// ends.
pub(crate) struct Record {
    row: LogRecord,
    started: Instant,
    level: PayloadLevel,
    max_bytes: usize,
    provider: Duration,
    tools: Duration,
    usage: Option<Usage>,
    secrets: Secrets,
    /// The turn that runs.
    turn: Option<(usize, Instant)>,
    /// Since when only tools are waited for.
    waits_for_tools: Option<Instant>,
    tool_may_have_run: bool,
    /// Retries at the target that is used now.
    target_retries: i64,
    /// Counts the request as active.
    active: Option<Counted>,
    /// Whoever ends the process waits until this is dropped.
    unfiled: Option<TaskTrackerToken>,
    prices: Arc<Prices>,
    log: LogWriter,
    observer: Arc<dyn Observer>,
    cut: CancellationToken,
    closed: bool,
}

impl Record {
    pub(crate) fn open(parts: &Parts, call: &Call) -> Self {
        Self {
            row: LogRecord {
                request: row_of(call, parts),
                ..LogRecord::default()
            },
            started: call.received,
            level: level(call, parts),
            max_bytes: parts.policy.payload_max_bytes,
            provider: Duration::ZERO,
            tools: Duration::ZERO,
            usage: None,
            secrets: Secrets::default(),
            turn: None,
            waits_for_tools: None,
            tool_may_have_run: false,
            target_retries: 0,
            active: None,
            unfiled: None,
            prices: Arc::clone(&parts.prices),
            log: parts.log.clone(),
            observer: Arc::clone(&parts.observer),
            cut: parts.cut.clone(),
            closed: false,
        }
    }

    /// The request counts as active and unfiled until this is closed.
    pub(crate) fn counts(&mut self, active: Counted, unfiled: TaskTrackerToken) {
        self.active = Some(active);
        self.unfiled = Some(unfiled);
    }

    /// What was asked for.
    pub(crate) fn asked(&mut self, head: &Head<'_>) {
        self.secrets = Secrets::of(head);
        let request = &mut self.row.request;
        request.model_asked = Some(bounded(&head.model, 256));
        request.stream = head.stream;
        if let Some(kept) = payload::request(head, self.level, self.max_bytes) {
            request.preview = kept.preview.map(|text| self.secrets.blank(&text));
            request.request_body = kept.body;
        }
    }

    /// How it is served.
    pub(crate) fn planned(&mut self, plan: Plan, has_servers: bool) {
        let (execution, by) = match plan {
            Plan::PassThrough => ("pass_through", "provider"),
            Plan::ToolLoop => ("tool_loop", "gateway"),
        };
        self.row.request.execution = Some(execution.to_owned());
        self.row.request.mcp_execution = has_servers.then(|| by.to_owned());
    }

    /// Milliseconds since the request came in.
    pub(crate) fn offset_ms(&self) -> i64 {
        whole_ms(self.started.elapsed())
    }

    /// A remark, such as a field that a provider cannot take.
    pub(crate) fn note(&mut self, note: String) {
        if self.row.request.notes.len() < 32 && !self.row.request.notes.contains(&note) {
            self.row.request.notes.push(note);
        }
    }

    /// Begins a row that is filed as it stands if nothing else comes.
    pub(crate) fn begin_attempt(&mut self, mut row: AttemptRow) -> usize {
        row.index = count(self.row.attempts.len());
        row.started_offset_ms = self.offset_ms();
        "canceled".clone_into(&mut row.outcome);
        self.row.attempts.push(row);
        self.row.attempts.len() - 1
    }

    pub(crate) fn attempt(&mut self, index: usize) -> Option<&mut AttemptRow> {
        self.row.attempts.get_mut(index)
    }

    pub(crate) fn last_attempt(&mut self) -> Option<&mut AttemptRow> {
        self.row.attempts.last_mut()
    }

    /// How many attempts were begun.
    pub(crate) fn attempts(&self) -> usize {
        self.row.attempts.len()
    }

    pub(crate) fn attempts_from(&self, index: usize) -> &[AttemptRow] {
        self.row.attempts.get(index..).unwrap_or_default()
    }

    /// The last attempt has failed, if it is still open: its answer began well.
    pub(crate) fn failed_attempt(&mut self, error: Option<String>) {
        let now = self.offset_ms();
        if let Some(row) = self.last_attempt().filter(|row| row.total_ms.is_none()) {
            "failed".clone_into(&mut row.outcome);
            row.error = error;
            row.total_ms = Some(now - row.started_offset_ms);
        }
    }

    /// The last attempt has answered whole.
    pub(crate) fn answered(&mut self) {
        let now = self.offset_ms();
        if let Some(row) = self.last_attempt().filter(|row| row.total_ms.is_none()) {
            "completed".clone_into(&mut row.outcome);
            row.total_ms = Some(now - row.started_offset_ms);
        }
    }

    /// A target that was not called. `name` is what the request calls it.
    pub(crate) fn refused_attempt(
        &mut self,
        turn: usize,
        name: &str,
        target: Option<&Target>,
        error: Option<String>,
    ) {
        let row = self.begin_attempt(AttemptRow {
            turn: count(turn),
            provider: target.map_or_else(String::new, |target| target.provider.name().to_owned()),
            virtual_key: Some(bounded(name, 64)),
            model: target.map(|target| target.model.clone()),
            error,
            ..AttemptRow::default()
        });
        if let Some(row) = self.attempt(row) {
            "refused".clone_into(&mut row.outcome);
            row.total_ms = Some(0);
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn begin_turn(&mut self, target: &Target) -> usize {
        self.turn = Some((self.row.turns.len(), Instant::now()));
        self.row.turns.push(TurnRow {
            index: count(self.row.turns.len()),
            started_offset_ms: self.offset_ms(),
            provider: target.provider.name().to_owned(),
            model: Some(target.model.clone()),
            finish: "canceled".to_owned(),
            ..TurnRow::default()
        });
        self.row.turns.len() - 1
    }

    /// Ends a turn: its usage is added to that of the request and priced.
    pub(crate) fn end_turn(&mut self, index: usize, end: TurnDone) {
        self.provider += end.took;
        self.turn = None;
        let provider = self.row.request.provider.clone().unwrap_or_default();
        let Some(row) = self.row.turns.get_mut(index) else {
            return;
        };
        row.total_ms = whole_ms(end.took);
        row.wait_ms = end.first.map(whole_ms);
        row.finish = end.finish;
        row.tool_calls = count(end.calls);
        if let Some(model) = end.model {
            row.model = Some(model.clone());
            self.row.request.model_served = Some(model);
        }
        let Some(usage) = end.usage else { return };
        let cost = self
            .prices
            .cost(&provider, row.model.as_deref().unwrap_or(""), &usage);
        row.input_tokens = Some(tokens(usage.input_tokens));
        row.cached_input_tokens = Some(tokens(usage.input_tokens_details.cached_tokens));
        row.cache_write_tokens = Some(tokens(usage.input_tokens_details.cache_write_tokens));
        row.output_tokens = Some(tokens(usage.output_tokens));
        row.reasoning_tokens = Some(tokens(usage.output_tokens_details.reasoning_tokens));
        row.total_tokens = Some(tokens(usage.total_tokens));
        row.cost_picodollars = cost;
        self.usage = Some(self.usage.unwrap_or_default().plus(usage));
    }

    /// The usage of all turns so far.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub(crate) fn begin_list(&mut self, mut row: ToolListRow) -> usize {
        row.index = count(self.row.tool_lists.len());
        row.started_offset_ms = self.offset_ms();
        "canceled".clone_into(&mut row.outcome);
        self.row.tool_lists.push(row);
        self.row.tool_lists.len() - 1
    }

    pub(crate) fn list(&mut self, index: usize) -> Option<&mut ToolListRow> {
        self.row.tool_lists.get_mut(index)
    }

    /// Begins a call that is about to be sent: if nothing else comes, it was canceled and its
    /// outcome is unknown.
    pub(crate) fn begin_call(&mut self, mut row: ToolCallRow) -> usize {
        row.index = count(self.row.tool_calls.len());
        row.started_offset_ms = self.offset_ms();
        self.row.tool_calls.push(row);
        self.row.tool_calls.len() - 1
    }

    /// From here on a tool may have run: no client may repeat the request by itself.
    pub(crate) fn tool_goes_out(&mut self) {
        self.tool_may_have_run = true;
    }

    pub(crate) fn tool_may_have_run(&self) -> bool {
        self.tool_may_have_run
    }

    pub(crate) fn call(&mut self, index: usize) -> Option<&mut ToolCallRow> {
        self.row.tool_calls.get_mut(index)
    }

    /// A text as it may be kept.
    pub(crate) fn keep(&self, text: &str) -> Option<String> {
        let kept = payload::keep(text, self.level, self.max_bytes)?;
        Some(self.secrets.blank(&kept))
    }

    /// A text of somebody else, such as an error, without the secrets of this request and
    /// without anything that looks like one.
    pub(crate) fn clean(&self, text: &str) -> String {
        payload::blank(&self.secrets.blank(text))
    }

    /// Words of somebody else about a failure, as they may be kept: below `redacted` not at all.
    pub(crate) fn keep_words(&self, text: &str) -> Option<String> {
        (self.level >= PayloadLevel::Redacted).then(|| self.clean(text))
    }

    /// An error whose text may repeat what was sent, as it may be told and kept.
    pub(crate) fn cleaned(&self, mut error: Error) -> Error {
        match &mut error {
            Error::AllFailed { tried, last } => {
                *tried = self.clean(tried);
                let inner = std::mem::replace(&mut **last, Error::Gone);
                **last = self.cleaned(inner);
            }
            Error::Provider(failure) => failure.body.message = self.clean(&failure.body.message),
            Error::McpList { detail, .. } => *detail = self.clean(detail),
            _ => {}
        }
        error
    }

    /// From here on only tools are waited for.
    pub(crate) fn tools_begin(&mut self) {
        self.waits_for_tools = Some(Instant::now());
    }

    /// The model's turn again.
    pub(crate) fn tools_end(&mut self) {
        let since = self.waits_for_tools.take();
        self.tools += since.map(|since| since.elapsed()).unwrap_or_default();
    }

    pub(crate) fn first_token(&mut self, at: Option<Instant>) {
        let took = at.map(|at| at.duration_since(self.started));
        self.row.request.first_token_ms = took.map(whole_ms);
    }

    pub(crate) fn retries(&mut self, retries: u32) {
        self.target_retries += i64::from(retries);
        let sum = self.row.request.retry_count.unwrap_or(0) + i64::from(retries);
        self.row.request.retry_count = Some(sum);
    }

    pub(crate) fn retry_count(&self) -> i64 {
        self.row.request.retry_count.unwrap_or(0)
    }

    /// Retries at the target that was used last. Source: Portkey, "Response headers".
    pub(crate) fn target_retries(&self) -> i64 {
        self.target_retries
    }

    pub(crate) fn responded(&mut self, id: &str) {
        self.row.request.response_id = Some(bounded(id, 128));
    }

    /// The request ended with a response of ours.
    pub(crate) fn end(mut self, status_code: u16, response: &Response, error: Option<&Error>) {
        if let Some(error) = error {
            self.blame(error);
        }
        let body = serde_json::to_string(response).ok();
        self.row.request.response_body = body.and_then(|body| self.keep(&body));
        self.close(status_code, outcome(response.status));
    }

    /// The request ended with a body that was relayed.
    pub(crate) fn end_relayed(mut self, status_code: u16, outcome: &str, body: Option<&str>) {
        self.row.request.response_body = body.and_then(|body| self.keep(body));
        self.close(status_code, outcome);
    }

    /// The request ended with an error answer.
    pub(crate) fn refuse(mut self, error: &Error) {
        self.blame(error);
        let outcome = if error.source() == "client" {
            "refused"
        } else {
            "failed"
        };
        self.close(error.status(), outcome);
    }

    /// Says whose fault it was.
    pub(crate) fn blame(&mut self, error: &Error) {
        let body = error.body();
        // Our own words say nothing of what was sent; those of others may.
        let message = match error.source() {
            "provider" | "mcp" => self.keep_words(&body.message),
            _ => Some(self.clean(&body.message)),
        };
        let cause = error.cause().and_then(|cause| self.keep_words(cause));
        let request = &mut self.row.request;
        request.error_source = Some(error.source().to_owned());
        request.error_code = body.code.map(|code| bounded(&code, 64));
        request.error_message = message.map(|message| bounded(&message, 1024));
        if let Error::Internal(_) = error {
            let cause = cause.as_deref().unwrap_or("");
            tracing::error!(request_id = %request.request_id, cause, "the gateway failed");
        }
        if let Some(cause) = cause {
            self.note(bounded(&cause, 512));
        }
    }

    fn close(&mut self, status_code: u16, outcome: &str) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.active = None;
        self.close_open(outcome);
        self.sum_up();
        let request = &mut self.row.request;
        request.status_code = status_code;
        outcome.clone_into(&mut request.outcome);
        self.observer.finished(&self.row);
        self.log.submit(std::mem::take(&mut self.row));
        self.unfiled = None;
    }

    /// What still runs ends now, as the request does.
    fn close_open(&mut self, outcome: &str) {
        self.tools_end();
        let now = self.offset_ms();
        let finish = if outcome == "canceled" {
            "canceled"
        } else {
            "failed"
        };
        if let Some((index, since)) = self.turn.take() {
            self.provider += since.elapsed();
            if let Some(row) = self.row.turns.get_mut(index) {
                row.total_ms = whole_ms(since.elapsed());
                finish.clone_into(&mut row.finish);
            }
        }
        for row in self
            .row
            .attempts
            .iter_mut()
            .filter(|row| row.total_ms.is_none())
        {
            row.total_ms = Some(now - row.started_offset_ms);
            finish.clone_into(&mut row.outcome);
        }
        for row in self
            .row
            .tool_lists
            .iter_mut()
            .filter(|row| row.outcome == "canceled")
        {
            row.total_ms = Some(now - row.started_offset_ms);
        }
        for row in self
            .row
            .tool_calls
            .iter_mut()
            .filter(|row| row.outcome == "canceled")
        {
            row.total_ms = Some(now - row.started_offset_ms);
        }
    }

    fn sum_up(&mut self) {
        let total = self.started.elapsed();
        let row = &mut self.row;
        let request = &mut row.request;
        request.total_ms = whole_ms(total);
        request.provider_ms = Some(whole_ms(self.provider));
        request.tools_ms = Some(whole_ms(self.tools));
        request.gateway_ms = Some(whole_ms(total.saturating_sub(self.provider + self.tools)));
        request.turns = count(row.turns.len());
        request.attempts = count(row.attempts.len());
        request.tool_calls = count(row.tool_calls.len());
        request.tool_errors = count(row.tool_calls.iter().filter(|call| is_error(call)).count());
        let Some(usage) = self.usage else { return };
        request.input_tokens = Some(tokens(usage.input_tokens));
        request.cached_input_tokens = Some(tokens(usage.input_tokens_details.cached_tokens));
        request.cache_write_tokens = Some(tokens(usage.input_tokens_details.cache_write_tokens));
        request.output_tokens = Some(tokens(usage.output_tokens));
        request.reasoning_tokens = Some(tokens(usage.output_tokens_details.reasoning_tokens));
        request.total_tokens = Some(tokens(usage.total_tokens));
        // One turn without a price leaves the whole without one.
        let costs = row.turns.iter().map(|turn| turn.cost_picodollars);
        request.cost_picodollars = costs.sum::<Option<i64>>();
        request.price_source = request.cost_picodollars.map(|_| self.prices.source());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // A client that leaves at the `error` event of a stream has not caused it.
        if self.row.request.error_source.is_some() {
            return self.close(200, "failed");
        }
        let (error, outcome) = match self.cut.is_cancelled() {
            true => (Error::ShuttingDown, "failed"),
            false => (Error::Gone, "canceled"),
        };
        self.blame(&error);
        self.close(error.status(), outcome);
    }
}

/// What is known when a turn has ended.
#[derive(Debug, Default)]
pub(crate) struct TurnDone {
    pub(crate) took: Duration,
    pub(crate) first: Option<Duration>,
    pub(crate) finish: String,
    pub(crate) model: Option<String>,
    pub(crate) usage: Option<Usage>,
    pub(crate) calls: usize,
}

/// `x-portkey-debug: false` asks that no body is kept. Source: Portkey, "Request headers".
fn level(call: &Call, parts: &Parts) -> PayloadLevel {
    match call.header("x-portkey-debug") {
        Some("false") => PayloadLevel::None,
        _ => parts.policy.payload,
    }
}

fn row_of(call: &Call, parts: &Parts) -> RequestRow {
    let text = |name: &str| call.header(name).map(|text| bounded(text, 256));
    let level = level(call, parts);
    let metadata = crate::config::metadata(call);
    RequestRow {
        id: new_id("log-"),
        workspace_id: call.principal.workspace_id.clone(),
        created_at_ms: Timestamp::now().as_millisecond() - whole_ms(call.received.elapsed()),
        trace_id: bounded(&call.trace_id, 256),
        span_id: text("x-portkey-span-id"),
        parent_span_id: text("x-portkey-parent-span-id"),
        span_name: text("x-portkey-span-name"),
        request_id: call.request_id.clone(),
        endpoint: call.endpoint.to_owned(),
        method: "POST".to_owned(),
        api_key_id: call.principal.api_key_id.clone(),
        api_key_name: call.principal.api_key_name.clone(),
        cache_status: "DISABLED".to_owned(),
        client: client(call),
        metadata: if level < PayloadLevel::Metadata {
            json!({})
        } else {
            Value::Object(metadata)
        },
        payload_level: level.as_str().to_owned(),
        ..RequestRow::default()
    }
}

fn client(call: &Call) -> Value {
    let text = |name: &str| call.header(name).map(|text| bounded(text, 128));
    json!({
        "source": "portunus",
        "runtime": text("x-portkey-runtime").or_else(|| text("x-stainless-runtime")),
        "runtime_version": text("x-portkey-runtime-version").or_else(|| text("x-stainless-runtime-version")),
        "sdk_version": text("x-portkey-package-version").or_else(|| text("x-stainless-package-version")),
        "user_agent": text("user-agent"),
        "retry_count": text("x-stainless-retry-count"),
    })
}

fn outcome(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Incomplete => "incomplete",
        _ => "failed",
    }
}

fn is_error(call: &ToolCallRow) -> bool {
    !matches!(
        call.outcome.as_str(),
        "completed" | "approval_requested" | "limit"
    )
}

pub(crate) fn bounded(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

pub(crate) fn whole_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn tokens(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
