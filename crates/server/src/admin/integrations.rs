//! Integrations: `/v1/integrations`, Portkey's newer name for the credential of a provider. The
//! rows are those of [`virtual_keys`]; each is at once a provider of the same slug.

use super::log_shape::ORGANISATION;
use super::virtual_keys::{self, VirtualKeyBody};
use super::{Answer, Ask, listed, refuse_unbuilt, refuse_unknown};
use crate::answer::Refusal;
use axum::Json;
use axum::extract::{Path, Request};
use portunus_protocol::error::code;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// An integration to make, or the fields of one to change.
#[derive(Debug, Deserialize, ToSchema)]
pub struct IntegrationBody {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// The provider, in Portkey's words: `openai`, `anthropic`, … Fixed once made.
    #[serde(default)]
    ai_provider_id: Option<String>,
    /// The provider's credential. Kept sealed; never given back.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    key: Option<SecretString>,
    /// Made from the name when absent. Fixed once made.
    #[serde(default)]
    slug: Option<String>,
    /// A remark.
    #[serde(default)]
    description: Option<String>,
    /// Workspace, by id or slug; else the key's own or the default one.
    #[serde(default)]
    workspace_id: Option<String>,
    /// Where it is, if not at the usual place.
    #[serde(default)]
    configurations: Option<ConfigurationsBody>,
    /// True or absent: an integration is a provider of the same slug.
    #[serde(default)]
    create_default_provider: Option<bool>,
    /// The slug, if `slug` is absent.
    #[serde(default)]
    default_provider_slug: Option<String>,
    #[serde(default)]
    #[schema(ignore)]
    secret_mappings: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    pricing_adjustments: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

/// Where an integration's credential is sent.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct ConfigurationsBody {
    /// Base URL; empty takes it away.
    #[serde(default)]
    custom_host: Option<String>,
    /// For `azure-openai`: the name of the resource.
    #[serde(default)]
    azure_resource_name: Option<String>,
    /// `default` alone: by the key.
    #[serde(default)]
    azure_auth_mode: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    other: Map<String, Value>,
}

impl IntegrationBody {
    fn refuse_unbuilt(&self) -> Result<(), Refusal> {
        refuse_unknown("", &self.other, &[])?;
        refuse_unbuilt(&[
            ("secret_mappings", &self.secret_mappings),
            ("pricing_adjustments", &self.pricing_adjustments),
        ])?;
        if self.create_default_provider == Some(false) {
            let message = "Unsupported value: 'create_default_provider' is always true: an \
                           integration is a provider of the same slug.";
            return Err(unsupported("create_default_provider", message));
        }
        self.configurations.as_ref().map_or(Ok(()), check)
    }

    /// The one slug of both.
    fn slug(&self) -> Result<Option<String>, Refusal> {
        match (&self.slug, &self.default_provider_slug) {
            (Some(slug), Some(other)) if slug != other => {
                let message = "Unsupported value: 'default_provider_slug' must be 'slug': an \
                               integration is a provider of the same slug.";
                Err(unsupported("default_provider_slug", message))
            }
            (slug, other) => Ok(slug.clone().or_else(|| other.clone())),
        }
    }

    fn as_virtual_key(&self) -> Result<VirtualKeyBody, Refusal> {
        let hosts = self.configurations.as_ref();
        Ok(VirtualKeyBody {
            name: self.name.clone(),
            provider: self.ai_provider_id.clone(),
            key: self.key.clone(),
            slug: self.slug()?,
            note: self.description.clone(),
            workspace_id: self.workspace_id.clone(),
            custom_host: hosts.and_then(|hosts| hosts.custom_host.clone()),
            resource_name: hosts.and_then(|hosts| hosts.azure_resource_name.clone()),
            ..VirtualKeyBody::default()
        })
    }
}

fn check(asked: &ConfigurationsBody) -> Result<(), Refusal> {
    refuse_unknown("configurations.", &asked.other, &[])?;
    match asked.azure_auth_mode.as_deref() {
        None | Some("default") => Ok(()),
        Some(_) => {
            let message = "Unsupported value: 'configurations.azure_auth_mode' is 'default': the \
                           key is sent as it is.";
            Err(unsupported("configurations.azure_auth_mode", message))
        }
    }
}

fn unsupported(param: &str, message: &str) -> Refusal {
    Refusal::field(param, code::UNSUPPORTED, message)
}

/// A refusal of [`virtual_keys`], its field under the name that it has here.
fn renamed(mut refusal: Refusal) -> Refusal {
    let name = match refusal.body.param.as_deref() {
        Some("provider") => "ai_provider_id",
        Some("note") => "description",
        Some("custom_host") => "configurations.custom_host",
        Some("resource_name") => "configurations.azure_resource_name",
        _ => return refusal,
    };
    refusal.body.param = Some(name.to_owned());
    refusal
}

/// A virtual key as Portkey shows an integration.
fn shape(key: &Value) -> Value {
    json!({
        "object": "integration", "id": key["id"], "slug": key["slug"], "name": key["name"],
        "organisation_id": ORGANISATION, "workspace_id": key["workspace_id"],
        "ai_provider_id": key["provider"], "description": key["note"], "status": key["status"],
        "created_at": key["created_at"], "last_updated_at": key["last_updated_at"],
        "source": key["source"], "type": "workspace",
    })
}

/// As [`shape`], and what one alone has.
fn detail(key: &Value) -> Value {
    let mut configurations = Map::new();
    for (name, field) in [
        ("custom_host", "custom_host"),
        ("azure_resource_name", "resource_name"),
    ] {
        if let Value::String(text) = &key[field] {
            configurations.insert(name.to_owned(), text.as_str().into());
        }
    }
    let mut out = shape(key);
    out["masked_key"] = key["masked_key"].clone();
    out["configurations"] = Value::Object(configurations);
    out["allow_all_models"] = true.into();
    out["global_workspace_access"] = json!({"enabled": false});
    out
}

async fn read_body(ask: &Ask, request: Request) -> Result<VirtualKeyBody, Refusal> {
    let asked: IntegrationBody = ask.body(request).await?;
    asked.refuse_unbuilt()?;
    asked.as_virtual_key()
}

/// Stores a provider's credential.
///
/// # Errors
/// 400 that names the field; 409 when the slug is taken.
#[utoipa::path(
    post, path = "/v1/integrations", tag = "admin plane", request_body = IntegrationBody,
    responses(
        (status = 200, description = "`{id, slug}`"),
        (status = 400, description = "A field is wrong, or not built yet"),
        (status = 403, description = "The key lacks the scope `virtual_keys.create`, or may not name this host"),
        (status = 409, description = "The slug is taken"),
    )
)]
pub async fn create(ask: Ask, request: Request) -> Answer {
    ask.admin.require("virtual_keys.create")?;
    let asked = read_body(&ask, request).await?;
    let row = virtual_keys::make(&ask, &asked).await.map_err(renamed)?;
    Ok(Json(json!({"id": row.id, "slug": row.slug})))
}

/// Lists the integrations: every virtual key, those of the environment and the demo model's
/// included.
///
/// # Errors
/// 400 for a `type` that is none; 403 without the scope.
#[utoipa::path(
    get, path = "/v1/integrations", tag = "admin plane",
    params(
        ("current_page" = Option<u32>, Query, description = "From 0"),
        ("page_size" = Option<u32>, Query, description = "At most 1000; 100 by default"),
        ("workspace_id" = Option<String>, Query, description = "Id or slug"),
        ("type" = Option<String>, Query, description = "`all`, `workspace`, or `organisation` (of which there are none)"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", total, data: [integration]}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.list`"),
    )
)]
pub async fn list(ask: Ask) -> Answer {
    let (total, keys) = virtual_keys::page(&ask).await?;
    match ask.query.get("type") {
        None | Some("all" | "workspace") => {}
        Some("organisation") => return Ok(Json(listed(0, &[]))),
        Some(_) => {
            let message = "Invalid 'type': there are 'all', 'workspace' and 'organisation'.";
            return Err(Refusal::field("type", code::VALUE, message));
        }
    }
    let items: Vec<Value> = keys.iter().map(shape).collect();
    Ok(Json(listed(total, &items)))
}

/// One integration.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/integrations/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "The integration, with `masked_key` and `configurations`"),
        (status = 404, description = "No such integration in this workspace"),
    )
)]
pub async fn read(ask: Ask, Path(slug): Path<String>) -> Answer {
    Ok(Json(detail(&virtual_keys::one(&ask, &slug).await?)))
}

/// Changes an integration: name, description, credential, where it is sent.
///
/// # Errors
/// 400 that names the field; 404; 409 for one that no table holds or that changed meanwhile.
#[utoipa::path(
    put, path = "/v1/integrations/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")), request_body = IntegrationBody,
    responses(
        (status = 200, description = "`{id, slug}`"),
        (status = 403, description = "The key lacks the scope `virtual_keys.update`, or may not name this host"),
        (status = 404, description = "No such integration in this workspace"),
        (status = 409, description = "It cannot be changed here, or somebody else just did"),
    )
)]
pub async fn update(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    ask.admin.require("virtual_keys.update")?;
    let asked = read_body(&ask, request).await?;
    let row = virtual_keys::amend(&ask, &slug, &asked).await;
    let row = row.map_err(renamed)?;
    Ok(Json(json!({"id": row.id, "slug": row.slug})))
}

/// Removes an integration and its credential.
///
/// # Errors
/// 404; 409 for one that no table holds.
#[utoipa::path(
    delete, path = "/v1/integrations/{slug}", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "`{}`"),
        (status = 404, description = "No such integration in this workspace"),
        (status = 409, description = "It comes from the environment or is built in"),
    )
)]
pub async fn delete(ask: Ask, Path(slug): Path<String>) -> Answer {
    virtual_keys::remove(&ask, &slug).await
}

/// The models of an integration: all of its provider's are allowed and none is listed.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/integrations/{slug}/models", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "`{total: 0, models: [], allow_all_models: true}`"),
        (status = 404, description = "No such integration in this workspace"),
    )
)]
pub async fn models(ask: Ask, Path(slug): Path<String>) -> Answer {
    virtual_keys::one(&ask, &slug).await?;
    Ok(Json(
        json!({"total": 0, "models": [], "allow_all_models": true}),
    ))
}

/// Takes what is so already (all models are allowed), and refuses the rest.
///
/// # Errors
/// 400 for a choice of models; 404.
#[utoipa::path(
    put, path = "/v1/integrations/{slug}/models", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")), request_body = Value,
    responses(
        (status = 200, description = "`{}`: it was so already"),
        (status = 400, description = "A choice of models is not built yet"),
        (status = 403, description = "The key lacks the scope `virtual_keys.update`"),
        (status = 404, description = "No such integration in this workspace"),
    )
)]
pub async fn set_models(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    let asked = fields_for(&ask, &slug, request).await?;
    let all = asked.get("allow_all_models").unwrap_or(&Value::Null);
    if *all != Value::Bool(true) && !all.is_null() {
        let message = "Unsupported value: 'allow_all_models' is always true.";
        return Err(unsupported("allow_all_models", message));
    }
    refuse_unknown("", &asked, &["allow_all_models", "models"])?;
    refuse_unbuilt(&[("models", &asked.get("models").cloned())])?;
    Ok(Json(json!({})))
}

/// The fields of a change that takes effect nowhere, of an integration that is there.
async fn fields_for(
    ask: &Ask,
    slug: &str,
    request: Request,
) -> Result<Map<String, Value>, Refusal> {
    let workspace_id = ask.allowed("virtual_keys.update").await?;
    virtual_keys::stored(&ask.app, &workspace_id, slug).await?;
    ask.body(request).await
}

/// Where an integration may be used: in its own workspace.
///
/// # Errors
/// 404 for a slug that this workspace does not have.
#[utoipa::path(
    get, path = "/v1/integrations/{slug}/workspaces", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")),
    responses(
        (status = 200, description = "`{total: 1, workspaces: [{id, enabled: true, …}]}`"),
        (status = 404, description = "No such integration in this workspace"),
    )
)]
pub async fn workspaces(ask: Ask, Path(slug): Path<String>) -> Answer {
    virtual_keys::one(&ask, &slug).await?;
    let own = ask.allowed("virtual_keys.read").await?;
    let own = json!({"id": own, "enabled": true, "usage_limits": null, "rate_limits": null});
    Ok(Json(json!({"total": 1, "workspaces": [own]})))
}

/// Takes what is so already (its own workspace may use it, no other), and refuses the rest.
///
/// # Errors
/// 400 for another workspace or for limits; 404.
#[utoipa::path(
    put, path = "/v1/integrations/{slug}/workspaces", tag = "admin plane",
    params(("slug" = String, Path, description = "Its slug")), request_body = Value,
    responses(
        (status = 200, description = "`{}`: it was so already"),
        (status = 400, description = "Sharing between workspaces, and limits, are not built yet"),
        (status = 403, description = "The key lacks the scope `virtual_keys.update`"),
        (status = 404, description = "No such integration in this workspace"),
    )
)]
pub async fn set_workspaces(ask: Ask, Path(slug): Path<String>, request: Request) -> Answer {
    let own = ask.allowed("virtual_keys.update").await?;
    let asked = fields_for(&ask, &slug, request).await?;
    let overrides = [
        "override_existing_workspace_access",
        "override_existing_workspaces_access",
    ];
    refuse_unknown("", &asked, &["workspaces", overrides[0], overrides[1]])?;
    let listed = match asked.get("workspaces") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(listed)) => listed,
        Some(_) => {
            let message = "Invalid 'workspaces': expected an array of {id, enabled}.";
            return Err(Refusal::field("workspaces", code::TYPE, message));
        }
    };
    for (index, workspace) in listed.iter().enumerate() {
        let fields = workspace.as_object().cloned().unwrap_or_default();
        let so_already = fields.get("id").is_some_and(|id| *id == own.as_str())
            && fields.get("enabled") == Some(&Value::Bool(true));
        if !so_already {
            let param = format!("workspaces[{index}]");
            let message = format!(
                "Unsupported value: '{param}' is not the integration's own workspace '{own}', \
                 enabled. An integration belongs to one workspace: make another in the other."
            );
            return Err(Refusal::field(&param, code::UNSUPPORTED, message));
        }
        refuse_unbuilt(&[
            ("usage_limits", &fields.get("usage_limits").cloned()),
            ("rate_limits", &fields.get("rate_limits").cloned()),
        ])?;
    }
    Ok(Json(json!({})))
}
