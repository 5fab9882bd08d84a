//! Four waits, four names.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as route;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use portunus_egress::{Limits, Phase, SendError, Settings, Zone};
use tokio::net::TcpListener;

use crate::stage::{client_with, get, millis, request, serve};

fn piece() -> Result<Bytes, Infallible> {
    Ok(Bytes::from_static(b"x"))
}

/// Sends one piece, then nothing and no end.
async fn stalls() -> Body {
    Body::from_stream(stream::iter([piece()]).chain(stream::pending()))
}

/// Sends a piece every 20 ms, without end.
async fn drips() -> Body {
    Body::from_stream(stream::repeat(()).then(|()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        piece()
    }))
}

async fn never() -> Body {
    std::future::pending().await
}

#[tokio::test]
async fn no_head_is_a_first_byte_timeout() {
    let server = serve(Router::new().route("/", route(never))).await;
    let limits = Limits {
        first_byte: millis(100),
        total: millis(5000),
        ..Limits::default()
    };
    let error = get(&server.url("/"), limits).await.unwrap_err();
    assert_eq!(error, SendError::Timeout(Phase::FirstByte));
    assert!(error.may_have_been_sent());
    assert!(error.to_string().contains("first byte timeout"));
}

#[tokio::test]
async fn a_stalled_body_is_an_idle_timeout() {
    let server = serve(Router::new().route("/", route(stalls))).await;
    let limits = Limits {
        idle: millis(100),
        total: millis(5000),
        ..Limits::default()
    };
    let mut body = get(&server.url("/"), limits).await.unwrap().body;
    assert_eq!(body.chunk().await.unwrap().unwrap(), "x");
    assert_eq!(body.chunk().await, Err(SendError::Timeout(Phase::Idle)));
}

#[tokio::test]
async fn a_dripping_body_ends_at_the_total() {
    let server = serve(Router::new().route("/", route(drips))).await;
    let limits = Limits {
        idle: millis(5000),
        total: millis(200),
        ..Limits::default()
    };
    let mut body = get(&server.url("/"), limits).await.unwrap().body;
    assert!(body.chunk().await.unwrap().is_some());
    assert_eq!(body.bytes().await, Err(SendError::Timeout(Phase::Total)));
}

#[tokio::test]
async fn the_total_also_bounds_the_head() {
    let server = serve(Router::new().route("/", route(never))).await;
    let limits = Limits {
        first_byte: millis(5000),
        total: millis(100),
        ..Limits::default()
    };
    let error = get(&server.url("/"), limits).await.unwrap_err();
    assert_eq!(error, SendError::Timeout(Phase::Total));
}

#[tokio::test]
async fn a_silent_tls_peer_is_a_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(100);
    let client = client_with(Settings {
        connect_timeout,
        ..Settings::default()
    });
    let sent = client
        .send(Zone::Mcp, request(&url), Limits::default())
        .await;
    let error = sent.unwrap_err();
    assert_eq!(error, SendError::Timeout(Phase::Connect));
    assert!(!error.may_have_been_sent());
}

#[tokio::test]
async fn endless_waits_are_legal() {
    let server = serve(Router::new().route("/", route(|| async { "ok" }))).await;
    let endless = Some(Duration::MAX);
    let limits = Limits {
        first_byte: endless,
        idle: endless,
        total: endless,
        ..Limits::default()
    };
    let body = get(&server.url("/"), limits).await.unwrap().body;
    assert_eq!(body.bytes().await.unwrap(), "ok");
}
