//! Rows of state to store: every field set, so that a forgotten column is noticed.

use portunus_store::{
    APPROVAL_PENDING, ApprovalRow, IDEMPOTENCY_RUNNING, IdempotencyRow, JOURNAL_INTENT, JournalRow,
    ResponseRow,
};

/// An end that no clock has reached.
pub(crate) const FAR_MS: i64 = 4_000_000_000_000;

/// An end that every clock has passed.
pub(crate) const PAST_MS: i64 = 500;

/// The time that tests give where a method takes one.
pub(crate) const NOW_MS: i64 = 1_000;

/// What must come back as it was, and never shows in `Debug`.
pub(crate) const SECRET: &str = r#"{"s":"hush'); DROP TABLE responses; -- \" é ☃ \u0000 %_"}"#;

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

pub(crate) fn ids<const N: usize>(ids: [&str; N]) -> Vec<String> {
    ids.map(str::to_owned).to_vec()
}

pub(crate) fn response(workspace_id: &str, id: &str) -> ResponseRow {
    ResponseRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        api_key_id: text("key-1"),
        created_at_ms: 100,
        expires_at_ms: FAR_MS,
        virtual_key: text("openai"),
        provider: "openai".to_owned(),
        model: "gpt-5".to_owned(),
        previous_response_id: text("resp_0"),
        status: "completed".to_owned(),
        response: format!("{{\"id\":\"{id}\",\"output\":{SECRET}}}"),
        input: format!("[{SECRET}]"),
        servers: "{\"s\":{}}".to_owned(),
    }
}

pub(crate) fn approval(workspace_id: &str, id: &str) -> ApprovalRow {
    ApprovalRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        api_key_id: text("key-1"),
        response_id: "resp_1".to_owned(),
        created_at_ms: 100,
        expires_at_ms: FAR_MS,
        server_label: "files".to_owned(),
        server_url: "https://mcp.example.com".to_owned(),
        server_digest: "aa".repeat(32),
        tool: "remove".to_owned(),
        tool_digest: "bb".repeat(32),
        tool_definition: "{\"name\":\"remove\"}".to_owned(),
        arguments: SECRET.to_owned(),
        call_id: "call_1".to_owned(),
        state: APPROVAL_PENDING.to_owned(),
        reason: None,
        decided_at_ms: None,
        decided_by: None,
        used_at_ms: None,
    }
}

pub(crate) fn journal(workspace_id: &str, id: &str) -> JournalRow {
    JournalRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        request_id: "req_1".to_owned(),
        response_id: "resp_1".to_owned(),
        server_label: "files".to_owned(),
        tool: "remove".to_owned(),
        argument_digest: "cc".repeat(32),
        state: JOURNAL_INTENT.to_owned(),
        created_at_ms: 100,
        ended_at_ms: None,
        outcome: None,
        result: None,
        process: String::new(),
    }
}

pub(crate) fn idempotency(workspace_id: &str, key: &str) -> IdempotencyRow {
    IdempotencyRow {
        workspace_id: workspace_id.to_owned(),
        api_key_id: "key-1".to_owned(),
        key: key.to_owned(),
        body_digest: "dd".repeat(32),
        state: IDEMPOTENCY_RUNNING.to_owned(),
        owner: "process-1".to_owned(),
        created_at_ms: 100,
        expires_at_ms: FAR_MS,
        status: None,
        content_type: None,
        answer: None,
    }
}

#[test]
fn what_people_wrote_is_not_in_debug() {
    let ended = JournalRow {
        result: text(SECRET),
        ..journal("ws", "mcp_1")
    };
    let answered = IdempotencyRow {
        answer: text(SECRET),
        ..idempotency("ws", "hush-key")
    };
    let shown = format!(
        "{:?} {:?} {ended:?} {answered:?}",
        response("ws", "resp_1"),
        approval("ws", "mcpr_1"),
    );
    assert!(!shown.contains("hush"), "{shown}");
    for id in ["resp_1", "mcpr_1", "mcp_1", "process-1"] {
        assert!(shown.contains(id), "{id}: {shown}");
    }
}
