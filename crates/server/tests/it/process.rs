//! The gateway as a process: first start, connections, the end.

use crate::running::{Running, mode, portunus};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn first_start_makes_private_files_and_says_each_secret_once() {
    let folder = TempDir::new().unwrap();
    let first = Running::start(folder.path(), &[]);
    let said = first.lines.concat();
    let data = folder.path().join("data");
    assert_eq!(mode(&data), 0o700);
    for file in [
        "master-key",
        "admin-token",
        "portunus.db",
        "portunus.sock",
        "lock",
    ] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
    assert_eq!(said.matches(token.trim()).count(), 1);
    assert_eq!(said.matches("pk-").count(), 1);
    assert!(
        !said.contains(
            std::fs::read_to_string(data.join("master-key"))
                .unwrap()
                .trim()
        )
    );
    drop(first);
    let second = Running::start(folder.path(), &[]);
    assert_eq!(second.lines, [] as [&str; 0]);
}

#[test]
fn a_wrong_or_lost_master_key_is_refused_in_one_line() {
    let folder = TempDir::new().unwrap();
    drop(Running::start(folder.path(), &[]));
    let key = folder.path().join("data/master-key");
    let start = |command: &mut Command| {
        let output = command
            .args(["--listen", "127.0.0.1:0", "--data-dir", "data"])
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let other = "9d1f4ba6c07e5238e1b94f6d20c87a35f3620b9ed84c17a5be09d36f71a2c48e";
    let wrong = start(portunus(folder.path()).env("PORTUNUS_MASTER_KEY", other));
    assert!(
        wrong.contains("does not fit") && wrong.contains("PORTUNUS_MASTER_KEY_FILE"),
        "{wrong}"
    );
    assert_eq!(wrong.lines().count(), 1);
    let short = start(portunus(folder.path()).env("PORTUNUS_MASTER_KEY", "short"));
    assert!(short.contains("the master key cannot be used"), "{short}");
    std::fs::remove_file(&key).unwrap();
    let lost = start(&mut portunus(folder.path()));
    assert!(
        lost.contains("put") && lost.contains("master-key"),
        "{lost}"
    );
    assert!(!key.exists());
}

#[test]
fn a_second_gateway_on_the_same_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    let first = Running::start(folder.path(), &[]);
    let second = || {
        let output = portunus(folder.path())
            .args(["--listen", "127.0.0.1:0", "--data-dir", "data"])
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = second();
    assert!(
        said.contains("already serves the data folder data"),
        "{said}"
    );
    let ready = first.ask("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    drop(first);
    Running::start(folder.path(), &[]);
}

#[test]
fn a_public_bind_is_refused_without_tls_or_the_flag() {
    let folder = TempDir::new().unwrap();
    let output = portunus(folder.path())
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--insecure-bind"), "{said}");
    assert!(!output.status.success());
}

#[test]
fn half_a_head_is_dropped_by_a_timer() {
    let folder = TempDir::new().unwrap();
    let settings = "[limits]\nheader_timeout_ms = 300\n";
    std::fs::write(folder.path().join("portunus.toml"), settings).unwrap();
    let gateway = Running::start(folder.path(), &[]);
    for half in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /livez HTTP/1.1\r\nhost: x\r\n",
    ] {
        let began = Instant::now();
        let said = gateway.ask(half);
        assert!(began.elapsed() < Duration::from_secs(10), "{half:?}");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{half:?}: {said}"
        );
    }
}

#[test]
fn heads_are_bounded_and_ambiguous_ones_refused() {
    let folder = TempDir::new().unwrap();
    let gateway = Running::start(folder.path(), &[]);
    let fields: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = gateway.ask(&format!("GET /livez HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let two = "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    let said = gateway.ask(two);
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    // Length and chunks at once: refused, and nothing more is read from a connection on which
    // somebody else may have seen another end (RFC 9112, 6.3).
    for both in [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 40",
    ] {
        let said = gateway.ask(&format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\n{both}\r\n\r\n0\r\n\r\n\
             GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
        ));
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
        assert!(said.contains("x-request-id: req_"), "{said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
    }
    let good = gateway.ask("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
}

#[test]
fn a_signal_ends_it_in_order_and_frees_the_log_stream() {
    let folder = TempDir::new().unwrap();
    let mut gateway = Running::start(folder.path(), &[]);
    let token = std::fs::read_to_string(folder.path().join("data/admin-token")).unwrap();
    let mut stream = gateway.connect();
    let head = format!(
        "GET /v1/portunus/logs/stream HTTP/1.1\r\nhost: x\r\nx-portkey-api-key: {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let began = Instant::now();
    gateway.signal("-TERM");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(gateway.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10));
    let mut said = String::new();
    gateway.rest.read_to_string(&mut said).unwrap();
    assert!(!said.contains("grace is over"), "{said}");
    let words = "portunus is ending: 0 requests still run";
    assert_eq!(said.matches(words).count(), 1, "{said}");
    // The database was closed: its log is folded in, and nobody listens any more.
    for gone in ["portunus.db-wal", "portunus.sock"] {
        assert!(!folder.path().join("data").join(gone).exists(), "{gone}");
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("portunus.toml"),
        "[shutdown]\ndelay_ms = 60000\n",
    )
    .unwrap();
    let mut gateway = Running::start(folder.path(), &[]);
    let began = Instant::now();
    gateway.signal("-TERM");
    // Ready says 503 as soon as the first signal has arrived; only then is a second one a second.
    loop {
        let said = gateway.ask("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        if said.starts_with("HTTP/1.1 503") {
            break;
        }
    }
    gateway.signal("-TERM");
    assert!(gateway.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// A chat provider that sends the begin of an answer and then nothing more. Its address, and a
/// sign for each request that it got.
fn stalling_provider() -> (String, Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let _some = stream.read(&mut head).unwrap();
            let event = concat!(
                r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","#,
                r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}"#,
                "\n\n"
            );
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{event}");
            stream.write_all(answer.as_bytes()).unwrap();
            held.push(stream);
            sender.send(()).unwrap();
        }
    });
    (address, receiver)
}

fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_outlives_grace_is_told_and_filed() {
    let folder = TempDir::new().unwrap();
    let settings = "[shutdown]\ndelay_ms = 0\ngrace_ms = 200\n";
    std::fs::write(folder.path().join("portunus.toml"), settings).unwrap();
    let mut gateway = Running::start(folder.path(), &[]);
    let (provider, reached) = stalling_provider();
    let host = format!("http://{provider}/v1");
    let make = [
        "virtual-key",
        "create",
        "--provider",
        "openai-compatible",
        "--slug",
        "slow",
    ];
    let place = [
        "--listen",
        &gateway.address,
        "--data-dir",
        "data",
        "--no-key",
        "--custom-host",
        &host,
    ];
    assert!(
        portunus(folder.path())
            .args(make)
            .args(place)
            .status()
            .unwrap()
            .success()
    );

    let key = gateway.first_key();
    let (mut streamed, mut whole) = (gateway.ask_slow(&key, true), gateway.ask_slow(&key, false));
    for _ in 0..2 {
        reached.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    gateway.signal("-TERM");
    let said = rest_of(&mut streamed);
    let (before, after) = said.split_once("event: error\n").unwrap();
    assert!(before.contains("Hel"), "{said}");
    let (error, failed) = after.split_once("event: response.failed\n").unwrap();
    for text in [error, failed] {
        assert!(text.contains("\"code\":\"shutting_down\""), "{said}");
    }
    let answer = rest_of(&mut whole);
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("x-should-retry: false"),
        "{answer}"
    );
    assert!(gateway.child.wait().unwrap().success());

    let logs = [
        "logs",
        "-o",
        "json",
        "--listen",
        &gateway.address,
        "--data-dir",
        "data",
    ];
    let output = portunus(folder.path()).args(logs).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = list["data"].as_array().unwrap();
    let outcomes: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed"]);
    let sources: Vec<&Value> = rows.iter().map(|row| &row["error_source"]).collect();
    assert_eq!(sources, ["gateway", "gateway"]);
}
