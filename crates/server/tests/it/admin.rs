//! The admin plane: virtual keys, API keys, workspaces, logs.

use crate::harness::{ADMIN, ENVIRONMENT_KEY, Gateway, whole};
use futures_util::StreamExt;
use portunus_store::{DEFAULT_WORKSPACE_ID, LogRecord, RequestRow, ToolCallRow};
use serde_json::{Value, json};

const SECRET: &str = "sk-virtual-key-canary-9999";

fn main_key() -> Value {
    json!({"name": "Main", "provider": "groq", "key": SECRET, "slug": "main", "note": "n"})
}

#[tokio::test]
async fn a_virtual_key_from_its_making_to_its_end() {
    let gateway = Gateway::new().await;
    let made = gateway
        .admin("POST", "/v1/virtual-keys", Some(&main_key()))
        .await;
    assert_eq!(
        (made.status.as_u16(), &made.json()["data"]["slug"]),
        (200, &json!("main"))
    );
    let again = gateway
        .admin("POST", "/v1/virtual-keys", Some(&main_key()))
        .await;
    assert_eq!(
        (again.status.as_u16(), again.param()),
        (409, "slug".to_owned())
    );

    let new_key = json!({"key": "sk-second-canary-0000-8888", "name": "Second"});
    assert_eq!(
        gateway
            .admin("PUT", "/v1/virtual-keys/main", Some(&new_key))
            .await
            .status,
        200
    );
    let read = gateway
        .admin("GET", "/v1/virtual-keys/main", None)
        .await
        .json();
    assert_eq!(read["name"], "Second");
    assert_eq!(read["masked_key"], "…8888");
    assert_eq!(read["note"], "n");
    let row = gateway
        .app
        .store
        .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "main")
        .await;
    assert_eq!(row.unwrap().unwrap().version, 2);

    assert_eq!(
        gateway
            .admin("DELETE", "/v1/virtual-keys/main", None)
            .await
            .status,
        200
    );
    assert_eq!(
        gateway
            .admin("GET", "/v1/virtual-keys/main", None)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn no_answer_holds_a_credential() {
    let gateway = Gateway::new().await;
    let mut texts = Vec::new();
    for (method, path, body) in [
        ("POST", "/v1/virtual-keys", Some(main_key())),
        ("POST", "/v1/virtual-keys", Some(main_key())),
        (
            "POST",
            "/v1/virtual-keys",
            Some(json!({"name": 1, "key": SECRET})),
        ),
        (
            "POST",
            "/v1/virtual-keys",
            Some(json!({"name": "a", "provider": SECRET.len(), "key": SECRET})),
        ),
        (
            "POST",
            "/v1/virtual-keys",
            Some(json!({"name": "a", "provider": "groq", "key": format!("{SECRET}\n\u{1}")})),
        ),
        ("PUT", "/v1/virtual-keys/main", Some(json!({"key": SECRET}))),
        ("GET", "/v1/virtual-keys/main", None),
        ("GET", "/v1/virtual-keys", None),
        ("GET", "/metrics", None),
    ] {
        texts.push(gateway.admin(method, path, body.as_ref()).await.text);
    }
    let all = texts.join("\n");
    for secret in [SECRET, ENVIRONMENT_KEY, ADMIN] {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
}

#[tokio::test]
async fn keys_of_the_environment_are_offered_and_not_stored() {
    let gateway = Gateway::new().await;
    let list = gateway.admin("GET", "/v1/virtual-keys", None).await.json();
    let items = list["data"].as_array().unwrap();
    let slugs: Vec<&str> = items
        .iter()
        .map(|item| item["slug"].as_str().unwrap())
        .collect();
    assert!(
        slugs.contains(&"openai") && slugs.contains(&"demo"),
        "{slugs:?}"
    );
    assert_eq!(list["total"], items.len());
    let one = gateway
        .admin("GET", "/v1/virtual-keys/openai", None)
        .await
        .json();
    assert_eq!(
        (&one["source"], &one["masked_key"]),
        (&json!("environment"), &json!("…0001"))
    );
    let deleted = gateway
        .admin("DELETE", "/v1/virtual-keys/openai", None)
        .await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.code()),
        (409, "not_stored".to_owned())
    );
    let stored = gateway
        .app
        .store
        .list_virtual_keys(DEFAULT_WORKSPACE_ID, Default::default())
        .await;
    assert_eq!(stored.unwrap().total, 0);

    let off = Gateway::with(|settings| settings.providers.environment_keys = false).await;
    assert_eq!(
        off.admin("GET", "/v1/virtual-keys/openai", None)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn refusals_name_the_field() {
    let gateway = Gateway::new().await;
    let with = |extra: Value| {
        let mut body = main_key();
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    for (body, param, code) in [
        (
            json!({"provider": "groq", "key": "x"}),
            "name",
            "missing_required_parameter",
        ),
        (
            json!({"name": "a", "key": "x"}),
            "provider",
            "missing_required_parameter",
        ),
        (
            json!({"name": "a", "provider": "groq"}),
            "key",
            "missing_required_parameter",
        ),
        (
            with(json!({"provider": "nope"})),
            "provider",
            "invalid_value",
        ),
        (with(json!({"slug": "A/b"})), "slug", "invalid_value"),
        (
            with(json!({"custom_host": "http://169.254.169.254/v1"})),
            "custom_host",
            "invalid_value",
        ),
        (
            with(json!({"customHost": "ftp://x"})),
            "custom_host",
            "invalid_value",
        ),
        (
            with(json!({"expires_at": "2020-01-01T00:00:00Z"})),
            "expires_at",
            "invalid_value",
        ),
        (
            with(json!({"usage_limits": {"credit_limit": 1}})),
            "usage_limits",
            "unsupported_parameter",
        ),
        (
            with(json!({"apiVersion": "v1"})),
            "apiVersion",
            "unsupported_parameter",
        ),
        (with(json!({"note": {"a": 1}})), "note", "invalid_type"),
    ] {
        let answer = gateway.admin("POST", "/v1/virtual-keys", Some(&body)).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(
            (answer.param().as_str(), answer.code().as_str()),
            (param, code),
            "{body}"
        );
    }
}

#[tokio::test]
async fn defaults_are_changed_field_by_field() {
    let gateway = Gateway::new().await;
    let body = json!({"name": "app", "defaults": {"virtual_key": "demo",
        "metadata": {"team": "a"}, "allow_config_override": false}});
    let made = gateway
        .admin("POST", "/v1/api-keys/workspace/service", Some(&body))
        .await
        .json();
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    let after = async |defaults: Value| {
        let body = json!({ "defaults": defaults });
        let changed = gateway.admin("PUT", &path, Some(&body)).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        gateway.admin("GET", &path, None).await.json()["defaults"].take()
    };
    let expect = |virtual_key: Value, metadata: Value, allow: bool| {
        json!({"virtual_key": virtual_key, "config_id": null, "metadata": metadata,
            "allow_config_override": allow})
    };
    let now = after(json!({"metadata": {"team": "b"}})).await;
    assert_eq!(now, expect(json!("demo"), json!({"team": "b"}), false));
    let now = after(json!({"virtual_key": "openai"})).await;
    assert_eq!(now, expect(json!("openai"), json!({"team": "b"}), false));
    let now =
        after(json!({"allow_config_override": true, "virtual_key": "", "metadata": {}})).await;
    assert_eq!(now, expect(Value::Null, json!({}), true));
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_rotated_with_grace() {
    let gateway = Gateway::new().await;
    let body = json!({"name": "app", "scopes": ["models.list"], "type": "workspace", "sub-type": "service",
        "defaults": {"virtual_key": "demo", "metadata": {"team": "a"}}});
    let made = gateway
        .admin("POST", "/v1/api-keys/workspace/service", Some(&body))
        .await
        .json();
    let (id, first) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(made["object"], "api-key");
    assert_eq!(
        gateway.call(first, "GET", "/v1/models", None).await.status,
        200
    );

    let path = format!("/v1/api-keys/{id}");
    let read = gateway.admin("GET", &path, None).await;
    assert_eq!(read.json()["defaults"]["virtual_key"], "demo");
    assert!(!read.text.contains(first));

    let rotated = gateway
        .admin("POST", &format!("{path}/rotate"), None)
        .await
        .json();
    let second = rotated["key"].as_str().unwrap();
    for key in [first, second] {
        assert_eq!(
            gateway.call(key, "GET", "/v1/models", None).await.status,
            200
        );
    }
    let hasty = json!({"key_transition_period_ms": 1});
    let refused = gateway
        .admin("POST", &format!("{path}/rotate"), Some(&hasty))
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.param()),
        (400, "key_transition_period_ms".into())
    );

    assert_eq!(gateway.admin("DELETE", &path, None).await.status, 200);
    for key in [first, second] {
        assert_eq!(
            gateway.call(key, "GET", "/v1/models", None).await.status,
            401
        );
    }
}

#[tokio::test]
async fn a_key_makes_no_key_that_may_do_more() {
    let gateway = Gateway::new().await;
    let maker = gateway
        .key(&["api_keys.create", "api_keys.update", "models.list"])
        .await;
    let path = "/v1/api-keys/workspace/service";
    let child = |scopes: Value| json!({"name": "child", "scopes": scopes});
    let same = gateway
        .call(&maker, "POST", path, Some(&child(json!(["models.list"]))))
        .await;
    assert_eq!(same.status, 200);
    let id = same.json()["id"].as_str().unwrap().to_owned();
    let broader = child(json!(["models.list", "logs.view"]));
    assert_eq!(
        gateway
            .call(&maker, "POST", path, Some(&broader))
            .await
            .status,
        403
    );
    let raise = json!({"scopes": ["completions.write"]});
    let path = format!("/v1/api-keys/{id}");
    assert_eq!(
        gateway
            .call(&maker, "PUT", &path, Some(&raise))
            .await
            .status,
        403
    );
    let default = json!({"name": "child"});
    let made = gateway
        .call(
            &maker,
            "POST",
            "/v1/api-keys/workspace/service",
            Some(&default),
        )
        .await;
    assert_eq!(made.status, 403);
}

/// Everything that names a row of the default workspace; `{id}` is an API key's.
const ROWS: [(&str, &str); 11] = [
    ("GET", "/v1/virtual-keys/main"),
    ("PUT", "/v1/virtual-keys/main"),
    ("DELETE", "/v1/virtual-keys/main"),
    ("GET", "/v1/virtual-keys/openai"),
    ("GET", "/v1/api-keys/{id}"),
    ("PUT", "/v1/api-keys/{id}"),
    ("DELETE", "/v1/api-keys/{id}"),
    ("GET", "/v1/logs/log-mine"),
    ("GET", "/v1/logs/log-mine?workspace_id=ws-default"),
    ("GET", "/v1/logs?workspace_id=ws-default"),
    ("GET", "/v1/virtual-keys?workspaceId=default"),
];

const ALL_SCOPES: [&str; 9] = [
    "virtual_keys.read",
    "virtual_keys.update",
    "virtual_keys.delete",
    "virtual_keys.list",
    "api_keys.read",
    "api_keys.update",
    "api_keys.delete",
    "logs.view",
    "logs.list",
];

#[tokio::test]
async fn another_workspace_sees_nothing() {
    let gateway = Gateway::new().await;
    let other = json!({"name": "Other"});
    let made = gateway
        .admin("POST", "/v1/admin/workspaces", Some(&other))
        .await
        .json();
    assert_eq!(made["slug"], "other");
    assert_eq!(
        gateway
            .admin("POST", "/v1/admin/workspaces", Some(&other))
            .await
            .status,
        409
    );
    let foreign = gateway
        .key_in(made["id"].as_str().unwrap(), &ALL_SCOPES)
        .await;
    gateway
        .admin("POST", "/v1/virtual-keys", Some(&main_key()))
        .await;
    let path = "/v1/api-keys/workspace/service";
    let mine = gateway
        .admin("POST", path, Some(&json!({"name": "mine"})))
        .await
        .json();
    gateway
        .app
        .store
        .insert_logs(vec![record("log-mine")])
        .await
        .unwrap();
    let body = json!({"name": "stolen"});
    for (method, path) in ROWS {
        let path = path.replace("{id}", mine["id"].as_str().unwrap());
        let sent = (method == "PUT").then_some(&body);
        let answer = gateway.call(&foreign, method, &path, sent).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let after = gateway
        .call(&foreign, "GET", "/v1/logs?after=log-mine", None)
        .await;
    assert_eq!(
        (after.status.as_u16(), after.param()),
        (400, "after".to_owned())
    );
    assert_eq!(
        gateway.admin("GET", "/v1/logs/log-mine", None).await.status,
        200
    );
}

fn record(id: &str) -> LogRecord {
    let request = RequestRow {
        id: id.to_owned(),
        workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
        created_at_ms: 1_780_148_039_000,
        trace_id: format!("trace-{id}"),
        endpoint: "/v1/responses".to_owned(),
        method: "POST".to_owned(),
        status_code: 200,
        outcome: "completed".to_owned(),
        model_asked: Some("gpt-4.1".to_owned()),
        cache_status: "DISABLED".to_owned(),
        client: json!({}),
        metadata: json!({}),
        tool_calls: 1,
        ..RequestRow::default()
    };
    let call = ToolCallRow {
        server_label: "deepwiki".to_owned(),
        tool: "ask_question".to_owned(),
        run_by: "gateway".to_owned(),
        outcome: "completed".to_owned(),
        ..ToolCallRow::default()
    };
    LogRecord {
        request,
        tool_calls: vec![call],
        ..LogRecord::default()
    }
}

#[tokio::test]
async fn logs_are_paged_and_filtered() {
    let gateway = Gateway::new().await;
    let records = ["log-1", "log-2", "log-3"].map(record).to_vec();
    gateway.app.store.insert_logs(records).await.unwrap();
    let first = gateway.admin("GET", "/v1/logs?limit=2", None).await.json();
    let ids = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (ids(&first), &first["has_more"]),
        (vec!["log-3".into(), "log-2".into()], &json!(true))
    );
    assert_eq!(
        (&first["object"], &first["last_id"]),
        (&json!("list"), &json!("log-2"))
    );
    let rest = gateway
        .admin("GET", "/v1/logs?limit=2&after=log-2", None)
        .await
        .json();
    assert_eq!(
        (ids(&rest), &rest["has_more"]),
        (vec!["log-1".to_owned()], &json!(false))
    );
    for (query, count) in [
        ("trace_id=trace-log-2", 1),
        ("mcp_tool=ask_question", 3),
        ("mcp_server=stripe", 0),
        ("status_code=200,400&ai_model=gpt-4.1", 3),
        ("error_source=mcp", 0),
        ("time_of_generation_min=2026-05-31T00:00:00Z", 0),
    ] {
        let page = gateway
            .admin("GET", &format!("/v1/logs?{query}"), None)
            .await
            .json();
        assert_eq!(ids(&page).len(), count, "{query}");
    }
    let unknown = gateway.admin("GET", "/v1/logs?colour=red", None).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.param()),
        (400, "colour".to_owned())
    );
    let one = gateway.admin("GET", "/v1/logs/log-1", None).await.json();
    assert_eq!(one["tool_calls"][0]["tool"], "ask_question");
    for list in ["turns", "tool_lists", "attempts"] {
        assert_eq!(one[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn the_log_can_be_followed() {
    let gateway = Gateway::new().await;
    let own = [("x-portkey-api-key", ADMIN)];
    let response = gateway
        .head("GET", "/v1/portunus/logs/stream", &own, None)
        .await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    gateway.app.log.submit(record("log-live"));
    let event = stream.next().await.unwrap().unwrap();
    let text = std::str::from_utf8(&event).unwrap();
    assert!(
        text.starts_with("event: log\ndata: ") && text.contains("log-live"),
        "{text}"
    );
    // The end of the process ends it: it is no work that grace is for.
    gateway.app.life.draining.cancel();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn bodies_in_camel_case_are_read() {
    let gateway = Gateway::new().await;
    let body = json!({"name": "a", "scopes": ["models.list"], "expiresAt": "2999-01-01T00:00:00Z",
        "defaults": {"allowConfigOverride": false, "virtualKey": "demo"}});
    let made = gateway
        .admin("POST", "/v1/api-keys/workspace/user", Some(&body))
        .await
        .json();
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    let read = gateway.admin("GET", &path, None).await.json();
    assert_eq!(read["defaults"]["allow_config_override"], false);
    assert_eq!(read["expires_at"], "2999-01-01T00:00:00Z");
    let response = gateway
        .head("GET", &path, &[("authorization", "Bearer no")], None)
        .await;
    assert_eq!(whole(response).await.code(), "invalid_api_key");
}
