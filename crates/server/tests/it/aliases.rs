//! Providers and integrations: other names and shapes for the rows of virtual keys.

use crate::harness::{ADMIN, Gateway};
use serde_json::{Value, json};

const SECRET: &str = "sk-alias-canary-0123456789";

fn integration() -> Value {
    json!({
        "name": "Main", "ai_provider_id": "openai", "key": SECRET, "description": "ours",
        "configurations": {"custom_host": "https://models.example/v1"}, "create_default_provider": true,
    })
}

async fn made(gateway: &Gateway) -> Value {
    let answer = gateway
        .admin("POST", "/v1/integrations", Some(&integration()))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn one_row_under_three_names() {
    let gateway = Gateway::new().await;
    let id = made(&gateway).await["id"].clone();
    let key = gateway
        .admin("GET", "/v1/virtual-keys/main", None)
        .await
        .json();
    assert_eq!((&key["id"], &key["note"]), (&id, &json!("ours")));
    let provider = gateway
        .admin("GET", "/v1/providers/main", None)
        .await
        .json();
    assert_eq!(provider["object"], "provider");
    assert_eq!(provider["integration_id"], id);
    let one = gateway
        .admin("GET", "/v1/integrations/main", None)
        .await
        .json();
    assert_eq!(one["ai_provider_id"], "openai");
    assert_eq!(one["masked_key"], "…6789");
    assert_eq!(
        one["configurations"],
        json!({"custom_host": "https://models.example/v1"})
    );
    let changes = [
        ("/v1/providers/main", json!({"note": "a"})),
        (
            "/v1/integrations/main",
            json!({"name": "Other", "description": "b"}),
        ),
    ];
    for (path, body) in changes {
        let answer = gateway.admin("PUT", path, Some(&body)).await;
        assert_eq!(
            answer.json(),
            json!({"id": id, "slug": "main"}),
            "{}",
            answer.text
        );
    }
    let key = gateway
        .admin("GET", "/v1/virtual-keys/main", None)
        .await
        .json();
    assert_eq!((&key["name"], &key["note"]), (&json!("Other"), &json!("b")));
    let gone = gateway.admin("DELETE", "/v1/integrations/main", None).await;
    assert_eq!(gone.status, 200);
    for path in ["virtual-keys", "providers", "integrations"] {
        let path = format!("/v1/{path}/main");
        assert_eq!(gateway.admin("GET", &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn lists_agree() {
    let gateway = Gateway::new().await;
    made(&gateway).await;
    let mut seen = Vec::new();
    for path in [
        "/v1/virtual-keys?",
        "/v1/providers?current_page=0&page_size=50",
        "/v1/integrations?currentPage=0&pageSize=100&type=all",
    ] {
        let list = gateway.admin("GET", path, None).await.json();
        let items = list["data"].as_array().unwrap();
        assert_eq!(list["total"], items.len());
        let slugs = items.iter().map(|item| item["slug"].clone());
        seen.push(slugs.collect::<Vec<_>>());
    }
    assert!(seen[0].contains(&json!("main")) && seen[0].contains(&json!("demo")));
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn a_provider_is_a_copy_of_an_integration_and_no_longer_than_it() {
    let gateway = Gateway::new().await;
    let id = made(&gateway).await["id"].clone();
    let asked = json!({"name": "Second", "integration_id": id, "slug": "second"});
    let answer = gateway.admin("POST", "/v1/providers", Some(&asked)).await;
    assert_eq!(answer.json()["slug"], "second", "{}", answer.text);
    let copy = gateway
        .admin("GET", "/v1/providers/second", None)
        .await
        .json();
    assert_eq!(copy["integration_id"], id);
    assert_eq!(copy["custom_host"], "https://models.example/v1");
    let store = &gateway.app.store;
    let row = store.virtual_key_by_slug("ws-default", "second").await;
    let row = row.unwrap().unwrap();
    let opened = gateway
        .app
        .vault
        .open(row.binding(), &row.credential().unwrap());
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(&opened.unwrap()),
        SECRET
    );
    // By slug too; the slug is taken now; nothing outlives what it was copied from.
    let ends = json!({"expires_at": "2100-01-01T00:00:00Z"});
    gateway
        .admin("PUT", "/v1/providers/second", Some(&ends))
        .await;
    for (fields, status, param) in [
        (
            json!({"integration_id": "second", "slug": "second"}),
            409,
            "slug",
        ),
        (
            json!({"integration_id": "second", "expires_at": "2100-01-02T00:00:00Z"}),
            400,
            "expires_at",
        ),
        (json!({"integration_id": "none"}), 404, ""),
        (json!({"integration_id": "openai"}), 409, ""),
        (json!({}), 400, "integration_id"),
        (
            json!({"integration_id": "second", "usage_limits": {"creditLimit": 1}}),
            400,
            "usage_limits",
        ),
        (
            json!({"integration_id": "second", "owner": "me"}),
            400,
            "owner",
        ),
    ] {
        let mut asked = json!({"name": "Third"});
        asked
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let answer = gateway.admin("POST", "/v1/providers", Some(&asked)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.param().as_str()),
            (status, param),
            "{fields}"
        );
    }
}

type Case = (&'static str, &'static str, Value, &'static str);

/// Method, path, body, the field that is refused.
fn refused_on_create() -> Vec<Case> {
    vec![
        (
            "POST",
            "",
            json!({"create_default_provider": false}),
            "create_default_provider",
        ),
        (
            "POST",
            "",
            json!({"slug": "a", "default_provider_slug": "b"}),
            "default_provider_slug",
        ),
        (
            "POST",
            "",
            json!({"secretMappings": [{"target_field": "key"}]}),
            "secret_mappings",
        ),
        (
            "POST",
            "",
            json!({"configurations": {"openai_project": "p"}}),
            "configurations.openai_project",
        ),
        (
            "POST",
            "",
            json!({"configurations": {"azure_auth_mode": "entra"}}),
            "configurations.azure_auth_mode",
        ),
        (
            "POST",
            "",
            json!({"configurations": {"custom_host": "ftp://models.example"}}),
            "configurations.custom_host",
        ),
        (
            "POST",
            "",
            json!({"ai_provider_id": "no-such"}),
            "ai_provider_id",
        ),
        ("POST", "", json!({"tenant_id": "x"}), "tenant_id"),
    ]
}

/// As [`refused_on_create`].
fn refused_on_change() -> Vec<Case> {
    vec![
        (
            "PUT",
            "/main",
            json!({"ai_provider_id": "groq"}),
            "ai_provider_id",
        ),
        (
            "PUT",
            "/main",
            json!({"configurations": {"custom_host": "https://other.example/v1"}}),
            "key",
        ),
        (
            "PUT",
            "/main/models",
            json!({"allow_all_models": false}),
            "allow_all_models",
        ),
        (
            "PUT",
            "/main/models",
            json!({"models": [{"slug": "gpt-4.1", "enabled": false}]}),
            "models",
        ),
        (
            "PUT",
            "/main/workspaces",
            json!({"workspaces": [{"id": "ws-other", "enabled": true}]}),
            "workspaces[0]",
        ),
        (
            "PUT",
            "/main/workspaces",
            json!({"global_workspace_access": {"enabled": true}}),
            "global_workspace_access",
        ),
    ]
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let gateway = Gateway::new().await;
    made(&gateway).await;
    for (method, path, body, param) in refused_on_create().into_iter().chain(refused_on_change()) {
        let mut asked = match method {
            "POST" => json!({"name": "X", "ai_provider_id": "openai", "key": SECRET}),
            _ => json!({}),
        };
        asked
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        let path = format!("/v1/integrations{path}");
        let answer = gateway.admin(method, &path, Some(&asked)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.param().as_str()),
            (400, param),
            "{path} {body}: {}",
            answer.text
        );
        assert!(!answer.text.contains(SECRET));
    }
    for (path, body) in [
        ("models", json!({"allow_all_models": true})),
        (
            "workspaces",
            json!({"workspaces": [{"id": "ws-default", "enabled": true}]}),
        ),
    ] {
        let path = format!("/v1/integrations/main/{path}");
        let answer = gateway.admin("PUT", &path, Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_an_empty_list_or_not_built() {
    let gateway = Gateway::new().await;
    for path in [
        "guardrails",
        "labels",
        "collections",
        "prompts",
        "audit-logs",
        "admin/users",
    ] {
        let answer = gateway
            .call(ADMIN, "GET", &format!("/v1/{path}"), None)
            .await;
        assert_eq!(
            answer.json(),
            json!({"object": "list", "total": 0, "data": []})
        );
    }
    let answer = gateway
        .admin("POST", "/v1/prompts", Some(&json!({"name": "x"})))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (501, "not_implemented")
    );
}
