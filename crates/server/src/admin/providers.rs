//! Providers: `/v1/providers`, Portkey's newer name for virtual keys. The rows are those of
//! [`virtual_keys`]; here are the other shapes, and the copy that gives one credential a second
//! slug.

use super::virtual_keys::{self, VirtualKeyBody};
use super::{
    Answer, Ask, expiry, listed, missing, name_text, plain_text, refuse_unbuilt, refuse_unknown,
};
use crate::answer::Refusal;
use axum::Json;
use axum::extract::{Path, Request};
use jiff::Timestamp;
use portunus_protocol::error::code;
use portunus_store::{VirtualKeyRow, new_id, now};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A provider to make, or the fields of one to change.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ProviderBody {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// Id or slug of the integration whose credential it gets a copy of. Fixed once made.
    #[serde(default)]
    integration_id: Option<String>,
    /// The word by which requests name it; made from the name when absent. Fixed once made.
    #[serde(default)]
    slug: Option<String>,
    /// A remark.
    #[serde(default)]
    note: Option<String>,
    /// Workspace, by id or slug; else the key's own or the default one.
    #[serde(default)]
    workspace_id: Option<String>,
    /// When it ends, RFC 3339; not later than its integration.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(ignore)]
    usage_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    rate_limits: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    reset_usage: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

impl ProviderBody {
    fn refuse_unbuilt(&self) -> Result<(), Refusal> {
        refuse_unknown("", &self.other, &[])?;
        let reset = self.reset_usage.filter(|asked| *asked).map(Value::Bool);
        refuse_unbuilt(&[
            ("usage_limits", &self.usage_limits),
            ("rate_limits", &self.rate_limits),
            ("reset_usage", &reset),
        ])
    }

    fn as_virtual_key(&self) -> VirtualKeyBody {
        VirtualKeyBody {
            name: self.name.clone(),
            slug: self.slug.clone(),
            note: self.note.clone(),
            workspace_id: self.workspace_id.clone(),
            expires_at: self.expires_at,
            ..VirtualKeyBody::default()
        }
    }
}

/// A virtual key as Portkey shows a provider.
fn shape(mut key: Value) -> Value {
    key["object"] = "provider".into();
    if let Some(fields) = key.as_object_mut() {
        fields.shift_remove("model_config");
    }
    key
}

async fn read_body(ask: &Ask, request: Request) -> Result<ProviderBody, Refusal> {
    let asked: ProviderBody = ask.body(request).await?;
    asked.refuse_unbuilt()?;
    Ok(asked)
}

/// Gives an integration's credential a further slug. The credential is copied as it is now.
///
/// # Errors
/// 400 that names the field; 404 for an integration that is not there; 409 when the slug is taken.
#[utoipa::path(
    post, path = "/v1/providers", tag = "admin plane", request_body = ProviderBody,
    responses(
        (status = 200, description = "`{id, slug}`"),
        (status = 400, description = "A field is wrong, or not built yet"),
        (status = 403, description = "The key lacks the scope `virtual_keys.create`"),
        (status = 404, description = "No such integration in this workspace"),
        (status = 409, description = "The slug is taken, or no table holds the integration"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    ask.admin.require("virtual_keys.create")?;
    let asked = read_body(&ask, request).await?;
    let integration = asked.integration_id.as_deref();
    let integration = integration.ok_or_else(|| missing("integration_id"))?;
    let row = copy(&ask, integration, &asked.as_virtual_key()).await?;
    Ok(Json(json!({"id": row.id, "slug": row.slug})))
}

/// Stores a second row with the credential, host and provider of another: of `asked` count name,
/// slug, note and expiry. It is a copy: a new credential of the one does not reach the other.
async fn copy(
    ask: &Ask,
    integration: &str,
    asked: &VirtualKeyBody,
) -> Result<VirtualKeyRow, Refusal> {
    let app = &ask.app;
    let workspace_id = virtual_keys::workspace(ask, asked).await?;
    let source = match app.store.virtual_key(&workspace_id, integration).await? {
        Some(row) => row,
        None => virtual_keys::stored(app, &workspace_id, integration).await?,
    };
    let mut row = copied(&source, asked)?;
    if let Some(sealed) = source.credential() {
        let opened = app.vault.open(source.binding(), &sealed);
        virtual_keys::seal(app, &mut row, &opened.map_err(|e| Refusal::internal(&e))?)?;
    }
    virtual_keys::insert(app, row).await
}

fn copied(source: &VirtualKeyRow, asked: &VirtualKeyBody) -> Result<VirtualKeyRow, Refusal> {
    let name = name_text(asked.name.as_deref().ok_or_else(|| missing("name"))?)?;
    let expires_at = expiry(asked.expires_at)?.or(source.expires_at);
    if source.expires_at.is_some() && expires_at > source.expires_at {
        let message = "Invalid 'expires_at': it is later than that of the integration.";
        return Err(Refusal::field("expires_at", code::VALUE, message));
    }
    let mut settings = source.settings.clone();
    if let Some(settings) = settings.as_object_mut() {
        settings.insert(
            virtual_keys::COPIED_FROM.to_owned(),
            virtual_keys::integration_id(source).into(),
        );
    }
    Ok(VirtualKeyRow {
        id: new_id("vk-"),
        slug: virtual_keys::slug_of(asked.slug.as_deref(), &name)?,
        name,
        note: plain_text("note", asked.note.as_deref().unwrap_or_default())?,
        version: 1,
        settings,
        created_at: now(),
        updated_at: now(),
        expires_at,
        sealed: Vec::new(),
        key_id: String::new(),
        ..source.clone()
    })
}

/// Lists the providers: every virtual key, those of the environment and the demo model's included.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/providers", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [provider]}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let (total, keys) = virtual_keys::page(&ask).await?;
    let items: Vec<Value> = keys.into_iter().map(shape).collect();
    Ok(Json(listed(total, &items)))
}

/// One provider.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/providers/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "The provider, without its credential"),
        (status = 404, description = "No such provider in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(slug): Path<String>) -> Answer {
    Ok(Json(shape(virtual_keys::one(&ask, &slug).await?)))
}

/// Changes a provider's name, note and expiry.
///
/// # Errors
/// 400 that names the field; 404; 409 for one that no table holds.
#[utoipa::path(
    put, path = "/v1/providers/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")), request_body = ProviderBody,
    responses(
        (status = 200, description = "`{id, slug}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.update`"),
        (status = 404, description = "No such provider in this workspace"),
        (status = 409, description = "It cannot be changed here, or somebody else just did"),
    )
)]
pub async fn update(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    ask.admin.require("virtual_keys.update")?;
    let asked = read_body(&ask, request).await?;
    if asked.integration_id.is_some() {
        let message = "Invalid 'integration_id': it is fixed once made.";
        return Err(Refusal::field("integration_id", code::VALUE, message));
    }
    let row = virtual_keys::amend(&ask, &slug, &asked.as_virtual_key()).await?;
    Ok(Json(json!({"id": row.id, "slug": row.slug})))
}

/// Removes a provider and its credential.
///
/// # Errors
/// 404; 409 for one that no table holds.
#[utoipa::path(
    delete, path = "/v1/providers/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such provider in this workspace"),
        (status = 409, description = "It comes from the environment or is built in"),
    )
)]
pub async fn delete(ask: Ask, Path(slug): Path<String>) -> Answer {
    virtual_keys::remove(&ask, &slug).await
}
