//! An MCP server of the tests: it counts what reaches it, and its tool can be changed while it
//! runs.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The only tool.
pub(crate) const TOOL: &str = "search_docs";
/// What the tool says.
pub(crate) const RESULT: &str = "The manual says: tokens live for one hour.";

/// What has reached the server, and what it says of its tool.
struct Seen {
    requests: usize,
    /// Arguments of the calls.
    calls: Vec<Value>,
    description: String,
    /// Whether the tool is listed at all.
    listed: bool,
}

/// A running server; it ends when dropped.
pub(crate) struct Mcp {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _server: JoinSet<()>,
}

impl Mcp {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            requests: 0,
            calls: Vec::new(),
            description: "Search the manual.".to_owned(),
            listed: true,
        }));
        let router = Router::new()
            .route("/mcp", post(answer))
            .route("/other", post(answer))
            .route("/canary-of-the-path", post(answer))
            .with_state(Arc::clone(&seen));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            seen,
            _server: server,
        }
    }

    /// How an operator names it.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Arguments of the calls so far.
    pub(crate) fn calls(&self) -> Vec<Value> {
        self.seen.lock().unwrap().calls.clone()
    }

    /// Requests of any kind so far.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests
    }

    /// Describes the tool in other words.
    pub(crate) fn describe(&self, description: &str) {
        self.seen.lock().unwrap().description = description.to_owned();
    }

    /// Takes the tool off the list.
    pub(crate) fn unlist(&self) {
        self.seen.lock().unwrap().listed = false;
    }
}

async fn answer(State(seen): State<Arc<Mutex<Seen>>>, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.requests += 1;
    let result = match message["method"].as_str().unwrap() {
        "server/discover" => json!({
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "manual", "version": "1"},
        }),
        "tools/list" => json!({"tools": tools(&seen)}),
        "tools/call" => {
            seen.calls.push(message["params"]["arguments"].clone());
            json!({"content": [{"type": "text", "text": RESULT}], "isError": false})
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut result = result;
    result["resultType"] = "complete".into();
    Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})).into_response()
}

fn tools(seen: &Seen) -> Value {
    if !seen.listed {
        return json!([]);
    }
    json!([{
        "name": TOOL, "description": seen.description,
        "inputSchema": {
            "type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"],
        },
    }])
}
