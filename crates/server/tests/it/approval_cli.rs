//! `portunus approvals …` on a data folder.

use portunus_store::{ApprovalRow, DEFAULT_WORKSPACE_ID};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// No test listens there, so that the commands work on the data folder itself.
const NOBODY: &str = "127.0.0.1:1";

fn approvals(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .args(["--listen", NOBODY, "--data-dir", "data", "approvals"])
        .args(words)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn row(id: &str) -> ApprovalRow {
    ApprovalRow {
        id: id.to_owned(),
        workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
        expires_at_ms: i64::MAX,
        server_label: "manual".to_owned(),
        tool: "delete\u{1b}[2J".to_owned(),
        tool_definition: r#"{"name":"delete"}"#.to_owned(),
        arguments: r#"{"page":1}"#.to_owned(),
        state: "pending".to_owned(),
        ..ApprovalRow::default()
    }
}

/// A data folder with two calls that wait.
async fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    assert!(approvals(folder.path(), &["list"]).status.success());
    let path = folder.path().join("data/portunus.db");
    let store = portunus_store::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let rows = [row("mcpr_1"), row("mcpr_2")];
    store.insert_approvals(&rows).await.unwrap();
    store.close().await;
    folder
}

#[tokio::test]
async fn calls_are_listed_and_decided() {
    let folder = folder().await;
    let run = |words: &[&str]| approvals(folder.path(), words);
    let list = String::from_utf8(run(&["list"]).stdout).unwrap();
    for part in ["mcpr_1", "mcpr_2", "manual", r#"{"page":1}"#, "pending"] {
        assert!(list.contains(part), "{part} is not in\n{list}");
    }
    assert!(!list.contains('\u{1b}'), "{list:?}");
    let approved = json(&run(&["approve", "mcpr_1", "-o", "json"]));
    assert_eq!(approved["state"], "approved");
    assert_eq!(approved["decided_by"], "admin");
    assert_eq!(approved["definition"]["name"], "delete");
    let denied = run(&["deny", "mcpr_2", "--reason", "not now"]);
    let said = String::from_utf8(denied.stdout).unwrap();
    assert!(said.starts_with("mcpr_2 is denied: delete"), "{said}");
    assert_eq!(json(&run(&["list", "-o", "json"]))["total"], 0);
    let all = json(&run(&["list", "--state", "all", "-o", "json"]));
    assert_eq!(all["total"], 2);
    assert_eq!(all["data"][0]["reason"], "not now");
    let again = run(&["approve", "mcpr_2"]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(
        !again.status.success() && said.contains("it is denied"),
        "{said}"
    );
    assert!(!run(&["deny", "mcpr_3"]).status.success());
}
