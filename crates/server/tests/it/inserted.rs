//! Calls that others have made, told to the request log.

use crate::harness::Gateway;
use portunus::settings::PayloadLevel;
use serde_json::{Value, json};

const SECRET: &str = "hush-header-canary-01";

fn call() -> Value {
    json!({
        "request": {
            "url": "https://me:hush@api.openai.com/v1/responses?key=hush", "method": "post",
            "headers": {"Authorization": "Bearer sk-proj-hush-canary-0123456789", "x-team": "a"},
            "body": {
                "model": "gpt-4.1", "input": "what is new", "myField": {"innerField": 1},
                "tools": [{"type": "mcp", "server_label": "s", "server_url": "https://mcp.example/hush/path",
                           "headers": {"x-token": SECRET}}],
            },
        },
        "response": {
            "status": 200, "headers": {"x-a": "b"}, "response_time": 17,
            "body": {
                "model": "gpt-4.1-2025-04-14", "output": [{"text": format!("you sent {SECRET}")}],
                "usage": {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100},
            },
        },
        "metadata": {"traceId": "trace-1", "span_name": "step", "team": "blue"},
    })
}

async fn insert(gateway: &Gateway, body: &Value) -> Vec<String> {
    let answer = gateway.admin("POST", "/v1/logs", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_value(answer.json()["data"]["ids"].clone()).unwrap()
}

#[tokio::test]
async fn an_inserted_call_is_redacted_priced_and_marked() {
    let gateway = Gateway::new().await;
    let ids = insert(&gateway, &call()).await;
    let answer = gateway
        .admin("GET", &format!("/v1/logs/{}", ids[0]), None)
        .await;
    let row = answer.json();
    assert!(!answer.text.contains("hush"), "{}", answer.text);
    for (field, value) in [
        ("source", json!("inserted")),
        ("trace_id", json!("trace-1")),
        ("span_name", json!("step")),
        ("metadata", json!({"team": "blue"})),
        ("ai_org", json!("openai")),
        ("ai_model", json!("gpt-4.1-2025-04-14")),
        ("request_url", json!("https://api.openai.com/v1/responses")),
        ("request_method", json!("POST")),
        ("response_time", json!(17)),
        ("is_success", json!(true)),
        ("preview", json!("what is new")),
        // 1000 at 2 and 100 at 8 dollars per million.
        ("cost_picodollars", json!(2_800_000_000_i64)),
    ] {
        assert_eq!(row[field], value, "{field}: {row}");
    }
    assert_eq!(row["request"]["body"]["myField"]["innerField"], 1);
}

#[tokio::test]
async fn a_list_is_stored_whole_or_not_at_all() {
    let gateway = Gateway::new().await;
    let mut unknown = call();
    unknown["request"]["body"]["model"] = json!("nobody-knows");
    unknown["response"]["body"] = json!({"usage": {"input_tokens": 1}});
    unknown["response"]["status"] = json!(500);
    let ids = insert(&gateway, &json!([call(), unknown])).await;
    let row = gateway
        .admin("GET", &format!("/v1/logs/{}", ids[1]), None)
        .await
        .json();
    assert_eq!(
        (&row["cost"], &row["outcome"]),
        (&json!(null), &json!("failed"))
    );
    let mut bad = call();
    bad["request"]["url"] = json!("no url");
    let answer = gateway
        .admin("POST", "/v1/logs", Some(&json!([call(), bad])))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.param().as_str()),
        (400, "[1].request.url")
    );
    let list = gateway.admin("GET", "/v1/logs", None).await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn below_redacted_no_text_is_kept() {
    let gateway = Gateway::with(|settings| settings.log.payload = PayloadLevel::None).await;
    let ids = insert(&gateway, &call()).await;
    let row = gateway
        .admin("GET", &format!("/v1/logs/{}", ids[0]), None)
        .await
        .json();
    assert_eq!(row["request"]["body"], json!(null));
    assert_eq!(
        (&row["preview"], &row["metadata"]),
        (&json!(null), &json!({}))
    );
    assert_eq!(row["total_units"], 1100);
}

#[tokio::test]
async fn the_key_that_inserts_is_in_the_row() {
    let gateway = Gateway::new().await;
    let key = gateway.key(&["logs.write"]).await;
    let answer = gateway.call(&key, "POST", "/v1/logs", Some(&call())).await;
    let id = answer.json()["data"]["ids"][0].as_str().unwrap().to_owned();
    let row = gateway
        .admin("GET", &format!("/v1/logs/{id}"), None)
        .await
        .json();
    assert_eq!(row["api_key_name"], "test");
}
