//! Exports of the request log: `/v1/logs/exports`. What is asked for is a row; starting it writes
//! a file ([`crate::exporting`]), and a link that is signed and ends soon gives that file out.

use super::log_shape::{ORGANISATION, time};
use super::{Answer, Ask, Query, listed, log_filter, missing, plain_text, refuse_unknown};
use crate::answer::Refusal;
use crate::app::Shared;
use crate::exporting::{self, Broken, LIFE, Plan, ROWS_MAX, SILENCE_MS};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_store::{
    EXPORT_DONE, EXPORT_DRAFT, EXPORT_FAILED, EXPORT_RUNNING, EXPORT_STOPPED, ExportRow, Page,
    api_key, new_id, now,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

/// How long a link is good, in milliseconds.
const LINK_MS: i64 = 900_000;
/// Exports that a workspace may have at a time.
const EXPORTS_MAX: i64 = 500;
/// What links are signed for.
const PURPOSE: &str = "log export";
/// Bytes of one piece of a file.
const PIECE: usize = 64 * 1024;
/// Fields of a row that an export may have: Portkey's, and ours from `cost_picodollars` on.
const FIELDS: [&str; 33] = [
    "id",
    "trace_id",
    "created_at",
    "request",
    "response",
    "is_success",
    "ai_org",
    "ai_model",
    "req_units",
    "res_units",
    "total_units",
    "request_url",
    "cost",
    "cost_currency",
    "response_time",
    "response_status_code",
    "mode",
    "config",
    "prompt_slug",
    "metadata",
    "cost_picodollars",
    "span_id",
    "api_key_id",
    "virtual_key",
    "source",
    "outcome",
    "error_source",
    "error_code",
    "error_message",
    "turns",
    "tool_lists",
    "tool_calls",
    "attempts",
];
/// Filters of Portkey's about what this gateway does not have.
const UNBUILT: [(&str, &str); 4] = [
    ("prompt_slug", "there are no stored prompts"),
    ("weighted_feedback_min", "there is no feedback"),
    ("weighted_feedback_max", "there is no feedback"),
    ("ai_org_model", "use 'ai_org' and 'ai_model'"),
];

/// An export to make, or the fields of one to change.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ExportBody {
    /// Which rows: the names of the filters of `GET /v1/logs`, and `page_size` and `current_page`.
    #[serde(default)]
    filters: Option<Map<String, Value>>,
    /// Names of fields.
    #[serde(default)]
    requested_data: Option<Vec<String>>,
    /// A remark.
    #[serde(default)]
    description: Option<String>,
    /// Workspace, by id or slug; else the key's own or the default one.
    #[serde(default)]
    workspace_id: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

/// Says what to do as well as what is wrong.
fn conflict(message: &str) -> Refusal {
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("wrong_state");
    Refusal::new(StatusCode::CONFLICT, body)
}

/// The state as it is told: one that nobody has written for a while has failed.
fn state_of(row: &ExportRow) -> &str {
    let silent = now().as_millisecond() - row.updated_at_ms > SILENCE_MS;
    if row.state == EXPORT_RUNNING && silent {
        EXPORT_FAILED
    } else {
        &row.state
    }
}

fn shape(row: &ExportRow) -> Value {
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let state = state_of(row);
    let lost = (state != row.state).then_some(exporting::BROKEN_OFF);
    json!({
        "object": "export", "id": row.id, "organisation_id": ORGANISATION,
        "workspace_id": row.workspace_id, "description": row.description, "status": state,
        "filters": json(&row.filters), "requested_data": json(&row.requested_data),
        "created_at": time(row.created_at_ms), "last_updated_at": time(row.updated_at_ms),
        "expires_at": time(row.expires_at_ms), "created_by": row.created_by, "total": row.total,
        "exported": row.exported, "bytes": row.bytes, "error": row.error.as_deref().or(lost),
    })
}

/// The filters as the query of `GET /v1/logs` would hold them.
fn query_of(filters: &Map<String, Value>) -> Result<Query, Refusal> {
    let mut pairs = Vec::new();
    for (name, value) in filters {
        let values = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            match value {
                Value::Null => {}
                Value::String(text) => pairs.push((name.clone(), text.clone())),
                Value::Number(number) => pairs.push((name.clone(), number.to_string())),
                _ => {
                    let param = format!("filters.{name:.80}");
                    let message = format!("Invalid type for '{param}': expected text or numbers.");
                    return Err(Refusal::field(&param, code::TYPE, message));
                }
            }
        }
    }
    Ok(Query(pairs))
}

fn refuse_unbuilt(filters: &Map<String, Value>) -> Result<(), Refusal> {
    let asked = |name: &str| filters.get(name).is_some_and(|value| !value.is_null());
    let Some((name, why)) = UNBUILT.iter().find(|(name, _)| asked(name)) else {
        return Ok(());
    };
    let message = format!("Unsupported parameter: 'filters.{name}': {why}.");
    Err(Refusal::field(
        &format!("filters.{name}"),
        code::UNSUPPORTED,
        message,
    ))
}

/// What is to be exported.
async fn plan(
    ask: &Ask,
    workspace_id: &str,
    filters: &Map<String, Value>,
    fields: &[String],
) -> Result<Plan, Refusal> {
    let within = |mut refusal: Refusal| {
        let param = refusal.body.param.take().unwrap_or_default();
        refusal.body.param = Some(format!("filters.{param}"));
        refusal
    };
    refuse_unbuilt(filters)?;
    let query = query_of(filters)?;
    let take = query.number::<u64>("page_size").map_err(within)?;
    let page = query.number::<u64>("current_page").map_err(within)?;
    if let Some(slug) = query.get("workspace_slug") {
        let named = ask.admin.workspace(&ask.app, Some(slug)).await;
        if named.map_err(within)? != workspace_id {
            let message = "Invalid 'filters.workspace_slug': it is not the export's workspace.";
            return Err(Refusal::field(
                "filters.workspace_slug",
                code::VALUE,
                message,
            ));
        }
    }
    let take = take.unwrap_or(ROWS_MAX).min(ROWS_MAX);
    let paging = ["page_size", "current_page", "workspace_slug"];
    let rest = query
        .0
        .into_iter()
        .filter(|(name, _)| !paging.contains(&name.as_str()));
    Ok(Plan {
        filter: log_filter::of_export(&Query(rest.collect())).map_err(within)?,
        fields: fields.to_vec(),
        skip: page.unwrap_or(0).saturating_mul(take),
        take,
    })
}

fn checked_fields(asked: &[String]) -> Result<(), Refusal> {
    let odd = asked
        .iter()
        .position(|name| !FIELDS.contains(&name.as_str()));
    if let Some(index) = odd {
        let param = format!("requested_data[{index}]");
        let message = format!("Invalid '{param}'. There are {}.", FIELDS.join(", "));
        return Err(Refusal::field(&param, code::VALUE, message));
    }
    if asked.is_empty() {
        return Err(missing("requested_data"));
    }
    Ok(())
}

/// Puts what was asked for into the row, and counts anew.
async fn fill(ask: &Ask, row: &mut ExportRow, asked: &ExportBody) -> Result<(), Refusal> {
    // What an SDK repeats of the path.
    refuse_unknown("", &asked.other, &["export_id"])?;
    if let Some(text) = &asked.description {
        row.description = plain_text("description", text)?;
    }
    if let Some(fields) = &asked.requested_data {
        checked_fields(fields)?;
        row.requested_data = json!(fields).to_string();
    }
    if let Some(filters) = &asked.filters {
        row.filters = json!(filters).to_string();
    }
    let plan = plan_of(ask, row).await?;
    let count = ask
        .app
        .store
        .count_logs(&row.workspace_id, &plan.filter)
        .await?;
    let count = u64::try_from(count).unwrap_or(0).saturating_sub(plan.skip);
    row.total = i64::try_from(count.min(plan.take)).unwrap_or(i64::MAX);
    row.updated_at_ms = now().as_millisecond();
    Ok(())
}

/// The plan of a row.
async fn plan_of(ask: &Ask, row: &ExportRow) -> Result<Plan, Refusal> {
    let filters = serde_json::from_str(&row.filters).map_err(|e| Refusal::internal(&e))?;
    let fields: Vec<String> =
        serde_json::from_str(&row.requested_data).map_err(|e| Refusal::internal(&e))?;
    plan(ask, &row.workspace_id, &filters, &fields).await
}

/// Makes an export. Nothing is written before it is started.
///
/// # Errors
/// 400 that names the field.
#[utoipa::path(
    post, path = "/v1/logs/exports", tag = "admin plane", request_body = ExportBody,
    responses(
        (status = 200, description = "`{id, total, object: \"export\"}`"),
        (status = 400, description = "A filter or field is wrong, or not built yet"),
        (status = 403, description = "The key lacks the scope `logs.export`"),
        (status = 409, description = "There are too many exports"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    ask.admin.require("logs.export")?;
    let asked: ExportBody = ask.body(request).await?;
    let named = asked
        .workspace_id
        .as_deref()
        .or_else(|| ask.query.get("workspace_id"));
    let workspace_id = ask.admin.workspace(&ask.app, named).await?;
    for (name, absent) in [
        ("filters", asked.filters.is_none()),
        ("requested_data", asked.requested_data.is_none()),
    ] {
        if absent {
            return Err(missing(name));
        }
    }
    let mut row = ExportRow {
        id: new_id("exp-"),
        workspace_id,
        created_at_ms: now().as_millisecond(),
        created_by: ask.admin.name().to_owned(),
        state: EXPORT_DRAFT.to_owned(),
        ..ExportRow::default()
    };
    row.expires_at_ms = row.created_at_ms + life_ms();
    fill(&ask, &mut row, &asked).await?;
    let one = Page {
        limit: 1,
        offset: 0,
    };
    let store = &ask.app.store;
    if store.list_exports(&row.workspace_id, one).await?.total >= EXPORTS_MAX {
        return Err(conflict(
            "There are too many exports: they go after seven days.",
        ));
    }
    store.insert_export(&row).await?;
    Ok(Json(
        json!({"id": row.id, "total": row.total, "object": "export"}),
    ))
}

fn life_ms() -> i64 {
    i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX)
}

/// Lists the exports, oldest first.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/logs/exports", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [export]}`"),
        (status = 403, description = "The key lacks the scope `logs.export`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let workspace_id = ask.allowed("logs.export").await?;
    let page = ask.query.page()?;
    let found = ask.app.store.list_exports(&workspace_id, page).await?;
    let items: Vec<Value> = found.rows.iter().map(shape).collect();
    Ok(Json(listed(found.total, &items)))
}

async fn row_of(ask: &Ask, id: &str) -> Result<ExportRow, Refusal> {
    let workspace_id = ask.allowed("logs.export").await?;
    let row = ask.app.store.export(&workspace_id, id).await?;
    row.ok_or_else(|| Refusal::not_found("export", id))
}

/// One export.
///
/// # Errors
/// 404 for an id that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/logs/exports/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id, `exp-…`")),
    responses(
        (status = 200, description = "The export, with `status`, `exported`, `bytes`, `error`"),
        (status = 404, description = "No such export in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(id): Path<String>) -> Answer {
    Ok(Json(shape(&row_of(&ask, &id).await?)))
}

/// Changes an export that was not started.
///
/// # Errors
/// 400 that names the field; 404; 409 once it was started.
#[utoipa::path(
    put, path = "/v1/logs/exports/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")), request_body = ExportBody,
    responses(
        (status = 200, description = "`{id, total, object: \"export\"}`"),
        (status = 404, description = "No such export in this workspace"),
        (status = 409, description = "It was started"),
    )
)]
pub async fn update(ask: Ask, Path(id): Path<String>, request: Request) -> Answer {
    ask.admin.require("logs.export")?;
    let asked: ExportBody = ask.body(request).await?;
    let named = asked
        .workspace_id
        .as_deref()
        .or_else(|| ask.query.get("workspace_id"));
    let workspace_id = ask.admin.workspace(&ask.app, named).await?;
    let store = &ask.app.store;
    let row = store.export(&workspace_id, &id).await?;
    let mut row = row.ok_or_else(|| Refusal::not_found("export", &id))?;
    fill(&ask, &mut row, &asked).await?;
    let changed =
        row.state == EXPORT_DRAFT && store.update_export(EXPORT_DRAFT, &row.run, &row).await?;
    if !changed {
        return Err(conflict("It was started already: make another export."));
    }
    Ok(Json(
        json!({"id": id, "total": row.total, "object": "export"}),
    ))
}

/// Starts an export, also one that has failed or was stopped.
///
/// # Errors
/// 404; 409 for one that is at work or whole; 503 when as many are at work as may be.
#[utoipa::path(
    post, path = "/v1/logs/exports/{id}/start", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "`{message, object: \"export\"}`"),
        (status = 404, description = "No such export in this workspace"),
        (status = 409, description = "It is at work or whole"),
        (status = 503, description = "Others are at work"),
    )
)]
pub async fn start(ask: Ask, Path(id): Path<String>) -> Answer {
    let row = row_of(&ask, &id).await?;
    if ![EXPORT_DRAFT, EXPORT_FAILED, EXPORT_STOPPED].contains(&state_of(&row)) {
        return Err(conflict("It is at work already, or whole."));
    }
    let plan = plan_of(&ask, &row).await?;
    let room = ask.app.exports.room();
    let room = room.ok_or_else(|| Refusal::busy("Other exports are at work. Try again later."))?;
    let before = (row.state.clone(), row.run.clone());
    let now_ms = now().as_millisecond();
    let row = ExportRow {
        state: EXPORT_RUNNING.to_owned(),
        run: new_id("run-"),
        updated_at_ms: now_ms,
        expires_at_ms: now_ms + life_ms(),
        exported: 0,
        bytes: 0,
        error: None,
        ..row
    };
    let begun = exporting::start(&ask.app, (&before.0, &before.1), row, plan, room).await;
    let failed = |broken| match broken {
        Broken::Store(error) => Refusal::from(error),
        other => Refusal::internal(&other),
    };
    if !begun.map_err(failed)? {
        return Err(conflict("Somebody else has changed it just now."));
    }
    Ok(Json(
        json!({"message": "Export started.", "object": "export"}),
    ))
}

/// Stops an export. What was written goes.
///
/// # Errors
/// 404; 409 for one that is over.
#[utoipa::path(
    post, path = "/v1/logs/exports/{id}/cancel", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "`{message, object: \"export\"}`"),
        (status = 404, description = "No such export in this workspace"),
        (status = 409, description = "It is over"),
    )
)]
pub async fn cancel(ask: Ask, Path(id): Path<String>) -> Answer {
    let mut row = row_of(&ask, &id).await?;
    let before = row.state.clone();
    row.updated_at_ms = now().as_millisecond();
    EXPORT_STOPPED.clone_into(&mut row.state);
    let stopped = [EXPORT_DRAFT, EXPORT_RUNNING].contains(&before.as_str())
        && ask.app.store.update_export(&before, &row.run, &row).await?;
    if !stopped {
        return Err(conflict("It is over: there is nothing to stop."));
    }
    Ok(Json(
        json!({"message": "Export stopped.", "object": "export"}),
    ))
}

/// Gives a link to the file of an export, good for 15 minutes and for everybody who has it.
///
/// # Errors
/// 404; 409 before it is whole.
#[utoipa::path(
    get, path = "/v1/logs/exports/{id}/download", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "`{signed_url}`"),
        (status = 404, description = "No such export in this workspace"),
        (status = 409, description = "It is not whole"),
    )
)]
pub async fn download(ask: Ask, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let row = row_of(&ask, &id).await?;
    if row.state != EXPORT_DONE {
        return Err(conflict(
            "It is not whole yet: its status must be 'success'.",
        ));
    }
    let expires = (now().as_millisecond() + LINK_MS).to_string();
    let words = [row.workspace_id.as_str(), &row.id, &row.run, &expires];
    let signature = api_key::sign(ask.app.keys.pepper(), PURPOSE, &words);
    let base = base_url(&ask.app, &headers);
    let path = format!(
        "/v1/portunus/exports/{}/file?workspace_id={}&run={}&expires={expires}&signature={signature}",
        row.id, row.workspace_id, row.run
    );
    Ok(Json(json!({"signed_url": format!("{base}{path}")})))
}

/// This gateway as its caller names it.
fn base_url(app: &Shared, headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let settings = &app.live().settings;
    let secure = settings.tls_files().is_some() || text("x-forwarded-proto") == Some("https");
    let scheme = if secure { "https" } else { "http" };
    let host = text("host").and_then(|host| Authority::from_str(host).ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let host = host.map_or_else(|| settings.listen.to_string(), |host| host.to_string());
    format!("{scheme}://{host}")
}

/// The one answer to a link that opens nothing.
fn bad_link() -> Refusal {
    let message = "This link is wrong or over: links are good for 15 minutes. Ask for a new one \
                   with GET /v1/logs/exports/{id}/download.";
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("invalid_signature");
    Refusal::new(StatusCode::FORBIDDEN, body)
}

/// The run whose file a link opens.
async fn linked(app: &Shared, id: &str, query: &Query) -> Result<String, Refusal> {
    let word = |name: &str| query.get(name).unwrap_or_default();
    let (workspace_id, run) = (word("workspace_id"), word("run"));
    let words = [workspace_id, id, run, word("expires")];
    let signed = api_key::is_signed(app.keys.pepper(), PURPOSE, &words, word("signature"));
    let expires: i64 = word("expires").parse().unwrap_or(0);
    if !signed || now().as_millisecond() >= expires {
        return Err(bad_link());
    }
    let row = app.store.export(workspace_id, id).await?;
    row.filter(|row| row.state == EXPORT_DONE && row.run == run)
        .map(|row| row.run)
        .ok_or_else(bad_link)
}

/// The file of an export, for whoever has its link.
///
/// # Errors
/// 403 for a link that is wrong or over; 404 when another gateway of the same database wrote it.
#[utoipa::path(
    get, path = "/v1/portunus/exports/{id}/file", tag = "open",
    params(
        ("id" = String, Path, description = "Its id"),
        ("workspace_id" = String, Query, description = "As in the link"),
        ("run" = String, Query, description = "As in the link"),
        ("expires" = String, Query, description = "As in the link"),
        ("signature" = String, Query, description = "As in the link"),
    ),
    responses(
        (status = 200, description = "JSON lines", content_type = "application/x-ndjson"),
        (status = 403, description = "The link is wrong or over"),
        (status = 404, description = "The file is not on this gateway"),
    )
)]
pub async fn file(
    State(app): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Refusal> {
    let run = linked(&app, &id, &query).await?;
    let opened = tokio::fs::File::open(app.exports.file(&run)).await;
    let Ok(file) = opened else {
        return Err(Refusal::not_found(
            "file on this gateway of the export",
            &id,
        ));
    };
    let length = file
        .metadata()
        .await
        .map_err(|e| Refusal::internal(&e))?
        .len();
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"logs.jsonl\"".to_owned(),
        ),
    ];
    Ok((headers, Body::from_stream(pieces(file))).into_response())
}

fn pieces(file: tokio::fs::File) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), file)))
    })
}
