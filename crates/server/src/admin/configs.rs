//! Saved routing configs: `/v1/configs`. A config is checked when it is saved, by the parser that
//! requests use; every change makes a version.

use super::log_shape::{ORGANISATION, time};
use super::{Answer, Ask, listed, missing, name_text, refuse_unknown, virtual_keys};
use crate::answer::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::{Path, Request};
use http::StatusCode;
use portunus_protocol::error::{ErrorBody, code};
use portunus_store::{ConfigRow, STATUS_ACTIVE, STATUS_INACTIVE, StoreError, new_id, now};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What every slug begins with.
const PREFIX: &str = "pc-";
/// Largest config, as JSON.
const CONFIG_MAX_BYTES: usize = 64 << 10;

/// A config to save, or the fields of one to change.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ConfigBody {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// The config: what `x-portkey-config` takes, as an object or as its JSON text.
    #[serde(default)]
    config: Option<Value>,
    /// A mark, 0 or 1, that is kept and shown; nothing follows from it.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    is_default: Option<Value>,
    /// `active`, or `inactive`: then requests that name it are refused.
    #[serde(default)]
    status: Option<String>,
    /// Workspace, by id or slug; else the key's own or the default one.
    #[serde(default)]
    workspace_id: Option<String>,
    /// What is not known, to be refused by name.
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

/// The row as Portkey shows it, without the config.
fn shape(row: &ConfigRow) -> Value {
    json!({
        "object": "config", "id": row.id, "slug": row.slug, "name": row.name,
        "organisation_id": ORGANISATION, "workspace_id": row.workspace_id,
        "is_default": i32::from(row.is_default), "status": row.status, "owner_id": row.owner_id,
        "updated_by": row.updated_by, "created_at": time(row.created_at_ms),
        "last_updated_at": time(row.updated_at_ms), "format": "json", "type": "ORG_CONFIG",
        "version_id": row.version_id, "version": row.version,
    })
}

fn with_config(row: &ConfigRow, config: Value) -> Value {
    let mut shape = shape(row);
    shape["config"] = config;
    shape
}

/// What Portkey's documentation puts into `data` and its SDKs read beside it.
fn both(fields: Value) -> Json<Value> {
    let mut answer = fields.clone();
    answer["success"] = true.into();
    answer["data"] = fields;
    Json(answer)
}

fn made(row: &ConfigRow) -> Json<Value> {
    both(json!({
        "object": "config", "id": row.id, "slug": row.slug, "version_id": row.version_id,
    }))
}

/// The text of a config that requests of this workspace can use.
async fn checked(app: &App, workspace_id: &str, asked: &Value) -> Result<String, Refusal> {
    let fields = object(asked)?;
    let text = Value::Object(fields.clone()).to_string();
    if text.len() > CONFIG_MAX_BYTES {
        let message = format!("Invalid 'config': over {CONFIG_MAX_BYTES} bytes of JSON.");
        return Err(Refusal::field("config", code::VALUE, message));
    }
    let keys = app.live().gateway.check_config(fields);
    let keys = keys.map_err(|body| Refusal::new(StatusCode::BAD_REQUEST, body))?;
    for (at, slug) in keys {
        if !virtual_keys::exists(app, workspace_id, &slug).await? {
            let message = format!(
                "Invalid '{at}': there is no virtual key '{slug:.80}' in this workspace. Make it \
                 first (portunus virtual-key create)."
            );
            let body = ErrorBody::invalid(at, "virtual_key_not_found", message);
            return Err(Refusal::new(StatusCode::BAD_REQUEST, body));
        }
    }
    Ok(text)
}

fn object(asked: &Value) -> Result<Map<String, Value>, Refusal> {
    let parsed = match asked {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    };
    match parsed {
        Some(Value::Object(fields)) => Ok(fields),
        _ => {
            let message = "Invalid type for 'config': expected an object, or its JSON text.";
            Err(Refusal::field("config", code::TYPE, message))
        }
    }
}

fn mark(asked: Option<&Value>) -> Result<bool, Refusal> {
    match asked {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(mark)) => Ok(*mark),
        Some(value) if *value == 0 || *value == 1 => Ok(*value == 1),
        Some(_) => {
            let message = "Invalid 'is_default': expected 0 or 1.";
            Err(Refusal::field("is_default", code::VALUE, message))
        }
    }
}

fn status(asked: Option<&str>) -> Result<Option<String>, Refusal> {
    match asked {
        None => Ok(None),
        Some(word @ (STATUS_ACTIVE | STATUS_INACTIVE)) => Ok(Some(word.to_owned())),
        Some(_) => {
            let message = "Invalid 'status': expected 'active' or 'inactive'.";
            Err(Refusal::field("status", code::VALUE, message))
        }
    }
}

/// `pc-`, the name as a slug, and what makes it unique.
fn slug_of(name: &str) -> String {
    let word = virtual_keys::slug_of(None, name).unwrap_or_default();
    let word: String = word.chars().take(32).collect();
    let id = new_id("");
    // The end of such an id is random.
    let unique = id.get(id.len() - 6..).unwrap_or(&id);
    match word.trim_end_matches('-') {
        "" => format!("{PREFIX}{unique}"),
        word => format!("{PREFIX}{word}-{unique}"),
    }
}

/// Saves a config.
///
/// # Errors
/// 400 that names the field, within the config by its path, such as `config.targets[1].retry`.
#[utoipa::path(
    post, path = "/v1/configs", tag = "admin plane", request_body = ConfigBody,
    responses(
        (status = 200, description = "`{success: true, id, slug, version_id, data: {id, slug, version_id}}`"),
        (status = 400, description = "A field is wrong, or not served; `param` is its path"),
        (status = 403, description = "The key lacks the scope `configs.create`"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    let Ask { app, admin, .. } = &ask;
    admin.require("configs.create")?;
    let asked: ConfigBody = ask.body(request).await?;
    let workspace_id = workspace(&ask, &asked).await?;
    let name = name_text(asked.name.as_deref().ok_or_else(|| missing("name"))?)?;
    let config = asked.config.as_ref().ok_or_else(|| missing("config"))?;
    let now_ms = now().as_millisecond();
    let row = ConfigRow {
        id: new_id(""),
        config: checked(app, &workspace_id, config).await?,
        workspace_id,
        slug: slug_of(&name),
        name,
        is_default: mark(asked.is_default.as_ref())?,
        status: status(asked.status.as_deref())?.unwrap_or_else(|| STATUS_ACTIVE.to_owned()),
        version: 1,
        version_id: new_id(""),
        owner_id: admin.name().to_owned(),
        updated_by: admin.name().to_owned(),
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    app.store.insert_config(&row).await?;
    Ok(made(&row))
}

async fn workspace(ask: &Ask, asked: &ConfigBody) -> Result<String, Refusal> {
    // The SDKs repeat in a body what its path says.
    refuse_unknown("", &asked.other, &["id", "slug"])?;
    let named = asked.workspace_id.as_deref();
    let named = named.or_else(|| ask.query.get("workspace_id"));
    ask.admin.workspace(&ask.app, named).await
}

/// Lists the configs of a workspace, oldest first.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/configs", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", success: true, total, data: [config]}`"),
        (status = 403, description = "The key lacks the scope `configs.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let workspace_id = ask.allowed("configs.list").await?;
    let page = ask.query.page()?;
    let found = ask.app.store.list_configs(&workspace_id, page).await?;
    let items: Vec<Value> = found.rows.iter().map(shape).collect();
    let mut answer = listed(found.total, &items);
    answer["success"] = true.into();
    Ok(Json(answer))
}

/// The config that a path names by its slug, or by its id as older SDKs do.
async fn found(app: &App, workspace_id: &str, word: &str) -> Result<ConfigRow, Refusal> {
    let row = match word.starts_with(PREFIX) {
        true => app.store.config_by_slug(workspace_id, word).await?,
        false => app.store.config(workspace_id, word).await?,
    };
    row.ok_or_else(|| Refusal::not_found("config", word))
}

/// The slug of the config that an API key names by slug or id.
///
/// # Errors
/// 400 that names `defaults.config_id` when there is none.
pub(super) async fn slug_for_key(
    app: &App,
    workspace_id: &str,
    word: &str,
) -> Result<String, Refusal> {
    let row = found(app, workspace_id, word).await;
    row.map(|row| row.slug).map_err(|error| {
        let known = error.status == StatusCode::NOT_FOUND;
        let message = format!("Invalid value: there is no config '{word:.80}'.");
        if known {
            Refusal::field("defaults.config_id", code::VALUE, message)
        } else {
            error
        }
    })
}

/// One config, with its current version.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/configs/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug, or its id")),
    responses(
        (status = 200, description = "The config, its fields also in `data`; `config` is an object"),
        (status = 404, description = "No such config in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(slug): Path<String>) -> Answer {
    let workspace_id = ask.allowed("configs.read").await?;
    let row = found(&ask.app, &workspace_id, &slug).await?;
    let config = serde_json::from_str(&row.config).map_err(|e| Refusal::internal(&e))?;
    Ok(both(with_config(&row, config)))
}

/// Changes a config: name, status, config, whichever are given. Makes a version.
///
/// # Errors
/// As for a new one; 404; 409 when it has changed meanwhile.
#[utoipa::path(
    put, path = "/v1/configs/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug, or its id")), request_body = ConfigBody,
    responses(
        (status = 200, description = "`{success: true, id, slug, version_id, data: {id, slug, version_id}}`"),
        (status = 400, description = "A field is wrong, or not served; `param` is its path"),
        (status = 404, description = "No such config in this workspace"),
        (status = 409, description = "Somebody else has just changed it"),
    )
)]
pub async fn update(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    let Ask { app, admin, .. } = &ask;
    admin.require("configs.update")?;
    let asked: ConfigBody = ask.body(request).await?;
    let workspace_id = workspace(&ask, &asked).await?;
    let mut row = found(app, &workspace_id, &slug).await?;
    if asked.is_default.is_some() {
        row.is_default = mark(asked.is_default.as_ref())?;
    }
    if let Some(name) = &asked.name {
        row.name = name_text(name)?;
    }
    if let Some(status) = status(asked.status.as_deref())? {
        row.status = status;
    }
    if let Some(config) = &asked.config {
        row.config = checked(app, &workspace_id, config).await?;
    }
    row.version += 1;
    row.version_id = new_id("");
    admin.name().clone_into(&mut row.updated_by);
    row.updated_at_ms = now().as_millisecond();
    match app.store.update_config(&row).await {
        Ok(true) => Ok(made(&row)),
        Ok(false) => Err(Refusal::not_found("config", &slug)),
        Err(StoreError::Conflict(_)) => Err(changed_meanwhile()),
        Err(error) => Err(error.into()),
    }
}

fn changed_meanwhile() -> Refusal {
    let message = "Somebody else has changed it just now.";
    Refusal::conflict("slug", "changed_meanwhile", message)
}

/// Removes a config and its versions. Requests and API keys that name it are refused from then on.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    delete, path = "/v1/configs/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug, or its id")),
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such config in this workspace"),
    )
)]
pub async fn delete(ask: Ask, Path(slug): Path<String>) -> Answer {
    let workspace_id = ask.allowed("configs.delete").await?;
    let store = &ask.app.store;
    let row = found(&ask.app, &workspace_id, &slug).await?;
    if !store.delete_config(&workspace_id, &row.id).await? {
        return Err(Refusal::not_found("config", &slug));
    }
    Ok(Json(json!({})))
}

/// The versions of a config, newest first; the newest 100 are kept.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/configs/{slug}/versions", tag = "admin plane",
    params(
        ("slug" = String, Path, description = "Its slug, or its id"),
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [config]}`; each `config` is JSON text"),
        (status = 404, description = "No such config in this workspace"),
    )
)]
pub async fn versions(ask: Ask, Path(slug): Path<String>) -> Answer {
    let workspace_id = ask.allowed("configs.read").await?;
    let page = ask.query.page()?;
    let row = found(&ask.app, &workspace_id, &slug).await?;
    let versions = ask.app.store.config_versions(&workspace_id, &row.id, page);
    let versions = versions.await?;
    let item = |row: &ConfigRow| with_config(row, row.config.clone().into());
    let items: Vec<Value> = versions.rows.iter().map(item).collect();
    Ok(Json(listed(versions.total, &items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_of_the_name_and_unique() {
        let (one, two) = (slug_of("My Config!"), slug_of("My Config!"));
        assert!(one.starts_with("pc-my-config-") && one.len() == 19, "{one}");
        assert_ne!(one, two);
        assert_eq!(slug_of("日本").len(), 9);
        assert!(slug_of(&"a".repeat(200)).len() < 64);
    }

    #[test]
    fn a_config_is_an_object_or_its_text() {
        let fields = object(&json!({"weight": 1})).unwrap();
        assert_eq!(object(&json!(r#"{"weight": 1}"#)).unwrap(), fields);
        for wrong in [json!([]), json!("pc-a"), json!(null), json!("[]")] {
            let refused = object(&wrong).unwrap_err();
            assert_eq!(refused.body.param.as_deref(), Some("config"), "{wrong}");
        }
    }
}
