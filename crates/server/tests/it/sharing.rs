//! Two gateways that share one PostgreSQL, as two processes behind a load balancer do.

use crate::harness::Gateway;
use http::StatusCode;
use portunus::admin::api_keys::{self, DEFAULT_SCOPES, NewKey};
use portunus_store::{
    APPROVAL_PENDING, ApiKeyDefaults, ApprovalRow, DEFAULT_WORKSPACE_ID, Used, new_id, now,
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::{Duration, Instant};

/// All runs on one database open it with the same key.
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
/// As documented, and a little for the machine.
const REVOKED_WITHIN: Duration = Duration::from_millis(2_500);

/// `None`, saying so, when there is no server to test with.
#[expect(clippy::print_stdout, reason = "says that a test is skipped")]
async fn gateway() -> Option<Gateway> {
    let Ok(url) = std::env::var("PORTUNUS_TEST_POSTGRES") else {
        println!("skipped: PORTUNUS_TEST_POSTGRES names no PostgreSQL");
        return None;
    };
    let gateway = Gateway::with(|settings| {
        settings.database = Some(url);
        std::fs::create_dir_all(&settings.data_dir).unwrap();
        std::fs::write(settings.data_dir.join("master-key"), MASTER_KEY).unwrap();
    });
    Some(gateway.await)
}

#[tokio::test]
async fn a_key_that_one_revokes_is_refused_by_the_other_in_time() {
    let (Some(one), Some(two)) = (gateway().await, gateway().await) else {
        return;
    };
    let new = NewKey {
        workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
        name: "shared".to_owned(),
        scopes: DEFAULT_SCOPES.map(str::to_owned).to_vec(),
        defaults: ApiKeyDefaults::default(),
        expires_at: None,
    };
    let (row, key) = api_keys::mint(&one.app, new).await.unwrap();
    let key = key.expose_secret();
    let path = "/v1/responses/resp_none";
    let answer = two.call(key, "GET", path, None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);

    let key_path = format!("/v1/api-keys/{}", row.id);
    let gone = one.admin("DELETE", &key_path, None).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    let revoked = Instant::now();
    let here = one.call(key, "GET", path, None).await;
    assert_eq!(here.status, StatusCode::UNAUTHORIZED, "{}", here.text);
    // There is no event to wait for: the other one finds out when it looks again.
    while two.call(key, "GET", path, None).await.status != StatusCode::UNAUTHORIZED {
        assert!(
            revoked.elapsed() < REVOKED_WITHIN,
            "{:?}",
            revoked.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_config_that_one_changes_is_served_by_the_other_in_time() {
    let (Some(one), Some(two)) = (gateway().await, gateway().await) else {
        return;
    };
    let body = json!({"name": "shared", "config": {"virtual_key": "demo"}});
    let made = one.admin("POST", "/v1/configs", Some(&body)).await.json();
    let slug = made["slug"].as_str().unwrap();
    let (key, ask) = (two.caller().await, json!({"model": "demo", "input": "Hi"}));
    let headers = [("x-portkey-api-key", &*key), ("x-portkey-config", slug)];
    let served = async || {
        let answer = two.send("POST", "/v1/responses", &headers, Some(&ask));
        answer.await.status
    };
    assert_eq!(served().await, StatusCode::OK);
    let path = format!("/v1/configs/{slug}");
    let body = json!({"status": "inactive"});
    one.admin("PUT", &path, Some(&body)).await;
    let changed = Instant::now();
    while served().await != StatusCode::BAD_REQUEST {
        assert!(
            changed.elapsed() < REVOKED_WITHIN,
            "{:?}",
            changed.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_callers_of_two_gateways_one_uses_an_approval() {
    let (Some(one), Some(two)) = (gateway().await, gateway().await) else {
        return;
    };
    let now_ms = now().as_millisecond();
    let row = ApprovalRow {
        id: new_id("mcpr_"),
        workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
        created_at_ms: now_ms,
        expires_at_ms: now_ms + 60_000,
        state: APPROVAL_PENDING.to_owned(),
        ..ApprovalRow::default()
    };
    let rows = std::slice::from_ref(&row);
    one.app.store.insert_approvals(rows).await.unwrap();
    let ids = [row.id.clone()];
    let calls = (0..50).map(|number| {
        let store = [&one, &two][number % 2].app.store.as_ref();
        store.use_approvals(DEFAULT_WORKSPACE_ID, &ids, now_ms)
    });
    let used = futures_util::future::join_all(calls).await;
    let won = used
        .iter()
        .filter(|used| matches!(used, Ok(Used::Rows(_))))
        .count();
    let refused = used
        .iter()
        .filter(|used| matches!(used, Ok(Used::Refused { .. })))
        .count();
    assert_eq!((won, refused), (1, 49), "{used:?}");
}
