//! Workspaces: `/v1/admin/workspaces`. Only the admin token makes and lists them.

use super::{Answer, Ask, listed, name_text, refuse_unknown};
use crate::answer::Refusal;
use axum::Json;
use axum::extract::Request;
use portunus_store::{NewWorkspace, StoreError, WorkspaceRow};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A workspace to make.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewWorkspaceBody {
    /// Its name.
    name: String,
    /// Its slug; made from the name when absent.
    #[serde(default)]
    slug: Option<String>,
    /// What is not known, to be refused by name.
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

fn shape(row: &WorkspaceRow) -> Value {
    json!({
        "id": row.id, "slug": row.slug, "name": row.name, "created_at": row.created_at,
        "object": "workspace",
    })
}

/// Makes a workspace.
///
/// # Errors
/// 409 when the slug is taken.
#[utoipa::path(
    post, path = "/v1/admin/workspaces", tag = "admin plane", request_body = NewWorkspaceBody,
    responses(
        (status = 200, description = "The workspace: `{id, slug, name, created_at, object}`"),
        (status = 403, description = "Only the admin token may"),
        (status = 409, description = "The slug is taken"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    ask.admin.require_token()?;
    let asked: NewWorkspaceBody = ask.body(request).await?;
    refuse_unknown("", &asked.other, &[])?;
    let name = name_text(&asked.name)?;
    let slug = super::virtual_keys::slug_of(asked.slug.as_deref(), &name)?;
    let made = ask
        .app
        .store
        .create_workspace(NewWorkspace { name, slug })
        .await;
    let row = made.map_err(|error| match error {
        StoreError::Conflict(_) => Refusal::conflict(
            "slug",
            "already_exists",
            "A workspace with this slug exists already.",
        ),
        other => other.into(),
    })?;
    Ok(Json(shape(&row)))
}

/// Lists the workspaces.
///
/// # Errors
/// 403 for anybody but the admin token.
#[utoipa::path(
    get, path = "/v1/admin/workspaces", tag = "admin plane",
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [workspace]}`"),
        (status = 403, description = "Only the admin token may"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    ask.admin.require_token()?;
    let rows = ask.app.store.list_workspaces().await?;
    let items: Vec<Value> = rows.iter().map(shape).collect();
    Ok(Json(listed(rows.len() as i64, &items)))
}
