use super::*;
use http::HeaderValue;
use serde_json::json;
use std::time::Duration;

fn of(status: u16, body: &Value) -> Failure {
    classify(
        "acme",
        status,
        &HeaderMap::new(),
        body.to_string().as_bytes(),
    )
}

/// (status, body) → (kind, status for the caller, retry, code, a part of the message)
type Case = (
    u16,
    Value,
    FailureKind,
    u16,
    bool,
    &'static str,
    &'static str,
);

fn check(cases: Vec<Case>) {
    for (status, body, kind, ours, retry, code, message) in cases {
        let failure = of(status, &body);
        let got = (failure.kind, failure.status, failure.retry);
        assert_eq!(got, (kind, ours, retry), "{status} {body}");
        assert_eq!(
            failure.body.code.as_deref().unwrap_or(""),
            code,
            "{status} {body}"
        );
        assert!(
            failure.body.message.contains(message),
            "{}",
            failure.body.message
        );
        assert_eq!(failure.upstream_status, Some(status));
    }
}

#[test]
fn faults_of_the_request() {
    use FailureKind::{BadRequest, ContentFilter, NotFound, Permission};
    check(vec![
        (
            400,
            json!({"error": {"message": "Unsupported parameter: 'max_tokens'", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}}),
            BadRequest,
            400,
            false,
            "unsupported_parameter",
            "max_tokens",
        ),
        (
            400,
            json!({"error": {"code": 400, "message": "request (6048 tokens) exceeds the available context size", "type": "exceed_context_size_error"}}),
            BadRequest,
            400,
            false,
            "context_length_exceeded",
            "6048",
        ),
        (
            400,
            json!({"error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}}),
            BadRequest,
            400,
            false,
            "context_length_exceeded",
            "8192",
        ),
        (
            422,
            json!({"object": "error", "message": {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}),
            BadRequest,
            400,
            false,
            "",
            "stream_options: Extra inputs",
        ),
        (
            422,
            json!({"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}),
            BadRequest,
            400,
            false,
            "",
            "model: Field required",
        ),
        (
            422,
            json!({"object": "error", "message": "{\"detail\":[{\"loc\":[\"body\",\"n\"],\"msg\":\"no\"}]}", "code": "1000"}),
            BadRequest,
            400,
            false,
            "",
            "n: no",
        ),
        (
            400,
            json!({"message": "invalid request: too short"}),
            BadRequest,
            400,
            false,
            "",
            "too short",
        ),
        (
            400,
            json!([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}]),
            BadRequest,
            400,
            false,
            "",
            "bad",
        ),
        (
            413,
            json!({"error": {"message": "too large"}}),
            BadRequest,
            413,
            false,
            "",
            "too large",
        ),
        (
            500,
            json!({"error": {"code": 500, "message": "image input is not supported - hint", "type": "server_error"}}),
            BadRequest,
            400,
            false,
            "",
            "image",
        ),
        (
            400,
            json!({"error": {"message": "filtered", "code": "content_filter", "param": "prompt"}}),
            ContentFilter,
            400,
            false,
            "content_filter",
            "filtered",
        ),
        (
            404,
            json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}),
            NotFound,
            404,
            false,
            "model_not_found",
            "`x`",
        ),
        (
            404,
            json!({"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}}),
            NotFound,
            404,
            false,
            "model_not_found",
            "deployment",
        ),
        (
            404,
            json!({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}),
            NotFound,
            404,
            false,
            "not_found",
            "File",
        ),
        (
            403,
            json!({"error": {"message": "Country, region, or territory not supported", "type": "request_forbidden", "code": "unsupported_country_region_territory"}}),
            Permission,
            403,
            false,
            "permission_denied",
            "Country",
        ),
    ]);
}

#[test]
fn faults_of_the_credential_are_not_the_callers() {
    use FailureKind::{Auth, Quota};
    check(vec![
        (
            401,
            json!({"error": {"message": "Incorrect API key provided: sk-abcdefgh12345678.", "code": "invalid_api_key"}}),
            Auth,
            502,
            false,
            "provider_auth_error",
            "'acme' rejected",
        ),
        (
            401,
            json!({"detail": "Invalid authentication"}),
            Auth,
            502,
            false,
            "provider_auth_error",
            "Invalid authentication",
        ),
        (
            403,
            json!({"errors": [{"code": 10000, "message": "Authentication error"}], "success": false}),
            Auth,
            502,
            false,
            "provider_auth_error",
            "HTTP 403",
        ),
        (
            400,
            json!({"error": {"message": "API key not valid", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}),
            Auth,
            502,
            false,
            "provider_auth_error",
            "API key not valid",
        ),
        (
            429,
            json!({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
            Quota,
            429,
            false,
            "insufficient_quota",
            "quota",
        ),
        (
            402,
            json!({"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),
            Quota,
            429,
            false,
            "insufficient_quota",
            "Balance",
        ),
        (
            200,
            json!({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
            Quota,
            429,
            false,
            "insufficient_quota",
            "balance",
        ),
    ]);
    let failure = of(
        401,
        &json!({"error": {"message": "wrong key sk-abcdefgh12345678"}}),
    );
    assert_eq!(failure.source, Source::Gateway);
    assert!(!failure.body.message.contains("abcdefgh"), "{failure}");
}

#[test]
fn faults_of_the_provider() {
    use FailureKind::{BadAnswer, Overloaded, RateLimit, Server, Timeout};
    check(vec![
        (
            429,
            json!({"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "m is temporarily rate-limited upstream"}}}),
            RateLimit,
            429,
            true,
            "rate_limit_exceeded",
            "rate-limited upstream",
        ),
        (
            429,
            json!({"error": {"message": "x", "metadata": {"raw": "{\"error\":{\"message\":\"inner cause\"}}"}}}),
            RateLimit,
            429,
            true,
            "rate_limit_exceeded",
            "inner cause",
        ),
        (
            429,
            json!({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}),
            RateLimit,
            429,
            true,
            "rate_limit_exceeded",
            "limit exceeded",
        ),
        (
            503,
            json!({"error": "Model is currently loading", "estimated_time": 20.0}),
            Overloaded,
            503,
            true,
            "overloaded",
            "loading",
        ),
        (
            529,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Overloaded,
            503,
            true,
            "overloaded",
            "Overloaded",
        ),
        (
            503,
            Value::Null,
            Overloaded,
            503,
            true,
            "overloaded",
            "no message",
        ),
        (
            500,
            json!({"error": {"message": "boom"}}),
            Server,
            502,
            true,
            "server_error",
            "boom",
        ),
        (
            424,
            json!({"message": "model error"}),
            Server,
            502,
            true,
            "server_error",
            "model error",
        ),
        (
            520,
            json!({}),
            Server,
            502,
            true,
            "server_error",
            "HTTP 520",
        ),
        (
            504,
            json!({"error": {"message": "slow"}}),
            Timeout,
            504,
            true,
            "timeout",
            "slow",
        ),
        (
            408,
            json!({"error": {"message": "slow"}}),
            Timeout,
            503,
            true,
            "timeout",
            "slow",
        ),
        (
            302,
            json!({}),
            BadAnswer,
            502,
            false,
            "server_error",
            "HTTP 302",
        ),
        (
            400,
            json!({"error": {"message": "Tool call validation failed", "code": "tool_use_failed"}}),
            BadAnswer,
            502,
            true,
            "tool_use_failed",
            "validation",
        ),
        (
            200,
            json!({"error": {"code": 500, "message": "late"}}),
            Server,
            502,
            true,
            "server_error",
            "late",
        ),
    ]);
}

#[test]
fn pages_and_plain_text_are_stripped_and_cut() {
    let page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
    let failure = classify("acme", 502, &HeaderMap::new(), page);
    assert_eq!(failure.body.message, "502 Bad Gateway");
    let failure = classify(
        "acme",
        500,
        &HeaderMap::new(),
        b"<p>Internal <b>Server</b>\n Error</p>",
    );
    assert_eq!(failure.body.message, "Internal Server Error");
    let long = "x ".repeat(4000);
    let failure = classify("acme", 500, &HeaderMap::new(), long.as_bytes());
    assert_eq!(failure.body.message.chars().count(), 500);
    let failure = classify("acme", 500, &HeaderMap::new(), &[0xff, 0xfe]);
    assert_eq!(failure.kind, FailureKind::Server);
}

#[test]
fn the_wait_is_taken_from_the_first_place_that_names_it() {
    let wait = |headers: &[(&'static str, &str)], body: &str| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        classify("acme", 429, &map, body.as_bytes())
            .retry_after
            .map(|wait| wait.as_millis())
    };
    let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(
        wait(&[("retry-after", "1"), ("retry-after-ms", "174")], ""),
        Some(174)
    );
    assert_eq!(wait(&[("retry-after", "2")], ""), Some(2000));
    assert_eq!(wait(&[("retry-after", "0.5")], ""), Some(500));
    assert_eq!(
        wait(&[now, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], ""),
        Some(60_000)
    );
    assert_eq!(
        wait(&[now, ("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT")], ""),
        None
    );
    assert_eq!(
        wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], ""),
        None
    );
    assert_eq!(wait(&[("retry-after", "-5")], ""), None);
    assert_eq!(wait(&[("retry-after", "1e400")], ""), None);
    let resets = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-remaining-tokens", "12"),
        ("x-ratelimit-reset-tokens", "1h"),
    ];
    assert_eq!(wait(&resets, ""), Some(360_000));
    let anthropic = [
        now,
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:47Z"),
    ];
    assert_eq!(wait(&anthropic, ""), Some(10_000));
    let google = r#"{"error":{"message":"x","details":[{"retryDelay":"34.4s"}]}}"#;
    assert_eq!(wait(&[], google), Some(34_400));
    let told = |text: &str| wait(&[], &json!({"error": {"message": text}}).to_string());
    assert_eq!(told("Please try again in 174ms. Visit"), Some(174));
    assert_eq!(told("Try again in 1m2.5s."), Some(62_500));
    assert_eq!(told("please retry after 20 seconds."), Some(20_000));
    assert_eq!(told("try again in a while"), None);
    assert_eq!(told("try again in "), None);
}

#[test]
fn x_should_retry_wins() {
    let with = |value: &'static str, status| {
        let mut headers = HeaderMap::new();
        headers.insert("x-should-retry", HeaderValue::from_static(value));
        classify("acme", status, &headers, b"{}").retry
    };
    assert!(with("true", 400));
    assert!(!with("false", 500));
    assert!(with("maybe", 500));
}

#[test]
fn errors_inside_a_stream_are_told_from_chunks() {
    for chunk in [
        json!({"choices": [], "error": null}),
        json!({"id": "x", "choices": [{"delta": {"content": "hi"}}], "code": 1, "message": "m"}),
        json!({"base_resp": {"status_code": 0, "status_msg": ""}}),
    ] {
        assert!(inside("acme", &chunk).is_none(), "{chunk}");
    }
    let failure = inside(
        "acme",
        &json!({"choices": [], "error": {"code": 429, "message": "slow down"}}),
    )
    .unwrap();
    assert_eq!(
        (failure.kind, failure.upstream_status),
        (FailureKind::RateLimit, None)
    );
    let failure = inside(
        "acme",
        &json!({"type": "error", "code": "rate_limit_exceeded", "message": "m"}),
    )
    .unwrap();
    assert_eq!(failure.kind, FailureKind::RateLimit);
    assert_eq!(
        failure.upstream_code.as_deref(),
        Some("rate_limit_exceeded")
    );
    let failure = inside("acme", &json!({"error": "overloaded"})).unwrap();
    assert_eq!((failure.kind, failure.status), (FailureKind::Server, 502));
}

proptest::proptest! {
    #[test]
    fn no_body_panics(status in 200u16..600, body in "\\PC{0,80}") {
        let failure = classify("acme", status, &HeaderMap::new(), body.as_bytes());
        proptest::prop_assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::MAX));
    }
}
