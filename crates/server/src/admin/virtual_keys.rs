//! Virtual keys: `/v1/virtual-keys`. A provider's credential goes in and never comes out.

use super::{
    Answer, Ask, expiry, host, listed, missing, name_text, plain_text, refuse_unbuilt,
    refuse_unknown,
};
use crate::answer::Refusal;
use crate::app::App;
use crate::auth::Admin;
use axum::Json;
use axum::extract::{Path, Request};
use http::StatusCode;
use jiff::Timestamp;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_providers::Provider;
use portunus_store::{
    DEFAULT_WORKSPACE_ID, Page, STATUS_ACTIVE, StoreError, VirtualKeyRow, new_id, now, vault,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Slug of the built-in virtual key of the `demo` model.
pub const DEMO: &str = "demo";
/// Setting of a row whose credential was copied from another's: the id of that one.
pub(super) const COPIED_FROM: &str = "integration_id";

/// A virtual key to make, or the fields of one to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct VirtualKeyBody {
    /// Its name.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// The provider, in Portkey's words: `openai`, `anthropic`, `groq`, … Fixed once made.
    #[serde(default)]
    pub(super) provider: Option<String>,
    /// The provider's credential. Kept sealed; never given back.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) key: Option<SecretString>,
    /// The word by which requests name it; made from the name when absent. Fixed once made.
    #[serde(default)]
    pub(super) slug: Option<String>,
    /// A remark.
    #[serde(default)]
    pub(super) note: Option<String>,
    /// The provider's base URL, where it is not the usual one; empty takes it away. A change of
    /// its origin wants the credential anew, in `key`.
    #[serde(default)]
    pub(super) custom_host: Option<String>,
    /// For `azure-openai`, in place of `custom_host`: the name of the resource, as in
    /// `https://NAME.openai.azure.com`. A change wants the credential anew too.
    #[serde(default)]
    pub(super) resource_name: Option<String>,
    /// Workspace, by id or slug; else the key's own or the default one.
    #[serde(default)]
    pub(super) workspace_id: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) usage_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) rate_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) secret_mappings: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) model_config: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) deployment_config: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) api_version: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pub(super) deployment_name: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub(super) other: Map<String, Value>,
}

impl VirtualKeyBody {
    fn refuse_unbuilt(&self) -> Result<(), Refusal> {
        refuse_unknown("", &self.other, &[])?;
        refuse_unbuilt(&[
            ("usage_limits", &self.usage_limits),
            ("rate_limits", &self.rate_limits),
            ("secret_mappings", &self.secret_mappings),
            ("model_config", &self.model_config),
            ("deploymentConfig", &self.deployment_config),
            ("apiVersion", &self.api_version),
            ("deploymentName", &self.deployment_name),
        ])
    }

    /// The credential, if one was given that is not empty.
    fn credential(&self) -> Result<Option<&SecretString>, Refusal> {
        let given = self
            .key
            .as_ref()
            .filter(|key| !key.expose_secret().trim().is_empty());
        let odd = |c: char| c.is_control() || !c.is_ascii();
        if given.is_some_and(|key| key.expose_secret().contains(odd)) {
            let message = "Invalid 'key': it holds characters that no header can carry.";
            return Err(Refusal::field("key", code::VALUE, message));
        }
        Ok(given)
    }
}

/// The provider of that name; other spellings of Portkey's API are understood.
fn provider_of(name: &str) -> Result<&'static dyn Provider, Refusal> {
    let name = match name {
        "open-ai" => "openai",
        "hugging-face" => "huggingface",
        "fireworks" => "fireworks-ai",
        other => other,
    };
    portunus_providers::find(name).ok_or_else(|| {
        let known: Vec<&str> = portunus_providers::all().iter().map(|p| p.name()).collect();
        let message = format!(
            "Invalid value: '{name:.80}'. Supported providers are: {}.",
            known.join(", ")
        );
        Refusal::field("provider", code::VALUE, message)
    })
}

/// A slug: the one asked for, else one made of the name.
///
/// # Errors
/// 400 when it does not fit `^[a-z0-9][a-z0-9_-]{0,63}$`.
pub fn slug_of(asked: Option<&str>, name: &str) -> Result<String, Refusal> {
    let made = || {
        let dashed = name
            .to_ascii_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
        parts.join("-").chars().take(64).collect::<String>()
    };
    let slug = asked
        .filter(|text| !text.is_empty())
        .map_or_else(made, str::to_owned);
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let sound = slug.len() <= 64 && slug.chars().all(fits) && !slug.starts_with(['-', '_']);
    if sound && !slug.is_empty() {
        return Ok(slug);
    }
    let message = "Invalid 'slug': expected a string that matches the pattern \
                   '^[a-z0-9][a-z0-9_-]{0,63}$'.";
    Err(Refusal::field("slug", code::VALUE, message))
}

/// The row as Portkey shows it, and ours: provider, custom_host, masked_key, source.
fn shape(row: &VirtualKeyRow) -> Value {
    json!({
        "object": "virtual-key", "id": row.id, "slug": row.slug, "name": row.name, "note": row.note,
        "status": row.status, "provider": row.provider, "custom_host": row.custom_host,
        "resource_name": host::resource_name(row), "masked_key": row.masked, "source": "stored",
        "workspace_id": row.workspace_id, "integration_id": integration_id(row),
        "usage_limits": null, "rate_limits": null, "reset_usage": null, "model_config": {},
        "created_at": row.created_at, "last_updated_at": row.updated_at, "expires_at": row.expires_at,
    })
}

/// Id of the row whose credential this one holds: another's if `providers.rs` has copied it, else its own.
pub(super) fn integration_id(row: &VirtualKeyRow) -> &str {
    row.settings[COPIED_FROM].as_str().unwrap_or(&row.id)
}

/// A key that no table holds: from the environment, or the demo model's.
fn unstored(slug: &str, provider: &str, masked: &str, source: &str) -> Value {
    json!({
        "object": "virtual-key", "id": slug, "slug": slug, "name": slug, "note": null, "status": STATUS_ACTIVE,
        "provider": provider, "custom_host": null, "masked_key": masked, "source": source,
        "integration_id": slug,
        "usage_limits": null, "rate_limits": null, "reset_usage": null, "model_config": {},
        "created_at": null, "expires_at": null,
    })
}

/// All keys of a workspace that no table holds. Those of the environment are the default
/// workspace's alone.
fn all_unstored(app: &App, workspace_id: &str) -> Vec<Value> {
    let own = workspace_id == DEFAULT_WORKSPACE_ID;
    let live = app.live();
    let keys = live.environment_keys().iter().filter(|_| own);
    let mut items: Vec<Value> = keys
        .map(|key| {
            unstored(
                &key.provider,
                &key.provider,
                &vault::mask(&key.secret),
                "environment",
            )
        })
        .collect();
    items.push(unstored(DEMO, DEMO, "", "built-in"));
    items
}

fn unstored_by_slug(app: &App, workspace_id: &str, slug: &str) -> Option<Value> {
    all_unstored(app, workspace_id)
        .into_iter()
        .find(|item| item["slug"] == slug)
}

/// True when requests of this workspace can name this slug.
///
/// # Errors
/// When the database fails.
pub async fn exists(app: &App, workspace_id: &str, slug: &str) -> Result<bool, StoreError> {
    if unstored_by_slug(app, workspace_id, slug).is_some() {
        return Ok(true);
    }
    Ok(app
        .store
        .virtual_key_by_slug(workspace_id, slug)
        .await?
        .is_some())
}

/// Stores a provider's credential under a slug.
///
/// # Errors
/// 400 that names the field; 409 when the slug is taken.
#[utoipa::path(
    post, path = "/v1/virtual-keys", tag = "admin plane", request_body = VirtualKeyBody,
    responses(
        (status = 200, description = "`{success: true, data: {slug}}`"),
        (status = 400, description = "A field is wrong, or not built yet"),
        (status = 403, description = "The key lacks the scope `virtual_keys.create`, or may not name this host"),
        (status = 409, description = "The slug is taken"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    ask.admin.require("virtual_keys.create")?;
    let asked: VirtualKeyBody = ask.body(request).await?;
    let row = make(&ask, &asked).await?;
    Ok(Json(
        json!({"success": true, "data": {"slug": row.slug, "id": row.id}}),
    ))
}

/// Stores what was asked for, whichever route asked.
pub(super) async fn make(ask: &Ask, asked: &VirtualKeyBody) -> Result<VirtualKeyRow, Refusal> {
    asked.refuse_unbuilt()?;
    let workspace_id = workspace(ask, asked).await?;
    let row = new_row(&ask.app, &ask.admin, asked, workspace_id)?;
    insert(&ask.app, row).await
}

/// The workspace that body or query names.
pub(super) async fn workspace(ask: &Ask, asked: &VirtualKeyBody) -> Result<String, Refusal> {
    let named = asked.workspace_id.as_deref();
    let named = named.or_else(|| ask.query.get("workspace_id"));
    ask.admin.workspace(&ask.app, named).await
}

pub(super) async fn insert(app: &App, row: VirtualKeyRow) -> Result<VirtualKeyRow, Refusal> {
    let inserted = app.store.insert_virtual_key(&row).await;
    inserted.map_err(|error| match error {
        StoreError::Conflict(_) => slug_taken(&row.slug),
        other => other.into(),
    })?;
    Ok(row)
}

fn slug_taken(slug: &str) -> Refusal {
    let message = format!("A virtual key with the slug '{slug}' exists already.");
    Refusal::conflict("slug", "already_exists", message)
}

/// The row of a new key, its credential sealed.
fn new_row(
    app: &App,
    admin: &Admin,
    asked: &VirtualKeyBody,
    workspace_id: String,
) -> Result<VirtualKeyRow, Refusal> {
    let name = name_text(asked.name.as_deref().ok_or_else(|| missing("name"))?)?;
    let provider = provider_of(
        asked
            .provider
            .as_deref()
            .ok_or_else(|| missing("provider"))?,
    )?;
    let host = asked.custom_host.as_deref().unwrap_or_default();
    let custom_host = host::custom_host(app, admin, host, None)?;
    let credential = asked.credential()?;
    if credential.is_none() && custom_host.is_none() && provider.needs_credential() {
        return Err(missing("key"));
    }
    let slug = slug_of(asked.slug.as_deref(), &name)?;
    let mut row = VirtualKeyRow {
        id: new_id("vk-"),
        workspace_id,
        slug,
        name,
        provider: provider.name().to_owned(),
        custom_host,
        note: plain_text("note", asked.note.as_deref().unwrap_or_default())?,
        status: STATUS_ACTIVE.to_owned(),
        sealed: Vec::new(),
        key_id: String::new(),
        version: 1,
        masked: String::new(),
        settings: json!({}),
        created_at: now(),
        updated_at: now(),
        expires_at: expiry(asked.expires_at)?,
    };
    host::set_resource(&mut row, asked.resource_name.as_deref().unwrap_or_default())?;
    if provider.name() != DEMO {
        host::address(provider, &row)?;
    }
    if let Some(secret) = credential {
        seal(app, &mut row, secret)?;
    }
    Ok(row)
}

pub(super) fn seal(
    app: &App,
    row: &mut VirtualKeyRow,
    secret: &SecretString,
) -> Result<(), Refusal> {
    let secret = SecretString::from(secret.expose_secret().trim().to_owned());
    let sealed = app
        .vault
        .seal(row.binding(), &secret)
        .map_err(|e| Refusal::internal(&e))?;
    row.masked = vault::mask(&secret);
    (row.key_id, row.sealed) = (sealed.key_id, sealed.bytes);
    Ok(())
}

/// Lists the virtual keys, those of the environment and the demo model's included.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/virtual-keys", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [virtual-key]}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let (total, items) = page(&ask).await?;
    Ok(Json(listed(total, &items)))
}

/// The page that the query asks for, and how many keys there are.
pub(super) async fn page(ask: &Ask) -> Result<(i64, Vec<Value>), Refusal> {
    let workspace_id = ask.allowed("virtual_keys.list").await?;
    let app = &ask.app;
    let page: Page = ask.query.page()?;
    let stored = app.store.list_virtual_keys(&workspace_id, page).await?;
    let mut items: Vec<Value> = stored.rows.iter().map(shape).collect();
    let mut total = stored.total;
    for item in all_unstored(app, &workspace_id) {
        let slug = item["slug"].as_str().unwrap_or_default();
        // A stored key of the same slug is the one that requests get.
        let found = app.store.virtual_key_by_slug(&workspace_id, slug).await?;
        if found.is_none() {
            total += 1;
            items.extend((page.offset == 0).then_some(item));
        }
    }
    Ok((total, items))
}

/// The stored row of a slug; says why not for a key that no table holds.
pub(super) async fn stored(
    app: &App,
    workspace_id: &str,
    slug: &str,
) -> Result<VirtualKeyRow, Refusal> {
    if let Some(row) = app.store.virtual_key_by_slug(workspace_id, slug).await? {
        return Ok(row);
    }
    if unstored_by_slug(app, workspace_id, slug).is_none() {
        return Err(Refusal::not_found("virtual key", slug));
    }
    let message = format!(
        "The virtual key '{slug}' comes from the environment or is built in: it cannot be \
         changed here. Make a stored key of the same slug to take its place."
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("not_stored");
    Err(Refusal::new(StatusCode::CONFLICT, body))
}

/// One virtual key.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/virtual-keys/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "The virtual key, without its credential"),
        (status = 404, description = "No such virtual key in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(slug): Path<String>) -> Answer {
    Ok(Json(one(&ask, &slug).await?))
}

/// The key of that slug, as `GET /v1/virtual-keys/{slug}` shows it.
pub(super) async fn one(ask: &Ask, slug: &str) -> Result<Value, Refusal> {
    let workspace_id = ask.allowed("virtual_keys.read").await?;
    let app = &ask.app;
    let row = app.store.virtual_key_by_slug(&workspace_id, slug).await?;
    let found = row.as_ref().map(shape);
    found
        .or_else(|| unstored_by_slug(app, &workspace_id, slug))
        .ok_or_else(|| Refusal::not_found("virtual key", slug))
}

/// Changes a virtual key: name, note, credential, base URL, expiry. A new origin wants the
/// credential anew: else whoever may change a key could have it sent to a host of their own.
///
/// # Errors
/// 400 that names the field; 404; 409 for one that no table holds or that changed meanwhile.
#[utoipa::path(
    put, path = "/v1/virtual-keys/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")), request_body = VirtualKeyBody,
    responses(
        (status = 200, description = "`{success: true, data: {slug}}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.update`, or may not name this host"),
        (status = 404, description = "No such virtual key in this workspace"),
        (status = 409, description = "It cannot be changed here, or somebody else just did"),
    )
)]
pub async fn update(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    ask.admin.require("virtual_keys.update")?;
    let asked: VirtualKeyBody = ask.body(request).await?;
    amend(&ask, &slug, &asked).await?;
    Ok(Json(json!({"success": true, "data": {"slug": slug}})))
}

/// Changes the key of that slug, whichever route asked.
pub(super) async fn amend(
    ask: &Ask,
    slug: &str,
    asked: &VirtualKeyBody,
) -> Result<VirtualKeyRow, Refusal> {
    asked.refuse_unbuilt()?;
    let app = &ask.app;
    let workspace_id = workspace(ask, asked).await?;
    let mut row = stored(app, &workspace_id, slug).await?;
    change(app, &ask.admin, &mut row, asked)?;
    let changed = app.store.update_virtual_key(&row).await;
    let changed = changed.map_err(|error| match error {
        StoreError::Conflict(_) => Refusal::conflict(
            "slug",
            "changed_meanwhile",
            "Somebody else has changed it just now.",
        ),
        other => other.into(),
    })?;
    if changed {
        Ok(row)
    } else {
        Err(Refusal::not_found("virtual key", slug))
    }
}

fn change(
    app: &App,
    admin: &Admin,
    row: &mut VirtualKeyRow,
    asked: &VirtualKeyBody,
) -> Result<(), Refusal> {
    let provider = asked.provider.as_deref().map(provider_of).transpose()?;
    let fixed = [
        ("provider", provider.map(Provider::name), &row.provider),
        ("slug", asked.slug.as_deref(), &row.slug),
    ];
    for (param, new, now) in fixed {
        if new.is_some_and(|new| new != now) {
            let message = format!("Invalid '{param}': it is fixed once made ('{now}').");
            return Err(Refusal::field(param, code::VALUE, message));
        }
    }
    if let Some(name) = &asked.name {
        row.name = name_text(name)?;
    }
    if let Some(note) = &asked.note {
        row.note = plain_text("note", note)?;
    }
    if asked.custom_host.is_some() || asked.resource_name.is_some() {
        redirect(app, admin, row, asked)?;
    }
    if asked.expires_at.is_some() {
        row.expires_at = expiry(asked.expires_at)?;
    }
    row.updated_at = now();
    if let Some(secret) = asked.credential()? {
        row.version += 1;
        seal(app, row, secret)?;
    }
    Ok(())
}

/// Changes where the credential is sent. A stored one never goes to another origin: it has to be
/// given anew, by somebody who knows it.
fn redirect(
    app: &App,
    admin: &Admin,
    row: &mut VirtualKeyRow,
    asked: &VirtualKeyBody,
) -> Result<(), Refusal> {
    let provider = provider_of(&row.provider)?;
    let before = host::address(provider, row).ok().map(|url| url.origin());
    if let Some(text) = &asked.custom_host {
        row.custom_host = host::custom_host(app, admin, text, row.custom_host.as_deref())?;
    }
    if let Some(name) = &asked.resource_name {
        host::set_resource(row, name)?;
    }
    let after = host::address(provider, row)?.origin();
    let stays = row.credential().is_some() && asked.credential()?.is_none();
    if stays && before.is_none_or(|before| before != after) {
        let message = "Missing required parameter: 'key'. The credential would go to another \
                       host: give it anew, in the same body.";
        return Err(Refusal::field("key", code::MISSING, message));
    }
    Ok(())
}

/// Removes a virtual key and its credential.
///
/// # Errors
/// 404; 409 for one that no table holds.
#[utoipa::path(
    delete, path = "/v1/virtual-keys/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such virtual key in this workspace"),
        (status = 409, description = "It comes from the environment or is built in"),
    )
)]
pub async fn delete(ask: Ask, Path(slug): Path<String>) -> Answer {
    remove(&ask, &slug).await
}

/// Removes the key of that slug, whichever route asked.
pub(super) async fn remove(ask: &Ask, slug: &str) -> Answer {
    let workspace_id = ask.allowed("virtual_keys.delete").await?;
    let store = &ask.app.store;
    let row = stored(&ask.app, &workspace_id, slug).await?;
    if !store.delete_virtual_key(&workspace_id, &row.id).await? {
        return Err(Refusal::not_found("virtual key", slug));
    }
    Ok(Json(json!({})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        assert_eq!(
            slug_of(None, " My Open-AI  key! ").unwrap(),
            "my-open-ai-key"
        );
        assert_eq!(slug_of(Some("main-258f4d"), "x").unwrap(), "main-258f4d");
        for bad in ["a/b", "A", "-a", "a b", &"a".repeat(65)] {
            assert!(slug_of(Some(bad), "x").is_err(), "{bad}");
        }
        assert!(slug_of(None, "Ünï").is_ok());
        assert!(slug_of(None, "日本").is_err());
    }

    #[test]
    fn the_credential_is_not_in_debug() {
        let body = r#"{"name": "a", "provider": "openai", "key": "sk-canary-1234567890"}"#;
        let asked: VirtualKeyBody = serde_json::from_str(body).unwrap();
        assert!(!format!("{asked:?}").contains("canary"));
    }
}
