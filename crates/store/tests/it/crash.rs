//! The process is killed while it writes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use portunus_store::{DEFAULT_WORKSPACE_ID, Store, open};

use crate::TempDatabase;
use crate::rows::{api_key, full_log};

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
        println!("acknowledged {name}");
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
    }
    let raw = database.raw().await;
    let integrity: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&raw)
        .await
        .unwrap();
    assert_eq!(integrity, "ok");
}
