//! The tables: provider's status | kind | our status | retry | code | part of the message |
//! body.

use super::*;
use http::HeaderValue;
use serde_json::json;
use std::time::Duration;

fn of(status: u16, body: &str) -> Failure {
    classify("acme", status, &HeaderMap::new(), body.as_bytes())
}

fn check(table: &str) {
    for line in table.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<_> = line.splitn(7, " | ").collect();
        let [status, kind, ours, retry, code, message, body] = fields.as_slice() else {
            panic!("not seven fields: {line}")
        };
        let status = status.parse().unwrap();
        let failure = of(status, body);
        let got = format!(
            "{:?} | {} | {} | {}",
            failure.kind,
            failure.status,
            if failure.retry { "yes" } else { "no" },
            failure.body.code.as_deref().unwrap_or("-")
        );
        assert_eq!(got, [*kind, *ours, *retry, *code].join(" | "), "{line}");
        assert!(failure.body.message.contains(message), "{line}: {failure}");
        assert_eq!(failure.upstream_status, Some(status));
    }
}

#[test]
fn faults_of_the_request() {
    check(
        r#"
400 | BadRequest | 400 | no | unsupported_parameter | max_tokens | {"error":{"message":"Unsupported parameter: 'max_tokens'","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}
400 | BadRequest | 400 | no | context_length_exceeded | 6048 | {"error":{"code":400,"message":"request (6048 tokens) exceeds the available context size","type":"exceed_context_size_error"}}
400 | BadRequest | 400 | no | context_length_exceeded | 8192 | {"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}
422 | BadRequest | 400 | no | - | stream_options: Extra inputs | {"object":"error","message":{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error"}
422 | BadRequest | 400 | no | - | model: Field required | {"detail":[{"loc":["body","model"],"msg":"Field required"}]}
422 | BadRequest | 400 | no | - | n: no | {"object":"error","message":"{\"detail\":[{\"loc\":[\"body\",\"n\"],\"msg\":\"no\"}]}","code":"1000"}
400 | BadRequest | 400 | no | - | too short | {"message":"invalid request: too short"}
400 | BadRequest | 400 | no | - | bad | [{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]
413 | BadRequest | 413 | no | - | too large | {"error":{"message":"too large"}}
500 | BadRequest | 400 | no | - | image | {"error":{"code":500,"message":"image input is not supported - hint","type":"server_error"}}
400 | ContentFilter | 400 | no | content_filter | filtered | {"error":{"message":"filtered","code":"content_filter","param":"prompt"}}
404 | NotFound | 404 | no | model_not_found | `x` | {"error":{"message":"The model `x` does not exist","code":"model_not_found"}}
404 | NotFound | 404 | no | model_not_found | deployment | {"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist"}}
404 | NotFound | 404 | no | not_found | File | {"error":{"message":"File Not Found","type":"not_found_error","code":404}}
403 | Permission | 403 | no | permission_denied | Country | {"error":{"message":"Country, region, or territory not supported","type":"request_forbidden","code":"unsupported_country_region_territory"}}
"#,
    );
    let failure = of(400, r#"{"error":{"message":"m","param":"top_p"}}"#);
    assert_eq!(failure.source, Source::Client);
    assert_eq!(failure.body.param.as_deref(), Some("top_p"));
}

#[test]
fn faults_of_the_credential_are_not_the_callers() {
    check(
        r#"
401 | Auth | 502 | no | provider_auth_error | 'acme' rejected | {"error":{"message":"Incorrect API key provided: sk-abcdefgh12345678.","code":"invalid_api_key"}}
401 | Auth | 502 | no | provider_auth_error | Invalid authentication | {"detail":"Invalid authentication"}
403 | Auth | 502 | no | provider_auth_error | HTTP 403 | {"errors":[{"code":10000,"message":"Authentication error"}],"success":false}
400 | Auth | 502 | no | provider_auth_error | API key not valid | {"error":{"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}
429 | Quota | 429 | no | insufficient_quota | quota | {"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}
402 | Quota | 429 | no | insufficient_quota | Balance | {"error":{"message":"Insufficient Balance","code":"invalid_request_error"}}
200 | Quota | 429 | no | insufficient_quota | balance | {"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}
"#,
    );
    let failure = of(
        401,
        r#"{"error":{"message":"wrong key sk-abcdefgh12345678"}}"#,
    );
    assert_eq!(failure.source, Source::Gateway);
    assert!(!failure.body.message.contains("abcdefgh"), "{failure}");
}

#[test]
fn faults_of_the_provider() {
    check(
        r#"
429 | RateLimit | 429 | yes | rate_limit_exceeded | limited upstream | {"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"m is temporarily rate-limited upstream"}}}
429 | RateLimit | 429 | yes | rate_limit_exceeded | inner cause | {"error":{"message":"x","metadata":{"raw":"{\"error\":{\"message\":\"inner cause\"}}"}}}
429 | RateLimit | 429 | yes | rate_limit_exceeded | limit exceeded | {"code":"Throttling.RateQuota","message":"Requests rate limit exceeded"}
503 | Overloaded | 503 | yes | overloaded | loading | {"error":"Model is currently loading","estimated_time":20.0}
529 | Overloaded | 503 | yes | overloaded | Overloaded | {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}
503 | Overloaded | 503 | yes | overloaded | no message | null
500 | Server | 502 | yes | server_error | boom | {"error":{"message":"boom"}}
424 | Server | 502 | yes | server_error | model error | {"message":"model error"}
520 | Server | 502 | yes | server_error | HTTP 520 | {}
504 | Timeout | 504 | yes | timeout | slow | {"error":{"message":"slow"}}
408 | Timeout | 503 | yes | timeout | slow | {"error":{"message":"slow"}}
302 | BadAnswer | 502 | no | server_error | HTTP 302 | {}
400 | BadAnswer | 502 | yes | tool_use_failed | validation | {"error":{"message":"Tool call validation failed","code":"tool_use_failed"}}
200 | Server | 502 | yes | server_error | late | {"error":{"code":500,"message":"late"}}
"#,
    );
    let failure = of(500, "{}");
    assert_eq!(failure.source, Source::Upstream);
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
