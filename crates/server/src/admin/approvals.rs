//! Tool calls that wait for a person: `/v1/portunus/approvals`. A word that is given here counts
//! when the caller comes back with its own; it never runs anything by itself.

use super::log_shape::time;
use super::{Answer, Ask, listed, plain_text};
use crate::answer::Refusal;
use crate::app::App;
use crate::body;
use axum::Json;
use axum::body::HttpBody;
use axum::extract::{Path, Request};
use http::header;
use jiff::Timestamp;
use portunus_protocol::error::code;
use portunus_store::{
    APPROVAL_APPROVED, APPROVAL_DENIED, APPROVAL_EXPIRED, APPROVAL_PENDING, APPROVAL_USED,
    ApprovalRow, Decided,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What `state` may be.
const STATES: [&str; 5] = [
    APPROVAL_PENDING,
    APPROVAL_APPROVED,
    APPROVAL_DENIED,
    APPROVAL_USED,
    APPROVAL_EXPIRED,
];

/// A decision.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DecisionBody {
    /// Why, in the decider's words; of a denial the model is told.
    #[serde(default)]
    reason: Option<String>,
}

/// Lists requests for approval, newest first.
///
/// # Errors
/// 400 that names a wrong or unknown parameter.
#[utoipa::path(
    get, path = "/v1/portunus/approvals", tag = "admin plane",
    params(
        ("state" = Option<String>, Query, description = "`pending`, `approved`, `denied`, `used` or `expired`"),
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "100 by default, at most 1000"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [approval]}`"),
        (status = 400, description = "A parameter is wrong or unknown"),
        (status = 403, description = "The key lacks the scope `approvals.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let workspace_id = ask.allowed("approvals.list").await?;
    let Ask { app, query, .. } = &ask;
    query.only(&["state", "current_page", "page_size", "workspace_id"])?;
    let state = query.get("state");
    if let Some(odd) = state.filter(|state| !STATES.contains(state)) {
        let known = STATES.map(|state| format!("'{state}'")).join(", ");
        let message = format!("Invalid value: '{odd:.80}'. Supported values are: {known}.");
        return Err(Refusal::field("state", code::VALUE, message));
    }
    let found = app
        .store
        .list_approvals(&workspace_id, state, query.page()?)
        .await?;
    let items: Vec<Value> = found.rows.iter().map(|row| shape(app, row)).collect();
    Ok(Json(listed(found.total, &items)))
}

/// One request for approval, with the tool as it was when the call was asked for.
///
/// # Errors
/// 404 for an id that the caller's workspace does not have.
#[utoipa::path(
    get, path = "/v1/portunus/approvals/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "`mcpr_…`")),
    responses(
        (status = 200, description = "The approval with `definition`, `changed` and `newest`"),
        (status = 403, description = "The key lacks the scope `approvals.list`"),
        (status = 404, description = "No such approval in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(id): Path<String>) -> Answer {
    let workspace_id = ask.allowed("approvals.list").await?;
    detail(&ask.app, &workspace_id, &id).await
}

/// Approves a call. It runs when the caller approves it too.
///
/// # Errors
/// 404 for an id that the caller's workspace does not have; 409 when it is no longer pending.
#[utoipa::path(
    post, path = "/v1/portunus/approvals/{id}/approve", tag = "admin plane",
    params(("id" = String, Path, description = "`mcpr_…`")),
    request_body = DecisionBody,
    responses(
        (status = 200, description = "The approval as it is now"),
        (status = 403, description = "The key lacks the scope `approvals.update`"),
        (status = 404, description = "No such approval in this workspace"),
        (status = 409, description = "It was decided, used or has expired"),
    )
)]
pub async fn approve(ask: Ask, Path(id): Path<String>, request: Request) -> Answer {
    decide(&ask, &id, true, request).await
}

/// Denies a call: it will not run, whatever its caller says.
///
/// # Errors
/// As for approving.
#[utoipa::path(
    post, path = "/v1/portunus/approvals/{id}/deny", tag = "admin plane",
    params(("id" = String, Path, description = "`mcpr_…`")),
    request_body = DecisionBody,
    responses(
        (status = 200, description = "The approval as it is now"),
        (status = 403, description = "The key lacks the scope `approvals.update`"),
        (status = 404, description = "No such approval in this workspace"),
        (status = 409, description = "It was decided, used or has expired"),
    )
)]
pub async fn deny(ask: Ask, Path(id): Path<String>, request: Request) -> Answer {
    decide(&ask, &id, false, request).await
}

async fn decide(ask: &Ask, id: &str, approve: bool, request: Request) -> Answer {
    let workspace_id = ask.allowed("approvals.update").await?;
    let asked = decision(ask, request).await?;
    let reason = asked.reason.as_deref();
    let reason = reason.map(|text| plain_text("reason", text)).transpose()?;
    let reason = reason.as_deref().filter(|text| !text.is_empty());
    let (app, by) = (&ask.app, ask.admin.name());
    let now_ms = Timestamp::now().as_millisecond();
    let decided = app
        .store
        .decide_approval(&workspace_id, id, approve, reason, by, now_ms)
        .await?;
    match decided {
        Decided::Done => detail(app, &workspace_id, id).await,
        Decided::Missing => Err(Refusal::not_found("approval", id)),
        Decided::NotPending(state) => {
            let message = format!("This approval is no longer pending: it is {state}.");
            Err(Refusal::conflict("id", "not_pending", message))
        }
    }
}

/// The body; none at all is a decision without a reason.
async fn decision(ask: &Ask, request: Request) -> Result<DecisionBody, Refusal> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() && !parts.headers.contains_key(header::CONTENT_TYPE) {
        return Ok(DecisionBody::default());
    }
    body::json_object(&parts.headers, body, &ask.app.live().settings.limits).await
}

async fn detail(app: &App, workspace_id: &str, id: &str) -> Answer {
    let found = app.store.approval(workspace_id, id).await?;
    let row = found.ok_or_else(|| Refusal::not_found("approval", id))?;
    let newest = app
        .store
        .newest_approval(workspace_id, &row.server_digest, &row.tool)
        .await?;
    // What a person agrees to is what is shown here: a definition that the server has replaced
    // since is put beside it.
    let changed = newest.filter(|newest| newest.tool_digest != row.tool_digest);
    let mut shown = shape(app, &row);
    shown["definition"] = definition(&row);
    shown["changed"] = changed.is_some().into();
    shown["newest"] = changed.map_or(Value::Null, |newest| {
        json!({
            "id": newest.id, "created_at": time(newest.created_at_ms),
            "tool_digest": newest.tool_digest, "definition": definition(&newest),
        })
    });
    Ok(Json(shown))
}

/// The tool as its server described it when the call was asked for.
fn definition(row: &ApprovalRow) -> Value {
    serde_json::from_str(&row.tool_definition).unwrap_or(Value::Null)
}

fn shape(app: &App, row: &ApprovalRow) -> Value {
    let at = |ms: Option<i64>| ms.and_then(time);
    json!({
        "id": row.id, "object": "approval", "state": row.state,
        "created_at": time(row.created_at_ms), "expires_at": time(row.expires_at_ms),
        "workspace_id": row.workspace_id, "api_key_id": row.api_key_id,
        "response_id": row.response_id, "server_label": row.server_label,
        "server_url": row.server_url, "tool": row.tool, "tool_digest": row.tool_digest,
        // As much as the log would keep; null below the level `redacted`.
        "arguments": app.live().gateway.as_kept(&row.arguments),
        "reason": row.reason, "decided_at": at(row.decided_at_ms), "decided_by": row.decided_by,
        "used_at": at(row.used_at_ms),
    })
}
