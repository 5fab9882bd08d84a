//! Servers to talk to and the client that talks.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use portunus_egress::{AllowList, Client, Limits, Response, SendError, Settings, Zone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A server that lives as long as this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub(crate) async fn serve(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server {
        address,
        _task: task,
    }
}

/// A server that reads one request per connection, writes `answer` and closes; no answer at all
/// means it closes at once. Each request's bytes are sent to the returned channel.
pub(crate) async fn serve_raw(
    answer: &'static [u8],
) -> (Server, tokio::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = tokio::sync::mpsc::channel(16);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let request = read_request(&mut socket).await;
            socket.write_all(answer).await.unwrap();
            drop(socket);
            seen.send(request).await.unwrap();
        }
    });
    (
        Server {
            address,
            _task: task,
        },
        requests,
    )
}

async fn read_request(socket: &mut TcpStream) -> Vec<u8> {
    let mut request = vec![0; 8192];
    let read = socket.read(&mut request).await.unwrap();
    request.truncate(read);
    request
}

/// A client whose allow-list opens loopback to MCP servers.
pub(crate) fn client() -> Client {
    client_with(Settings::default())
}

pub(crate) fn client_with(settings: Settings) -> Client {
    let mcp_allow = AllowList::parse(["127.0.0.0/8"]).unwrap();
    Client::new(Settings {
        mcp_allow,
        ..settings
    })
    .unwrap()
}

pub(crate) async fn get(url: &str, limits: Limits) -> Result<Response, SendError> {
    client().send(Zone::Mcp, request(url), limits).await
}

pub(crate) fn request(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

pub(crate) fn millis(count: u64) -> Option<Duration> {
    Some(Duration::from_millis(count))
}

const CHILD_URL: &str = "PORTUNUS_TEST_CHILD_URL";

/// The URL to call when this process is the child of [`run_as_child`].
pub(crate) fn url_for_child() -> Option<String> {
    std::env::var(CHILD_URL).ok()
}

/// Runs one test again as a child with other variables: they cannot be set inside a process that
/// has threads.
pub(crate) async fn run_as_child(test: &str, url: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_URL, url);
    child.envs(variables.iter().copied());
    let running = tokio::task::spawn_blocking(move || child.output().unwrap());
    let done = running.await.unwrap();
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && output.contains("1 passed"),
        "{output}"
    );
}
