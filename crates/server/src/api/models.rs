//! `GET /v1/models`.

use super::{call, reply};
use crate::answer::Refusal;
use crate::app::Shared;
use crate::auth::Caller;
use crate::marks::Marks;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;

/// Lists what this key may use, in OpenAI's form: the named provider's models, or one
/// `@slug/…` entry for each virtual key.
///
/// # Errors
/// OpenAI's error object.
#[utoipa::path(
    get, path = "/v1/models", tag = "data plane",
    responses(
        (status = 200, description = "`{object: \"list\", data: [{id, object, created, owned_by}]}`"),
        (status = 401, description = "No gateway key, or a wrong one"),
        (status = 403, description = "The key lacks the scopes `models.list` and `completions.write`"),
    )
)]
pub async fn list(
    State(app): State<Shared>,
    marks: Marks,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    caller.require(&["models.list", "completions.write"])?;
    let place = app.admission.enter(&app.metrics)?;
    let call = call("/v1/models", marks, caller, headers, Bytes::new());
    let reply = app.live().gateway.models(&call).await;
    Ok(reply::with_place(reply, place))
}
