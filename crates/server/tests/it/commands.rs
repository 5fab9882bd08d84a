//! The commands beside `serve`: their output, and how they reach a gateway.

use crate::running::{Running, portunus};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn check_prints_every_problem_with_its_place() {
    let folder = TempDir::new().unwrap();
    let text = "listen = \"0.0.0.0:1\"\n[limits]\nbody_bites = 1\nturns = \"many\"\n";
    std::fs::write(folder.path().join("portunus.toml"), text).unwrap();
    let check = |more: &[&str]| {
        portunus(folder.path())
            .arg("check")
            .args(more)
            .output()
            .unwrap()
    };
    let output = check(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "3 problems",
        "portunus.toml:1:1: listen: ",
        "portunus.toml:3:1: limits.body_bites: ",
        "did you mean `body_bytes`?",
        "portunus.toml:4:1: limits.turns: ",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let json: Value = serde_json::from_slice(&check(&["-o", "json"]).stdout).unwrap();
    assert_eq!(
        (
            json["ok"].as_bool(),
            json["problems"].as_array().unwrap().len()
        ),
        (Some(false), 3)
    );
    std::fs::write(folder.path().join("portunus.toml"), "[limits]\nturns = 3\n").unwrap();
    assert_eq!(check(&[]).status.code(), Some(0));
}

#[test]
fn check_finds_what_would_stop_the_start() {
    let folder = TempDir::new().unwrap();
    drop(Running::start(folder.path(), &[]));
    let problems = |settings: &str, key: Option<&str>, more: &[&str]| {
        std::fs::write(folder.path().join("portunus.toml"), settings).unwrap();
        let mut command = portunus(folder.path());
        command.args(["check", "-o", "json", "--data-dir", "data"]);
        command.args(more);
        command.envs(key.map(|key| ("PORTUNUS_MASTER_KEY", key)));
        let output = command.output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), json["ok"] == true);
        json["problems"].to_string()
    };
    assert_eq!(problems("", None, &[]), "[]");
    let tls = "[tls]\ncert = \"portunus.toml\"\nkey = \"none.pem\"\n";
    assert!(problems(tls, None, &[]).contains("tls.cert"));
    assert!(problems("", Some("short"), &[]).contains("master key cannot be used"));
    let other = "9d1f4ba6c07e5238e1b94f6d20c87a35f3620b9ed84c17a5be09d36f71a2c48e";
    assert!(problems("", Some(other), &[]).contains("does not fit"));
    let missing = problems("", None, &["--config", "nope.toml"]);
    assert!(missing.contains("nope.toml"), "{missing}");
}

#[test]
fn what_a_command_refuses_it_names() {
    let folder = TempDir::new().unwrap();
    let place = ["--listen", "127.0.0.1:0", "--data-dir", "data"];
    for (words, part) in [
        (
            [
                "key",
                "create",
                "--name",
                "a",
                "--scope",
                "completions.wirte",
            ]
            .as_slice(),
            "There are completions.write, models.list",
        ),
        (
            &["virtual-key", "create", "--provider", "openai", "--no-key"],
            "--no-key",
        ),
        (&["virtual-key", "update", "x"], "nothing to change"),
    ] {
        let mut command = portunus(folder.path());
        let output = command.args(words).args(place).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
}

#[test]
fn the_schema_names_every_section() {
    let folder = TempDir::new().unwrap();
    let output = portunus(folder.path())
        .args(["config", "schema"])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    for section in [
        "listen",
        "mcp",
        "providers",
        "log",
        "limits",
        "response",
        "metrics",
        "tls",
    ] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn commands_work_with_and_without_a_running_gateway() {
    let folder = TempDir::new().unwrap();
    let gateway = Running::start(folder.path(), &[]);
    let run = |listen: &str, words: &[&str], input: &str| {
        let mut command = portunus(folder.path());
        command
            .args(words)
            .args(["--listen", listen, "--data-dir", "data", "-o", "json"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let address = gateway.address.clone();
    let made = run(&address, &["key", "create", "--name", "one"], "");
    assert!(made["key"].as_str().unwrap().starts_with("pk-"));
    let create = [
        "virtual-key",
        "create",
        "--provider",
        "groq",
        "--slug",
        "main",
    ];
    assert_eq!(
        run(&address, &create, "gsk-canary-0123456789\n")["slug"],
        "main"
    );
    drop(gateway);
    let keys = run(&address, &["key", "list"], "");
    assert_eq!(keys["total"], 2);
    let revoke = ["key", "revoke", made["id"].as_str().unwrap()];
    assert_eq!(run(&address, &revoke, "")["revoked"], true);
    assert_eq!(
        run(&address, &["virtual-key", "list"], "")["data"][0]["masked_key"],
        "…6789"
    );
    assert_eq!(run(&address, &["logs"], "")["object"], "list");
}

#[test]
fn errors_have_the_form_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (words, code, part) in [
        (["key", "list", "--data-dir", "file"].as_slice(), 1, "file"),
        (&["vault", "status", "--data-dir", "none"], 1, "none"),
        (
            &["key", "list", "--config", "nowhere.toml"],
            1,
            "nowhere.toml",
        ),
        (&["logs", "--listen", "nonsense"], 1, "--listen"),
        (&["key", "crate"], 2, "'create'"),
        (&["demo", "--twice"], 2, "--twice"),
    ] {
        let output = portunus(folder.path())
            .args(words)
            .args(["-o", "json"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let error: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{words:?}: {message}");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(output.stdout.is_empty());
        let text = portunus(folder.path()).args(words).output().unwrap();
        assert_eq!(text.status.code(), Some(code), "{words:?}");
        assert!(!text.stderr.starts_with(b"{"), "{words:?}");
    }
}

/// Makes a certificate for `localhost`; says whether there is an openssl that can.
fn certificate(folder: &Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out"])
        .arg("cert.pem")
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
}

/// Asks the demo model through the socket of a gateway.
fn ask_through(socket: &Path, key: &str) {
    let body = r#"{"model":"demo","input":"hi"}"#;
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         authorization: Bearer {key}\r\nx-portkey-virtual-key: demo\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn with_tls_commands_reach_the_gateway_through_its_socket() {
    let folder = TempDir::new().unwrap();
    if !certificate(folder.path()) {
        println!("skipped: no openssl that makes a certificate");
        return;
    }
    let settings = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[log]\nflush_ms = 1\n";
    std::fs::write(folder.path().join("portunus.toml"), settings).unwrap();
    let gateway = Running::start(folder.path(), &[]);
    let command = |words: &[&str]| {
        let mut command = portunus(folder.path());
        command
            .args(words)
            .args(["--data-dir", "data", "-o", "json"]);
        command
    };
    let mut follow = command(&["logs", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(follow.stdout.take().unwrap());
    let (sender, receiver) = channel();
    let reader = std::thread::spawn(move || {
        let mut row = String::new();
        rows.read_line(&mut row).unwrap();
        sender.send(row).unwrap();
    });
    let (socket, key) = (
        folder.path().join("data/portunus.sock"),
        gateway.first_key(),
    );
    // It sees only what is stored once it listens: ask until it has seen one.
    let row = loop {
        ask_through(&socket, &key);
        if let Ok(row) = receiver.recv_timeout(Duration::from_millis(200)) {
            break row;
        }
    };
    reader.join().unwrap();
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row["virtual_key"], "demo");
    let count = || {
        let listed = command(&["key", "list"]).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["total"].as_i64().unwrap()
    };
    assert_eq!(count(), 1);
    // Killed: its socket is left, and the folder itself is used.
    drop(gateway);
    follow.wait().unwrap();
    assert!(socket.exists());
    assert_eq!(count(), 1);
}

/// What `portunus demo --once` prints.
fn demo(folder: &Path, more: &[&str]) -> String {
    let mut command = portunus(folder);
    command
        .args(["demo", "--once"])
        .args(more)
        .env("PORTUNUS_LISTEN", "127.0.0.1:0")
        .env("TMPDIR", folder);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn the_demo_for_a_program_prints_items_and_row_each_time() {
    let folder = TempDir::new().unwrap();
    for _ in 0..5 {
        let said = demo(folder.path(), &["-o", "json"]);
        let lines: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let kind = |line: &Value| {
            let kind = line["type"].as_str().or(line["object"].as_str());
            kind.unwrap_or_default().to_owned()
        };
        let kinds: Vec<String> = lines.iter().map(kind).collect();
        assert_eq!(kinds, ["mcp_list_tools", "mcp_call", "message", "log"]);
        assert_eq!(lines[3]["response_status_code"], 200);
        assert_eq!(lines[3]["tool_calls"][0]["tool"], lines[1]["name"]);
    }
}

#[test]
fn the_demo_shows_the_whole_way_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let said = demo(folder.path(), &[]);
    let places: Vec<Option<usize>> = [
        "Request",
        "curl -N http://127.0.0.1:",
        "mcp_list_tools",
        "search_docs",
        "mcp_call",
        "\"query\":",
        "message",
        "no language model",
        "response.completed",
        "log-",
        "200 completed",
        "list portunus",
        "turn 1",
        "call portunus.search_docs",
        "turn 2",
        "ms gateway",
    ]
    .iter()
    .map(|part| said.find(part))
    .collect();
    assert!(places.iter().all(Option::is_some), "{places:?} in\n{said}");
    assert!(!said.contains('\u{1b}'), "colours without a terminal");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
