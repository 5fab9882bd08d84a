//! 2026-07-28: headers, results, keeping of lists.

use portunus_mcp::{CallError, Tool};
use serde_json::{Value, json};

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{
    JSON, Seen, Server, error, event, http, json_answer, modern, result, stream_head, text_result,
};

fn check_head(seen: &Seen, method: &str) {
    assert_eq!(seen.header("mcp-protocol-version"), "2026-07-28");
    assert_eq!(seen.header("mcp-method"), method);
    assert_eq!(seen.header("accept"), "application/json, text/event-stream");
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("mcp-session-id"), "");
    let meta = &seen.body["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({})
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientInfo"]["name"],
        "portunus"
    );
}

#[tokio::test]
async fn headers_mirror_the_body() {
    let server = Server::start(|seen: &Seen| match seen.method() {
        "tools/list" => json_answer(&result(
            seen,
            &json!({"tools": [
                {"name": "bad", "inputSchema": {"type": "object", "properties": {
                    "n": {"type": "number", "x-mcp-header": "N"}}}},
                {"name": "größe", "inputSchema": {"type": "object", "properties": {
                    "region": {"type": "string", "x-mcp-header": "Region"},
                    "n": {"type": "integer", "x-mcp-header": "N"},
                    "none": {"type": "string", "x-mcp-header": "None"}}}},
            ]}),
        )),
        _ => modern(seen),
    })
    .await;
    let pool = pool(bounds());
    let listing = pool.list(&spec(&server.url)).await.unwrap();
    assert_eq!(listing.tools.len(), 1);
    assert!(
        listing.dropped[0].starts_with("tool 'bad' is left out"),
        "{:?}",
        listing.dropped
    );
    let arguments = raw(r#"{"region":"a\r\nX-Evil: 1","n":12345678901234567890,"none":null}"#);
    pool.call(&spec(&server.url), &listing.tools[0], &arguments)
        .await;
    let seen = server.seen();
    check_head(&seen[0], "server/discover");
    check_head(&seen[1], "tools/list");
    check_head(&seen[2], "tools/call");
    assert_eq!(seen[2].header("mcp-name"), "=?base64?Z3LDtsOfZQ==?=");
    assert_eq!(
        seen[2].header("mcp-param-region"),
        "=?base64?YQ0KWC1FdmlsOiAx?="
    );
    assert_eq!(seen[2].header("mcp-param-n"), "12345678901234567890");
    assert!(!seen[2].headers.contains_key("mcp-param-none"));
    assert!(!seen[2].headers.contains_key("x-evil"));
}

#[tokio::test]
async fn a_legacy_server_gets_no_mirrored_headers() {
    let server = Server::start(crate::server::legacy).await;
    let schema =
        raw(r#"{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#);
    let annotated = Tool::new("echo".to_owned(), None, schema, false);
    let outcome = pool(bounds())
        .call(&spec(&server.url), &annotated, &raw(r#"{"a":"b"}"#))
        .await;
    assert_eq!(text(&outcome), "done");
    let call = server.seen().pop().unwrap();
    assert!(
        !call
            .headers
            .keys()
            .any(|name| name.starts_with("mcp-param") || name == "mcp-name")
    );
}

async fn called(answer: Value) -> CallError {
    let server = Server::start(move |seen: &Seen| match seen.method() {
        "tools/call" => json_answer(&result(seen, &answer)),
        _ => modern(seen),
    })
    .await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(server.count("tools/call"), 1);
    assert!(!outcome.outcome_unknown);
    outcome.result.unwrap_err()
}

#[tokio::test]
async fn input_is_never_given_and_unknown_kinds_are_refused() {
    let asked =
        called(json!({"resultType": "input_required", "requestState": "x".repeat(1 << 20)})).await;
    assert!(asked.to_string().contains("asks for input"), "{asked}");
    let task = called(json!({"resultType": "task", "taskId": "1"})).await;
    assert!(task.to_string().contains("runs as a task"), "{task}");
}

#[tokio::test]
async fn a_stream_with_progress_is_read_to_the_answer_and_then_closed() {
    let server = Server::start(|seen: &Seen| match seen.method() {
        "tools/call" => vec![
            stream_head(),
            event(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})),
            // A server of this revision must not ask; nobody answers.
            event(&json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"})),
            event(&result(seen, &text_result("streamed"))),
            crate::server::Step::Hang,
        ],
        _ => modern(seen),
    })
    .await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(text(&outcome), "streamed");
    server.wait_for_closed(1).await;
    assert_eq!(server.count("reply"), 0);
}

#[tokio::test]
async fn lists_are_kept_as_long_as_the_server_says() {
    for (ttl, lists) in [
        (json!(60_000), 1),
        (json!(0), 2),
        (json!(-5), 2),
        (json!(null), 2),
    ] {
        let server = Server::start(move |seen: &Seen| match seen.method() {
            "tools/list" => json_answer(&result(seen, &json!({"tools": [], "ttlMs": ttl}))),
            _ => modern(seen),
        })
        .await;
        let pool = pool(bounds());
        pool.list(&spec(&server.url)).await.unwrap();
        pool.list(&spec(&server.url)).await.unwrap();
        assert_eq!(server.count("tools/list"), lists);
        assert_eq!(server.count("server/discover"), 1, "what it speaks is kept");
    }
}

#[tokio::test]
async fn a_refused_call_is_not_repeated_but_the_list_is() {
    for code in [-32602, -32020] {
        let server = Server::start(move |seen: &Seen| match seen.method() {
            "tools/call" => http(
                "400 Bad Request",
                JSON,
                &error(seen, code, "changed").to_string(),
            ),
            _ => modern(seen),
        })
        .await;
        let pool = pool(bounds());
        pool.list(&spec(&server.url)).await.unwrap();
        let outcome = pool
            .call(&spec(&server.url), &tool("echo"), &raw("{}"))
            .await;
        assert_eq!(outcome.result.unwrap_err().item_error()["code"], code);
        assert!(!outcome.outcome_unknown);
        assert!(!pool.list(&spec(&server.url)).await.unwrap().cached);
        assert_eq!(server.count("tools/call"), 1);
    }
}
