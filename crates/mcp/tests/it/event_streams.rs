//! Event streams that are badly framed, break off, or carry much beside the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portunus_mcp::{Bounds, CallError, CallOutcome};
use serde_json::json;
use tokio::sync::Notify;

use crate::common::{bounds, pool, raw, spec, text, tool};
use crate::server::{
    ERAS, Era, Seen, Server, Step, event, http, legacy, legacy_call, modern, result, stream_head,
    text_result, with,
};

async fn call_on(server: &Server, bounds: Bounds) -> CallOutcome {
    pool(bounds)
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await
}

/// A stream whose bytes `write` makes from the answer; it ends with the connection.
async fn framed(era: Era, write: fn(&str) -> String) -> CallOutcome {
    let server = Server::start(with(era, "tools/call", move |seen| {
        let answer = result(seen, &text_result("grüße")).to_string();
        vec![stream_head(), Step::Write(write(&answer).into_bytes())]
    }))
    .await;
    call_on(&server, bounds()).await
}

#[tokio::test]
async fn malformed_framing_is_read() {
    let ways: [fn(&str) -> String; 7] = [
        |answer| format!("data: {answer}"),
        |answer| format!("event: something\ndata: {answer}\n\n"),
        |answer| format!("data: {answer}\r\r"),
        |answer| format!("\u{feff}data: {answer}\n\n"),
        |answer| format!("data: not json\n\ndata: {{}}\n\n: comment\n\ndata: {answer}\n\n"),
        |answer| format!("data: {}\ndata: {}\n\n", &answer[..1], &answer[1..]),
        |answer| format!("event: ping\ndata\n\nid: 7\nretry: x\ndata: {answer}\n\n"),
    ];
    for way in ways {
        for era in ERAS {
            assert_eq!(text(&framed(era, way).await), "grüße");
        }
    }
}

#[tokio::test]
async fn a_character_split_over_two_pieces_is_whole() {
    let server = Server::start(legacy_call(|seen| {
        let bytes = format!("data: {}\n\n", result(seen, &text_result("grüße"))).into_bytes();
        let at = bytes.iter().position(|byte| *byte >= 0x80).unwrap() + 1;
        let (head, tail) = bytes.split_at(at);
        vec![
            stream_head(),
            Step::Write(head.to_vec()),
            Step::Write(tail.to_vec()),
        ]
    }))
    .await;
    assert_eq!(text(&call_on(&server, bounds()).await), "grüße");
}

#[tokio::test]
async fn the_answer_is_enough_even_if_the_stream_stays_open() {
    let server = Server::start(legacy_call(|seen| {
        vec![
            stream_head(),
            event(&result(seen, &text_result("x"))),
            Step::Hang,
        ]
    }))
    .await;
    assert_eq!(text(&call_on(&server, bounds()).await), "x");
    server.wait_for_closed(1).await;
}

#[tokio::test]
async fn a_storm_of_notices_is_read_through_and_lists_nothing_anew() {
    // Progress that goes backwards, for a token that nobody gave, and changes of the list.
    let notes: String = [
        json!({"method": "notifications/progress", "params": {"progressToken": "?", "progress": 9}}),
        json!({"method": "notifications/progress", "params": {"progressToken": "?", "progress": 1}}),
        json!({"method": "notifications/tools/list_changed"}),
        json!({"method": "notifications/message", "params": {"level": "info", "data": 7}}),
    ]
    .iter()
    .map(|note| format!("data: {note}\n\n"))
    .collect();
    for era in ERAS {
        let storm = notes.repeat(50_000).into_bytes();
        let server = Server::start(with(era, "tools/call", move |seen| {
            vec![
                stream_head(),
                Step::Write(storm.clone()),
                event(&result(seen, &text_result("x"))),
            ]
        }))
        .await;
        let pool = pool(bounds());
        pool.list(&spec(&server.url)).await.unwrap();
        let outcome = pool
            .call(&spec(&server.url), &tool("echo"), &raw("{}"))
            .await;
        assert_eq!(text(&outcome), "x");
        assert_eq!(server.count("tools/list"), 1);
    }
}

#[tokio::test]
async fn an_event_over_the_bound_is_refused_early() {
    let server = Server::start(legacy_call(|_| {
        vec![
            stream_head(),
            Step::Write([b"data: ".to_vec(), vec![b'x'; 300_000]].concat()),
            Step::Hang,
        ]
    }))
    .await;
    let small = Bounds {
        max_event_bytes: 100_000,
        ..bounds()
    };
    let outcome = call_on(&server, small).await;
    assert!(outcome.outcome_unknown);
    let message = outcome.result.unwrap_err().to_string();
    assert!(message.contains("larger than 100000 bytes"), "{message}");
}

/// A call whose answer never comes ends when its time is up; it is unknown what became of it.
async fn runs_out(era: Era, answer: fn() -> Vec<Step>) {
    let server = Server::start(with(era, "tools/call", move |_| answer())).await;
    let pool = pool(Bounds {
        call_timeout: Duration::from_millis(300),
        ..bounds()
    });
    let outcome = pool
        .call(&spec(&server.url), &tool("echo"), &raw("{}"))
        .await;
    assert!(outcome.outcome_unknown);
    let error = outcome.result.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert_eq!(error.item_error()["message"], "424: ");
    server.wait_for_closed(1).await;
    pool.close().await;
    // To the newest revision the closed stream says it all.
    let legacy = server.count("initialize");
    assert_eq!(server.count("notifications/cancelled"), legacy);
    assert_eq!(server.count("tools/call"), 1);
}

#[tokio::test]
async fn neither_silence_nor_comments_nor_notices_keep_a_call_alive() {
    let ways: [fn() -> Vec<Step>; 5] = [
        || vec![Step::Hang],
        || vec![stream_head(), Step::Hang],
        || vec![stream_head(), Step::Drip(b": keep-alive\n\n")],
        || {
            let notice = b"data: {\"method\":\"notifications/progress\",\"params\":{}}\n\n";
            vec![stream_head(), Step::Drip(notice)]
        },
        // An event that never ends, a byte at a time.
        || {
            vec![
                stream_head(),
                Step::Write(b"data: ".to_vec()),
                Step::Drip(b" "),
            ]
        },
    ];
    for way in ways {
        for era in ERAS {
            runs_out(era, way).await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_or_breaks_before_the_answer_leaves_the_outcome_unknown() {
    let ends: [fn() -> Vec<Step>; 3] = [
        || vec![stream_head()],
        || vec![stream_head(), Step::Write(b": hello\n\n".to_vec())],
        // No head at all: the connection just closes.
        || vec![Step::Write(Vec::new())],
    ];
    for end in ends {
        for era in ERAS {
            check_unknown(&Server::start(with(era, "tools/call", move |_| end())).await).await;
        }
    }
    // The newest revision takes up no stream, whatever its events carry.
    let server = Server::start(with(modern, "tools/call", |_| {
        vec![
            stream_head(),
            Step::Write(b"id: e1\nretry: 20\ndata:\n\n".to_vec()),
        ]
    }))
    .await;
    check_unknown(&server).await;
    assert_eq!(server.count("GET"), 0);
}

async fn check_unknown(server: &Server) {
    let outcome = call_on(server, bounds()).await;
    assert!(outcome.outcome_unknown);
    let message = outcome.result.unwrap_err().item_error()["message"].to_string();
    assert!(
        message.contains("outcome of this call is unknown"),
        "{message}"
    );
    assert_eq!(server.count("tools/call"), 1, "never a second time");
}

/// A server that breaks a call's stream after an event with an id; `again` answers the GETs.
async fn resumable(again: impl Fn(&Seen, usize) -> Vec<Step> + Send + Sync + 'static) -> Server {
    let gets = AtomicUsize::new(0);
    let call_id = std::sync::Mutex::new(json!(null));
    Server::start(
        move |seen: &Seen| match (seen.verb.as_str(), seen.method()) {
            ("GET", _) => {
                let mut seen = seen.clone();
                seen.body = json!({"id": *call_id.lock().unwrap()});
                again(&seen, gets.fetch_add(1, Ordering::Relaxed))
            }
            (_, "tools/call") => {
                *call_id.lock().unwrap() = seen.body["id"].clone();
                vec![
                    stream_head(),
                    Step::Write(b"id: e1\nretry: 20\ndata:\n\n".to_vec()),
                ]
            }
            _ => legacy(seen),
        },
    )
    .await
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_by_its_last_event_id() {
    let server = resumable(|seen, round| match round {
        // Breaks once more, with a newer id.
        0 => vec![stream_head(), Step::Write(b"id: e2\ndata:\n\n".to_vec())],
        _ => vec![stream_head(), event(&result(seen, &text_result("resumed")))],
    })
    .await;
    assert_eq!(text(&call_on(&server, bounds()).await), "resumed");
    let gets: Vec<Seen> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.verb == "GET")
        .collect();
    let ids: Vec<&str> = gets
        .iter()
        .map(|seen| seen.header("last-event-id"))
        .collect();
    assert_eq!(ids, ["e1", "e2"]);
    assert_eq!(gets[0].header("mcp-session-id"), "s1");
    assert_eq!(server.count("tools/call"), 1);
}

#[tokio::test]
async fn vain_resumes_are_bounded() {
    let server = resumable(|_, _| vec![stream_head()]).await;
    let outcome = call_on(&server, bounds()).await;
    assert!(outcome.outcome_unknown && outcome.result.is_err());
    assert_eq!(server.count("GET"), bounds().max_resumes as usize);
    let server = resumable(|_, _| http("405 Method Not Allowed", "", "")).await;
    let outcome = call_on(&server, bounds()).await;
    assert!(outcome.outcome_unknown && outcome.result.is_err());
    assert_eq!(server.count("GET"), 1);
}

#[tokio::test]
async fn a_servers_own_requests_are_refused_or_declined_and_pings_answered() {
    let answered = Arc::new(Notify::new());
    let replies = AtomicUsize::new(0);
    let gate = Arc::clone(&answered);
    let server = Server::start(move |seen: &Seen| match seen.method() {
        "" => {
            if replies.fetch_add(1, Ordering::Relaxed) == 2 {
                gate.notify_one();
            }
            http("202 Accepted", "", "")
        }
        "tools/call" => vec![
            stream_head(),
            event(
                &json!({"jsonrpc": "2.0", "id": "a", "method": "elicitation/create", "params": {}}),
            ),
            event(&json!({"jsonrpc": "2.0", "id": 0, "method": "ping"})),
            event(&json!({"jsonrpc": "2.0", "id": 0, "method": "sampling/createMessage"})),
            // Goes on only when all three are answered, like servers that wait for ever.
            Step::Wait(Arc::clone(&gate)),
            event(&result(seen, &text_result("x"))),
        ],
        _ => legacy(seen),
    })
    .await;
    assert_eq!(text(&call_on(&server, bounds()).await), "x");
    let replies: Vec<Seen> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.method().is_empty())
        .collect();
    let of = |id: serde_json::Value, key: &str| {
        replies
            .iter()
            .any(|seen| seen.body["id"] == id && seen.body.get(key).is_some())
    };
    assert!(of(json!("a"), "result") && of(json!(0), "result") && of(json!(0), "error"));
    assert!(
        replies
            .iter()
            .any(|seen| seen.body["result"]["action"] == "decline")
    );
    assert!(
        replies
            .iter()
            .all(|seen| seen.header("mcp-session-id") == "s1")
    );
}

#[tokio::test]
async fn a_stream_that_ends_leaves_its_connection_usable() {
    let server = Server::start(legacy_call(|seen| {
        let event = format!("data: {}\n\n", result(seen, &text_result("x")));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
            transfer-encoding: chunked\r\n\r\n";
        let text = format!("{head}{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
        vec![Step::Write(text.into_bytes())]
    }))
    .await;
    let (pool, spec) = (pool(bounds()), spec(&server.url));
    for _ in 0..2 {
        let outcome = pool.call(&spec, &tool("echo"), &raw("{}")).await;
        assert_eq!(text(&outcome), "x");
        // The end of the stream is read behind the answer.
        pool.close().await;
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 1));
}

#[tokio::test]
async fn a_question_where_nobody_listens_ends_with_the_calls_time() {
    // No stream is opened by GET, and none has to be: a server that asks only there, without
    // being told that anybody answers, waits in vain.
    let short = Bounds {
        call_timeout: Duration::from_millis(300),
        ..bounds()
    };
    let server = Server::start(legacy_call(|_| vec![Step::Hang])).await;
    let outcome = call_on(&server, short).await;
    assert!(matches!(outcome.result, Err(CallError::Timeout { .. })));
    assert_eq!(server.count("GET"), 0);
}
