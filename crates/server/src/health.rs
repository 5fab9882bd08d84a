//! Probes: is the process alive, does it want traffic, what does it count.

use crate::answer::Refusal;
use crate::app::Shared;
use crate::auth::Admin;
use crate::metrics;
use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use portunus_protocol::error::code;
use portunus_store::DEFAULT_WORKSPACE_ID;
use serde_json::{Value, json};
use std::time::Duration;

/// How long `/readyz` waits for the database.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// `GET /livez`: 200 while the process runs; looks at nothing else.
#[utoipa::path(
    get, path = "/livez", tag = "probes",
    responses((status = 200, description = "The process runs"))
)]
pub async fn livez() -> Json<Value> {
    Json(json!({"status": "ok", "product": "portunus", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: 200 when the database answers and the process is not ending, else 503.
#[utoipa::path(
    get, path = "/readyz", tag = "probes",
    responses(
        (status = 200, description = "It wants traffic"),
        (status = 503, description = "The database does not answer, or the process is ending"),
    )
)]
pub async fn readyz(State(app): State<Shared>) -> Response {
    let draining = app.life.draining.is_cancelled();
    let query = app.store.workspace(DEFAULT_WORKSPACE_ID);
    let database = matches!(tokio::time::timeout(DATABASE_WAIT, query).await, Ok(Ok(_)));
    let word = |good: bool| if good { "ok" } else { "failing" };
    let status = match (draining, database) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let degraded = (!database).then_some(code::DATABASE);
    let checks = json!({"database": word(database)});
    let body =
        json!({"status": status, "draining": draining, "degraded": degraded, "checks": checks});
    let code = if status == "ready" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(body)).into_response()
}

/// `GET /metrics` on a listener of its own: open to whoever reaches it.
pub async fn metrics(State(app): State<Shared>) -> Response {
    let text = app.metrics.render(&app.log.counts());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// `GET /metrics` on the API listener: open on loopback, else for the admin token or a key with
/// the scope `metrics.view`.
///
/// # Errors
/// 401 and 403, in words, so that a scraper's failure is seen.
#[utoipa::path(
    get, path = "/metrics", tag = "probes",
    responses(
        (status = 200, description = "OpenMetrics text"),
        (status = 401, description = "No key, where the listener is not loopback"),
        (status = 403, description = "The key lacks the scope `metrics.view`"),
    )
)]
pub async fn guarded_metrics(
    State(app): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    if !app.live().settings.listen.ip().is_loopback() {
        let (mut parts, _) = request.into_parts();
        Admin::from_request_parts(&mut parts, &app)
            .await?
            .require("metrics.view")?;
    }
    Ok(metrics(State(app)).await)
}
