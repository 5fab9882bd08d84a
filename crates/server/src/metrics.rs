//! Prometheus metrics. Labels are closed sets: no key, no user, no raw path, and no name that
//! a caller chooses (models, server labels), so that nobody can grow them without bound.

use http::{Method, StatusCode};
use portunus_gateway::Observer;
use portunus_store::LogRecord;
use portunus_store::log_writer::LogCounts;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// OpenMetrics text, as scrapers ask for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    endpoint: String,
    method: &'static str,
    status_class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    endpoint: String,
    status_class: &'static str,
    error_source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempts {
    provider: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ran {
    outcome: String,
    run_by: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// All metrics of one process (or of one gateway in a test).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: Family<RequestLabels, Counter>,
    head_seconds: Histogram,
    requests: Family<Outcome, Counter>,
    duration_seconds: Histogram,
    overhead_seconds: Histogram,
    first_token_seconds: Histogram,
    upstream_seconds: Histogram,
    upstream: Family<Attempts, Counter>,
    tokens: Family<Kind, Counter>,
    cost_usd: Counter<f64, AtomicU64>,
    mcp_calls: Family<Ran, Counter>,
    mcp_call_seconds: Histogram,
    auth_failures: Family<Reason, Counter>,
    shed: Family<Reason, Counter>,
    disconnects: Counter,
    log_rows: Family<Reason, Counter>,
    log_queue_depth: Gauge,
    log_dropped: Counter,
    retries: Counter,
    draining: Gauge,
    /// Model requests at work.
    pub inflight: Gauge,
    /// Open connections.
    pub connections: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new((0..14).map(|power| 0.005 * f64::from(1 << power)));
        let mut metrics = Self {
            registry: Registry::with_prefix("portunus"),
            answers: Family::default(),
            head_seconds: seconds(),
            requests: Family::default(),
            duration_seconds: seconds(),
            overhead_seconds: Histogram::new((0..14).map(|power| 0.000_1 * f64::from(1 << power))),
            first_token_seconds: seconds(),
            upstream_seconds: seconds(),
            upstream: Family::default(),
            tokens: Family::default(),
            cost_usd: Counter::default(),
            mcp_calls: Family::default(),
            mcp_call_seconds: seconds(),
            auth_failures: Family::default(),
            shed: Family::default(),
            disconnects: Counter::default(),
            log_rows: Family::default(),
            log_queue_depth: Gauge::default(),
            log_dropped: Counter::default(),
            retries: Counter::default(),
            draining: Gauge::default(),
            inflight: Gauge::default(),
            connections: Gauge::default(),
        };
        metrics.register_http();
        metrics.register_work();
        metrics
    }
}

impl Metrics {
    fn register_http(&mut self) {
        let r = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program", build);
        r.register(
            "http_answers",
            "HTTP answers by route",
            self.answers.clone(),
        );
        r.register(
            "http_head_seconds",
            "Arrival to answer head",
            self.head_seconds.clone(),
        );
        r.register(
            "auth_failures",
            "Refused credentials",
            self.auth_failures.clone(),
        );
        r.register("shed", "Requests refused for load", self.shed.clone());
        r.register(
            "inflight_requests",
            "Model requests at work",
            self.inflight.clone(),
        );
        r.register("connections", "Open connections", self.connections.clone());
        r.register(
            "draining",
            "1 while the process ends",
            self.draining.clone(),
        );
    }

    fn register_work(&mut self) {
        let r = &mut self.registry;
        r.register(
            "requests",
            "Model requests by outcome",
            self.requests.clone(),
        );
        r.register(
            "request_duration_seconds",
            "Arrival to last byte",
            self.duration_seconds.clone(),
        );
        r.register(
            "overhead_seconds",
            "Part that was the gateway's",
            self.overhead_seconds.clone(),
        );
        let first = self.first_token_seconds.clone();
        r.register(
            "time_to_first_token_seconds",
            "Arrival to first token",
            first,
        );
        r.register(
            "upstream_duration_seconds",
            "Time on providers",
            self.upstream_seconds.clone(),
        );
        r.register(
            "upstream_attempts",
            "Calls of providers",
            self.upstream.clone(),
        );
        r.register("tokens", "Tokens by type", self.tokens.clone());
        r.register("cost_usd", "Cost of priced requests", self.cost_usd.clone());
        r.register("mcp_calls", "MCP tool calls", self.mcp_calls.clone());
        let calls = self.mcp_call_seconds.clone();
        r.register(
            "mcp_call_duration_seconds",
            "Start to end of a tool call",
            calls,
        );
        r.register(
            "client_disconnects",
            "Clients that went away",
            self.disconnects.clone(),
        );
        r.register("log_rows", "Log rows by fate", self.log_rows.clone());
        r.register("log_dropped", "Log rows lost", self.log_dropped.clone());
        r.register(
            "retries",
            "Repeated calls of providers",
            self.retries.clone(),
        );
        r.register(
            "log_queue_depth",
            "Log rows that wait",
            self.log_queue_depth.clone(),
        );
    }

    /// Counts one HTTP answer; `endpoint` is the route's pattern, never the raw path.
    pub fn answered(&self, method: &Method, endpoint: &str, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            endpoint: endpoint.to_owned(),
            method: known_method(method),
            status_class: status_class(status.as_u16()),
        };
        self.answers.get_or_create(&labels).inc();
        self.head_seconds.observe(took.as_secs_f64());
    }

    /// Counts a refused credential.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a request refused for load.
    pub fn shed(&self, reason: &'static str) {
        self.shed.get_or_create(&Reason { reason }).inc();
    }

    /// Notes that the process is ending.
    pub fn draining(&self) {
        self.draining.set(1);
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self, log: &LogCounts) -> String {
        self.log_dropped
            .inner()
            .store(log.dropped, Ordering::Relaxed);
        self.log_queue_depth
            .set(i64::try_from(log.queued).unwrap_or(i64::MAX));
        let fates = [
            ("sent", log.sent),
            ("stored", log.stored),
            ("dropped", log.dropped),
            ("payload_dropped", log.payload_dropped),
        ];
        for (reason, count) in fates {
            let row = self.log_rows.get_or_create(&Reason { reason });
            row.inner().store(count, Ordering::Relaxed);
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _infallible = text::encode(&mut out, &self.registry);
        out
    }

    /// Counts one finished model request.
    fn count(&self, record: &LogRecord) {
        let row = &record.request;
        let labels = Outcome {
            endpoint: row.endpoint.clone(),
            status_class: status_class(row.status_code),
            error_source: row
                .error_source
                .clone()
                .unwrap_or_else(|| "none".to_owned()),
        };
        self.requests.get_or_create(&labels).inc();
        self.duration_seconds.observe(seconds(row.total_ms));
        observe(&self.overhead_seconds, row.gateway_ms);
        observe(&self.first_token_seconds, row.first_token_ms);
        observe(&self.upstream_seconds, row.provider_ms);
        if let Some(provider) = &row.provider {
            let labels = Attempts {
                provider: provider.clone(),
                outcome: row.outcome.clone(),
            };
            self.upstream
                .get_or_create(&labels)
                .inc_by(count(row.attempts));
        }
        for (r#type, tokens) in [
            ("input", row.input_tokens),
            ("cached_input", row.cached_input_tokens),
            ("cache_write", row.cache_write_tokens),
            ("output", row.output_tokens),
            ("reasoning", row.reasoning_tokens),
        ] {
            self.tokens
                .get_or_create(&Kind { r#type })
                .inc_by(count(tokens.unwrap_or(0)));
        }
        self.retries.inc_by(count(row.retry_count.unwrap_or(0)));
        if let Some(cost) = row.cost_picodollars {
            self.cost_usd.inc_by(cost.max(0) as f64 / 1e12);
        }
        self.tools(record);
        if row.status_code == 499 {
            self.disconnects.inc();
        }
    }

    /// Tool calls by outcome. No server's or tool's name is a label: callers choose them.
    fn tools(&self, record: &LogRecord) {
        for call in &record.tool_calls {
            let labels = Ran {
                outcome: call.outcome.clone(),
                run_by: call.run_by.clone(),
            };
            self.mcp_calls.get_or_create(&labels).inc();
            observe(&self.mcp_call_seconds, call.total_ms);
        }
    }
}

impl Observer for Metrics {
    fn finished(&self, record: &LogRecord) {
        self.count(record);
    }
}

fn observe(histogram: &Histogram, ms: Option<i64>) {
    if let Some(ms) = ms {
        histogram.observe(seconds(ms));
    }
}

fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1e3
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A method as a label: a caller may send any token as one.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_store::{RequestRow, ToolCallRow};

    #[test]
    fn one_finished_request_is_counted_once() {
        let metrics = Metrics::default();
        let request = RequestRow {
            endpoint: "/v1/responses".into(),
            outcome: "completed".into(),
            provider: Some("openai".into()),
            attempts: 2,
            input_tokens: Some(190),
            cost_picodollars: Some(2_236_000_000),
            total_ms: 17_214,
            ..RequestRow::default()
        };
        let call = ToolCallRow {
            outcome: "timeout".into(),
            run_by: "gateway".into(),
            ..ToolCallRow::default()
        };
        let record = LogRecord {
            request,
            tool_calls: vec![call],
            ..LogRecord::default()
        };
        metrics.finished(&record);
        metrics.answered(
            &Method::POST,
            "/v1/responses",
            StatusCode::OK,
            Duration::from_millis(3),
        );
        let text = metrics.render(&LogCounts::default());
        for line in [
            "portunus_tokens_total{type=\"input\"} 190",
            "portunus_upstream_attempts_total{provider=\"openai\",outcome=\"completed\"} 2",
            "portunus_cost_usd_total 0.002236",
            "portunus_mcp_calls_total{outcome=\"timeout\",run_by=\"gateway\"} 1",
            "portunus_http_answers_total{endpoint=\"/v1/responses\",method=\"POST\",status_class=\"2xx\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
