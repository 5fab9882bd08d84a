//! Answers that are not quite JSON-RPC, and some that are nothing like it.

use portunus_mcp::{Bounds, CallError, CallOutcome};
use serde_json::json;

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{
    JSON, Seen, Server, Step, error, http, json_answer, legacy, legacy_call, result, text_result,
};

/// Calls a tool of a legacy server that answers with `call`; the call is sent once, always.
async fn call(call: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> CallOutcome {
    let server = Server::start(legacy_call(call)).await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(server.count("tools/call"), 1);
    outcome
}

#[tokio::test]
async fn content_types_that_lie() {
    for headers in [
        "content-type: text/plain\r\n",
        "",
        "content-type: text/html; charset=utf-8\r\n",
    ] {
        let outcome = call(move |seen| {
            http(
                "200 OK",
                headers,
                &result(seen, &text_result("x")).to_string(),
            )
        })
        .await;
        assert_eq!(text(&outcome), "x");
    }
    let outcome = call(|seen| {
        http(
            "200 OK",
            JSON,
            &format!(
                "event: message\r\ndata: {}\r\n\r\n",
                result(seen, &text_result("x"))
            ),
        )
    })
    .await;
    assert_eq!(text(&outcome), "x");
}

#[tokio::test]
async fn ids_that_are_not_ours() {
    for id in [r#""ID""#, "ID.0", "null", "\"other\"", "999999"] {
        let outcome = call(move |seen| {
            let id = id.replace("ID", &seen.body["id"].to_string());
            http(
                "200 OK",
                JSON,
                &format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#,
                    text_result("x")
                ),
            )
        })
        .await;
        assert_eq!(text(&outcome), "x", "{id}");
    }
    let outcome = call(|_| {
        json_answer(
            &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "no"}}),
        )
    })
    .await;
    assert!(matches!(
        outcome.result,
        Err(CallError::Protocol { code: -32001, .. })
    ));
}

#[tokio::test]
async fn batches_marks_and_null_errors() {
    let outcome = call(|seen| {
        let other = json!({"jsonrpc": "2.0", "id": 77, "result": text_result("not this")});
        json_answer(&json!([other, {"jsonrpc": "2.0", "method": "notifications/x"}, result(seen, &text_result("x"))]))
    })
    .await;
    assert_eq!(text(&outcome), "x");
    let outcome = call(|seen| {
        http(
            "200 OK",
            JSON,
            &format!("\u{feff}{}", result(seen, &text_result("x"))),
        )
    })
    .await;
    assert_eq!(text(&outcome), "x");
    let outcome = call(|seen| {
        let mut body = result(seen, &text_result("x"));
        body["error"] = json!(null);
        json_answer(&body)
    })
    .await;
    assert_eq!(text(&outcome), "x");
}

#[tokio::test]
async fn json_rpc_errors_inside_http_errors() {
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        let outcome =
            call(move |seen| http(status, JSON, &error(seen, -32000, "quota").to_string())).await;
        assert!(!outcome.outcome_unknown);
        let item = outcome.result.unwrap_err().item_error();
        assert_eq!(
            item,
            json!({"type": "mcp_protocol_error", "code": -32000, "message": "quota"})
        );
    }
}

#[tokio::test]
async fn a_5xx_leaves_the_outcome_unknown_and_a_4xx_does_not() {
    for (status, code, unknown) in [
        ("502 Bad Gateway", 502, true),
        ("413 Payload Too Large", 413, false),
    ] {
        let outcome =
            call(move |_| http(status, "content-type: text/html\r\n", "<html>nginx</html>")).await;
        assert_eq!(outcome.outcome_unknown, unknown);
        let item = outcome.result.unwrap_err().item_error();
        assert_eq!(
            (item["type"].as_str(), item["code"].as_u64()),
            (Some("http_error"), Some(code))
        );
    }
}

#[tokio::test]
async fn no_body_where_an_answer_is_due_fails_at_once() {
    for status in ["202 Accepted", "204 No Content", "200 OK"] {
        let outcome = call(move |_| http(status, "", "")).await;
        assert!(outcome.outcome_unknown);
        let message = outcome.result.unwrap_err().to_string();
        assert!(
            message.contains("without a body") && message.contains("unknown"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_login_page_is_shown_in_eighty_characters_without_secrets() {
    let page = format!(
        "<html>\n<title>Sign in</title> token-secret-1 {}</html>",
        "x".repeat(500)
    );
    let server =
        Server::start(move |_: &Seen| http("200 OK", "content-type: text/html\r\n", &page)).await;
    let mut spec = spec(&server.url);
    spec.authorization = Some("token-secret-1".into());
    let error = pool(bounds()).list(&spec).await.unwrap_err();
    assert_eq!(error.http_status(), 424);
    let detail = error.detail();
    assert!(
        detail.contains("<html> <title>Sign in</title> *** xxx"),
        "{detail}"
    );
    assert!(
        !detail.contains("token-secret-1") && detail.len() < 200,
        "{detail}"
    );
}

#[tokio::test]
async fn secrets_are_blanked_in_json_rpc_errors_too() {
    let server = Server::start(|seen: &Seen| {
        let message = format!("bad credential: {}", seen.header("x-api-key"));
        match seen.method() {
            "tools/call" => json_answer(&error(seen, -32000, &message)),
            _ => legacy(seen),
        }
    })
    .await;
    let mut spec = spec(&server.url);
    spec.headers = vec![("x-api-key".parse().unwrap(), "canary-4711".parse().unwrap())];
    let outcome = pool(bounds()).call(&spec, &tool("echo"), &raw("{}")).await;
    assert_eq!(
        server.seen().pop().unwrap().header("x-api-key"),
        "canary-4711"
    );
    let text = outcome.result.unwrap_err().item_error().to_string();
    assert!(
        text.contains("bad credential: ***") && !text.contains("canary"),
        "{text}"
    );
}

#[tokio::test]
async fn results_over_the_bound_are_refused() {
    let small = Bounds {
        max_result_bytes: 10_000,
        ..bounds()
    };
    let server = Server::start(legacy_call(|seen| {
        json_answer(&result(seen, &text_result(&"x".repeat(50_000))))
    }))
    .await;
    let outcome = pool(small)
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    let message = outcome.result.unwrap_err().to_string();
    assert!(message.contains("larger than 10000 bytes"), "{message}");
}

#[tokio::test]
async fn strange_bytes_inside_a_result_survive() {
    let outcome = call(|seen| {
        let id = &seen.body["id"];
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let body = format!(
            r#"{{"id":{id},"result":{{"content":[{{"type":"text","text":"a\ud800b"}}],"structuredContent":{deep},"_meta":{{"n":123456789012345678901234567890}}}}}}"#
        );
        let mut bytes = body.into_bytes();
        // Invalid UTF-8 inside a string.
        let at = bytes.windows(2).position(|pair| pair == b"b\"").unwrap();
        bytes.insert(at, 0xff);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", bytes.len());
        vec![Step::Write([head.into_bytes(), bytes].concat())]
    })
    .await;
    let result = outcome.result.unwrap();
    assert!(result.structured.is_some());
    let output = portunus_mcp::output::of(&result, 1 << 20);
    assert_eq!(output.output.as_deref(), Some("a\u{fffd}\u{fffd}b"));
}

#[tokio::test]
async fn a_notification_may_be_answered_with_anything() {
    for answer in [
        "",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}",
        "<html>",
    ] {
        let server = Server::start(move |seen: &Seen| match seen.method() {
            "notifications/initialized" => http("200 OK", "", answer),
            _ => legacy(seen),
        })
        .await;
        assert_eq!(
            pool(bounds())
                .list(&spec(&server.url))
                .await
                .unwrap()
                .tools
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn a_challenge_on_a_good_answer_means_nothing() {
    let outcome = call(|seen| {
        let headers = format!("{JSON}www-authenticate: Bearer\r\n");
        http(
            "200 OK",
            &headers,
            &result(seen, &text_result("x")).to_string(),
        )
    })
    .await;
    assert_eq!(text(&outcome), "x");
}
