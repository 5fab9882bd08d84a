//! Which protocol a server speaks, however it says so.

use portunus_mcp::{Bounds, CallError, ListErrorKind};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{bounds, hasty, pool, raw, spec, text, tool};
use crate::server::{
    ERAS, JSON, Seen, Server, Step, error, event, http, json_answer, legacy, modern, result,
    stream_head, text_result, with,
};

/// A legacy server that answers `server/discover` with `answer` is listed all the same.
async fn falls_back(answer: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) {
    let server = Server::start(move |seen: &Seen| match seen.method() {
        "server/discover" => answer(seen),
        _ => legacy(seen),
    })
    .await;
    let listing = pool(hasty()).list(&spec(&server.url)).await.unwrap();
    assert_eq!(listing.protocol, "2025-11-25");
    assert_eq!(listing.tools[0].name, "echo");
    let methods = [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "tools/list",
    ];
    assert_eq!(server.methods(), methods);
}

#[tokio::test]
async fn discover_404_text() {
    falls_back(|_| http("404 Not Found", "", "no such thing")).await;
}

#[tokio::test]
async fn discover_200_with_an_error() {
    falls_back(|seen| json_answer(&error(seen, -32601, "Method not found"))).await;
}

#[tokio::test]
async fn discover_200_with_an_empty_object() {
    falls_back(|seen| json_answer(&result(seen, &json!({})))).await;
    falls_back(|_| http("200 OK", JSON, "{}")).await;
}

#[tokio::test]
async fn discover_2xx_without_a_body() {
    falls_back(|_| http("202 Accepted", "", "")).await;
    falls_back(|_| http("200 OK", "", "")).await;
}

#[tokio::test]
async fn discover_5xx_and_html() {
    falls_back(|_| http("500 Internal Server Error", "", "boom")).await;
    falls_back(|_| {
        http(
            "200 OK",
            "content-type: text/html\r\n",
            "<html>hello</html>",
        )
    })
    .await;
}

#[tokio::test]
async fn discover_400_with_a_foreign_id() {
    falls_back(|_| {
        let body = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request"}}"#;
        http("400 Bad Request", JSON, body)
    })
    .await;
}

#[tokio::test]
async fn discover_never_answered() {
    falls_back(|_| vec![Step::Hang]).await;
}

#[tokio::test]
async fn a_modern_server_is_asked_nothing_old() {
    let server = Server::start(modern).await;
    let pool = pool(bounds());
    let listing = pool.list(&spec(&server.url)).await.unwrap();
    assert_eq!((listing.protocol, listing.cached), ("2026-07-28", false));
    assert!(pool.list(&spec(&server.url)).await.unwrap().cached);
    let outcome = pool
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(text(&outcome), "done");
    assert_eq!(
        server.methods(),
        ["server/discover", "tools/list", "tools/call"]
    );
}

#[tokio::test]
async fn a_modern_server_that_starts_slowly_is_asked_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |seen: &Seen| match seen.method() {
        "server/discover" if first.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            vec![Step::Hang]
        }
        "initialize" => http(
            "400 Bad Request",
            JSON,
            &error(seen, -32022, "modern only").to_string(),
        ),
        _ => modern(seen),
    })
    .await;
    let listing = pool(hasty()).list(&spec(&server.url)).await.unwrap();
    assert_eq!(listing.protocol, "2026-07-28");
}

#[tokio::test]
async fn an_older_and_an_unknown_version_are_taken() {
    for (answered, header) in [("2025-03-26", "2025-03-26"), ("2031-01-01", "2031-01-01")] {
        let server = Server::start(move |seen: &Seen| match seen.method() {
            "initialize" => json_answer(&result(seen, &json!({"protocolVersion": answered}))),
            _ => legacy(seen),
        })
        .await;
        pool(bounds()).list(&spec(&server.url)).await.unwrap();
        let seen = server.seen();
        assert_eq!(seen[1].body["params"]["protocolVersion"], "2025-11-25");
        assert_eq!(seen[1].body["params"]["capabilities"], json!({}));
        assert_eq!(seen[3].header("mcp-protocol-version"), header);
        assert_eq!(seen[3].header("mcp-session-id"), "");
    }
}

#[tokio::test]
async fn auth_is_final_and_named() {
    let one = "www-authenticate: Bearer scope=\"a\"\r\n";
    let several = "www-authenticate: Basic realm=\"a, b\", Bearer\r\nwww-authenticate: DPoP\r\n";
    for (status, challenges, sentence) in [
        ("401 Unauthorized", one, "401 (Unauthorized)"),
        ("401 Unauthorized", several, "401 (Unauthorized)"),
        ("401 Unauthorized", "", "401 (Unauthorized)"),
        ("403 Forbidden", one, "403 (Forbidden)"),
    ] {
        let server = Server::start(move |_: &Seen| http(status, challenges, "denied")).await;
        let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
        assert_eq!(error.kind, ListErrorKind::Auth);
        assert!(
            error
                .to_string()
                .ends_with(&format!("Http status code: {sentence}")),
            "{error}"
        );
        assert_eq!(server.methods(), ["server/discover"]);
    }
}

#[tokio::test]
async fn a_token_that_expires_between_list_and_call_is_said_and_not_tried_again() {
    let page = "content-type: text/html\r\n";
    for (status, code) in [("401 Unauthorized", 401), ("403 Forbidden", 403)] {
        for era in ERAS {
            let refused = move |_: &Seen| http(status, page, "<html>denied</html>");
            let server = Server::start(with(era, "tools/call", refused)).await;
            let (pool, spec) = (pool(bounds()), spec(&server.url));
            pool.list(&spec).await.unwrap();
            let outcome = pool.call(&spec, &tool("echo"), &raw("{}")).await;
            assert!(!outcome.outcome_unknown);
            assert_eq!(outcome.result.unwrap_err().item_error()["code"], code);
            assert_eq!(server.count("tools/call"), 1);
        }
    }
}

#[tokio::test]
async fn a_403_without_challenge_reports_the_server_text() {
    let server =
        Server::start(|_: &Seen| http("403 Forbidden", "", "Access is only allowed at localhost"))
            .await;
    let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(error.http_status(), 403);
    assert!(
        error.detail().contains("only allowed at localhost"),
        "{}",
        error.detail()
    );
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Server::start(modern).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("location: {}\r\n", other.url);
        let server = Server::start(move |_: &Seen| http(status, &location, "")).await;
        let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
        assert_eq!(error.kind, ListErrorKind::Redirect);
        assert!(
            error.detail().contains("redirects are not followed"),
            "{}",
            error.detail()
        );
        assert_eq!(server.methods(), ["server/discover"]);
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn forbidden_and_unreachable_addresses() {
    let pool = pool(bounds());
    let error = pool.list(&spec("https://10.0.0.1/mcp")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.http_status()),
        (ListErrorKind::Forbidden, 424)
    );
    assert!(error.forbidden().is_some());
    let outcome = pool
        .call(&spec("https://10.0.0.1/mcp"), &tool("echo"), &raw("{}"))
        .await;
    assert!(matches!(outcome.result, Err(CallError::Forbidden(_))) && !outcome.outcome_unknown);
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}/mcp");
    let error = pool.list(&spec(&url)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.http_status()),
        (ListErrorKind::Unreachable, 424)
    );
    let outcome = pool.call(&spec(&url), &tool("echo"), &raw("{}")).await;
    assert!(!outcome.outcome_unknown);
    let message = outcome.result.unwrap_err().item_error()["message"].to_string();
    assert!(message.contains("The tool was not run."), "{message}");
}

#[tokio::test]
async fn a_server_that_never_answers_ends_in_time() {
    let server = Server::start(|_: &Seen| vec![Step::Hang]).await;
    let short = Bounds {
        list_timeout: Duration::from_millis(900),
        ..hasty()
    };
    let error = pool(short).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.http_status()),
        (ListErrorKind::Timeout, 424)
    );
    assert!(error.timing.wait_ms >= 800, "{:?}", error.timing);
}

/// A server of 2024-11-05. Its answers carry no id, which this client takes on a stream of
/// its own.
fn event_stream(endpoint: &'static str) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    let steps: [Arc<tokio::sync::Notify>; 3] = Default::default();
    move |seen: &Seen| match (seen.verb.as_str(), seen.path.as_str()) {
        ("GET", "/mcp") => {
            let mut out = vec![
                stream_head(),
                Step::Write(format!("event: endpoint\ndata: {endpoint}\n\n").into_bytes()),
            ];
            for (at, body) in [
                json!({"protocolVersion": "2024-11-05", "capabilities": {}}),
                crate::server::one_tool(),
                text_result("over the stream"),
            ]
            .into_iter()
            .enumerate()
            {
                out.push(Step::Wait(Arc::clone(&steps[at])));
                out.push(event(
                    &json!({"jsonrpc": "2.0", "id": null, "result": body}),
                ));
            }
            out.push(Step::Hang);
            out
        }
        ("POST", path) if path.starts_with("/messages") => {
            match seen.method() {
                "initialize" => steps[0].notify_one(),
                "tools/list" => steps[1].notify_one(),
                "tools/call" => steps[2].notify_one(),
                _ => {}
            }
            http("202 Accepted", "", "Accepted")
        }
        _ => http(
            "404 Not Found",
            "content-type: text/html\r\n",
            "<html>Cannot POST /mcp</html>",
        ),
    }
}

#[tokio::test]
async fn http_with_sse_is_the_last_resort() {
    let server = Server::start(event_stream("/messages?session=1")).await;
    let pool = pool(bounds());
    let listing = pool.list(&spec(&server.url)).await.unwrap();
    assert_eq!((listing.protocol, listing.tools.len()), ("2024-11-05", 1));
    let outcome = pool
        .call(&spec(&server.url), &tool("echo"), &raw(r#"{"a":1}"#))
        .await;
    assert_eq!(text(&outcome), "over the stream");
    assert_eq!(server.count("GET"), 1, "the stream is used again");
    let call = server.seen().pop().unwrap();
    assert_eq!(call.path, "/messages?session=1");
    assert_eq!(
        call.body["params"],
        json!({"name": "echo", "arguments": {"a": 1}})
    );
}

#[tokio::test]
async fn an_endpoint_on_another_origin_is_refused() {
    let other = Server::start(modern).await;
    let endpoint: &'static str = Box::leak(format!("{}?x=1", other.url).into_boxed_str());
    let server = Server::start(event_stream(endpoint)).await;
    let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(
        error.http_status(),
        404,
        "the answer to the POST is the one that is told"
    );
    assert!(other.seen().is_empty());
}

/// The oldest revision: the stream carries the server's own questions as well.
#[tokio::test]
async fn questions_on_the_stream_are_answered_at_the_endpoint() {
    let steps: [Arc<tokio::sync::Notify>; 2] = Default::default();
    let server = Server::start(
        move |seen: &Seen| match (seen.verb.as_str(), seen.method()) {
            ("GET", _) => vec![
                stream_head(),
                Step::Write(b"event: endpoint\ndata: /messages\n\n".to_vec()),
                Step::Wait(Arc::clone(&steps[0])),
                event(&json!({"id": null, "result": {"protocolVersion": "2024-11-05"}})),
                event(&json!({"id": "q", "method": "sampling/createMessage", "params": {}})),
                event(&json!({"id": "q", "method": "elicitation/create", "params": {}})),
                Step::Wait(Arc::clone(&steps[1])),
                event(&json!({"id": null, "result": text_result("answered")})),
                Step::Hang,
            ],
            (_, "initialize") if seen.path == "/messages" => {
                steps[0].notify_one();
                http("202 Accepted", "", "")
            }
            (_, "") if seen.body["result"]["action"] == "decline" => {
                steps[1].notify_one();
                http("202 Accepted", "", "")
            }
            _ if seen.path == "/messages" => http("202 Accepted", "", ""),
            _ => http("405 Method Not Allowed", "", ""),
        },
    )
    .await;
    let outcome = pool(bounds())
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert_eq!(text(&outcome), "answered");
    assert_eq!(server.count("reply"), 2);
}
