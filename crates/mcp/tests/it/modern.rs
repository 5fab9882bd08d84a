//! 2026-07-28: headers, results, keeping of lists.

use std::collections::HashSet;

use portunus_mcp::{CallError, ListErrorKind, Tool};
use serde_json::{Value, json};

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{
    ERAS, JSON, Seen, Server, error, event, http, json_answer, modern, result, stream_head,
    text_result, with,
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

/// The error of a call whose every answer is this one, and how often it was sent.
async fn called(answer: Value) -> (CallError, usize) {
    let server = Server::start(with(modern, "tools/call", move |seen| {
        json_answer(&result(seen, &answer))
    }))
    .await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert!(!outcome.outcome_unknown);
    (outcome.result.unwrap_err(), server.count("tools/call"))
}

#[tokio::test]
async fn questions_to_a_person_are_declined_and_the_call_goes_on() {
    let server = Server::start(with(modern, "tools/call", |seen| {
        let params = &seen.body["params"];
        let answer = match (params["requestState"].as_str(), &params["inputResponses"]) {
            (None, Value::Null) => json!({"resultType": "input_required", "requestState": "s 1",
                "inputRequests": {"q": {"method": "elicitation/create", "params": {"message": "?"}}}}),
            (Some("s 1"), answers) if answers["q"]["action"] == "decline" => {
                json!({"resultType": "input_required", "requestState": "s 2"})
            }
            (Some("s 2"), Value::Null) => json!({"resultType": "input_required",
                "inputRequests": {"r": {"method": "elicitation/create", "params": {"message": "?"}}}}),
            (None, answers) if answers["r"]["action"] == "decline" => text_result("without you"),
            other => panic!("{other:?}"),
        };
        json_answer(&result(seen, &answer))
    }))
    .await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw(r#"{"a":1}"#))
        .await;
    assert_eq!(text(&outcome), "without you");
    let calls: Vec<Seen> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.method() == "tools/call")
        .collect();
    let ids: HashSet<String> = calls
        .iter()
        .map(|seen| seen.body["id"].to_string())
        .collect();
    assert_eq!(
        (calls.len(), ids.len()),
        (4, 4),
        "each round is a request of its own"
    );
    for call in &calls {
        check_head(call, "tools/call");
        assert_eq!(call.body["params"]["arguments"], json!({"a": 1}));
    }
}

#[tokio::test]
async fn what_cannot_be_declined_ends_the_call() {
    let asks = |method: &str| json!({"resultType": "input_required", "inputRequests": {"q": {"method": method}}});
    for (answer, said, times) in [
        (asks("elicitation/create"), "again and again", 4),
        (asks("sampling/createMessage"), "not offered", 1),
        (
            json!({"resultType": "input_required"}),
            "without saying which",
            1,
        ),
        (
            json!({"resultType": "input_required", "requestState": "x".repeat(1 << 20)}),
            "more state",
            1,
        ),
        (
            json!({"resultType": "task", "taskId": "1"}),
            "runs as a task",
            1,
        ),
        (json!({"resultType": "new"}), "unknown kind", 1),
    ] {
        let (error, sent) = called(answer).await;
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(sent, times, "{said}");
    }
    // Only a call may ask.
    let server = Server::start(with(modern, "tools/list", |seen| {
        json_answer(&result(
            seen,
            &json!({"resultType": "input_required", "requestState": "s"}),
        ))
    }))
    .await;
    let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(error.kind, ListErrorKind::Rpc);
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
    for (era, code) in ERAS
        .into_iter()
        .flat_map(|era| [(era, -32602), (era, -32020)])
    {
        let server = Server::start(with(era, "tools/call", move |seen| {
            http(
                "400 Bad Request",
                JSON,
                &error(seen, code, "changed").to_string(),
            )
        }))
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

#[tokio::test]
async fn a_404_is_no_lost_session_where_there_is_none() {
    let server = Server::start(with(modern, "tools/call", |_| {
        http("404 Not Found", "", "")
    }))
    .await;
    let pool = pool(bounds());
    pool.list(&spec(&server.url)).await.unwrap();
    let outcome = pool
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(outcome.result.unwrap_err().item_error()["code"], 404);
    assert_eq!(
        (server.count("tools/call"), server.count("initialize")),
        (1, 0)
    );
}
