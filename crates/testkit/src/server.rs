//! The socket and the routes.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::journal::{Journal, Watch};
use crate::{chat, responses, wire};

/// A fake provider on a free port of 127.0.0.1; stops when it is dropped.
#[derive(Debug)]
pub struct FakeProvider {
    address: SocketAddr,
    journal: Journal,
    _tasks: JoinSet<()>,
}

impl FakeProvider {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts one on `address`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_on(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .context("bind the fake provider")?;
        let address = listener
            .local_addr()
            .context("address of the fake provider")?;
        let journal = Journal::default();
        let app = router(journal.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ended = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            journal,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base URL as a virtual key's `custom_host` wants it, `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What it saw so far.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn router(journal: Journal) -> Router {
    Router::new()
        .route("/v1/responses", post(post_responses))
        .route("/v1/responses/input_tokens", post(post_input_tokens))
        .route("/v1/chat/completions", post(post_chat))
        .route("/v1/models", get(get_models))
        .route("/__requests", get(requests).delete(clear))
        .route("/__disconnects", get(disconnects))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(journal)
}

async fn post_responses(
    State(journal): State<Journal>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let watch = journal.request(&method, &uri, &headers, &body);
    match gate(&headers, &body, watch) {
        Ok((body, watch)) => responses::answer(&body, watch).await,
        Err(refusal) => *refusal,
    }
}

async fn post_input_tokens(
    State(journal): State<Journal>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let watch = journal.request(&method, &uri, &headers, &body);
    match gate(&headers, &body, watch) {
        Ok((body, watch)) => responses::count(&body, watch).await,
        Err(refusal) => *refusal,
    }
}

async fn post_chat(
    State(journal): State<Journal>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let watch = journal.request(&method, &uri, &headers, &body);
    match gate(&headers, &body, watch) {
        Ok((body, watch)) => chat::answer(&body, watch).await,
        Err(refusal) => *refusal,
    }
}

/// The checks before any answer: JSON, and a credential other than `wrong-key`.
fn gate(
    headers: &HeaderMap,
    body: &[u8],
    mut watch: Watch,
) -> Result<(Value, Watch), Box<Response>> {
    let key = headers
        .get(http::header::AUTHORIZATION)
        .map(http::HeaderValue::as_bytes);
    let refusal = if key == Some(b"Bearer wrong-key") {
        wire::error(401, "")
    } else {
        match serde_json::from_slice(body) {
            Ok(body) => return Ok((body, watch)),
            Err(_) => wire::bad_request("We could not parse the JSON body of your request."),
        }
    };
    watch.finish();
    Err(Box::new(refusal))
}

async fn get_models(
    State(journal): State<Journal>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
) -> Json<Value> {
    journal.request(&method, &uri, &headers, b"").finish();
    let model = |id: &str| json!({"id": id, "object": "model", "created": 1_744_316_542, "owned_by": "fake"});
    Json(json!({"object": "list", "data": [model("gpt-4.1"), model("fake-small")]}))
}

async fn requests(State(journal): State<Journal>) -> Response {
    Json(journal.requests()).into_response()
}

async fn disconnects(State(journal): State<Journal>) -> Response {
    Json(journal.disconnects()).into_response()
}

async fn clear(State(journal): State<Journal>) -> StatusCode {
    journal.clear();
    StatusCode::NO_CONTENT
}
