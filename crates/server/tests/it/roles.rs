//! Every route of the OpenAPI document, tried as every role through every carrier. A new route
//! without a row here fails.

use crate::harness::{ADMIN, Gateway};
use portunus::router;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Who may call a route.
#[derive(Clone, Copy)]
enum Guard {
    Open,
    Data,
    Admin(&'static str),
    Token,
    /// Whoever has its signed link, and no key.
    Link,
    /// There is nothing behind it: the status that every good key gets.
    Nothing(u16),
}

const TABLE: &[(&str, Guard)] = &[
    ("GET /", Guard::Open),
    ("GET /livez", Guard::Open),
    ("GET /readyz", Guard::Open),
    ("POST /v1/responses", Guard::Data),
    ("POST /v1/responses/input_tokens", Guard::Data),
    ("GET /v1/responses/{id}", Guard::Data),
    ("DELETE /v1/responses/{id}", Guard::Data),
    ("POST /v1/responses/{id}/cancel", Guard::Data),
    ("GET /v1/responses/{id}/input_items", Guard::Data),
    ("GET /v1/models", Guard::Data),
    ("GET /v1/virtual-keys", Guard::Admin("virtual_keys.list")),
    ("POST /v1/virtual-keys", Guard::Admin("virtual_keys.create")),
    (
        "GET /v1/virtual-keys/{slug}",
        Guard::Admin("virtual_keys.read"),
    ),
    (
        "PUT /v1/virtual-keys/{slug}",
        Guard::Admin("virtual_keys.update"),
    ),
    (
        "DELETE /v1/virtual-keys/{slug}",
        Guard::Admin("virtual_keys.delete"),
    ),
    (
        "POST /v1/api-keys/{type}/{sub-type}",
        Guard::Admin("api_keys.create"),
    ),
    ("GET /v1/api-keys", Guard::Admin("api_keys.list")),
    ("GET /v1/api-keys/{id}", Guard::Admin("api_keys.read")),
    ("PUT /v1/api-keys/{id}", Guard::Admin("api_keys.update")),
    ("DELETE /v1/api-keys/{id}", Guard::Admin("api_keys.delete")),
    (
        "POST /v1/api-keys/{id}/rotate",
        Guard::Admin("api_keys.update"),
    ),
    ("GET /v1/providers", Guard::Admin("virtual_keys.list")),
    ("POST /v1/providers", Guard::Admin("virtual_keys.create")),
    (
        "GET /v1/providers/{slug}",
        Guard::Admin("virtual_keys.read"),
    ),
    (
        "PUT /v1/providers/{slug}",
        Guard::Admin("virtual_keys.update"),
    ),
    (
        "DELETE /v1/providers/{slug}",
        Guard::Admin("virtual_keys.delete"),
    ),
    ("GET /v1/integrations", Guard::Admin("virtual_keys.list")),
    ("POST /v1/integrations", Guard::Admin("virtual_keys.create")),
    (
        "GET /v1/integrations/{slug}",
        Guard::Admin("virtual_keys.read"),
    ),
    (
        "PUT /v1/integrations/{slug}",
        Guard::Admin("virtual_keys.update"),
    ),
    (
        "DELETE /v1/integrations/{slug}",
        Guard::Admin("virtual_keys.delete"),
    ),
    (
        "GET /v1/integrations/{slug}/models",
        Guard::Admin("virtual_keys.read"),
    ),
    (
        "PUT /v1/integrations/{slug}/models",
        Guard::Admin("virtual_keys.update"),
    ),
    (
        "GET /v1/integrations/{slug}/workspaces",
        Guard::Admin("virtual_keys.read"),
    ),
    (
        "PUT /v1/integrations/{slug}/workspaces",
        Guard::Admin("virtual_keys.update"),
    ),
    ("GET /v1/guardrails", Guard::Nothing(200)),
    ("POST /v1/guardrails", Guard::Nothing(501)),
    ("GET /v1/labels", Guard::Nothing(200)),
    ("POST /v1/labels", Guard::Nothing(501)),
    ("GET /v1/collections", Guard::Nothing(200)),
    ("POST /v1/collections", Guard::Nothing(501)),
    ("GET /v1/prompts", Guard::Nothing(200)),
    ("POST /v1/prompts", Guard::Nothing(501)),
    ("GET /v1/prompts/partials", Guard::Nothing(200)),
    ("POST /v1/prompts/partials", Guard::Nothing(501)),
    ("GET /v1/admin/users", Guard::Nothing(200)),
    ("POST /v1/admin/users", Guard::Nothing(501)),
    ("GET /v1/admin/users/invites", Guard::Nothing(200)),
    ("POST /v1/admin/users/invites", Guard::Nothing(501)),
    ("GET /v1/secret-references", Guard::Nothing(200)),
    ("POST /v1/secret-references", Guard::Nothing(501)),
    ("POST /v1/prompts/{id}/render", Guard::Nothing(501)),
    ("POST /v1/prompts/{id}/completions", Guard::Nothing(501)),
    ("GET /v1/audit-logs", Guard::Nothing(200)),
    ("GET /v1/configs", Guard::Admin("configs.list")),
    ("POST /v1/configs", Guard::Admin("configs.create")),
    ("GET /v1/configs/{slug}", Guard::Admin("configs.read")),
    ("PUT /v1/configs/{slug}", Guard::Admin("configs.update")),
    ("DELETE /v1/configs/{slug}", Guard::Admin("configs.delete")),
    (
        "GET /v1/configs/{slug}/versions",
        Guard::Admin("configs.read"),
    ),
    ("GET /v1/admin/workspaces", Guard::Token),
    ("POST /v1/admin/workspaces", Guard::Token),
    ("POST /v1/portunus/reload", Guard::Token),
    ("GET /v1/logs", Guard::Admin("logs.list")),
    ("POST /v1/logs", Guard::Admin("logs.write")),
    ("GET /v1/logs/exports", Guard::Admin("logs.export")),
    ("POST /v1/logs/exports", Guard::Admin("logs.export")),
    ("GET /v1/logs/exports/{id}", Guard::Admin("logs.export")),
    ("PUT /v1/logs/exports/{id}", Guard::Admin("logs.export")),
    (
        "POST /v1/logs/exports/{id}/start",
        Guard::Admin("logs.export"),
    ),
    (
        "POST /v1/logs/exports/{id}/cancel",
        Guard::Admin("logs.export"),
    ),
    (
        "GET /v1/logs/exports/{id}/download",
        Guard::Admin("logs.export"),
    ),
    ("GET /v1/portunus/exports/{id}/file", Guard::Link),
    ("GET /v1/logs/{id}", Guard::Admin("logs.view")),
    ("GET /v1/portunus/logs/stream", Guard::Admin("logs.list")),
    ("GET /v1/portunus/approvals", Guard::Admin("approvals.list")),
    (
        "GET /v1/portunus/approvals/{id}",
        Guard::Admin("approvals.list"),
    ),
    (
        "POST /v1/portunus/approvals/{id}/approve",
        Guard::Admin("approvals.update"),
    ),
    (
        "POST /v1/portunus/approvals/{id}/deny",
        Guard::Admin("approvals.update"),
    ),
];

fn table() -> BTreeMap<&'static str, Guard> {
    TABLE.iter().copied().collect()
}

fn documented() -> BTreeSet<String> {
    let document: Value = serde_json::to_value(router::documented().into_openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        let line = |method: String| format!("{} {path}", method.to_uppercase());
        methods.into_iter().map(line).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_table_is_the_document() {
    let rows: BTreeSet<String> = table().into_keys().map(str::to_owned).collect();
    assert_eq!(rows, documented());
}

/// The status that a key gets, sent by each carrier; the three must agree.
async fn status(gateway: &Gateway, route: &str, key: Option<&str>) -> u16 {
    let (method, path) = route.split_once(' ').unwrap();
    let path = path
        .replace("{type}", "workspace")
        .replace("{sub-type}", "service")
        .replace("{slug}", "none")
        .replace("{id}", "none");
    let body = json!({"x": 1});
    let body = matches!(method, "POST" | "PUT").then_some(&body);
    let Some(key) = key else {
        return gateway
            .head(method, &path, &[], body)
            .await
            .status()
            .as_u16();
    };
    let bearer = format!("Bearer {key}");
    let mut seen = BTreeSet::new();
    for carrier in [
        ("x-portkey-api-key", key),
        ("authorization", &bearer),
        ("x-api-key", key),
    ] {
        seen.insert(
            gateway
                .head(method, &path, &[carrier], body)
                .await
                .status()
                .as_u16(),
        );
    }
    assert_eq!(seen.len(), 1, "{route}: carriers disagree: {seen:?}");
    seen.first().copied().unwrap()
}

fn let_in(status: u16) -> bool {
    status != 401 && status != 403
}

#[tokio::test]
async fn every_route_as_every_role() {
    let gateway = Gateway::new().await;
    let caller = gateway.caller().await;
    let nothing = gateway.key(&["prompts.render"]).await;
    let forged = format!("{}x", &caller[..caller.len() - 1]);
    for (route, guard) in table() {
        for wrong in [
            None,
            Some(forged.as_str()),
            Some("sk-of-a-provider"),
            Some("dummy"),
        ] {
            let got = status(&gateway, route, wrong).await;
            assert_eq!(
                got == 401,
                !matches!(guard, Guard::Open | Guard::Link),
                "{route} as {wrong:?}: {got}"
            );
        }
        let [admin, caller, nothing] = [
            status(&gateway, route, Some(ADMIN)).await,
            status(&gateway, route, Some(&caller)).await,
            status(&gateway, route, Some(&nothing)).await,
        ];
        match guard {
            Guard::Open => assert_eq!((admin, caller, nothing), (200, 200, 200), "{route}"),
            Guard::Link => assert_eq!((admin, caller, nothing), (403, 403, 403), "{route}"),
            Guard::Data => {
                assert_eq!((admin, nothing), (401, 403), "{route}");
                assert!(let_in(caller), "{route}: {caller}");
            }
            Guard::Admin(scope) => {
                assert_eq!((caller, nothing), (403, 403), "{route}");
                assert!(let_in(admin), "{route}: {admin}");
                let scoped = status(&gateway, route, Some(&gateway.key(&[scope]).await)).await;
                assert!(let_in(scoped), "{route} with {scope}: {scoped}");
            }
            Guard::Nothing(answer) => assert_eq!(
                (admin, caller, nothing),
                (answer, answer, answer),
                "{route}"
            ),
            Guard::Token => {
                assert_eq!((caller, nothing), (403, 403), "{route}");
                assert!(let_in(admin), "{route}: {admin}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_credential_is_refused_the_same_way_whatever_it_is() {
    let gateway = Gateway::new().await;
    let good = gateway.caller().await;
    let disabled = gateway.caller().await;
    let list = gateway
        .app
        .store
        .list_api_keys("ws-default", Default::default())
        .await
        .unwrap();
    let mut row = list
        .rows
        .into_iter()
        .find(|row| disabled.contains(&row.lookup))
        .unwrap();
    row.status = "disabled".to_owned();
    assert!(gateway.app.store.update_api_key(&row).await.unwrap());
    let unknown = Gateway::new().await.caller().await;
    let mut texts = BTreeSet::new();
    for key in ["", "nonsense", &unknown, &disabled, ADMIN] {
        let answer = gateway.call(key, "GET", "/v1/models", None).await;
        assert_eq!(answer.status, 401, "{key}");
        texts.insert(answer.text);
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(
        gateway.call(&good, "GET", "/v1/models", None).await.status,
        200
    );
}

#[tokio::test]
async fn a_key_in_two_headers_of_one_name_opens_nothing() {
    let gateway = Gateway::new().await;
    let key = gateway.caller().await;
    let twice = [
        ("x-portkey-api-key", key.as_str()),
        ("x-portkey-api-key", key.as_str()),
    ];
    assert_eq!(
        gateway.send("GET", "/v1/models", &twice, None).await.status,
        401
    );
}

#[tokio::test]
async fn the_placeholders_of_the_sdks_do_not_hide_the_key() {
    let gateway = Gateway::new().await;
    let key = gateway.caller().await;
    for placeholder in [
        "Bearer OPENAI_API_KEY",
        "Bearer DUMMY-KEY",
        "Bearer xx",
        "Bearer dummy",
    ] {
        let headers = [
            ("authorization", placeholder),
            ("x-portkey-api-key", key.as_str()),
        ];
        assert_eq!(
            gateway
                .send("GET", "/v1/models", &headers, None)
                .await
                .status,
            200
        );
        let headers = [("authorization", placeholder), ("x-api-key", key.as_str())];
        assert_eq!(
            gateway
                .send("GET", "/v1/models", &headers, None)
                .await
                .status,
            200
        );
    }
}
