//! The request log: `GET /v1/logs` (ours) and `GET /v1/logs/{id}` (Portkey's).

use super::{Answer, Ask, log_filter, log_shape};
use crate::answer::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::Path;
use portunus_protocol::error::code;
use portunus_store::{LogDetail, StoreError};
use serde_json::{Value, json};

/// Lists requests, newest first.
///
/// # Errors
/// 400 that names an unknown or wrong parameter.
#[utoipa::path(
    get, path = "/v1/logs", tag = "admin plane",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 500; 50 by default"),
        ("after" = Option<String>, Query, description = "The last id of the page before"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
        ("status_code" = Option<String>, Query, description = "One or more, parted by commas"),
        ("ai_model" = Option<String>, Query, description = "Asked for or served; one or more"),
        ("ai_org" = Option<String>, Query, description = "Provider; one or more"),
        ("virtual_keys" = Option<String>, Query, description = "Slugs"),
        ("api_key_ids" = Option<String>, Query, description = "Ids"),
        ("trace_id" = Option<String>, Query, description = "Exactly this trace"),
        ("time_of_generation_min" = Option<String>, Query, description = "RFC 3339"),
        ("time_of_generation_max" = Option<String>, Query, description = "RFC 3339"),
        ("cost_min" = Option<f64>, Query, description = "In cents"),
        ("cost_max" = Option<f64>, Query, description = "In cents"),
        ("total_units_min" = Option<i64>, Query, description = "Tokens"),
        ("total_units_max" = Option<i64>, Query, description = "Tokens"),
        ("prompt_token_min" = Option<i64>, Query, description = "Input tokens"),
        ("prompt_token_max" = Option<i64>, Query, description = "Input tokens"),
        ("completion_token_min" = Option<i64>, Query, description = "Output tokens"),
        ("completion_token_max" = Option<i64>, Query, description = "Output tokens"),
        ("mcp_server" = Option<String>, Query, description = "Label of an MCP server"),
        ("mcp_tool" = Option<String>, Query, description = "Tool that was called"),
        ("error_source" = Option<String>, Query, description = "gateway, provider, mcp, client"),
        ("contains" = Option<String>, Query, description = "Text in preview, error, model or id"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", data: [log], has_more, last_id}`"),
        (status = 400, description = "A parameter is wrong or unknown"),
        (status = 403, description = "The key lacks the scope `logs.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let workspace_id = ask.allowed("logs.list").await?;
    let Ask { app, query, .. } = &ask;
    let filter = log_filter::filter(query)?;
    let limit = log_filter::limit(query)?;
    let found = app
        .store
        .list_logs(&workspace_id, &filter, limit, query.get("after"))
        .await;
    let (rows, has_more) = found.map_err(|error| match error {
        StoreError::UnknownCursor => Refusal::field("after", code::VALUE, error.to_string()),
        other => other.into(),
    })?;
    let last_id = rows.last().map(|row| row.request.id.clone());
    let data: Vec<Value> = rows.iter().map(log_shape::summary).collect();
    Ok(Json(
        json!({"object": "list", "data": data, "has_more": has_more, "last_id": last_id}),
    ))
}

/// One request with its turns, tool lists, tool calls and attempts.
///
/// # Errors
/// 404 for an id that the caller's workspace does not have.
#[utoipa::path(
    get, path = "/v1/logs/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id, `log-…`")),
    responses(
        (status = 200, description = "Portkey's log object, with `turns`, `tool_lists`, `tool_calls`, `attempts`"),
        (status = 403, description = "The key lacks the scope `logs.view`"),
        (status = 404, description = "No such log in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(id): Path<String>) -> Answer {
    let workspace_id = ask.allowed("logs.view").await?;
    let found = if ask.admin.sees_all() && ask.query.get("workspace_id").is_none() {
        anywhere(&ask.app, &id).await?
    } else {
        ask.app.store.log(&workspace_id, &id).await?
    };
    let log = found.ok_or_else(|| Refusal::not_found("log", &id))?;
    Ok(Json(log_shape::detail(&log)))
}

/// The log of that id in whatever workspace: for the admin token alone.
async fn anywhere(app: &App, id: &str) -> Result<Option<LogDetail>, StoreError> {
    for workspace in app.store.list_workspaces().await? {
        if let Some(log) = app.store.log(&workspace.id, id).await? {
            return Ok(Some(log));
        }
    }
    Ok(None)
}
