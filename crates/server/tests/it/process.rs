//! The binary as a process: settings, first start, connections, the end.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn portunus(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    command.env_clear().env("HOME", folder).current_dir(folder);
    command
}

/// A gateway on a free port; killed when dropped.
struct Running {
    child: Child,
    lines: Vec<String>,
    rest: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = portunus(folder);
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let rest = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self {
            child,
            lines: Vec::new(),
            rest,
            address: String::new(),
        };
        while running.address.is_empty() {
            let mut line = String::new();
            assert!(
                running.rest.read_line(&mut line).unwrap() > 0,
                "it ended: {:?}",
                running.lines
            );
            match line
                .split_once("ready on http")
                .and_then(|(_, after)| after.split_once("://"))
            {
                Some((_, after)) => running.address = after.split(' ').next().unwrap().to_owned(),
                None => running.lines.push(line),
            }
        }
        running
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn ask(&self, head: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

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
        (&["check", "--config", "nowhere.toml"], 1, "nowhere.toml"),
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
    // Length and chunks at once: the chunks count, and nothing more is read from a connection on
    // which somebody else may have seen another end (RFC 9112, 6.3).
    for both in [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 40",
    ] {
        let said = gateway.ask(&format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\n{both}\r\n\r\n0\r\n\r\n\
             GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
        ));
        assert!(said.starts_with("HTTP/1.1 401"), "{said}");
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

impl Running {
    /// Sends a request to `@slow/m`; nothing is read yet.
    fn ask_slow(&self, key: &str, stream: bool) -> TcpStream {
        let body = format!(r#"{{"model":"@slow/m","input":"hi","stream":{stream}}}"#);
        let head = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             authorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = self.connect();
        connection.write_all(head.as_bytes()).unwrap();
        connection
    }

    /// The API key that the first start printed.
    fn first_key(&self) -> String {
        let said = self.lines.concat();
        said.split_whitespace()
            .find(|word| word.starts_with("pk-"))
            .unwrap()
            .to_owned()
    }
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
    let words = "\"code\":\"shutting_down\"}}\n\nevent: response.failed\ndata: {";
    assert!(said.contains("Hel") && said.contains(words), "{said}");
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
