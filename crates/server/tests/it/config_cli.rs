//! `portunus config …` on a data folder.

use crate::running::portunus;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;

fn run(folder: &Path, words: &[&str], input: &str) -> Output {
    let place = ["--listen", "127.0.0.1:0", "--data-dir", "data"];
    let mut child = portunus(folder)
        .arg("config")
        .args(words)
        .args(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn json(folder: &Path, words: &[&str], input: &str) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
    let output = run(folder, &words, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_config_from_its_creation_to_its_end() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let made = json(
        at,
        &["create", "--name", "Main"],
        r#"{"virtual_key": "demo"}"#,
    );
    let slug = made["slug"].as_str().unwrap();
    std::fs::write(
        at.join("new.json"),
        r#"{"virtual_key": "demo", "weight": 2}"#,
    )
    .unwrap();
    let changed = json(at, &["update", slug, "new.json", "--name", "Second"], "");
    assert_ne!(changed["version_id"], made["version_id"]);
    json(
        at,
        &["update", slug, "-", "--status", "inactive"],
        r#"{"weight": 3}"#,
    );
    let list = json(at, &["list"], "");
    assert_eq!(
        (&list["total"], &list["data"][0]["name"]),
        (&1.into(), &"Second".into())
    );
    assert_eq!(list["data"][0]["status"], "inactive");
    let shown = run(at, &["show", slug], "");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown, serde_json::json!({"weight": 3}));
    let versions = json(at, &["versions", slug], "");
    assert_eq!(versions["total"], 3);
    let text = run(at, &["versions", slug], "");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("VERSION") && text.contains(r#"{"weight":3}"#),
        "{text}"
    );
    assert_eq!(json(at, &["delete", slug], "")["deleted"], true);
    assert_eq!(json(at, &["list"], "")["total"], 0);
}

#[test]
fn what_is_refused_is_named() {
    let folder = TempDir::new().unwrap();
    for (words, input, part) in [
        (
            &["create", "--name", "a"][..],
            r#"{"cache": {}}"#,
            "config.cache",
        ),
        (&["create", "--name", "a"], "[]", "no JSON object"),
        (&["create", "--name", "a"], "{", "no JSON"),
        (&["create", "--name", "a", "none.json"], "", "none.json"),
        (&["show", "pc-none"], "", "pc-none"),
        (&["update", "pc-none"], "", "nothing to change"),
        (&["delete", "pc-none"], "", "pc-none"),
    ] {
        let output = run(folder.path(), words, input);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(part),
            "{words:?}: {said}"
        );
    }
}
