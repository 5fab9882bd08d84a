//! Answers that are not quite JSON-RPC, and some that are nothing like it.

use std::collections::HashSet;
use std::sync::Arc;

use async_compression::tokio::write::GzipEncoder;
use portunus_mcp::{Bounds, CallError, CallOutcome, output};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{
    ERAS, JSON, Seen, Server, Step, error, http, json_answer, legacy, legacy_call, result,
    stream_head, text_result, with,
};

/// Calls a tool of a server of each era that answers with `call`; the call is sent once, always.
async fn call(call: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Vec<CallOutcome> {
    let call = Arc::new(call);
    let mut outcomes = Vec::new();
    for era in ERAS {
        let call = Arc::clone(&call);
        let server = Server::start(with(era, "tools/call", move |seen| call(seen))).await;
        let outcome = pool(bounds())
            .call(&spec(&server.url), &tool("echo"), &raw("{}"))
            .await;
        assert_eq!(server.count("tools/call"), 1);
        outcomes.push(outcome);
    }
    outcomes
}

/// What both eras read must be this text.
fn check_text(outcomes: &[CallOutcome], expected: &str) {
    for outcome in outcomes {
        assert_eq!(text(outcome), expected);
    }
}

#[tokio::test]
async fn content_types_that_lie() {
    for headers in [
        "content-type: text/plain\r\n",
        "",
        "content-type: text/html; charset=utf-8\r\n",
    ] {
        let outcomes = call(move |seen| {
            http(
                "200 OK",
                headers,
                &result(seen, &text_result("x")).to_string(),
            )
        })
        .await;
        check_text(&outcomes, "x");
    }
    let outcomes = call(|seen| {
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
    check_text(&outcomes, "x");
}

#[tokio::test]
async fn ids_that_are_not_ours() {
    for id in [r#""ID""#, "ID.0", "null", "\"other\"", "999999"] {
        let outcomes = call(move |seen| {
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
        check_text(&outcomes, "x");
    }
    let outcomes = call(|_| {
        json_answer(
            &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "no"}}),
        )
    })
    .await;
    for outcome in outcomes {
        assert!(matches!(
            outcome.result,
            Err(CallError::Protocol { code: -32001, .. })
        ));
    }
    // On a stream of its own the answer counts when nothing better comes.
    for id in [r#""ID""#, "ID.0", "null", "999999"] {
        let outcomes = call(move |seen| {
            let id = id.replace("ID", &seen.body["id"].to_string());
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#,
                text_result("x")
            );
            vec![
                stream_head(),
                Step::Write(format!("data: {body}\n\n").into_bytes()),
            ]
        })
        .await;
        check_text(&outcomes, "x");
    }
}

#[tokio::test]
async fn batches_marks_and_null_errors() {
    let outcomes = call(|seen| {
        let other = json!({"jsonrpc": "2.0", "id": 77, "result": text_result("not this")});
        json_answer(&json!([other, {"jsonrpc": "2.0", "method": "notifications/x"}, result(seen, &text_result("x"))]))
    })
    .await;
    check_text(&outcomes, "x");
    let outcomes = call(|seen| {
        http(
            "200 OK",
            JSON,
            &format!("\u{feff}{}", result(seen, &text_result("x"))),
        )
    })
    .await;
    check_text(&outcomes, "x");
    let outcomes = call(|seen| {
        let mut body = result(seen, &text_result("x"));
        body["error"] = json!(null);
        json_answer(&body)
    })
    .await;
    check_text(&outcomes, "x");
}

#[tokio::test]
async fn json_rpc_errors_inside_http_errors() {
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        let outcomes =
            call(move |seen| http(status, JSON, &error(seen, -32000, "quota").to_string())).await;
        for outcome in outcomes {
            assert!(!outcome.outcome_unknown);
            let item = outcome.result.unwrap_err().item_error();
            assert_eq!(
                item,
                json!({"type": "mcp_protocol_error", "code": -32000, "message": "quota"})
            );
        }
    }
}

#[tokio::test]
async fn a_5xx_leaves_the_outcome_unknown_and_a_4xx_does_not() {
    for (status, code, unknown) in [
        ("502 Bad Gateway", 502, true),
        ("413 Payload Too Large", 413, false),
    ] {
        let outcomes =
            call(move |_| http(status, "content-type: text/html\r\n", "<html>nginx</html>")).await;
        for outcome in outcomes {
            assert_eq!(outcome.outcome_unknown, unknown);
            let item = outcome.result.unwrap_err().item_error();
            assert_eq!(
                (item["type"].as_str(), item["code"].as_u64()),
                (Some("http_error"), Some(code))
            );
        }
    }
}

#[tokio::test]
async fn no_body_where_an_answer_is_due_fails_at_once() {
    for status in ["202 Accepted", "204 No Content", "200 OK"] {
        let outcomes = call(move |_| http(status, "", "")).await;
        for outcome in outcomes {
            assert!(outcome.outcome_unknown);
            let message = outcome.result.unwrap_err().to_string();
            assert!(
                message.contains("without a body") && message.contains("unknown"),
                "{message}"
            );
        }
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
    assert_eq!(
        server.methods(),
        ["server/discover", "initialize"],
        "no storm"
    );
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
    let outcomes = call(|seen| {
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
    for outcome in outcomes {
        let result = outcome.result.unwrap();
        assert!(result.structured.is_some());
        let output = output::of(&result, 1 << 20);
        assert_eq!(output.output.as_deref(), Some("a\u{fffd}\u{fffd}b"));
    }
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
    let outcomes = call(|seen| {
        let headers = format!("{JSON}www-authenticate: Bearer\r\n");
        http(
            "200 OK",
            &headers,
            &result(seen, &text_result("x")).to_string(),
        )
    })
    .await;
    check_text(&outcomes, "x");
}

#[tokio::test]
async fn a_page_instead_of_a_result_is_no_reason_to_call_again() {
    let page = "content-type: text/html\r\n";
    for outcome in call(move |_| http("200 OK", page, "<html>Sign in</html>")).await {
        assert!(outcome.outcome_unknown);
        let message = outcome.result.unwrap_err().to_string();
        assert!(message.contains("<html>Sign in"), "{message}");
    }
}

#[tokio::test]
async fn a_redirected_call_goes_nowhere() {
    let other = Server::start(legacy).await;
    for status in ["302 Found", "307 Temporary Redirect"] {
        let location = format!("location: {}\r\n", other.url);
        for outcome in call(move |_| http(status, &location, "")).await {
            assert!(!outcome.outcome_unknown);
            assert_eq!(
                outcome.result.unwrap_err().item_error()["type"],
                "http_error"
            );
        }
    }
    assert!(other.seen().is_empty());
}

/// A compressed answer with this text, which nobody asked for.
async fn gzipped(text: &str) -> Vec<u8> {
    let plain = json!({"jsonrpc": "2.0", "id": null, "result": text_result(text)}).to_string();
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(plain.as_bytes()).await.unwrap();
    encoder.shutdown().await.unwrap();
    let packed = encoder.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\n{JSON}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    );
    [head.into_bytes(), packed].concat()
}

#[tokio::test]
async fn compressed_answers_are_read_and_bombs_are_not() {
    let answer = gzipped("x").await;
    check_text(&call(move |_| vec![Step::Write(answer.clone())]).await, "x");
    let bomb = gzipped(&"x".repeat(bounds().max_result_bytes + 1)).await;
    assert!(bomb.len() < 1 << 20);
    for outcome in call(move |_| vec![Step::Write(bomb.clone())]).await {
        let message = outcome.result.unwrap_err().to_string();
        assert!(message.contains("larger than 16777216 bytes"), "{message}");
    }
}

#[tokio::test]
async fn numbers_that_json_does_not_have_cost_no_result() {
    let outcomes = call(|seen| {
        let id = &seen.body["id"];
        let blocks = text_result("NaN");
        let body = format!(
            r#"{{"id":{id},"result":{{"content":{},"structuredContent":{{"mean":NaN,"max":Infinity}}}}}}"#,
            blocks["content"]
        );
        http("200 OK", JSON, &body)
    })
    .await;
    check_text(&outcomes, "NaN");
    let structured = outcomes[0].result.as_ref().unwrap().structured.clone();
    assert_eq!(structured.unwrap().get(), r#"{"mean":null,"max":null}"#);
}

#[tokio::test]
async fn content_of_any_kind_and_shape_is_salvaged() {
    let kinds = [
        (
            json!({"content": [{"type": "json", "json": {"a": 1}}]}),
            r#"[{"type":"json","json":{"a":1}}]"#,
        ),
        (json!({"content": "plain"}), "plain"),
        (
            json!({"content": null, "structuredContent": [1, 2]}),
            "[1,2]",
        ),
        (json!({"structuredContent": 7}), "7"),
        (json!({"toolResult": "old"}), "old"),
        // Content is what counts where the two contradict each other.
        (
            json!({"content": [{"type": "text", "text": "3"}], "structuredContent": {"n": 4}}),
            "3",
        ),
        (json!({}), ""),
    ];
    for (answer, expected) in kinds {
        let outcomes = call(move |seen| json_answer(&result(seen, &answer))).await;
        for outcome in outcomes {
            let output = output::of(&outcome.result.unwrap(), 1 << 20);
            assert_eq!(output.output.as_deref(), Some(expected));
        }
    }
}

#[tokio::test]
async fn a_large_image_is_kept_whole_or_described() {
    let outcomes = call(|seen| {
        let image = json!({"type": "image", "data": "A".repeat(10 << 20), "mimeType": "image/png"});
        json_answer(&result(seen, &json!({"content": [image]})))
    })
    .await;
    for outcome in outcomes {
        let result = outcome.result.unwrap();
        let whole = output::of(&result, 16 << 20);
        assert!(whole.output.unwrap().len() > 10 << 20 && !whole.truncated);
        let cut = output::of(&result, 1 << 20);
        assert!(cut.truncated && !cut.output.unwrap().contains("AAAA"));
    }
}

#[tokio::test]
async fn a_head_that_comes_before_its_body_keeps_the_connection() {
    for era in ERAS {
        let server = Server::start(with(era, "tools/call", |seen| {
            let body = result(seen, &text_result("x")).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\n{JSON}content-length: {}\r\n\r\n",
                body.len()
            );
            vec![
                Step::Write(head.into_bytes()),
                Step::More(body.into_bytes()),
            ]
        }))
        .await;
        let (pool, spec) = (pool(bounds()), spec(&server.url));
        for _ in 0..3 {
            assert_eq!(
                text(&pool.call(&spec, &tool("echo"), &raw("{}")).await),
                "x"
            );
        }
        let calls = server
            .seen()
            .into_iter()
            .filter(|seen| seen.method() == "tools/call");
        let connections: HashSet<usize> = calls.map(|seen| seen.connection).collect();
        assert_eq!(connections.len(), 1);
    }
}
