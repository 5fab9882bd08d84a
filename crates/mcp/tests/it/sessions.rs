//! Sessions that a server forgets, and what may be sent again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portunus_mcp::{Bounds, CallError, CallOutcome, Pool};
use serde_json::json;

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{JSON, Seen, Server, Step, error, http, legacy, stream_head};

/// How a server says that it lost a session.
type Loss = fn(&Seen) -> Vec<Step>;

/// A server that answers the first request `method` after the first listing with `loss`.
async fn forgetful(
    method: &'static str,
    loss: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> Server {
    let lists = AtomicUsize::new(0);
    let losses = AtomicUsize::new(0);
    Server::start(move |seen: &Seen| {
        if seen.method() == "tools/list" {
            lists.fetch_add(1, Ordering::Relaxed);
        }
        let listed = lists.load(Ordering::Relaxed) > usize::from(method == "tools/list");
        if seen.method() == method && listed && losses.fetch_add(1, Ordering::Relaxed) == 0 {
            return loss(seen);
        }
        legacy(seen)
    })
    .await
}

/// Bounds under which nothing is kept but the session.
fn always_list() -> Bounds {
    Bounds {
        tool_list_ttl: Duration::ZERO,
        ..bounds()
    }
}

async fn call(pool: &Pool, server: &Server) -> CallOutcome {
    pool.call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await
}

#[tokio::test]
async fn a_list_survives_a_lost_session_however_it_is_said() {
    let losses: [Loss; 6] = [
        |_| http("404 Not Found", "", ""),
        |seen| {
            http(
                "404 Not Found",
                JSON,
                &error(seen, -32001, "Session not found").to_string(),
            )
        },
        |seen| {
            http(
                "400 Bad Request",
                JSON,
                &error(seen, -32000, "Bad Request: No valid session ID provided").to_string(),
            )
        },
        |_| http("503 Service Unavailable", "", "unknown session"),
        |_| http("401 Unauthorized", "", "session expired"),
        |seen| {
            http(
                "200 OK",
                JSON,
                &error(seen, -32600, "Invalid session").to_string(),
            )
        },
    ];
    for loss in losses {
        let server = forgetful("tools/list", loss).await;
        let pool = pool(always_list());
        pool.list(&spec(&server.url)).await.unwrap();
        pool.list(&spec(&server.url)).await.unwrap();
        assert_eq!(
            (server.count("initialize"), server.count("server/discover")),
            (2, 1)
        );
    }
}

#[tokio::test]
async fn a_call_goes_again_only_when_the_post_itself_was_refused() {
    let losses: [(Loss, usize); 6] = [
        (|_| http("404 Not Found", "", ""), 2),
        (
            |seen| {
                http(
                    "400 Bad Request",
                    JSON,
                    &error(seen, -32000, "No valid session ID").to_string(),
                )
            },
            2,
        ),
        (|_| http("400 Bad Request", "", "bad arguments"), 1),
        (
            |_| http("503 Service Unavailable", "", "unknown session"),
            1,
        ),
        (
            |seen| {
                http(
                    "200 OK",
                    JSON,
                    &error(seen, -32600, "Invalid session").to_string(),
                )
            },
            1,
        ),
        (|_| vec![stream_head()], 1),
    ];
    for (loss, calls) in losses {
        let server = forgetful("tools/call", loss).await;
        let pool = pool(bounds());
        pool.list(&spec(&server.url)).await.unwrap();
        let outcome = call(&pool, &server).await;
        assert_eq!(server.count("tools/call"), calls);
        assert_eq!(outcome.result.is_ok(), calls == 2);
    }
}

#[tokio::test]
async fn a_call_on_a_new_session_is_never_sent_again() {
    let server = Server::start(|seen: &Seen| match seen.method() {
        "tools/call" => http("404 Not Found", "", ""),
        _ => legacy(seen),
    })
    .await;
    let outcome = call(&pool(bounds()), &server).await;
    assert!(outcome.result.is_err() && !outcome.outcome_unknown);
    assert_eq!(server.count("tools/call"), 1);
}

#[tokio::test]
async fn a_lost_session_is_replaced_for_the_next_call() {
    let server = forgetful("tools/call", |_| {
        http("503 Service Unavailable", "", "unknown session")
    })
    .await;
    let pool = pool(bounds());
    pool.list(&spec(&server.url)).await.unwrap();
    assert!(call(&pool, &server).await.result.is_err());
    assert_eq!(text(&call(&pool, &server).await), "done");
    assert_eq!(server.count("initialize"), 2);
}

#[tokio::test]
async fn an_idle_session_is_opened_anew_without_detection() {
    let server = Server::start(legacy).await;
    let pool = pool(Bounds {
        session_idle: Duration::ZERO,
        ..bounds()
    });
    assert_eq!(text(&call(&pool, &server).await), "done");
    assert_eq!(text(&call(&pool, &server).await), "done");
    assert_eq!(
        (server.count("initialize"), server.count("server/discover")),
        (2, 1)
    );
}

#[tokio::test]
async fn a_server_that_changed_its_protocol_is_asked_again() {
    let lists = AtomicUsize::new(0);
    let server = Server::start(move |seen: &Seen| {
        if lists.load(Ordering::Relaxed) == 0 {
            if seen.method() == "tools/list" {
                lists.fetch_add(1, Ordering::Relaxed);
            }
            return crate::server::modern(seen);
        }
        match seen.header("mcp-method") {
            "" => legacy(seen),
            _ => http(
                "400 Bad Request",
                JSON,
                &json!({"error": {"code": -32600, "message": "?"}}).to_string(),
            ),
        }
    })
    .await;
    let pool = pool(always_list());
    assert_eq!(
        pool.list(&spec(&server.url)).await.unwrap().protocol,
        "2026-07-28"
    );
    assert_eq!(
        pool.list(&spec(&server.url)).await.unwrap().protocol,
        "2025-11-25"
    );
}

#[tokio::test]
async fn a_stream_that_died_in_stock_is_not_used() {
    let opened = AtomicUsize::new(0);
    let gates: [std::sync::Arc<tokio::sync::Notify>; 2] = Default::default();
    let server = Server::start(
        move |seen: &Seen| match (seen.verb.as_str(), seen.method()) {
            ("GET", _) => {
                let round = opened.fetch_add(1, Ordering::Relaxed);
                let answer =
                    |body| crate::server::event(&json!({"jsonrpc": "2.0", "result": body}));
                let mut out = vec![
                    stream_head(),
                    Step::Write(b"event: endpoint\ndata: /mcp?s=1\n\n".to_vec()),
                    Step::Wait(gates[0].clone()),
                    answer(json!({"protocolVersion": "2024-11-05"})),
                    Step::Wait(gates[1].clone()),
                    answer(crate::server::text_result(&format!("stream {round}"))),
                ];
                // The first stream ends after its first answer.
                out.extend((round > 0).then_some(Step::Hang));
                out
            }
            (_, "initialize") if seen.path == "/mcp?s=1" => {
                gates[0].notify_one();
                http("202 Accepted", "", "")
            }
            (_, "tools/call") => {
                gates[1].notify_one();
                http("202 Accepted", "", "")
            }
            (_, "notifications/initialized") => http("202 Accepted", "", ""),
            _ => http("405 Method Not Allowed", "", ""),
        },
    )
    .await;
    let pool = pool(bounds());
    assert_eq!(text(&call(&pool, &server).await), "stream 0");
    server.wait_for_ended(1).await;
    assert_eq!(text(&call(&pool, &server).await), "stream 1");
    assert_eq!(server.count("tools/call"), 2);
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_anew_ends_the_call_in_time() {
    let opened = AtomicUsize::new(0);
    let server = Server::start(move |seen: &Seen| match seen.method() {
        "initialize" if opened.fetch_add(1, Ordering::Relaxed) > 0 => vec![Step::Hang],
        "tools/call" => http("404 Not Found", JSON, "session not found"),
        _ => legacy(seen),
    })
    .await;
    let pool = pool(Bounds {
        list_timeout: Duration::from_millis(500),
        ..bounds()
    });
    pool.list(&spec(&server.url)).await.unwrap();
    let outcome = call(&pool, &server).await;
    // The call itself was refused: whatever the new session comes to, the tool did not run.
    assert!(!outcome.outcome_unknown);
    let error = outcome.result.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert_eq!(
        (server.count("tools/call"), server.count("initialize")),
        (1, 2)
    );
}

/// A server may have done the work before it noticed that the session is gone.
#[tokio::test]
async fn a_call_that_was_under_way_when_the_session_went_is_not_sent_again() {
    let answers: [Loss; 2] = [
        |seen| {
            vec![
                stream_head(),
                crate::server::event(&error(seen, -32001, "Session not found")),
            ]
        },
        |_| vec![stream_head(), Step::Write(b": working\n\n".to_vec())],
    ];
    for answer in answers {
        let server = forgetful("tools/call", answer).await;
        let pool = pool(bounds());
        pool.list(&spec(&server.url)).await.unwrap();
        assert!(call(&pool, &server).await.result.is_err());
        assert_eq!(server.count("tools/call"), 1);
    }
}
