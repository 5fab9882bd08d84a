use super::*;
use portunus_protocol::error::ErrorBody;
use portunus_providers::{Failure, FailureKind, Source};

fn failed(status: u16, retry_after: Option<u64>) -> Error {
    Error::Provider(Box::new(Failure {
        kind: FailureKind::Server,
        source: Source::Upstream,
        retry: true,
        retry_after: retry_after.map(Duration::from_secs),
        status,
        body: ErrorBody::new("server_error", "x"),
        upstream_status: Some(status),
        upstream_code: None,
    }))
}

#[test]
fn how_long_to_wait() {
    let retry = Retry {
        attempts: 2,
        ..Retry::default()
    };
    let ms = |error: &Error, tried, random| {
        wait(error, &retry, tried, false, random).map(|wait| wait.as_millis())
    };
    assert_eq!(ms(&failed(503, None), 0, 0.0), Some(500));
    assert_eq!(ms(&failed(503, None), 1, 0.5), Some(1_500));
    assert_eq!(ms(&failed(503, None), 2, 0.0), None);
    assert_eq!(ms(&failed(400, None), 0, 0.0), None);
    // What the provider asks for is the least, and too long a wait is none.
    assert_eq!(ms(&failed(429, Some(3)), 0, 0.0), Some(3_000));
    assert_eq!(ms(&failed(429, Some(3)), 0, 0.5), Some(3_150));
    assert_eq!(ms(&failed(429, Some(90)), 0, 0.0), None);
}

#[test]
fn a_call_that_may_have_run_a_tool_is_not_repeated() {
    let retry = Retry {
        attempts: 2,
        ..Retry::default()
    };
    let again = |error: &Error| wait(error, &retry, 0, true, 0.0).is_some();
    assert!(!again(&failed(503, None)));
    assert!(again(&failed(429, None)));
}

#[test]
fn a_forwarded_header_replaces_none_of_the_virtual_keys() {
    let map = |fields: &[(&'static str, &str)]| -> HeaderMap {
        let pairs = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    };
    let mut headers = map(&[("openai-project", "ours")]);
    forward(
        &mut headers,
        &map(&[("openai-project", "theirs"), ("x-mine", "1")]),
    );
    assert_eq!(headers, map(&[("openai-project", "ours"), ("x-mine", "1")]));
}
