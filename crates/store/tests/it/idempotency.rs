use std::sync::Arc;

use futures_util::future::join_all;
use portunus_store::{
    Claimed, DEFAULT_WORKSPACE_ID, IDEMPOTENCY_DONE, IdempotencyRow, Store, StoreError,
};
use tokio::task::JoinSet;

use crate::TempDatabase;
use crate::rows::other_workspace;
use crate::state_rows::{FAR_MS, NOW_MS, SECRET, idempotency};

crate::conformance! {
    of_two_claims_one_runs
    of_fifty_claims_one_runs
    an_answer_is_given_again
    another_body_is_refused
    what_is_released_may_be_tried_again
    an_expired_key_is_free
    a_key_belongs_to_its_caller
    expired_keys_are_pruned
}

const OURS: &str = DEFAULT_WORKSPACE_ID;

async fn claim_at(store: &dyn Store, row: &IdempotencyRow, now_ms: i64) -> Claimed {
    store.claim_idempotency(row, now_ms).await.unwrap()
}

async fn claim(store: &dyn Store, row: &IdempotencyRow) -> Claimed {
    claim_at(store, row, NOW_MS).await
}

async fn finish(store: &dyn Store, answer: &str) {
    store
        .finish_idempotency(OURS, "key-1", "k", 200, "application/json", answer)
        .await
        .unwrap();
}

async fn release(store: &dyn Store) {
    store.release_idempotency(OURS, "key-1", "k").await.unwrap();
}

fn answered(row: &IdempotencyRow, answer: &str) -> IdempotencyRow {
    IdempotencyRow {
        state: IDEMPOTENCY_DONE.to_owned(),
        status: Some(200),
        content_type: Some("application/json".to_owned()),
        answer: Some(answer.to_owned()),
        ..row.clone()
    }
}

/// The same request in another process.
fn from(owner: &str) -> IdempotencyRow {
    IdempotencyRow {
        owner: owner.to_owned(),
        ..idempotency(OURS, "k")
    }
}

/// Exactly one runs, and all others are told that this one does. `rows` are the claims.
fn assert_one_runs(rows: &[IdempotencyRow], answers: &[Claimed]) {
    let mine = |answer: &Claimed| *answer == Claimed::Yours;
    let winner = answers.iter().position(mine).unwrap();
    assert_eq!(answers.iter().filter(|answer| mine(answer)).count(), 1);
    let running = Claimed::Running(rows[winner].clone());
    let told = answers.iter().filter(|answer| **answer == running).count();
    assert_eq!(told, answers.len() - 1);
}

async fn of_two_claims_one_runs(store: &dyn Store) {
    let rows = [from("process-1"), from("process-2")];
    let answers = join_all(rows.iter().map(|row| claim(store, row))).await;
    assert_one_runs(&rows, &answers);
}

async fn of_fifty_claims_one_runs(store: &dyn Store) {
    let rows: Vec<_> = (0..50).map(|number| from(&number.to_string())).collect();
    let answers = join_all(rows.iter().map(|row| claim(store, row))).await;
    assert_one_runs(&rows, &answers);
}

/// As above over two stores on one file, as two processes have it, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_claims_of_two_stores_one_runs() {
    let database = TempDatabase::new();
    one_runs([database.open().await, database.open().await]).await;
}

pub(crate) async fn one_runs(stores: [Arc<dyn Store>; 2]) {
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let store = Arc::clone(&stores[number % 2]);
        tasks.spawn(async move {
            let row = from(&number.to_string());
            let answer = claim(&*store, &row).await;
            (row, answer)
        });
    }
    let (rows, answers): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    assert_one_runs(&rows, &answers);
}

async fn an_answer_is_given_again(store: &dyn Store) {
    let row = from("process-1");
    assert_eq!(claim(store, &row).await, Claimed::Yours);
    finish(store, SECRET).await;
    let expected = Claimed::Done(answered(&row, SECRET));
    assert_eq!(claim(store, &from("process-2")).await, expected);
    // It is over: neither a second answer nor a release changes it.
    finish(store, "{}").await;
    release(store).await;
    assert_eq!(claim(store, &from("process-2")).await, expected);
    // A claim that brings an answer along is read as it was written.
    let whole = IdempotencyRow {
        key: "whole".to_owned(),
        ..answered(&row, SECRET)
    };
    assert_eq!(claim(store, &whole).await, Claimed::Yours);
    assert_eq!(claim(store, &whole).await, Claimed::Done(whole.clone()));
}

async fn another_body_is_refused(store: &dyn Store) {
    let other = IdempotencyRow {
        body_digest: "ee".repeat(32),
        ..from("process-2")
    };
    assert_eq!(claim(store, &from("process-1")).await, Claimed::Yours);
    assert_eq!(claim(store, &other).await, Claimed::OtherBody);
    finish(store, "{}").await;
    assert_eq!(claim(store, &other).await, Claimed::OtherBody);
    let expected = Claimed::Done(answered(&from("process-1"), "{}"));
    assert_eq!(claim(store, &from("process-3")).await, expected);
}

async fn what_is_released_may_be_tried_again(store: &dyn Store) {
    assert_eq!(claim(store, &from("process-1")).await, Claimed::Yours);
    release(store).await;
    release(store).await;
    // What is free has no answer.
    finish(store, "{}").await;
    let other = IdempotencyRow {
        body_digest: "ee".repeat(32),
        ..from("process-2")
    };
    assert_eq!(claim(store, &other).await, Claimed::Yours);
    let again = claim(store, &other).await;
    assert_eq!(again, Claimed::Running(other));
}

async fn an_expired_key_is_free(store: &dyn Store) {
    let ends = |owner, expires_at_ms| IdempotencyRow {
        expires_at_ms,
        ..from(owner)
    };
    let first = ends("process-1", NOW_MS + 1);
    assert_eq!(claim(store, &first).await, Claimed::Yours);
    finish(store, "{}").await;
    let second = ends("process-2", NOW_MS + 9);
    let expected = Claimed::Done(answered(&first, "{}"));
    assert_eq!(claim(store, &second).await, expected);
    // The end itself is too late; nothing of the former answer is left.
    assert_eq!(claim_at(store, &second, NOW_MS + 1).await, Claimed::Yours);
    let third = IdempotencyRow {
        body_digest: "ee".repeat(32),
        ..ends("process-3", FAR_MS)
    };
    let running = claim_at(store, &second, NOW_MS + 8).await;
    assert_eq!(running, Claimed::Running(second));
    assert_eq!(claim_at(store, &third, NOW_MS + 9).await, Claimed::Yours);
}

async fn a_key_belongs_to_its_caller(store: &dyn Store) {
    let other = other_workspace(store).await;
    assert_eq!(claim(store, &from("process-1")).await, Claimed::Yours);
    let theirs = idempotency(&other, "k");
    let key_2 = IdempotencyRow {
        api_key_id: "key-2".to_owned(),
        ..from("process-1")
    };
    for row in [&theirs, &key_2, &idempotency(OURS, "k2")] {
        assert_eq!(claim(store, row).await, Claimed::Yours, "{row:?}");
    }
    finish(store, "{}").await;
    store
        .release_idempotency(&other, "key-1", "k")
        .await
        .unwrap();
    assert_eq!(claim(store, &theirs).await, Claimed::Yours);
    let running = claim(store, &key_2).await;
    assert_eq!(running, Claimed::Running(key_2));
    let done = claim(store, &from("process-1")).await;
    assert_eq!(done, Claimed::Done(answered(&from("process-1"), "{}")));
    let lost = idempotency("ws-none", "k");
    let error = store.claim_idempotency(&lost, NOW_MS).await.unwrap_err();
    assert!(matches!(error, StoreError::NoParent(_)), "{error}");
}

async fn expired_keys_are_pruned(store: &dyn Store) {
    let rows = [30, 10, 20, 40].map(|end| IdempotencyRow {
        expires_at_ms: FAR_MS + end,
        ..idempotency(OURS, &format!("k{end}"))
    });
    for row in &rows {
        assert_eq!(claim(store, row).await, Claimed::Yours);
    }
    assert_eq!(store.prune_idempotency(FAR_MS + 40, 2).await.unwrap(), 2);
    let running = claim(store, &rows[0]).await;
    assert_eq!(running, Claimed::Running(rows[0].clone()));
    assert_eq!(claim(store, &rows[1]).await, Claimed::Yours);
    assert_eq!(store.prune_idempotency(FAR_MS + 40, 9).await.unwrap(), 2);
    assert_eq!(store.prune_idempotency(FAR_MS + 40, 9).await.unwrap(), 0);
}
