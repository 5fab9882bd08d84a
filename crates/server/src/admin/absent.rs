//! What Portkey's SDKs can ask for and this gateway does not have: lists are empty, and what
//! would make something says that it is not built. Any good key may ask.

use super::listed;
use crate::answer::Refusal;
use crate::auth::Admin;
use axum::Json;
use http::StatusCode;
use portunus_protocol::error::{ErrorBody, kind};
use serde_json::Value;

fn empty() -> Json<Value> {
    Json(listed(0, &[]))
}

/// 501: nothing was done.
fn not_built(what: &str) -> Refusal {
    let message = format!("This gateway has no {what}: nothing was stored or run.");
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("not_implemented");
    Refusal::new(StatusCode::NOT_IMPLEMENTED, body)
}

/// A route for an empty list, and one that makes nothing.
macro_rules! absent {
    ($($module:ident $path:literal $what:literal;)+) => {
        $(
            #[doc = concat!("The ", $what, ", of which there are none.")]
            pub mod $module {
                use super::{Admin, Json, Refusal, Value, empty, not_built};

                #[doc = concat!("An empty list: there are no ", $what, ".")]
                #[utoipa::path(
                    get, path = $path, tag = "admin plane",
                    responses((status = 200, description = "`{object: \"list\", total: 0, data: []}`"))
                )]
                pub async fn list(_: Admin) -> Json<Value> {
                    empty()
                }

                #[doc = concat!("Not built: ", $what, ".\n\n# Errors\n501, always.")]
                #[utoipa::path(
                    post, path = $path, tag = "admin plane",
                    responses((status = 501, description = "Not built"))
                )]
                pub async fn create(_: Admin) -> Result<Json<Value>, Refusal> {
                    Err(not_built($what))
                }
            }
        )+
    };
}

absent! {
    guardrails "/v1/guardrails" "guardrails";
    labels "/v1/labels" "labels";
    collections "/v1/collections" "collections";
    prompts "/v1/prompts" "stored prompts";
    partials "/v1/prompts/partials" "prompt partials";
    users "/v1/admin/users" "users";
    invites "/v1/admin/users/invites" "invitations of users";
    secret_references "/v1/secret-references" "secret references";
}

/// Not built: stored prompts.
///
/// # Errors
/// 501, always.
#[utoipa::path(
    post, path = "/v1/prompts/{id}/render", tag = "admin plane",
    params(("id" = String, Path, description = "Any")),
    responses((status = 501, description = "Not built"))
)]
pub async fn render(_: Admin) -> Result<Json<Value>, Refusal> {
    Err(not_built("stored prompts"))
}

/// Not built: stored prompts.
///
/// # Errors
/// 501, always.
#[utoipa::path(
    post, path = "/v1/prompts/{id}/completions", tag = "admin plane",
    params(("id" = String, Path, description = "Any")),
    responses((status = 501, description = "Not built"))
)]
pub async fn complete(_: Admin) -> Result<Json<Value>, Refusal> {
    Err(not_built("stored prompts"))
}

/// An empty list: changes are not audited.
#[utoipa::path(
    get, path = "/v1/audit-logs", tag = "admin plane",
    responses((status = 200, description = "`{object: \"list\", total: 0, data: []}`"))
)]
pub async fn audit_logs(_: Admin) -> Json<Value> {
    empty()
}
