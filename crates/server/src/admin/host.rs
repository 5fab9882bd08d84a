//! Where a virtual key's credential is sent: a base URL, or the name of an Azure resource.

use crate::answer::Refusal;
use crate::app::App;
use crate::auth::Admin;
use http::StatusCode;
use portunus_egress::Zone;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_providers::{Endpoint, Provider};
use portunus_store::VirtualKeyRow;
use serde_json::Value;
use url::Url;

/// The setting of a row that names the customer's resource at Azure.
pub(super) const RESOURCE_NAME: &str = "resource_name";
/// The base of a provider whose row names no address: such a name never resolves (RFC 6761).
const NOWHERE: &str = "https://unset.invalid/v1";

/// A base URL that the guard lets through; empty means none. `before` is the one that the row has:
/// whoever leaves it as it is names no host.
///
/// # Errors
/// 400 that says what is wrong with it; 403 for a host that only the admin token may name.
pub(super) fn custom_host(
    app: &App,
    admin: &Admin,
    text: &str,
    before: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |message: String| Refusal::field("custom_host", code::VALUE, message);
    let url = portunus_egress::parse_url(text).map_err(|e| wrong(e.to_string()))?;
    app.live()
        .client()
        .check(Zone::Provider, &url)
        .map_err(|e| wrong(e.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "Invalid 'custom_host': a base URL has no query and no fragment.".to_owned(),
        ));
    }
    let host = url.as_str().trim_end_matches('/').to_owned();
    if before != Some(host.as_str()) && !may_name(app, admin, &url) {
        return Err(only_the_operator(&url));
    }
    Ok(Some(host))
}

/// Whether this caller may have requests sent there. A tenant's key reaches what is public, over
/// https: a name that resolves inside is not known without DNS, but what answers there has to
/// have a certificate of that name.
fn may_name(app: &App, admin: &Admin, url: &Url) -> bool {
    admin.sees_all()
        || app.live().client().is_allow_listed(Zone::Provider, url)
        || app.live().public_only().check(Zone::Mcp, url).is_ok()
}

fn only_the_operator(url: &Url) -> Refusal {
    let message = format!(
        "Invalid 'custom_host': '{}' is a private, loopback or plain-http host. Only the admin \
         token may name one; an API key may name public https hosts and those that the operator \
         lists in providers.allow.",
        url.host_str().unwrap_or_default()
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message)
        .code("host_not_allowed")
        .param("custom_host");
    Refusal::new(StatusCode::FORBIDDEN, body)
}

/// Puts the name of an Azure resource into a row's settings; empty takes it away.
///
/// # Errors
/// 400 when the provider has no use for it.
pub(super) fn set_resource(row: &mut VirtualKeyRow, name: &str) -> Result<(), Refusal> {
    let name = name.trim();
    if !name.is_empty() && row.provider != "azure-openai" {
        let message =
            "Unsupported parameter: 'resource_name' belongs to the provider 'azure-openai'.";
        return Err(Refusal::field(RESOURCE_NAME, code::UNSUPPORTED, message));
    }
    if let Some(settings) = row.settings.as_object_mut() {
        settings.shift_remove(RESOURCE_NAME);
        if !name.is_empty() {
            settings.insert(RESOURCE_NAME.to_owned(), name.into());
        }
    }
    Ok(())
}

/// The address that a row's credential is sent to, as the provider itself makes it.
///
/// # Errors
/// 400 when the row names none and the provider has no usual one, or when its resource's name
/// is none.
pub(super) fn address(provider: &dyn Provider, row: &VirtualKeyRow) -> Result<Url, Refusal> {
    let base = row.custom_host.as_deref().or(provider.default_base_url());
    let base_url = Url::parse(base.unwrap_or(NOWHERE)).map_err(|e| Refusal::internal(&e))?;
    let endpoint = Endpoint {
        base_url,
        credential: Some("not looked at".into()),
        provider: row.provider.clone(),
        settings: row.settings.clone(),
    };
    let head = provider
        .head(&endpoint)
        .map_err(|error| Refusal::field(RESOURCE_NAME, error.code, error.message))?;
    if base.is_none() && head.url.host_str() == Some("unset.invalid") {
        return Err(super::missing("custom_host"));
    }
    Ok(head.url)
}

/// The name of the resource as answers show it.
pub(super) fn resource_name(row: &VirtualKeyRow) -> &Value {
    &row.settings[RESOURCE_NAME]
}
