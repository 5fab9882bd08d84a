//! What holds for every answer: marks, both error shapes, exact paths, bounds.

use crate::harness::{ADMIN, Answer, Gateway};
use axum::body::Body;
use http::Request;
use portunus::router;
use portunus::settings::Settings;
use serde_json::json;
use tower::ServiceExt;

fn marked(answer: &Answer) {
    let text = |name: &str| {
        answer
            .headers
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
    };
    let trace = text("x-portkey-trace-id").unwrap_or_default();
    assert!(!trace.is_empty(), "no trace id: {}", answer.text);
    assert!(text("x-request-id").unwrap().starts_with("req_"));
    assert!(text("openai-processing-ms").unwrap().parse::<u64>().is_ok());
}

fn both_shapes(answer: &Answer) {
    let json = answer.json();
    let error = json["error"].as_object().unwrap();
    let keys: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert_eq!(json["status"], "failure");
    assert_eq!(json["message"], error["message"]);
}

#[tokio::test]
async fn every_answer_is_marked_and_every_error_has_both_shapes() {
    let gateway = Gateway::with(|settings| settings.limits.body_bytes = 1_000).await;
    let key = gateway.caller().await;
    let own = [("x-portkey-api-key", key.as_str())];
    let form = [
        own[0],
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let long = json!({"input": "x".repeat(2_000)});
    let (broken, empty) = (json!([1]), json!({}));
    for (method, path, headers, body, status) in [
        ("GET", "/livez", &[] as &[_], None, 200),
        ("GET", "/readyz", &[], None, 200),
        ("GET", "/metrics", &[], None, 200),
        ("GET", "/openapi.json", &[], None, 200),
        ("GET", "/", &[], None, 200),
        ("GET", "/v1/models", &own, None, 200),
        ("GET", "/v1/models", &[], None, 401),
        ("GET", "/v1/logs", &own, None, 403),
        ("GET", "/v1/nowhere", &own, None, 404),
        ("PATCH", "/v1/models", &own, None, 405),
        ("POST", "/v1/responses", &form, None, 415),
        ("POST", "/v1/responses", &own, None, 415),
        ("POST", "/v1/responses", &own, Some(&long), 413),
        ("POST", "/v1/responses", &own, Some(&broken), 400),
        ("POST", "/v1/responses", &own, Some(&empty), 400),
    ] {
        let answer = gateway.send(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        marked(&answer);
        if status >= 400 {
            both_shapes(&answer);
            assert_eq!(answer.headers["x-portunus-error-source"], "client");
        }
    }
}

#[tokio::test]
async fn the_callers_trace_id_comes_back() {
    let gateway = Gateway::new().await;
    let own = [("x-portkey-trace-id", "my-trace")];
    let answer = gateway.send("GET", "/v1/models", &own, None).await;
    assert_eq!(answer.headers["x-portkey-trace-id"], "my-trace");
    let parent = [(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )];
    let answer = gateway.send("GET", "/v1/models", &parent, None).await;
    assert_eq!(
        answer.headers["x-portkey-trace-id"],
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
}

#[tokio::test]
async fn a_405_names_what_is_allowed() {
    let gateway = Gateway::new().await;
    let answer = gateway.send("DELETE", "/v1/virtual-keys", &[], None).await;
    assert_eq!(answer.status, 405);
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("POST") && allow.contains("GET"), "{allow}");
}

#[tokio::test]
async fn paths_are_exact() {
    let gateway = Gateway::new().await;
    let logs_scope = gateway.key(&["logs.view", "virtual_keys.read"]).await;
    for path in [
        "/v1/models/",
        "//v1/models",
        "/V1/models",
        "/v1/Models",
        "/v1/%6dodels",
        "/v1/models;x",
        "/v1/models.",
        "/v1/./models",
        "/v1/x/../models",
        "/v1//models",
        "/v1%2fmodels",
        "/v1/models%00",
        "/openapi.json/",
        "/livez/x",
        "/v1/responses/",
        "/v1/responses/resp_1/",
        "/v1/responses/resp_1/cancel/",
        "/v1/responses/resp_1/Input_items",
        "/v1/portunus/approvals/",
        "/v1/portunus/approvals/mcpr_1/",
    ] {
        let answer = gateway.call(ADMIN, "GET", path, None).await;
        assert_eq!(answer.status, 404, "{path}");
        both_shapes(&answer);
    }
    for path in [
        "/v1/logs/..%2f..%2fx",
        "/v1/logs/%00",
        "/v1/logs/log-1%20",
        "/v1/virtual-keys/%2e%2e",
        "/v1/virtual-keys/demo%2f..",
        "/v1/virtual-keys/DEMO",
    ] {
        let answer = gateway.call(&logs_scope, "GET", path, None).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    let caller = gateway.caller().await;
    for path in [
        "/v1/responses/%2e%2e",
        "/v1/responses/resp_1%00",
        "/v1/responses//input_items",
        "/v1/responses/resp_1%2finput_items",
        "/v1/responses/..%2fmodels/input_items",
    ] {
        let answer = gateway.call(&caller, "GET", path, None).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        both_shapes(&answer);
    }
    // Not UTF-8 once decoded.
    let answer = gateway.call(&logs_scope, "GET", "/v1/logs/%ff", None).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    marked(&answer);
}

#[tokio::test]
async fn a_body_without_length_is_bounded_too() {
    let gateway = Gateway::with(|settings| settings.limits.body_bytes = 100).await;
    let key = gateway.caller().await;
    let pieces = futures_util::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>("0123456789")));
    let request = Request::post("/v1/responses")
        .header("x-portkey-api-key", key)
        .header("content-type", "application/json")
        .body(Body::from_stream(pieces))
        .unwrap();
    let answer = gateway.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let gateway = Gateway::with(|settings| settings.limits.body_timeout_ms = 20).await;
    let key = gateway.caller().await;
    let never = futures_util::stream::pending::<Result<&[u8], std::io::Error>>();
    let request = Request::post("/v1/responses")
        .header("x-portkey-api-key", key)
        .header("content-type", "application/json")
        .body(Body::from_stream(never))
        .unwrap();
    let answer = gateway.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn readyz_says_when_the_process_ends() {
    let gateway = Gateway::new().await;
    assert_eq!(gateway.send("GET", "/readyz", &[], None).await.status, 200);
    gateway.app.life.draining.cancel();
    let answer = gateway.send("GET", "/readyz", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["status"]),
        (503, &json!("draining"))
    );
    assert_eq!(gateway.send("GET", "/livez", &[], None).await.status, 200);
}

#[tokio::test]
async fn metrics_are_for_the_admin_when_others_can_reach_them() {
    let gateway = Gateway::with(|settings: &mut Settings| {
        settings.listen = "0.0.0.0:8787".parse().unwrap();
        settings.insecure_bind = true;
    })
    .await;
    assert_eq!(gateway.send("GET", "/metrics", &[], None).await.status, 401);
    assert_eq!(gateway.admin("GET", "/metrics", None).await.status, 200);
}

#[tokio::test]
async fn metrics_leave_the_api_when_they_have_a_listener_of_their_own() {
    let address = Some("127.0.0.1:0".parse().unwrap());
    let gateway = Gateway::with(|settings| settings.metrics.listen = address).await;
    assert_eq!(gateway.admin("GET", "/metrics", None).await.status, 404);
    for path in ["/metrics", "/livez", "/readyz"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router::probes(&gateway.app).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_known_caller_finds_its_refused_requests_in_the_log() {
    let gateway = Gateway::with(|settings| settings.limits.body_bytes = 100).await;
    let (key, none) = (gateway.caller().await, gateway.key(&["logs.list"]).await);
    let path = "/v1/responses";
    let long = json!({"input": "x".repeat(200)});
    let mut ids = Vec::new();
    for (key, body, status) in [
        (&key, None, 415),
        (&key, Some(&long), 413),
        (&none, Some(&long), 403),
        (&ADMIN.to_owned(), Some(&long), 401),
    ] {
        let answer = gateway.call(key, "POST", path, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status != 401 {
            ids.push((status, answer.headers["x-request-id"].clone()));
        }
    }
    gateway.app.log.flush().await;
    let list = gateway.admin("GET", "/v1/logs", None).await.json();
    let rows = list["data"].as_array().unwrap();
    assert_eq!(rows.len(), ids.len(), "{rows:?}");
    for (row, (status, id)) in rows.iter().rev().zip(&ids) {
        assert_eq!(row["response_status_code"], *status);
        assert_eq!(row["request_id"], id.to_str().unwrap());
        assert_eq!(row["outcome"], "refused");
        assert_eq!(row["error_source"], "client");
        assert!(!row["api_key_id"].is_null() && !row["error_message"].is_null());
    }
}

#[tokio::test]
async fn the_end_of_the_app_closes_log_and_database() {
    let gateway = Gateway::new().await;
    let key = gateway.caller().await;
    gateway.call(&key, "POST", "/v1/responses", None).await;
    gateway.app.close().await;
    let counts = gateway.app.log.counts();
    assert_eq!((counts.sent, counts.stored, counts.queued), (1, 1, 0));
    assert!(gateway.app.store.ping().await.is_err());
    assert!(gateway.app.tasks.is_empty());
}
