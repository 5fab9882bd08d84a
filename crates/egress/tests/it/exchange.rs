//! One request, one answer: nothing followed, nothing repeated, nothing added.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get as route, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use portunus_egress::{Client, Limits, SendError, Settings, Zone};
use tokio::net::TcpListener;

use crate::stage::{client, get, millis, request, run_as_child, serve, serve_raw, url_for_child};

#[tokio::test]
async fn redirects_are_answers() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let target = serve(Router::new().fallback(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
    }))
    .await;
    for status in [301, 302, 303, 307, 308] {
        let location = target.url("/stolen");
        let status = StatusCode::from_u16(status).unwrap();
        let answer = move || async move { (status, [(header::LOCATION, location)]) };
        let server = serve(Router::new().route("/", post(answer))).await;
        let mut request = request(&server.url("/"));
        *request.method_mut() = http::Method::POST;
        request
            .headers_mut()
            .insert("x-api-key", "canary".parse().unwrap());
        let response = client()
            .send(Zone::Mcp, request, Limits::default())
            .await
            .unwrap();
        assert_eq!(response.status, status);
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn proxy_variables_are_ignored() {
    if let Some(url) = url_for_child() {
        let limits = Limits {
            total: millis(5000),
            ..Limits::default()
        };
        let response = get(&url, limits).await.unwrap();
        assert_eq!(response.body.bytes().await.unwrap(), "direct");
        return;
    }
    let server = serve(Router::new().route("/", route(|| async { "direct" }))).await;
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let mut variables = vec![("NO_PROXY", ""), ("no_proxy", "")];
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        variables.push((name, &proxy_url));
    }
    run_as_child(
        "exchange::proxy_variables_are_ignored",
        &server.url("/"),
        &variables,
    )
    .await;
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

#[tokio::test]
async fn a_machine_without_root_certificates_can_speak_plain_http() {
    if let Some(url) = url_for_child() {
        assert!(!client().has_root_certificates());
        let response = get(&url, Limits::default()).await.unwrap();
        assert_eq!(response.body.bytes().await.unwrap(), "plain");
        return;
    }
    let server = serve(Router::new().route("/", route(|| async { "plain" }))).await;
    let variables = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/dev/null"),
    ];
    let name = "exchange::a_machine_without_root_certificates_can_speak_plain_http";
    run_as_child(name, &server.url("/"), &variables).await;
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&url, Limits::default()).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Connect { host, .. } if host == "127.0.0.1"),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("Could not connect to '127.0.0.1': Connection refused")
    );
    assert!(!error.may_have_been_sent());
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_a_connect_error() {
    let (server, _requests) = serve_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let url = server.url("/").replace("http://", "https://");
    let error = get(&url, Limits::default()).await.unwrap_err();
    assert!(matches!(error, SendError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cut_call_is_not_repeated() {
    let (server, mut requests) = serve_raw(b"").await;
    let mut call = request(&server.url("/"));
    *call.method_mut() = http::Method::POST;
    *call.body_mut() = Bytes::from_static(b"run the tool");
    let error = client()
        .send(Zone::Mcp, call, Limits::default())
        .await
        .unwrap_err();
    assert!(error.may_have_been_sent(), "{error:?}");
    assert!(
        requests
            .recv()
            .await
            .unwrap()
            .starts_with(b"POST / HTTP/1.1\r\n")
    );
    assert!(requests.try_recv().is_err(), "sent twice");
}

#[tokio::test]
async fn only_a_new_connection_has_a_connect_time() {
    let server = serve(Router::new().route("/", route(|| async { "ok" }))).await;
    let client = client();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let sent = client
            .send(Zone::Mcp, request(&server.url("/")), Limits::default())
            .await;
        let response = sent.unwrap();
        seen.push(response.timing.connect_ms.is_some());
        assert_eq!(response.body.bytes().await.unwrap(), "ok");
    }
    assert_eq!(seen, [true, false, false]);
}

#[tokio::test]
async fn zones_do_not_share_connections() {
    let server = serve(Router::new().route("/", route(|| async { "ok" }))).await;
    let client = client();
    for zone in [Zone::Provider, Zone::Mcp] {
        let sent = client
            .send(zone, request(&server.url("/")), Limits::default())
            .await;
        let response = sent.unwrap();
        assert!(response.timing.connect_ms.is_some(), "{zone:?}");
        response.body.bytes().await.unwrap();
    }
}

#[tokio::test]
async fn headers_of_the_connection_do_not_leave() {
    let (server, mut requests) = serve_raw(
        b"HTTP/1.1 200 OK\r\nConnection: close, x-inner\r\nX-Inner: 1\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    let mut call = request(&server.url("/p?q=1"));
    let headers = call.headers_mut();
    for (name, value) in [
        ("host", "evil.example"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive, x-nominated"),
        ("x-nominated", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eA=="),
        ("upgrade", "h2c"),
        ("x-kept", "1"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let response = client()
        .send(Zone::Mcp, call, Limits::default())
        .await
        .unwrap();
    assert!(response.headers.contains_key("x-kept"));
    assert!(!response.headers.contains_key("x-inner"));
    let sent = String::from_utf8(requests.recv().await.unwrap())
        .unwrap()
        .to_ascii_lowercase();
    let mut names: Vec<&str> = sent
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|line| line.0)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept", "accept-encoding", "host", "user-agent", "x-kept"],
        "{sent}"
    );
    assert!(sent.contains(&format!("host: {}\r\n", server.address)));
}

#[tokio::test]
async fn a_body_is_sent_with_its_length_and_headers() {
    let echo = |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers[header::CONTENT_LENGTH], "5");
        assert_eq!(headers[header::AUTHORIZATION], "Bearer t");
        body
    };
    let server = serve(Router::new().route("/", post(echo))).await;
    let call = http::Request::post(server.url("/"))
        .header("authorization", "Bearer t")
        .body(Bytes::from_static(b"hello"))
        .unwrap();
    let response = client()
        .send(Zone::Mcp, call, Limits::default())
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.body.bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn dropping_the_body_closes_the_stream() {
    struct Told(tokio::sync::mpsc::Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.try_send(()).unwrap();
        }
    }
    let (gone, mut closed) = tokio::sync::mpsc::channel(1);
    let endless = move || async move {
        let told = Told(gone);
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]);
        Body::from_stream(first.chain(stream::pending()).inspect(move |_| {
            let _ = &told;
        }))
    };
    let server = serve(Router::new().route("/", route(endless))).await;
    let mut response = get(&server.url("/"), Limits::default()).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "x");
    drop(response);
    assert_eq!(closed.recv().await, Some(()));
}

#[tokio::test]
async fn loopback_is_closed_to_mcp_and_open_to_providers_by_default() {
    let server = serve(Router::new().route("/", route(|| async { "ok" }))).await;
    let client = Client::new(Settings::default()).unwrap();
    let refused = client
        .send(Zone::Mcp, request(&server.url("/")), Limits::default())
        .await;
    assert!(matches!(refused.unwrap_err(), SendError::Forbidden(f) if f.reason == "loopback"));
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/", server.address.port());
        let response = client
            .send(Zone::Provider, request(&url), Limits::default())
            .await
            .unwrap();
        assert_eq!(response.status, 200);
    }
}
