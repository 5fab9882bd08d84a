//! Where a virtual key's credential is sent: a base URL, or the name of an Azure resource.

use crate::answer::Refusal;
use crate::app::App;
use portunus_egress::Zone;
use portunus_protocol::error::code;
use portunus_providers::{Endpoint, Provider};
use portunus_store::VirtualKeyRow;
use serde_json::Value;
use url::Url;

/// The setting of a row that names the customer's resource at Azure.
pub(super) const RESOURCE_NAME: &str = "resource_name";
/// The base of a provider whose row names no address: such a name never resolves (RFC 6761).
const NOWHERE: &str = "https://unset.invalid/v1";

/// A base URL that the guard lets through; empty means none.
///
/// # Errors
/// 400 that says what is wrong with it.
pub(super) fn custom_host(app: &App, text: &str) -> Result<Option<String>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |message: String| Refusal::field("custom_host", code::VALUE, message);
    let url = portunus_egress::parse_url(text).map_err(|e| wrong(e.to_string()))?;
    app.client
        .check(Zone::Provider, &url)
        .map_err(|e| wrong(e.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "Invalid 'custom_host': a base URL has no query and no fragment.".to_owned(),
        ));
    }
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
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
