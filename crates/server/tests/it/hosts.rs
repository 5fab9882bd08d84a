//! Where a virtual key's credential may be sent.

use crate::harness::Gateway;
use serde_json::{Value, json};

const SECRET: &str = "sk-virtual-key-canary-7777";

#[tokio::test]
async fn a_stored_credential_never_goes_to_another_host() {
    let gateway = Gateway::new().await;
    let made = json!({"name": "m", "provider": "groq", "key": SECRET, "slug": "main",
        "custom_host": "https://models.example:8443/v1"});
    gateway.admin("POST", "/v1/virtual-keys", Some(&made)).await;
    let changer = gateway.key(&["virtual_keys.update"]).await;
    let change = async |body: Value| {
        gateway
            .call(&changer, "PUT", "/v1/virtual-keys/main", Some(&body))
            .await
    };
    for host in [
        "https://evil.example/v1",
        "https://models.example/v1",
        // Back to the provider's own host.
        "",
    ] {
        for body in [
            json!({"custom_host": host}),
            json!({"customHost": host, "key": ""}),
        ] {
            let refused = change(body).await;
            assert_eq!(refused.status, 400, "{host}: {}", refused.text);
            assert_eq!(refused.param(), "key", "{host}");
        }
    }
    let read = gateway
        .admin("GET", "/v1/virtual-keys/main", None)
        .await
        .json();
    assert_eq!(read["custom_host"], "https://models.example:8443/v1");
    // The same origin, and a credential that comes along, are fine.
    let same = json!({"custom_host": "https://models.example:8443/v2", "note": "moved"});
    assert_eq!(change(same).await.status, 200);
    let along = json!({"custom_host": "https://other.example/v1", "key": "sk-new-0123456789"});
    assert_eq!(change(along).await.status, 200);
    let provider = change(json!({"provider": "openai"})).await;
    assert_eq!(
        (provider.status.as_u16(), provider.param()),
        (400, "provider".to_owned())
    );
}

#[tokio::test]
async fn only_the_operator_names_a_host_inside() {
    let gateway = Gateway::with(|settings| {
        settings.mcp.allow = vec!["127.0.0.0/8".to_owned()];
        settings.providers.allow = vec!["10.1.2.3:8080".to_owned()];
    })
    .await;
    let key = gateway
        .key(&["virtual_keys.create", "virtual_keys.update"])
        .await;
    let body = |slug: &str, host: &str| json!({"name": slug, "slug": slug, "provider": "openai-compatible", "custom_host": host});
    for host in [
        "http://127.0.0.1:9000/v1",
        "https://127.0.0.1:9000/v1",
        "http://localhost:11434/v1",
        "http://10.0.0.1/v1",
        "https://[fd00::1]/v1",
        "https://db.internal/v1",
        "http://models.example/v1",
    ] {
        let refused = gateway
            .call(&key, "POST", "/v1/virtual-keys", Some(&body("mine", host)))
            .await;
        assert_eq!(refused.status, 403, "{host}: {}", refused.text);
        assert_eq!(refused.code(), "host_not_allowed", "{host}");
        assert!(refused.text.contains("admin token"), "{}", refused.text);
    }
    for (slug, host) in [
        ("public", "https://models.example/v1"),
        ("listed", "http://10.1.2.3:8080/v1"),
    ] {
        let made = gateway
            .call(&key, "POST", "/v1/virtual-keys", Some(&body(slug, host)))
            .await;
        assert_eq!(made.status, 200, "{host}: {}", made.text);
    }
    let local = body("local", "http://127.0.0.1:9000/v1");
    let made = gateway
        .admin("POST", "/v1/virtual-keys", Some(&local))
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let change = async |host: &str| {
        let body = json!({"custom_host": host, "note": "n"});
        let path = "/v1/virtual-keys/local";
        gateway.call(&key, "PUT", path, Some(&body)).await.status
    };
    assert_eq!(change("http://127.0.0.1:9000/v1").await, 200);
    assert_eq!(change("http://127.0.0.1:9000/admin").await, 403);
    assert_eq!(change("http://127.0.0.1:22/v1").await, 403);
}

#[tokio::test]
async fn an_azure_resource_stands_for_a_host() {
    let gateway = Gateway::new().await;
    let with = |name: &str| {
        json!({"name": "a", "provider": "azure-openai", "key": SECRET, "slug": "az",
            "resourceName": name})
    };
    let wrong = ["evil.example/", "a.b", "x", "-a", "a/b", "a@b", ""];
    for name in wrong {
        let refused = gateway
            .admin("POST", "/v1/virtual-keys", Some(&with(name)))
            .await;
        assert_eq!(refused.status, 400, "{name}");
        assert_eq!(refused.param(), "resource_name", "{name}");
    }
    let made = gateway
        .admin("POST", "/v1/virtual-keys", Some(&with("my-res")))
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = "/v1/virtual-keys/az";
    let read = gateway.admin("GET", path, None).await.json();
    assert_eq!(read["resource_name"], "my-res");
    for body in [
        json!({"resource_name": "other-res"}),
        json!({"custom_host": "https://evil.example"}),
    ] {
        let refused = gateway.admin("PUT", path, Some(&body)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.param()),
            (400, "key".to_owned())
        );
    }
    let same = json!({"resource_name": "my-res"});
    assert_eq!(gateway.admin("PUT", path, Some(&same)).await.status, 200);
    let with_key = json!({"resource_name": "other-res", "key": "sk-second-0123456789"});
    assert_eq!(
        gateway.admin("PUT", path, Some(&with_key)).await.status,
        200
    );

    let foreign = json!({"name": "m", "provider": "groq", "key": SECRET, "resource_name": "r-1"});
    let refused = gateway
        .admin("POST", "/v1/virtual-keys", Some(&foreign))
        .await;
    assert_eq!(refused.param(), "resource_name");
}
