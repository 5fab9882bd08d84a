//! Rows to store: every field set, so that a forgotten column is noticed.

use jiff::{SignedDuration, Timestamp};
use portunus_store::{
    ApiKeyDefaults, ApiKeyRow, AttemptRow, LogRecord, NewWorkspace, RequestRow, Rotated,
    STATUS_ACTIVE, Store, ToolCallRow, ToolListRow, TurnRow, VirtualKeyRow, now,
};
use serde_json::json;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A second workspace.
pub(crate) async fn other_workspace(store: &dyn Store) -> String {
    let new = NewWorkspace {
        name: "Other".to_owned(),
        slug: "other".to_owned(),
    };
    store.create_workspace(new).await.unwrap().id
}

pub(crate) fn api_key(workspace_id: &str, name: &str) -> ApiKeyRow {
    let metadata = [("team".to_owned(), "blue".to_owned())].into();
    ApiKeyRow {
        id: format!("key-{name}"),
        workspace_id: workspace_id.to_owned(),
        name: name.to_owned(),
        lookup: format!("lookup-{name}"),
        hash: vec![1, 2, 3, 255],
        scopes: vec!["completions.write".to_owned(), "logs.view".to_owned()],
        defaults: ApiKeyDefaults {
            virtual_key: Some("openai".to_owned()),
            config_id: Some("pc-1".to_owned()),
            metadata,
            allow_config_override: false,
        },
        rate_limits: json!([{"type": "requests", "unit": "rpm", "value": 10}]),
        usage_limits: json!({"credit_limit": 5}),
        status: STATUS_ACTIVE.to_owned(),
        created_at: at(0),
        expires_at: Some(at(100)),
        last_used_at: Some(at(50)),
        rotated: Some(Rotated {
            lookup: format!("former-{name}"),
            hash: vec![9, 8],
            grace_until: now() + SignedDuration::from_hours(1),
        }),
    }
}

pub(crate) fn virtual_key(workspace_id: &str, slug: &str) -> VirtualKeyRow {
    VirtualKeyRow {
        id: format!("vk-{workspace_id}-{slug}"),
        workspace_id: workspace_id.to_owned(),
        slug: slug.to_owned(),
        name: "Main".to_owned(),
        provider: "openai".to_owned(),
        custom_host: Some("http://127.0.0.1:8080/v1".to_owned()),
        note: "a note".to_owned(),
        status: STATUS_ACTIVE.to_owned(),
        sealed: vec![0, 1, 2, 254],
        key_id: "k1".to_owned(),
        version: 1,
        masked: "…Ab3d".to_owned(),
        settings: json!({"api_version": "2026-01-01"}),
        created_at: at(0),
        updated_at: at(1),
        expires_at: Some(at(9)),
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// The least that a log holds.
pub(crate) fn small_log(workspace_id: &str, id: &str, created_at_ms: i64) -> LogRecord {
    let request = RequestRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        created_at_ms,
        client: json!({}),
        metadata: json!({}),
        ..RequestRow::default()
    };
    LogRecord {
        request,
        ..LogRecord::default()
    }
}

/// A log with a value in every field.
pub(crate) fn full_log(workspace_id: &str, id: &str) -> LogRecord {
    LogRecord {
        request: full_request(workspace_id, id),
        attempts: vec![
            attempt(0),
            AttemptRow {
                turn: 1,
                ..attempt(0)
            },
            attempt(1),
        ],
        turns: vec![turn(0), turn(1)],
        tool_lists: vec![tool_list(0), tool_list(1)],
        tool_calls: vec![tool_call(0), tool_call(1)],
    }
    .sorted()
}

/// Puts the parts into the order in which they are read.
trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for LogRecord {
    fn sorted(mut self) -> Self {
        self.attempts.sort_by_key(|row| (row.turn, row.index));
        self.tool_calls.sort_by_key(|row| (row.turn, row.index));
        self
    }
}

fn full_request(workspace_id: &str, id: &str) -> RequestRow {
    RequestRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        created_at_ms: 1_800_000_000_123,
        trace_id: "trace-1".to_owned(),
        span_id: text("span"),
        parent_span_id: text("parent"),
        span_name: text("name"),
        request_id: "req_1".to_owned(),
        response_id: text("resp_1"),
        endpoint: "/v1/responses".to_owned(),
        method: "POST".to_owned(),
        status_code: 424,
        outcome: "failed".to_owned(),
        error_source: text("mcp"),
        error_code: text("mcp_list_failed"),
        error_message: text("Error 50% of_it\\"),
        stream: true,
        api_key_id: text("key-1"),
        api_key_name: text("test key"),
        virtual_key: text("openai"),
        config: text("pc-1"),
        config_id: text("config-1"),
        config_version_id: text("version-1"),
        mode: text("fallback"),
        last_used_option: text("config.targets[1]"),
        provider: text("openai"),
        model_asked: text("gpt-4.1"),
        model_served: text("gpt-4.1-2025-04-14"),
        execution: text("tool_loop"),
        mcp_execution: text("gateway"),
        input_tokens: Some(190),
        cached_input_tokens: Some(1),
        cache_write_tokens: Some(2),
        output_tokens: Some(232),
        reasoning_tokens: Some(3),
        total_tokens: Some(422),
        cost_picodollars: Some(2_236_000_000),
        price_source: text("bundled"),
        total_ms: 17_214,
        first_token_ms: Some(800),
        gateway_ms: Some(4),
        provider_ms: Some(9000),
        tools_ms: Some(8000),
        turns: 2,
        tool_calls: 2,
        tool_errors: 1,
        attempts: 3,
        retry_count: Some(1),
        cache_status: "DISABLED".to_owned(),
        client: json!({"user_agent": "curl/8", "sdk_version": null}),
        metadata: json!({"_user": "ü\u{0}"}),
        payload_level: "full".to_owned(),
        request_body: text("{\"input\":\"What?\"}"),
        response_body: text("{\"output\":[]}"),
        preview: text("What transport protocols"),
        notes: vec!["top_k dropped".to_owned()],
    }
}

fn attempt(index: i64) -> AttemptRow {
    AttemptRow {
        turn: index,
        index,
        provider: "openai".to_owned(),
        virtual_key: text("openai"),
        model: text("gpt-4.1"),
        url_origin: text("https://api.openai.com"),
        started_offset_ms: 5,
        connect_ms: Some(30),
        wait_ms: Some(400),
        total_ms: Some(900),
        status_code: Some(429),
        outcome: "failed".to_owned(),
        error: text("rate limit"),
        upstream_request_id: text("req_up"),
    }
}

fn turn(index: i64) -> TurnRow {
    TurnRow {
        index,
        started_offset_ms: 6,
        provider: "openai".to_owned(),
        model: text("gpt-4.1"),
        wait_ms: Some(400),
        total_ms: 900,
        finish: "tool_calls".to_owned(),
        input_tokens: Some(1),
        cached_input_tokens: Some(2),
        cache_write_tokens: Some(3),
        output_tokens: Some(4),
        reasoning_tokens: Some(5),
        total_tokens: Some(6),
        cost_picodollars: Some(7),
        tool_calls: 1,
    }
}

fn tool_list(index: i64) -> ToolListRow {
    ToolListRow {
        index,
        item_id: text("mcpl_1"),
        server_label: format!("list{index}"),
        server_url: "https://mcp.example/<redacted>".to_owned(),
        started_offset_ms: 7,
        cached: true,
        run_by: "gateway".to_owned(),
        protocol: text("2025-11-25"),
        tools: 3,
        bytes: Some(1000),
        digest: text("abc"),
        connect_ms: Some(1),
        wait_ms: Some(2),
        read_ms: Some(3),
        total_ms: Some(6),
        outcome: "completed".to_owned(),
        error: text("none"),
        warnings: vec!["a tool without name".to_owned()],
    }
}

pub(crate) fn tool_call(index: i64) -> ToolCallRow {
    ToolCallRow {
        index,
        turn: 1 - index,
        item_id: text("mcp_1"),
        server_label: format!("server{index}"),
        server_url: "https://mcp.example/<redacted>".to_owned(),
        tool: format!("tool{index}"),
        run_by: "gateway".to_owned(),
        started_offset_ms: 8,
        argument_bytes: 9,
        result_bytes: Some(10),
        connect_ms: Some(1),
        wait_ms: Some(2),
        read_ms: Some(3),
        total_ms: Some(6),
        outcome: "tool_error".to_owned(),
        error: text("no such page"),
        arguments: text("{}"),
        result: text("[]"),
    }
}
