//! The process is killed while it writes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use portunus_store::{
    APPROVAL_PENDING, APPROVAL_USED, Claimed, DEFAULT_WORKSPACE_ID, JournalRow, Store, open,
};

use crate::TempDatabase;
use crate::rows::{api_key, full_log};
use crate::state_rows::{NOW_MS, approval, idempotency, ids, journal, response};

/// Names the database for the child; without it the child's test does nothing.
const DATABASE: &str = "PORTUNUS_STORE_CRASH_DATABASE";

/// Writes until it is killed, and prints the name of each row after it was acknowledged.
#[tokio::test]
#[ignore = "the child of acknowledged_rows_survive_a_kill"]
async fn child_that_writes_until_it_is_killed() {
    let Ok(url) = std::env::var(DATABASE) else {
        return;
    };
    let store = open(&url).await.unwrap();
    for number in std::process::id()..u32::MAX {
        let name = format!("{}-{number}", std::process::id());
        store
            .insert_api_key(&api_key(DEFAULT_WORKSPACE_ID, &name))
            .await
            .unwrap();
        store
            .insert_logs(vec![full_log(DEFAULT_WORKSPACE_ID, &name)])
            .await
            .unwrap();
        write_state(&*store, &name).await;
        println!("acknowledged {name}");
    }
}

/// A question that waits, one that is used, a response, a call and a running request.
async fn write_state(store: &dyn Store, name: &str) {
    let waits = approval(DEFAULT_WORKSPACE_ID, &format!("mcpr_waits-{name}"));
    let used = approval(DEFAULT_WORKSPACE_ID, &format!("mcpr_used-{name}"));
    let used_id = ids([&used.id]);
    store.insert_approvals(&[waits, used]).await.unwrap();
    store
        .use_approvals(DEFAULT_WORKSPACE_ID, &used_id, NOW_MS)
        .await
        .unwrap();
    let response = response(DEFAULT_WORKSPACE_ID, name);
    let items = ids([&format!("msg_{name}")]);
    store.put_response(response, items).await.unwrap();
    store.journal_intents(&[call(name)]).await.unwrap();
    let request = idempotency(DEFAULT_WORKSPACE_ID, name);
    let claimed = store.claim_idempotency(&request, NOW_MS).await.unwrap();
    assert_eq!(claimed, Claimed::Yours);
}

fn call(name: &str) -> JournalRow {
    JournalRow {
        response_id: name.to_owned(),
        ..journal(DEFAULT_WORKSPACE_ID, &format!("mcp_{name}"))
    }
}

/// Starts the child, kills it after `rows` acknowledgements and returns their names.
fn run_child(url: &str, rows: usize) -> Vec<String> {
    let name = "crash::child_that_writes_until_it_is_killed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env(DATABASE, url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let names = lines.map_while(Result::ok).filter_map(|line| {
        line.split_once("acknowledged ")
            .map(|(_, name)| name.to_owned())
    });
    let names: Vec<_> = names.take(rows).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    names
}

async fn assert_present(store: &dyn Store, name: &str) {
    let key = store
        .api_key(DEFAULT_WORKSPACE_ID, &format!("key-{name}"))
        .await
        .unwrap();
    assert!(key.is_some(), "key {name}");
    let log = store.log(DEFAULT_WORKSPACE_ID, name).await.unwrap();
    assert_eq!(log, Some(full_log(DEFAULT_WORKSPACE_ID, name)));
}

async fn assert_state_present(store: &dyn Store, name: &str) {
    for (kind, state) in [("waits", APPROVAL_PENDING), ("used", APPROVAL_USED)] {
        let id = format!("mcpr_{kind}-{name}");
        let row = store.approval(DEFAULT_WORKSPACE_ID, &id).await.unwrap();
        assert_eq!(row.map(|row| row.state).as_deref(), Some(state), "{id}");
    }
    let expected = response(DEFAULT_WORKSPACE_ID, name);
    let found = store
        .response_of_item(DEFAULT_WORKSPACE_ID, &format!("msg_{name}"))
        .await
        .unwrap();
    assert_eq!(found, Some(expected));
    let calls = store.journal(DEFAULT_WORKSPACE_ID, name).await.unwrap();
    assert_eq!(calls, [call(name)]);
    let request = idempotency(DEFAULT_WORKSPACE_ID, name);
    let claimed = store.claim_idempotency(&request, NOW_MS).await.unwrap();
    assert_eq!(claimed, Claimed::Running(request));
}

#[tokio::test]
async fn acknowledged_rows_survive_a_kill() {
    let database = TempDatabase::new();
    let mut acknowledged = Vec::new();
    for rows in [1, 7, 20, 3, 11] {
        let names = run_child(&database.url(), rows);
        assert_eq!(names.len(), rows);
        acknowledged.extend(names);
    }
    let store = database.open().await;
    for name in &acknowledged {
        assert_present(&*store, name).await;
        assert_state_present(&*store, name).await;
    }
    // What the dead left open is said to be unknown; a call beyond the last acknowledged row of
    // each child may be there too.
    let swept = store.journal_sweep(NOW_MS).await.unwrap();
    assert!(swept >= acknowledged.len() as u64, "{swept}");
    let raw = database.raw().await;
    let integrity: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&raw)
        .await
        .unwrap();
    assert_eq!(integrity, "ok");
}
