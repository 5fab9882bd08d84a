//! `POST /v1/responses` and `POST /v1/responses/input_tokens`: bytes and headers to the gateway;
//! nothing else.

use super::{call, reply, unserved};
use crate::answer::Refusal;
use crate::api::reply::Place;
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::body;
use crate::live::Live;
use crate::marks::Marks;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use portunus_gateway::{Call, INPUT_TOKENS};

/// Creates a model response: OpenAI's Responses API, with remote MCP tools for every model.
///
/// # Errors
/// OpenAI's error object; see the statuses.
#[utoipa::path(
    post, path = "/v1/responses", tag = "data plane",
    request_body(content = serde_json::Value, description = "OpenAI's request body of POST /v1/responses"),
    responses(
        (status = 200, description = "The response object, or server-sent events when `stream` is true"),
        (status = 400, description = "A field is wrong; `error.param` names it"),
        (status = 401, description = "No gateway key, or a wrong one"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 413, description = "The body is over limits.body_bytes"),
        (status = 415, description = "The body is not declared as JSON"),
        (status = 503, description = "Too many requests at work, or the gateway is ending"),
    )
)]
pub async fn create(
    State(app): State<Shared>,
    marks: Marks,
    caller: Caller,
    request: Request,
) -> Result<Response, Refusal> {
    // Once: a reload meanwhile is for the next request.
    let live = app.live();
    let (place, call) = taken(&app, &live, "/v1/responses", marks, caller, request).await?;
    tokio::select! {
        // First: who is told here must not hear of it from below in other words.
        biased;
        () = app.life.cut.cancelled() => Err(reply::cut()),
        // Boxed: the layers around this move their futures about.
        reply = Box::pin(live.gateway.responses(call)) => Ok(reply::with_place(reply, place)),
    }
}

/// Counts the input tokens of a request, as the provider counts them.
///
/// # Errors
/// OpenAI's error object; see the statuses.
#[utoipa::path(
    post, path = "/v1/responses/input_tokens", tag = "data plane",
    request_body(content = serde_json::Value, description = "OpenAI's request body of POST /v1/responses/input_tokens"),
    responses(
        (status = 200, description = "`{object: \"response.input_tokens\", input_tokens}`"),
        (status = 400, description = "A field is wrong, or the provider cannot count (code `unsupported_value`); `error.param` names it"),
        (status = 401, description = "No gateway key, or a wrong one"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 413, description = "The body is over limits.body_bytes"),
        (status = 415, description = "The body is not declared as JSON"),
        (status = 503, description = "Too many requests at work, or the gateway is ending"),
    )
)]
pub async fn count(
    State(app): State<Shared>,
    marks: Marks,
    caller: Caller,
    request: Request,
) -> Result<Response, Refusal> {
    let live = app.live();
    let (place, call) = taken(&app, &live, INPUT_TOKENS, marks, caller, request).await?;
    tokio::select! {
        reply = live.gateway.input_tokens(call) => Ok(reply::with_place(reply, place)),
        () = app.life.cut.cancelled() => Err(reply::cut()),
    }
}

/// A place among the requests at work, and the call; a refusal is filed.
async fn taken(
    app: &App,
    live: &Live,
    endpoint: &'static str,
    marks: Marks,
    caller: Caller,
    request: Request,
) -> Result<(Place, Call), Refusal> {
    let (parts, body) = request.into_parts();
    let taken = take(app, live, &caller, &parts.headers, body).await;
    let (place, body) = taken.inspect_err(|refusal| {
        unserved::file(app, endpoint, &marks, &caller.principal, refusal);
    })?;
    Ok((place, call(endpoint, marks, caller, parts.headers, body)))
}

/// A place among the requests at work, and the body.
async fn take(
    app: &App,
    live: &Live,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Place, Bytes), Refusal> {
    caller.require(&["completions.write"])?;
    let place = app.admission.enter(&app.metrics)?;
    let body = body::json_bytes(headers, body, &live.settings.limits).await?;
    Ok((place, body))
}
