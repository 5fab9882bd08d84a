//! Saved configs: how they are kept, and what requests make of them.

use crate::harness::{Answer, Gateway};
use crate::routing::{Bed, fallback, header, target};
use http::StatusCode;
use serde_json::{Value, json};

const PATH: &str = "/v1/configs";

async fn save(gateway: &Gateway, config: &Value) -> String {
    let body = json!({"name": "My config", "config": config});
    let made = gateway.admin("POST", PATH, Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.json()["slug"].as_str().unwrap().to_owned()
}

async fn change(gateway: &Gateway, slug: &str, body: Value) -> Answer {
    let path = format!("{PATH}/{slug}");
    let changed = gateway.admin("PUT", &path, Some(&body)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    changed
}

/// A request with this `x-portkey-config`; an empty one counts as none.
async fn ask(gateway: &Gateway, key: &str, config: &str) -> Answer {
    let headers = [("x-portkey-api-key", key), ("x-portkey-config", config)];
    let body = json!({"model": "asked", "input": "Hello"});
    gateway
        .send("POST", "/v1/responses", &headers, Some(&body))
        .await
}

async fn key_with(gateway: &Gateway, defaults: Value) -> String {
    let body = json!({"name": "app", "defaults": defaults});
    let path = "/v1/api-keys/workspace/service";
    let made = gateway.admin("POST", path, Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.json()["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn fields_are_changed_or_refused() {
    let gateway = Gateway::new().await;
    let slug = save(&gateway, &json!({"virtual_key": "demo"})).await;
    let path = format!("{PATH}/{slug}");
    for (method, path) in [("POST", PATH), ("PUT", path.as_str())] {
        let body = json!({"name": "a", "config": {"virtual_key": "demo"}, "nonsense": 1});
        let answer = gateway.admin(method, path, Some(&body)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json()["error"]["param"], "nonsense");
    }
    let wrong = json!({"is_default": "banana"});
    assert_eq!(gateway.admin("PUT", &path, Some(&wrong)).await.status, 400);
    change(&gateway, &slug, json!({"is_default": 1})).await;
    change(&gateway, &slug, json!({"name": "Renamed"})).await;
    let read = gateway.admin("GET", &path, None).await.json();
    assert_eq!(read["is_default"], 1);
}

#[tokio::test]
async fn a_config_has_portkeys_shape_and_versions() {
    let gateway = Gateway::new().await;
    let config = json!({"virtual_key": "demo", "override_params": {"maxTokens": 5}});
    let body = json!({"name": "My config", "config": config, "isDefault": 1});
    let made = gateway.admin("POST", PATH, Some(&body)).await.json();
    let slug = made["slug"].as_str().unwrap();
    assert!(slug.starts_with("pc-my-config-"), "{slug}");
    assert_eq!(
        (&made["success"], &made["object"]),
        (&json!(true), &json!("config"))
    );
    for field in ["id", "version_id", "slug"] {
        assert_eq!(made["data"][field], made[field], "{field}");
    }

    let path = format!("{PATH}/{slug}");
    let read = gateway.admin("GET", &path, None).await.json();
    assert_eq!(read["config"], config, "spellings inside are left alone");
    assert_eq!(read["data"]["config"], config);
    assert_eq!(
        (&read["name"], &read["is_default"]),
        (&json!("My config"), &json!(1))
    );
    assert_eq!(
        (&read["status"], &read["owner_id"]),
        (&json!("active"), &json!("admin"))
    );
    let by_id = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        gateway.admin("GET", &by_id, None).await.json()["slug"],
        slug
    );

    let second = change(
        &gateway,
        slug,
        json!({"config": {"virtual_key": "@demo"}, "slug": slug}),
    )
    .await;
    assert_ne!(second.json()["version_id"], made["version_id"]);
    change(&gateway, slug, json!({"name": "Renamed"})).await;
    let versions = gateway
        .admin("GET", &format!("{path}/versions"), None)
        .await
        .json();
    let seen: Vec<_> = versions["data"].as_array().unwrap().iter().collect();
    let configs: Vec<_> = seen.iter().map(|v| v["config"].as_str().unwrap()).collect();
    let text = r#"{"virtual_key":"@demo"}"#;
    assert_eq!(configs, [text, text, &config.to_string()]);
    assert_eq!(seen[0]["name"], "Renamed");
    assert_eq!(seen[2]["version_id"], made["version_id"]);

    let list = gateway.admin("GET", PATH, None).await.json();
    assert_eq!(
        (&list["object"], &list["total"]),
        (&json!("list"), &json!(1))
    );
    assert_eq!(list["data"][0]["slug"], slug);
    assert!(list["data"][0].get("config").is_none());
    let gone = gateway.admin("DELETE", &path, None).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::OK, "{}"));
    for method in ["GET", "DELETE"] {
        assert_eq!(gateway.admin(method, &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_not_saved() {
    let gateway = Gateway::new().await;
    let group = |inner: Value| json!({"strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "demo"}, inner]});
    for (config, param) in [
        (json!([]), "config"),
        (json!("pc-other"), "config"),
        (json!({"cache": {"mode": "simple"}}), "config.cache"),
        (json!({"api_key": "sk-x"}), "config.api_key"),
        (
            json!({"strategy": {"mode": "conditional"}, "targets": [{}]}),
            "config.strategy.mode",
        ),
        (
            group(json!({"input_guardrails": ["g"]})),
            "config.targets[1].input_guardrails",
        ),
        (
            group(json!({"retry": {"attempts": 9}})),
            "config.targets[1].retry.attempts",
        ),
        (
            group(json!({"virtual_key": "nobody"})),
            "config.targets[1].virtual_key",
        ),
        (
            group(json!({"override_params": {"model": "@nobody/m"}})),
            "config.targets[1].override_params.model",
        ),
        (
            group(json!({"custom_host": "http://10.0.0.1/v1"})),
            "config.targets[1].custom_host",
        ),
        (
            group(json!({"name": "a", "weigth": 1})),
            "config.targets[1].weigth",
        ),
        (
            json!({"override_params": {"x": "y".repeat(70_000)}}),
            "config",
        ),
    ] {
        let body = json!({"name": "a", "config": config});
        let refused = gateway.admin("POST", PATH, Some(&body)).await;
        assert_eq!(refused.status, 400, "{config}: {}", refused.text);
        assert_eq!(refused.param(), param);
    }
    for (body, param) in [
        (json!({"config": {}}), "name"),
        (json!({"name": "a"}), "config"),
        (
            json!({"name": "a", "config": {}, "status": "gone"}),
            "status",
        ),
        (
            json!({"name": "a", "config": {}, "is_default": 7}),
            "is_default",
        ),
    ] {
        let refused = gateway.admin("POST", PATH, Some(&body)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.param().as_str()),
            (400, param)
        );
    }
    assert_eq!(gateway.admin("GET", PATH, None).await.json()["total"], 0);
}

#[tokio::test]
async fn a_change_that_is_refused_makes_no_version() {
    let gateway = Gateway::new().await;
    let slug = save(&gateway, &json!({"virtual_key": "demo"})).await;
    let path = format!("{PATH}/{slug}");
    let body = json!({"config": {"virtual_key": "nobody"}});
    let refused = gateway.admin("PUT", &path, Some(&body)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (400, "virtual_key_not_found")
    );
    let versions = gateway
        .admin("GET", &format!("{path}/versions"), None)
        .await;
    assert_eq!(versions.json()["total"], 1);
}

#[tokio::test]
async fn a_request_goes_where_the_saved_config_says_and_the_log_tells() {
    let bed = Bed::new().await;
    let config = fallback(&[target("native", "fail-500"), target("chat", "good")]);
    let slug = save(&bed.gateway, &config).await;
    let answer = ask(&bed.gateway, &bed.key, &slug).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        header(&answer, "x-portkey-last-used-option-index"),
        "config.targets[1]"
    );
    assert_eq!(bed.asked(), ["fail-500", "good"]);

    bed.gateway.app.log.flush().await;
    let read = bed
        .gateway
        .admin("GET", &format!("{PATH}/{slug}"), None)
        .await
        .json();
    for filter in [&slug, read["id"].as_str().unwrap()] {
        let path = format!("/v1/logs?configs={filter}");
        let rows = bed.gateway.admin("GET", &path, None).await.json();
        let row = &rows["data"][0];
        assert_eq!(row["config"], slug.as_str());
        assert_eq!(
            (&row["config_id"], &row["config_version_id"]),
            (&read["id"], &read["version_id"])
        );
        assert_eq!(
            (&row["mode"], &row["last_used_option_index"]),
            (&json!("fallback"), &json!("config.targets[1]"))
        );
    }
    let none = bed
        .gateway
        .admin("GET", "/v1/logs?configs=pc-other", None)
        .await
        .json();
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn a_change_counts_for_the_next_request() {
    let bed = Bed::new().await;
    let slug = save(&bed.gateway, &target("native", "first")).await;
    for model in ["first", "second", "third"] {
        change(
            &bed.gateway,
            &slug,
            json!({"config": target("native", model)}),
        )
        .await;
        assert_eq!(ask(&bed.gateway, &bed.key, &slug).await.status, 200);
    }
    assert_eq!(bed.asked(), ["first", "second", "third"]);
    change(&bed.gateway, &slug, json!({"status": "inactive"})).await;
    let refused = ask(&bed.gateway, &bed.key, &slug).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("inactive"), "{}", refused.text);
    change(&bed.gateway, &slug, json!({"status": "active"})).await;
    assert_eq!(ask(&bed.gateway, &bed.key, &slug).await.status, 200);
    let path = format!("{PATH}/{slug}");
    bed.gateway.admin("DELETE", &path, None).await;
    let refused = ask(&bed.gateway, &bed.key, &slug).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(
        (refused.param().as_str(), refused.code().as_str()),
        ("x-portkey-config", "config_not_found")
    );
}

#[tokio::test]
async fn a_foreign_config_looks_like_none() {
    let bed = Bed::new().await;
    let gateway = &bed.gateway;
    let slug = save(gateway, &target("native", "good")).await;
    let body = json!({"name": "Other", "slug": "other"});
    let other = gateway
        .admin("POST", "/v1/admin/workspaces", Some(&body))
        .await
        .json();
    let other = other["id"].as_str().unwrap();
    let scopes = [
        "completions.write",
        "configs.list",
        "configs.read",
        "configs.update",
        "configs.delete",
        "api_keys.create",
        "models.list",
    ];
    let theirs = gateway.key_in(other, &scopes).await;
    let path = format!("{PATH}/{slug}");
    let versions = format!("{path}/versions");
    let change = json!({"name": "stolen"});
    for (method, path, body) in [
        ("GET", &path, None),
        ("GET", &versions, None),
        ("PUT", &path, Some(&change)),
        ("DELETE", &path, None),
    ] {
        assert_eq!(
            gateway.call(&theirs, method, path, body).await.status,
            404,
            "{method} {path}"
        );
    }
    assert_eq!(
        gateway.call(&theirs, "GET", PATH, None).await.json()["total"],
        0
    );
    let body = json!({"name": "app", "defaults": {"config_id": slug}});
    let refused = gateway
        .call(
            &theirs,
            "POST",
            "/v1/api-keys/workspace/service",
            Some(&body),
        )
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.param().as_str()),
        (400, "defaults.config_id")
    );
    // Kept for its owner, it still is nobody else's.
    assert_eq!(ask(gateway, &bed.key, &slug).await.status, 200);
    let foreign = ask(gateway, &theirs, &slug).await;
    let unknown = ask(gateway, &theirs, "pc-none").await;
    assert_eq!(
        (foreign.status, foreign.code()),
        (unknown.status, unknown.code())
    );
    assert_eq!(
        foreign.text.replace(&slug, "pc-none").len(),
        unknown.text.len()
    );
    assert_eq!(bed.asked(), ["good"]);
}

#[tokio::test]
async fn the_default_of_a_key_holds_unless_the_request_brings_its_own() {
    let bed = Bed::new().await;
    let gateway = &bed.gateway;
    let default = save(gateway, &target("native", "default")).await;
    let other = save(gateway, &target("native", "other")).await;
    let defaults = json!({"configId": default, "metadata": {"team": "a"}});
    let key = key_with(gateway, defaults).await;
    let inline = target("native", "inline").to_string();
    for config in ["", &other, &inline] {
        let answer = ask(gateway, &key, config).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(bed.asked(), ["default", "other", "inline"]);

    let fixed = json!({"config_id": default, "allow_config_override": false});
    let key = key_with(gateway, fixed).await;
    assert_eq!(ask(gateway, &key, "").await.status, 200);
    for config in [&other, &default, &inline] {
        let refused = ask(gateway, &key, config).await;
        assert_eq!(
            (refused.status.as_u16(), refused.param().as_str()),
            (400, "x-portkey-config")
        );
    }
    assert_eq!(bed.asked()[3..], ["default"]);
    // Without its config a key serves nobody: it does not fall back to something else.
    gateway
        .admin("DELETE", &format!("{PATH}/{default}"), None)
        .await;
    let refused = ask(gateway, &key, "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.param().as_str()),
        (400, "defaults.config_id")
    );
}

#[tokio::test]
async fn the_default_of_a_key_is_set_and_taken_away() {
    let gateway = Gateway::new().await;
    let slug = save(&gateway, &json!({"virtual_key": "demo"})).await;
    let read = gateway
        .admin("GET", &format!("{PATH}/{slug}"), None)
        .await
        .json();
    let body = json!({"name": "app", "defaults": {"config_id": read["id"]}});
    let path = "/v1/api-keys/workspace/service";
    let made = gateway.admin("POST", path, Some(&body)).await.json();
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    let defaults = async || gateway.admin("GET", &path, None).await.json()["defaults"].take();
    assert_eq!(defaults().await["config_id"], slug.as_str());
    for (config_id, expected) in [(json!(""), Value::Null), (json!(slug), json!(slug))] {
        let body = json!({"defaults": {"config_id": config_id}});
        assert_eq!(gateway.admin("PUT", &path, Some(&body)).await.status, 200);
        assert_eq!(defaults().await["config_id"], expected);
    }
    let body = json!({"defaults": {"config_id": "pc-none"}});
    let refused = gateway.admin("PUT", &path, Some(&body)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.param().as_str()),
        (400, "defaults.config_id")
    );
}

#[tokio::test]
async fn of_two_who_change_it_at_once_both_versions_are_kept_or_one_is_told() {
    let gateway = Gateway::new().await;
    let slug = save(&gateway, &json!({"virtual_key": "demo"})).await;
    let path = format!("{PATH}/{slug}");
    let body = json!({"name": "again"});
    let changes = (0..8).map(|_| gateway.admin("PUT", &path, Some(&body)));
    let answers = futures_util::future::join_all(changes).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let told = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!(good + told, 8);
    let versions = gateway
        .admin("GET", &format!("{path}/versions"), None)
        .await;
    assert_eq!(versions.json()["total"], 1 + good);
}
