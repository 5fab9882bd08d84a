//! `custom_host` and forwarded headers of configs and callers.

use crate::harness::Answer;
use crate::routing::{Bed, fallback, header, target};
use serde_json::{Value, json};

const OWN_KEY: &str = "Bearer sk-of-the-caller-0123456789";

async fn ask(bed: &Bed, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("x-portkey-api-key", bed.key.as_str())];
    headers.extend(more);
    let body = json!({"model": "good", "input": "Hello"});
    let sent = bed
        .gateway
        .send("POST", "/v1/responses", &headers, Some(&body));
    sent.await
}

#[tokio::test]
async fn the_callers_own_key_goes_where_the_caller_says() {
    let bed = Bed::new().await;
    let host = bed.fake.base_url();
    let own = [("authorization", OWN_KEY), ("x-portkey-provider", "openai")];
    let by_header = [own[0], own[1], ("x-portkey-custom-host", &host)];
    let config = json!({"custom_host": host}).to_string();
    let by_config = [own[0], own[1], ("x-portkey-config", &config)];
    for headers in [by_header, by_config] {
        let answer = ask(&bed, &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for request in bed.fake.journal().requests() {
        assert_eq!(request.headers["authorization"], OWN_KEY);
    }
}

#[tokio::test]
async fn the_header_beats_the_host_of_every_target() {
    let bed = Bed::new().await;
    let host = bed.fake.base_url();
    let config = fallback(&[
        json!({"custom_host": "https://nobody.example/v1"}),
        json!({}),
    ])
    .to_string();
    let headers = [
        ("authorization", OWN_KEY),
        ("x-portkey-provider", "openai"),
        ("x-portkey-config", &config),
        ("x-portkey-custom-host", &host),
    ];
    let answer = ask(&bed, &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        header(&answer, "x-portkey-last-used-option-index"),
        "config.targets[0]"
    );
}

#[tokio::test]
async fn a_kept_credential_stays_at_its_host() {
    let bed = Bed::new().await;
    let refused = async |headers: &[(&str, &str)], param: &str| {
        let answer = ask(&bed, headers).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.param(), param);
        assert_eq!(answer.code(), "host_not_allowed", "{}", answer.text);
    };
    // `127.0.0.1:9` is listed by the operator: the host is fine, but not for this credential.
    for host in ["https://evil.example/v1", "http://127.0.0.1:9/v1"] {
        let by_header = [
            ("x-portkey-virtual-key", "native"),
            ("x-portkey-custom-host", host),
        ];
        refused(&by_header, "x-portkey-custom-host").await;
        let config = json!({"virtual_key": "native", "custom_host": host}).to_string();
        refused(&[("x-portkey-config", &config)], "config.custom_host").await;
    }
    // The environment's key is the gateway's as well.
    let by_header = [
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", "https://evil.example/v1"),
    ];
    refused(&by_header, "x-portkey-custom-host").await;
    assert_eq!(bed.asked().len(), 0);
    // Of several targets the next one serves.
    let mut moved = target("native", "first");
    moved["custom_host"] = json!("https://evil.example/v1");
    let config = fallback(&[moved, target("native", "second")]).to_string();
    let answer = ask(&bed, &[("x-portkey-config", &config)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(bed.asked(), ["second"]);
}

#[tokio::test]
async fn a_caller_reaches_nothing_inside() {
    let bed = Bed::new().await;
    let mcp = format!("http://{}/v1", bed.mcp.host());
    for host in [
        "http://127.0.0.1:1/v1",
        "https://127.0.0.1:1/v1",
        "http://169.254.169.254/latest",
        "https://metadata.google.internal/v1",
        "https://10.0.0.1/v1",
        "http://models.example/v1",
        // Listed for MCP servers, not for providers.
        &mcp,
    ] {
        let headers = [
            ("authorization", OWN_KEY),
            ("x-portkey-provider", "openai"),
            ("x-portkey-custom-host", host),
        ];
        let answer = ask(&bed, &headers).await;
        assert_eq!(answer.status, 400, "{host}: {}", answer.text);
        assert_eq!(answer.param(), "x-portkey-custom-host", "{host}");
    }
}

#[tokio::test]
async fn forwarded_headers_arrive_unchanged_and_credentials_do_not() {
    let bed = Bed::new().await;
    let config = json!({"virtual_key": "native", "forward_headers": ["X-Team", "user-agent"]});
    let send = async |config: &Value, more: &[(&str, &str)]| {
        let config = config.to_string();
        let mut headers = vec![
            ("x-portkey-config", config.as_str()),
            ("x-team", "blue=1"),
            ("x-other", "not this"),
            ("user-agent", "an app"),
        ];
        headers.extend(more);
        ask(&bed, &headers).await
    };
    let answer = send(&config, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = bed.fake.journal().requests().pop().unwrap().headers;
    assert_eq!(
        (&seen["x-team"], &seen["user-agent"]),
        (&json!("blue=1"), &json!("an app"))
    );
    assert_eq!(seen["authorization"], "Bearer sk-x");
    assert!(seen.get("x-other").is_none());

    // The header beats the config, here for the other dialect.
    let config = json!({"virtual_key": "chat", "forward_headers": ["x-team"]});
    let answer = send(&config, &[("x-portkey-forward-headers", "x-other")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = bed.fake.journal().requests().pop().unwrap().headers;
    assert_eq!(
        (seen.get("x-other"), seen.get("x-team")),
        (Some(&json!("not this")), None)
    );

    for name in [
        "authorization",
        "x-portkey-api-key",
        "x-portkey-forward-headers",
    ] {
        let answer = send(&config, &[("x-portkey-forward-headers", name)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.param().as_str()),
            (400, "x-portkey-forward-headers")
        );
    }
}
