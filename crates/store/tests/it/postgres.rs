//! What only PostgreSQL has: a server between processes.

use portunus_store::{DEFAULT_WORKSPACE_ID as OURS, StoreError, Used, open};

use crate::rows::small_log;
use crate::state_rows::{NOW_MS, approval};
use crate::{PostgresDatabase, approvals, idempotency};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_callers_of_two_processes_one_wins() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    approvals::one_gets_it([database.open().await, database.open().await]).await;
    idempotency::one_runs([database.open().await, database.open().await]).await;
    database.remove().await;
}

/// Both lists name the same approvals: whoever waited for the other's first one would be waited
/// for at the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_use_the_same_in_other_orders_do_not_wait_in_a_circle() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    let stores = [database.open().await, database.open().await];
    for round in 0..20 {
        let ids = ["a", "b", "c", "d"].map(|name| format!("mcpr_{round}_{name}"));
        let rows = ids.clone().map(|id| approval(OURS, &id));
        stores[0].insert_approvals(&rows).await.unwrap();
        let backward: Vec<_> = ids.iter().rev().cloned().collect();
        let (one, two) = tokio::join!(
            stores[0].use_approvals(OURS, &ids, NOW_MS),
            stores[1].use_approvals(OURS, &backward, NOW_MS),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let won = |used: &Used| matches!(used, Used::Rows(_));
        assert!(won(&one) != won(&two), "{one:?} {two:?}");
    }
    database.remove().await;
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_schema() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    let starts = (0..6).map(|_start| database.open());
    let stores = futures_util::future::join_all(starts).await;
    for store in &stores {
        assert_eq!(store.list_workspaces().await.unwrap().len(), 1);
        store.close().await;
    }
    database.remove().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    database.open().await.close().await;
    let raw = database.raw().await;
    sqlx::raw_sql("UPDATE portunus_schema SET version = 99")
        .execute(&raw)
        .await
        .unwrap();
    let error = open(&database.url).await.err().unwrap();
    assert!(
        matches!(error, StoreError::NewerSchema { found: 99, .. }),
        "{error}"
    );
    database.remove().await;
}

/// The server ends all connections, as a restart does.
#[tokio::test]
async fn lost_connections_are_made_anew() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    let store = database.open().await;
    let raw = database.raw().await;
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'portunus'",
    )
    .fetch_all(&raw)
    .await
    .unwrap();
    assert!(!ended.is_empty() && ended.iter().all(|&ended| ended));
    store.ping().await.unwrap();
    store
        .write_logs(&[small_log(OURS, "log-1", 1)])
        .await
        .unwrap();
    database.remove().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_named() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    let url = database.url.clone();
    let store = database.open().await;
    database.remove().await;
    for error in [store.ping().await.err(), open(&url).await.err()] {
        let text = error.unwrap().to_string();
        assert!(text.contains("does not exist"), "{text}");
    }
}

/// PostgreSQL keeps no NUL; a log that has one must not take its whole batch with it.
#[tokio::test]
async fn a_nul_is_kept_as_another_character() {
    let Some(database) = PostgresDatabase::new().await else {
        return;
    };
    let store = database.open().await;
    let mut record = small_log(OURS, "log-1", 1);
    record.request.preview = Some("a\0b".to_owned());
    store
        .write_logs(std::slice::from_ref(&record))
        .await
        .unwrap();
    let request = &record.request;
    let kept = store
        .log(&request.workspace_id, &request.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.request.preview.as_deref(), Some("a\u{fffd}b"));
    database.remove().await;
}
