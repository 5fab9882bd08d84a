//! A raw HTTP server whose every byte a test decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Number of the connection that it came on.
    pub(crate) connection: usize,
    pub(crate) verb: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Seen {
    /// The JSON-RPC method; empty for answers and for GET.
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a server does with a connection after a request.
#[derive(Clone)]
pub(crate) enum Step {
    /// Writes.
    Write(Vec<u8>),
    /// Writes more of an answer whose head has said where it ends.
    More(Vec<u8>),
    /// Writes again and again, until the client closes the connection, and notes that.
    Drip(&'static [u8]),
    /// Waits for a test, or for another request, to say so.
    Wait(Arc<Notify>),
    /// Waits until the client closes the connection, and notes it.
    Hang,
}

/// Shorter than any bound of a test.
const DRIP_INTERVAL: Duration = Duration::from_millis(20);

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// A running server; stops when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    changed: watch::Receiver<usize>,
    closed: watch::Receiver<usize>,
    ended: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (seen_count, changed) = watch::channel(0);
        let (closed_count, closed) = watch::channel(0);
        let (ended_count, ended) = watch::channel(0);
        let desk = Desk {
            script: Arc::new(script),
            seen: Arc::clone(&seen),
            seen_count,
            closed_count,
            ended_count,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(desk)));
        Self {
            url,
            seen,
            changed,
            closed,
            ended,
            _tasks: tasks,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// JSON-RPC methods in order of arrival; `GET` for event streams, `reply` for answers.
    pub(crate) fn methods(&self) -> Vec<String> {
        let name = |seen: &Seen| match (seen.verb.as_str(), seen.method()) {
            ("POST", "") => "reply".to_owned(),
            ("POST", method) => method.to_owned(),
            (verb, _) => verb.to_owned(),
        };
        self.seen().iter().map(name).collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|seen| *seen == method).count()
    }

    /// Waits until `method` came `times` times.
    pub(crate) async fn wait_for(&self, method: &str, times: usize) {
        let mut changed = self.changed.clone();
        changed
            .wait_for(|_| self.count(method) >= times)
            .await
            .unwrap();
    }

    /// Waits until `times` connections are closed, by whichever side.
    pub(crate) async fn wait_for_ended(&self, times: usize) {
        self.ended
            .clone()
            .wait_for(|ended| *ended >= times)
            .await
            .unwrap();
    }

    /// Waits until `times` connections in [`Step::Hang`] or [`Step::Drip`] were closed by the client.
    pub(crate) async fn wait_for_closed(&self, times: usize) {
        self.closed
            .clone()
            .wait_for(|closed| *closed >= times)
            .await
            .unwrap();
    }
}

struct Desk {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    seen_count: watch::Sender<usize>,
    closed_count: watch::Sender<usize>,
    ended_count: watch::Sender<usize>,
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let desk = Arc::clone(&desk);
        number += 1;
        connections.spawn(async move {
            let _ = serve(stream, number, &desk).await;
            desk.ended_count.send_modify(|count| *count += 1);
        });
    }
}

/// Serves requests until the client closes, or an answer says that it ends the connection.
async fn serve(mut stream: TcpStream, number: usize, desk: &Desk) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(mut seen) = read_request(&mut stream, &mut buffer).await? {
        seen.connection = number;
        desk.seen.lock().unwrap().push(seen.clone());
        desk.seen_count.send_modify(|count| *count += 1);
        let mut last = false;
        for step in (desk.script)(&seen) {
            match step {
                Step::Write(bytes) => {
                    last |= !has_length(&bytes);
                    stream.write_all(&bytes).await?;
                }
                Step::More(bytes) => stream.write_all(&bytes).await?,
                Step::Drip(bytes) => {
                    let mut pace = tokio::time::interval(DRIP_INTERVAL);
                    while stream.write_all(bytes).await.is_ok() {
                        pace.tick().await;
                    }
                    desk.closed_count.send_modify(|count| *count += 1);
                    return Ok(());
                }
                Step::Wait(notify) => notify.notified().await,
                Step::Hang => {
                    while stream.read(&mut [0; 1024]).await? > 0 {}
                    desk.closed_count.send_modify(|count| *count += 1);
                    return Ok(());
                }
            }
        }
        if last {
            return Ok(());
        }
    }
    Ok(())
}

fn has_length(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let framed = head.contains("content-length:") || head.contains("transfer-encoding: chunked");
    head.starts_with("http/1.1") && framed
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (verb, path) = (
        first.next().unwrap_or_default(),
        first.next().unwrap_or_default(),
    );
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = serde_json::from_slice(&buffer[end..end + length]).unwrap_or_default();
    let seen = Seen {
        connection: 0,
        verb: verb.to_owned(),
        path: path.to_owned(),
        headers,
        body,
    };
    buffer.drain(..end + length);
    Ok(Some(seen))
}

/// An answer with a length, so that the connection can go on.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    vec![Step::Write(text.into_bytes())]
}

pub(crate) const JSON: &str = "content-type: application/json\r\n";

pub(crate) fn json_answer(body: &Value) -> Vec<Step> {
    http("200 OK", JSON, &body.to_string())
}

/// A JSON-RPC result for `seen`.
pub(crate) fn result(seen: &Seen, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result})
}

pub(crate) fn error(seen: &Seen, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": seen.body["id"], "error": {"code": code, "message": message}})
}

/// The head of an event stream that ends with the connection.
pub(crate) fn stream_head() -> Step {
    Step::Write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec())
}

pub(crate) fn event(message: &Value) -> Step {
    Step::Write(format!("data: {message}\n\n").into_bytes())
}

pub(crate) fn text_result(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

pub(crate) fn one_tool() -> Value {
    json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]})
}

/// A well-behaved server of 2025-11-25 with one session.
pub(crate) fn legacy(seen: &Seen) -> Vec<Step> {
    match (seen.verb.as_str(), seen.method()) {
        ("GET", _) => http("405 Method Not Allowed", "", ""),
        (_, "server/discover") => http("404 Not Found", "", "no such thing"),
        (_, "initialize") => {
            let body = result(
                seen,
                &json!({"protocolVersion": "2025-11-25", "capabilities": {}}),
            );
            http(
                "200 OK",
                &format!("{JSON}mcp-session-id: s1\r\n"),
                &body.to_string(),
            )
        }
        (_, "tools/list") => json_answer(&result(seen, &one_tool())),
        (_, "tools/call") => json_answer(&result(seen, &text_result("done"))),
        _ => http("202 Accepted", "", ""),
    }
}

/// A well-behaved server of 2026-07-28.
pub(crate) fn modern(seen: &Seen) -> Vec<Step> {
    match seen.method() {
        "server/discover" => json_answer(&result(
            seen,
            &json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        )),
        "tools/list" => {
            let mut list = one_tool();
            list["ttlMs"] = json!(60_000);
            json_answer(&result(seen, &list))
        }
        "tools/call" => json_answer(&result(seen, &text_result("done"))),
        _ => http(
            "404 Not Found",
            JSON,
            &error(seen, -32601, "Method not found").to_string(),
        ),
    }
}

/// How a well-behaved server of an era answers.
pub(crate) type Era = fn(&Seen) -> Vec<Step>;

/// Where a rule holds for both eras, its test runs with both of these.
pub(crate) const ERAS: [Era; 2] = [legacy, modern];

/// A server of `era` that answers `method` in its own way.
pub(crate) fn with(
    era: Era,
    method: &'static str,
    answer: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    move |seen| {
        if seen.method() == method {
            answer(seen)
        } else {
            era(seen)
        }
    }
}

/// A legacy server that answers calls in its own way.
pub(crate) fn legacy_call(
    call: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    with(legacy, "tools/call", call)
}
