//! `POST /v1/portunus/reload`: the settings, read anew.

use crate::answer::Refusal;
use crate::app::Shared;
use crate::auth::Admin;
use crate::reload;
use crate::settings::Problems;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portunus_protocol::error::{ErrorBody, kind};
use serde_json::json;

/// Reads the settings file and the environment anew, as SIGHUP does. They are live when the
/// answer is there, for the requests that come then.
///
/// # Errors
/// 403 for everybody but the admin token; 422 with all problems, and then nothing has changed.
#[utoipa::path(
    post, path = "/v1/portunus/reload", tag = "admin plane",
    responses(
        (status = 200, description = "`{object: \"reload\", changed: [name], restart: [name]}`: what is \
            live now, and what counts from the next start on"),
        (status = 403, description = "Not the admin token"),
        (status = 422, description = "The settings are no good, the old ones stay; \
            `problems: [{path, place, message}]` beside `error`"),
    )
)]
pub async fn reload(State(app): State<Shared>, admin: Admin) -> Result<Response, Refusal> {
    admin.require_token()?;
    Ok(match reload::reload(&app).await {
        Ok(report) => {
            let (changed, restart) = (report.changed, report.restart);
            Json(json!({"object": "reload", "changed": changed, "restart": restart}))
                .into_response()
        }
        Err(problems) => not_reloaded(&problems),
    })
}

fn not_reloaded(problems: &Problems) -> Response {
    let message = format!("The settings are not reloaded, the old ones stay. {problems}");
    let mut body = ErrorBody::new(kind::INVALID_REQUEST, message).code("invalid_settings");
    let named = problems.0.iter().find(|problem| !problem.path.is_empty());
    if let Some(problem) = named {
        body = body.param(problem.path.clone());
    }
    let mut envelope = body.envelope();
    envelope["problems"] = json!(problems.0);
    (StatusCode::UNPROCESSABLE_ENTITY, Json(envelope)).into_response()
}
