//! API keys: `/v1/api-keys`. The secret is shown once, when a key is made or rotated.

use super::{
    Answer, Ask, configs, expiry, listed, missing, name_text, refuse_unbuilt, refuse_unknown,
    virtual_keys,
};
use crate::answer::Refusal;
use crate::app::App;
use crate::auth::Admin;
use axum::Json;
use axum::extract::{Path, Request};
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_store::{ApiKeyDefaults, ApiKeyRow, Rotated, STATUS_ACTIVE, api_key, new_id, now};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a key may do when nothing else is said.
pub const DEFAULT_SCOPES: [&str; 2] = ["completions.write", "models.list"];
/// Every scope that a route asks for.
const SCOPES: [&str; 24] = [
    "completions.write",
    "models.list",
    "logs.list",
    "logs.view",
    "logs.write",
    "logs.export",
    "metrics.view",
    "virtual_keys.create",
    "virtual_keys.list",
    "virtual_keys.read",
    "virtual_keys.update",
    "virtual_keys.delete",
    "api_keys.create",
    "api_keys.list",
    "api_keys.read",
    "api_keys.update",
    "api_keys.delete",
    "configs.create",
    "configs.list",
    "configs.read",
    "configs.update",
    "configs.delete",
    "approvals.list",
    "approvals.update",
];
/// How long the former secret works after a rotation, and the least that Portkey takes.
const GRACE_MS: i64 = 1_800_000;
/// Longest value of a metadata field, in characters (Portkey's bound).
const METADATA_MAX: usize = 128;

/// What requests of a key get when they do not say.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct DefaultsBody {
    /// Virtual key of requests that name none; empty takes it away.
    #[serde(default)]
    virtual_key: Option<String>,
    /// Metadata that is put on each request.
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    /// Slug (or id) of the saved config of requests that bring none; empty takes it away.
    #[serde(default)]
    config_id: Option<String>,
    /// Whether a request may bring its own config.
    #[serde(default)]
    allow_config_override: Option<bool>,
}

/// An API key to make, or the fields of one to change.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ApiKeyBody {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// What it may do; `completions.write` and `models.list` when absent.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Workspace, by id or slug; else the caller's own or the default one.
    #[serde(default)]
    workspace_id: Option<String>,
    /// What requests get when they do not say.
    #[serde(default)]
    defaults: Option<DefaultsBody>,
    /// When it ends, RFC 3339.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(ignore)]
    rate_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    usage_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    rotation_policy: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    alert_emails: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    description: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    user_id: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

impl ApiKeyBody {
    fn refuse_unbuilt(&self) -> Result<(), Refusal> {
        // What SDKs repeat of the path.
        refuse_unknown("", &self.other, &["type", "sub-type", "sub_type", "id"])?;
        refuse_unbuilt(&[
            ("rate_limits", &self.rate_limits),
            ("usage_limits", &self.usage_limits),
            ("rotation_policy", &self.rotation_policy),
            ("alert_emails", &self.alert_emails),
            ("description", &self.description),
            ("user_id", &self.user_id),
        ])
    }
}

async fn read_body(ask: &Ask, request: Request) -> Result<ApiKeyBody, Refusal> {
    let asked: ApiKeyBody = ask.body(request).await?;
    asked.refuse_unbuilt()?;
    Ok(asked)
}

/// The scopes, none broader than the caller's own.
fn scopes(admin: &Admin, asked: &[String]) -> Result<Vec<String>, Refusal> {
    if let Some(odd) = asked.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        let known = SCOPES.join(", ");
        let message = format!("Invalid value: there is no scope '{odd:.80}'. There are {known}.");
        return Err(Refusal::field("scopes", code::VALUE, message));
    }
    let broader = asked
        .iter()
        .find(|scope| admin.scopes().is_some_and(|own| !own.contains(scope)));
    match broader {
        Some(scope) => Err(Refusal::forbidden(scope)),
        None => Ok(asked.to_vec()),
    }
}

/// Puts the fields that were asked for over those that there are: what is absent stays, an empty
/// virtual key or config is taken away.
async fn set_defaults(
    app: &App,
    workspace_id: &str,
    asked: DefaultsBody,
    defaults: &mut ApiKeyDefaults,
) -> Result<(), Refusal> {
    if let Some(slug) = asked.virtual_key {
        if !slug.is_empty() && !virtual_keys::exists(app, workspace_id, &slug).await? {
            let message = format!("Invalid value: there is no virtual key '{slug:.80}'.");
            return Err(Refusal::field("defaults.virtual_key", code::VALUE, message));
        }
        defaults.virtual_key = Some(slug).filter(|slug| !slug.is_empty());
    }
    if let Some(word) = asked.config_id {
        defaults.config_id = match word.as_str() {
            "" => None,
            word => Some(configs::slug_for_key(app, workspace_id, word).await?),
        };
    }
    if let Some(metadata) = asked.metadata {
        let long = |text: &String| text.chars().count() > METADATA_MAX;
        if let Some((name, _)) = metadata.iter().find(|(_, value)| long(value)) {
            let message =
                format!("Invalid 'defaults.metadata.{name:.80}': over {METADATA_MAX} characters.");
            return Err(Refusal::field("defaults.metadata", code::VALUE, message));
        }
        defaults.metadata = metadata;
    }
    if let Some(allow) = asked.allow_config_override {
        defaults.allow_config_override = allow;
    }
    Ok(())
}

/// The row as Portkey shows it; the secret is only its public part.
fn shape(row: &ApiKeyRow) -> Value {
    let rotated = row.rotated.as_ref().map(|rotated| rotated.grace_until);
    json!({
        "object": "api-key", "id": row.id, "key": format!("pk-{}-*****", row.lookup), "name": row.name,
        "type": "workspace-service", "organisation_id": super::log_shape::ORGANISATION,
        "workspace_id": row.workspace_id, "status": row.status, "scopes": row.scopes,
        "defaults": row.defaults, "rate_limits": [], "usage_limits": null, "reset_usage": null,
        "creation_mode": "api", "created_at": row.created_at, "expires_at": row.expires_at,
        "last_used_at": row.last_used_at, "key_transition_expires_at": rotated,
    })
}

/// Makes an API key. Its secret is in this answer and nowhere else.
///
/// # Errors
/// 400 that names the field; 403 for a scope that the caller does not have itself.
#[utoipa::path(
    post, path = "/v1/api-keys/{type}/{sub-type}", tag = "admin plane", request_body = ApiKeyBody,
    params(
        ("type" = String, Path, description = "`workspace`"),
        ("sub-type" = String, Path, description = "`service` or `user`"),
    ),
    responses(
        (status = 200, description = "`{id, key, object: \"api-key\"}`"),
        (status = 400, description = "A field is wrong, or not built yet"),
        (status = 403, description = "No scope `api_keys.create`, or a scope asked for that the caller lacks"),
    )
)]
pub async fn create(
    ask: Ask,
    Path((of, kind)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let Ask { app, admin, .. } = &ask;
    admin.require("api_keys.create")?;
    kind_of(&of, &kind)?;
    let asked = read_body(&ask, request).await?;
    let workspace_id = admin.workspace(app, asked.workspace_id.as_deref()).await?;
    let name = asked.name.as_deref().ok_or_else(|| missing("name"))?;
    let scopes = match &asked.scopes {
        Some(list) => scopes(admin, list)?,
        None => scopes(admin, &DEFAULT_SCOPES.map(str::to_owned))?,
    };
    let mut new = NewKey {
        workspace_id,
        name: name_text(name)?,
        scopes,
        defaults: ApiKeyDefaults::default(),
        expires_at: expiry(asked.expires_at)?,
    };
    if let Some(asked) = asked.defaults {
        set_defaults(app, &new.workspace_id, asked, &mut new.defaults).await?;
    }
    let (row, secret) = mint(app, new).await?;
    Ok(Json(
        json!({"id": row.id, "key": secret.expose_secret(), "object": "api-key"}),
    ))
}

fn kind_of(of: &str, kind: &str) -> Result<(), Refusal> {
    let (param, value, known) = match (of, kind) {
        ("workspace", "service" | "user") => return Ok(()),
        ("workspace", other) => ("sub-type", other, "'service' and 'user'"),
        (other, _) => (
            "type",
            other,
            "'workspace' (keys of an organisation are not built yet)",
        ),
    };
    let message = format!("Invalid value: '{value:.80}'. Supported values are: {known}.");
    Err(Refusal::field(param, code::VALUE, message))
}

/// A key to be made.
#[derive(Debug)]
pub struct NewKey {
    /// Id of its workspace.
    pub workspace_id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What its requests get when they do not say.
    pub defaults: ApiKeyDefaults,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Makes a key and stores its hash; the secret leaves with the answer.
///
/// # Errors
/// When the database fails.
pub async fn mint(
    app: &App,
    new: NewKey,
) -> Result<(ApiKeyRow, secrecy::SecretString), portunus_store::StoreError> {
    let minted = api_key::mint(app.keys.pepper());
    let row = ApiKeyRow {
        id: new_id(""),
        workspace_id: new.workspace_id,
        name: new.name,
        lookup: minted.lookup,
        hash: minted.hash,
        scopes: new.scopes,
        defaults: new.defaults,
        rate_limits: Value::Null,
        usage_limits: Value::Null,
        status: STATUS_ACTIVE.to_owned(),
        created_at: now(),
        expires_at: new.expires_at,
        last_used_at: None,
        rotated: None,
    };
    app.store.insert_api_key(&row).await?;
    Ok((row, minted.secret))
}

/// Lists the API keys of a workspace.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [api-key]}`"),
        (status = 403, description = "The key lacks the scope `api_keys.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let workspace_id = ask.allowed("api_keys.list").await?;
    let page = ask.query.page()?;
    let found = ask.app.store.list_api_keys(&workspace_id, page).await?;
    let items: Vec<Value> = found.rows.iter().map(shape).collect();
    Ok(Json(listed(found.total, &items)))
}

/// The row of an id in the workspace that the query names, for a caller with this scope.
async fn row_of(ask: &Ask, scope: &str, id: &str) -> Result<ApiKeyRow, Refusal> {
    let workspace_id = ask.allowed(scope).await?;
    let row = ask.app.store.api_key(&workspace_id, id).await?;
    row.ok_or_else(|| Refusal::not_found("API key", id))
}

/// As [`row_of`], to change it: a key may not touch one that may do more than itself.
async fn own_row(ask: &Ask, scope: &str, id: &str) -> Result<ApiKeyRow, Refusal> {
    let row = row_of(ask, scope, id).await?;
    scopes(&ask.admin, &row.scopes)?;
    Ok(row)
}

/// One API key.
///
/// # Errors
/// 404 for an id that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/api-keys/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The API key, without its secret"),
        (status = 404, description = "No such API key in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(id): Path<String>) -> Answer {
    Ok(Json(shape(&row_of(&ask, "api_keys.read", &id).await?)))
}

/// Changes an API key: name, scopes, defaults (field by field), expiry.
///
/// # Errors
/// 400 that names the field; 403 for a scope that the caller does not have itself; 404.
#[utoipa::path(
    put, path = "/v1/api-keys/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")), request_body = ApiKeyBody,
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such API key in this workspace"),
    )
)]
pub async fn update(ask: Ask, Path(id): Path<String>, request: Request) -> Answer {
    let mut row = own_row(&ask, "api_keys.update", &id).await?;
    let asked = read_body(&ask, request).await?;
    if let Some(name) = &asked.name {
        row.name = name_text(name)?;
    }
    if let Some(list) = &asked.scopes {
        row.scopes = scopes(&ask.admin, list)?;
    }
    if asked.expires_at.is_some() {
        row.expires_at = expiry(asked.expires_at)?;
    }
    if let Some(asked) = asked.defaults {
        set_defaults(&ask.app, &row.workspace_id, asked, &mut row.defaults).await?;
    }
    save(&ask.app, &row).await?;
    Ok(Json(json!({})))
}

async fn save(app: &App, row: &ApiKeyRow) -> Result<(), Refusal> {
    let changed = app.store.update_api_key(row).await?;
    app.keys.forget();
    if changed {
        Ok(())
    } else {
        Err(Refusal::not_found("API key", &row.id))
    }
}

/// Removes an API key; it opens nothing from then on.
///
/// # Errors
/// 404 for an id that this workspace does not have.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such API key in this workspace"),
    )
)]
pub async fn delete(ask: Ask, Path(id): Path<String>) -> Answer {
    let row = own_row(&ask, "api_keys.delete", &id).await?;
    let app = &ask.app;
    let gone = app.store.delete_api_key(&row.workspace_id, &row.id).await?;
    app.keys.forget();
    if gone {
        Ok(Json(json!({})))
    } else {
        Err(Refusal::not_found("API key", &id))
    }
}

/// How long the former secret is to work on.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RotateBody {
    /// In milliseconds, at least 1800000 (30 minutes, also the default).
    #[serde(default)]
    key_transition_period_ms: Option<i64>,
}

/// Gives an API key a new secret; the former one works on for a while.
///
/// # Errors
/// 400 for a period that is too short; 404.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/rotate", tag = "admin plane",
    params(("id" = String, Path, description = "Its id")), request_body = RotateBody,
    responses(
        (status = 200, description = "`{id, key, key_transition_expires_at}`"),
        (status = 404, description = "No such API key in this workspace"),
    )
)]
pub async fn rotate(ask: Ask, Path(id): Path<String>, request: Request) -> Answer {
    let mut row = own_row(&ask, "api_keys.update", &id).await?;
    let asked = match request.headers().get(header::CONTENT_TYPE) {
        // Portkey's SDKs send no body when nothing is asked for.
        None => RotateBody::default(),
        Some(_) => ask.body(request).await?,
    };
    let grace_until = now() + grace(asked.key_transition_period_ms)?;
    let minted = api_key::mint(ask.app.keys.pepper());
    let former = std::mem::replace(&mut row.lookup, minted.lookup);
    let hash = std::mem::replace(&mut row.hash, minted.hash);
    row.rotated = Some(Rotated {
        lookup: former,
        hash,
        grace_until,
    });
    save(&ask.app, &row).await?;
    Ok(Json(json!({
        "id": row.id, "key": minted.secret.expose_secret(), "key_transition_expires_at": grace_until,
    })))
}

fn grace(asked_ms: Option<i64>) -> Result<SignedDuration, Refusal> {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let ms = asked_ms.unwrap_or(GRACE_MS);
    if (GRACE_MS..=YEAR_MS).contains(&ms) {
        return Ok(SignedDuration::from_millis(ms));
    }
    let message = format!(
        "Invalid 'key_transition_period_ms': expected {GRACE_MS} to {YEAR_MS}. To end a key at \
         once, delete it."
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("key_transition_period_ms")
        .code("integer_out_of_range");
    Err(Refusal::new(StatusCode::BAD_REQUEST, body))
}
