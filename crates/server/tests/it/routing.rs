//! Routing configs: fallback, retries and their bounds, against a provider that fails as told.

use crate::harness::{Answer, Gateway};
use crate::mcp::{Mcp, RESULT};
use crate::trip::{events, only, text};
use portunus_testkit::FakeProvider;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

pub(crate) struct Bed {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) fake: FakeProvider,
    pub(crate) mcp: Mcp,
    pub(crate) key: String,
}

impl Bed {
    /// Virtual keys `native` and `chat` reach the fake provider; nothing listens behind `dead`.
    pub(crate) async fn new() -> Self {
        let fake = FakeProvider::start().await.unwrap();
        let mcp = Mcp::start().await;
        let gateway = Gateway::with(|settings| {
            settings.providers.allow = vec![fake.address().to_string(), "127.0.0.1:9".to_owned()];
            settings.mcp.allow = vec![mcp.host()];
        })
        .await;
        for (slug, provider, host) in [
            ("native", "openai", fake.base_url()),
            ("chat", "groq", fake.base_url()),
            ("dead", "openai", "http://127.0.0.1:9/v1".to_owned()),
        ] {
            let body = json!({"name": slug, "slug": slug, "provider": provider, "key": "sk-x",
                "custom_host": host});
            let made = gateway.admin("POST", "/v1/virtual-keys", Some(&body)).await;
            assert_eq!(made.status, 200, "{}", made.text);
        }
        let key = gateway.caller().await;
        Self {
            gateway: Arc::new(gateway),
            fake,
            mcp,
            key,
        }
    }

    pub(crate) async fn post(&self, config: &Value, body: &Value) -> Answer {
        post(&self.gateway, &self.key, config, body).await
    }

    /// The models that the provider was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.fake.journal().requests();
        let models = requests.iter().filter_map(|r| r.body["model"].as_str());
        models.map(str::to_owned).collect()
    }
}

pub(crate) async fn post(gateway: &Gateway, key: &str, config: &Value, body: &Value) -> Answer {
    let headers = [
        ("x-portkey-api-key", key),
        ("x-portkey-config", &config.to_string()),
    ];
    gateway
        .send("POST", "/v1/responses", &headers, Some(body))
        .await
}

/// A target with a virtual key and a model, which says how it fails.
pub(crate) fn target(slug: &str, model: &str) -> Value {
    json!({"virtual_key": slug, "override_params": {"model": model}})
}

pub(crate) fn fallback(targets: &[Value]) -> Value {
    json!({"strategy": {"mode": "fallback"}, "targets": targets})
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_third_target_answers_when_two_fail() {
    let bed = Bed::new().await;
    let config = fallback(&[
        target("native", "fail-500"),
        target("dead", "m"),
        target("native", "good"),
    ]);
    for stream in [false, true] {
        let body = json!({"model": "asked", "input": "Hello", "stream": stream});
        let answer = bed.post(&config, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.contains("You said: Hello"), "{}", answer.text);
        let index = header(&answer, "x-portkey-last-used-option-index");
        assert_eq!(index, "config.targets[2]");
        assert_eq!(header(&answer, "x-portkey-provider"), "openai");
        assert_eq!(header(&answer, "x-portkey-retry-attempt-count"), "0");
    }
    assert_eq!(bed.asked(), ["fail-500", "good", "fail-500", "good"]);
}

#[tokio::test]
async fn a_chain_may_mix_dialects_and_skips_what_the_gateway_refuses() {
    let bed = Bed::new().await;
    let inner = fallback(&[target("chat", "rate-limit"), target("chat", "good")]);
    let config = fallback(&[target("nobody", "m"), target("native", "fail-503"), inner]);
    for stream in [false, true] {
        let body = json!({"model": "asked", "input": "Hello", "stream": stream});
        let answer = bed.post(&config, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.contains("You said: Hello"), "{}", answer.text);
        let index = header(&answer, "x-portkey-last-used-option-index");
        assert_eq!(index, "config.targets[2].targets[1]");
        assert_eq!(header(&answer, "x-portkey-provider"), "groq");
    }
    assert_eq!(bed.asked()[..3], ["fail-503", "rate-limit", "good"]);
}

#[tokio::test]
async fn statuses_that_are_not_listed_end_the_chain() {
    let bed = Bed::new().await;
    let mut config = fallback(&[target("native", "fail-500"), target("native", "good")]);
    config["strategy"]["on_status_codes"] = json!([429]);
    let body = json!({"model": "asked", "input": "Hello"});
    let answer = bed.post(&config, &body).await;
    assert!(answer.status.is_server_error(), "{}", answer.text);
    assert!(!answer.text.contains("All targets"), "{}", answer.text);
    assert_eq!(bed.asked(), ["fail-500"]);
}

#[tokio::test]
async fn retries_come_before_the_next_target_and_are_counted() {
    let bed = Bed::new().await;
    let mut first = target("native", "rate-limit");
    first["retry"] = json!({"attempts": 2});
    let config = fallback(&[first, target("native", "good")]);
    let body = json!({"model": "asked", "input": "Hello"});
    let answer = bed.post(&config, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(header(&answer, "x-portkey-retry-attempt-count"), "0");
    assert_eq!(
        bed.asked(),
        ["rate-limit", "rate-limit", "rate-limit", "good"]
    );

    let alone = json!({"virtual_key": "native", "retry": {"attempts": 1}});
    let answer = bed
        .post(&alone, &json!({"model": "rate-limit", "input": "x"}))
        .await;
    assert_eq!(answer.status, 429);
    assert_eq!(header(&answer, "x-portkey-retry-attempt-count"), "-1");
}

#[tokio::test]
async fn all_that_fail_are_listed() {
    let bed = Bed::new().await;
    let config = fallback(&[
        target("nobody", "m"),
        target("native", "fail-500"),
        target("native", "rate-limit"),
    ]);
    let answer = bed
        .post(&config, &json!({"model": "asked", "input": "x"}))
        .await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    for part in [
        "config.targets[0] ('nobody'): not called after 0 ms",
        "config.targets[1] ('native'): 500 after ",
        "config.targets[2] ('native'): 429 after ",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test]
async fn nothing_is_tried_again_once_output_is_out() {
    let bed = Bed::new().await;
    for slug in ["native", "chat"] {
        bed.fake.journal().clear();
        let mut first = target(slug, "cut");
        first["retry"] = json!({"attempts": 3});
        let config = fallback(&[first, target(slug, "good")]);
        let body = json!({"model": "asked", "input": "Hello", "stream": true});
        let answer = bed.post(&config, &body).await;
        assert_eq!(answer.status, 200);
        let last = events(&answer).pop().unwrap();
        assert_eq!(last["type"], "response.failed", "{slug}");
        assert_eq!(bed.asked(), ["cut"], "{slug}");
    }
}

#[tokio::test]
async fn a_tool_result_is_used_again_by_the_next_target() {
    let bed = Bed::new().await;
    let server = json!({"type": "mcp", "server_label": "manual", "server_url": bed.mcp.url("/mcp"),
        "require_approval": "never"});
    let prompt = r#"[call search_docs {"query": "tokens"}]"#;
    let config = fallback(&[
        target("chat", "fail-503-after-tool"),
        target("native", "good"),
    ]);
    let body = json!({"model": "asked", "input": prompt, "tools": [server]});
    let answer = bed.post(&config, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let response = answer.json();
    assert_eq!(only(&response, "mcp_call")["output"], RESULT);
    assert!(text(&response).contains(RESULT), "{response:#}");
    assert_eq!(bed.mcp.calls().len(), 1);
    let index = header(&answer, "x-portkey-last-used-option-index");
    assert_eq!(index, "config.targets[1]");
    let failing = "fail-503-after-tool";
    assert_eq!(bed.asked(), [failing, failing, "good"]);
}

#[tokio::test]
async fn a_storm_of_retries_is_bounded() {
    const REQUESTS: usize = 60;
    let bed = Bed::new().await;
    let config = json!({"virtual_key": "native", "retry": {"attempts": 1}});
    let body = json!({"model": "fail-503", "input": "x"});
    let mut calls = JoinSet::new();
    for _ in 0..REQUESTS {
        let (gateway, key) = (Arc::clone(&bed.gateway), bed.key.clone());
        let (config, body) = (config.clone(), body.clone());
        calls.spawn(async move { post(&gateway, &key, &config, &body).await.status });
    }
    while let Some(status) = calls.join_next().await {
        assert!(status.unwrap().is_server_error());
    }
    let sent = bed.asked().len();
    assert!(sent > REQUESTS, "no retry at all");
    assert!(sent <= REQUESTS + REQUESTS / 5 + 3, "{sent} attempts");
}
