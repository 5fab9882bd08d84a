use super::*;
use secrecy::SecretString;
use serde_json::json;

fn endpoint(base: &str, settings: Value) -> Endpoint {
    Endpoint {
        base_url: base.parse().unwrap(),
        credential: Some(SecretString::from("key-1")),
        provider: "x".to_owned(),
        settings,
    }
}

#[test]
fn openai_head() {
    let settings = json!({"organization": "org-1", "openai_project": "p-1"});
    let head = Provider::head(&OPENAI, &endpoint("https://api.openai.com/v1/", settings)).unwrap();
    assert_eq!(head.url.as_str(), "https://api.openai.com/v1/responses");
    assert_eq!(head.headers["authorization"], "Bearer key-1");
    assert_eq!(head.headers["openai-organization"], "org-1");
    assert_eq!(head.headers["openai-project"], "p-1");
}

#[test]
fn azure_address_is_made_of_a_checked_resource_name() {
    let nowhere =
        |name: Value| endpoint("https://unset.invalid/v1", json!({ "resource_name": name }));
    let head = Provider::head(&AZURE, &nowhere("my-res1".into())).unwrap();
    let url = "https://my-res1.openai.azure.com/openai/v1/responses";
    assert_eq!(head.url.as_str(), url);
    assert_eq!(head.headers["api-key"], "key-1");
    for bad in ["evil.example/", "a.b", "-a", "a", "a@b", "", "x\u{e9}y"] {
        let error = Provider::head(&AZURE, &nowhere(bad.into())).unwrap_err();
        assert!(error.message.contains("resource_name"), "{error}");
    }
    assert!(Provider::head(&AZURE, &nowhere(Value::Null)).is_err());
    let own = endpoint("https://proxy.corp/openai/v1", Value::Null);
    let head = Provider::head(&AZURE, &own).unwrap();
    assert_eq!(head.url.as_str(), "https://proxy.corp/openai/v1/responses");
}
