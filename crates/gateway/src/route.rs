//! Which virtual key and which model a request means, and the target behind them.

use crate::Gateway;
use crate::call::Call;
use crate::error::Error;
use crate::opened::Opened;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_providers::{Dialect, Endpoint, Provider};
use portunus_store::{DEFAULT_WORKSPACE_ID, VirtualKeyRow, now};
use secrecy::SecretString;
use serde_json::Value;
use std::sync::Arc;
use url::Url;

mod walk;

pub(crate) use walk::{Exit, Step, steps};

/// Slug of the demo model, which needs no credential.
const DEMO: &str = "demo";

/// What the request names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) place: Place,
    /// The model's name at the provider.
    pub(crate) model: String,
}

/// Where the model is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind this virtual key.
    VirtualKey(String),
    /// At this provider, with the caller's own key.
    Bare(String),
}

impl Place {
    /// The word of the request.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::VirtualKey(word) | Self::Bare(word) => word,
        }
    }
}

/// Reads the names in the order of precedence: config, `x-portkey-provider`,
/// `x-portkey-virtual-key`, `@slug/` of the model, default of the API key. Two that differ are
/// refused, so that no request goes where its author did not look.
///
/// `over` is the model of the config's `override_params`; `here` is the config's level and the
/// slug that it names.
pub(crate) fn wanted(
    model: &str,
    over: Option<&str>,
    call: &Call,
    here: (&str, Option<&str>),
) -> Result<Wanted, Error> {
    for name in [
        "x-portkey-config",
        "x-portkey-provider",
        "x-portkey-virtual-key",
    ] {
        if call.headers.get_all(name).iter().count() > 1 {
            let message = format!("The header '{name}' is there more than once. Send it once.");
            return Err(ErrorBody::invalid(name, code::VALUE, message).into());
        }
    }
    let (mut prefix, mut model) = split_model(model)?;
    if let Some(over) = over {
        let (own, over) = split_model(over)?;
        (prefix, model) = (own.or(prefix), over);
    }
    let provider = call.header("x-portkey-provider");
    let named = [
        here,
        (
            "x-portkey-provider",
            provider.and_then(|name| name.strip_prefix('@')),
        ),
        (
            "x-portkey-virtual-key",
            call.header("x-portkey-virtual-key").map(bare),
        ),
        ("model", prefix),
    ];
    let named: Vec<(&str, &str)> = named
        .into_iter()
        .filter_map(|(at, slug)| Some((at, slug?)))
        .collect();
    let model = model.to_owned();
    if let Some((at, slug)) = named.first() {
        if let Some((other_at, other)) = named.iter().find(|(_, other)| other != slug) {
            return Err(two_keys(at, slug, other_at, other));
        }
        return Ok(Wanted {
            place: Place::VirtualKey((*slug).to_owned()),
            model,
        });
    }
    let default = call.principal.defaults.virtual_key.clone();
    let place = match (provider, default) {
        (Some(name), _) if call.caller_credential.is_some() => Place::Bare(name.to_owned()),
        (Some(name), _) => Place::VirtualKey(name.to_owned()),
        (None, Some(slug)) => Place::VirtualKey(slug),
        (None, None) => return Err(no_key()),
    };
    Ok(Wanted { place, model })
}

/// Portkey writes virtual keys with and without the `@`.
fn bare(slug: &str) -> &str {
    slug.strip_prefix('@').unwrap_or(slug)
}

/// `@slug/model`: everything after the first slash is the model.
pub(crate) fn split_model(model: &str) -> Result<(Option<&str>, &str), Error> {
    let Some(rest) = model.strip_prefix('@') else {
        return Ok((None, model));
    };
    match rest.split_once('/') {
        Some((slug, model)) if !slug.is_empty() && !model.is_empty() => Ok((Some(slug), model)),
        _ => {
            let message = "Invalid 'model': a model that begins with '@' has the form \
                           '@virtual-key/model'.";
            Err(ErrorBody::invalid("model", code::VALUE, message).into())
        }
    }
}

fn two_keys(at: &str, slug: &str, other_at: &str, other: &str) -> Error {
    let message = format!(
        "The request names two virtual keys: '{slug}' in {at} and '{other}' in {other_at}. Name one."
    );
    ErrorBody::invalid(other_at, code::EXCLUSIVE, message).into()
}

fn no_key() -> Error {
    ErrorBody::invalid(
        "x-portkey-virtual-key",
        code::MISSING,
        "The request names no virtual key. Send it in the header 'x-portkey-virtual-key', write \
         the model as '@virtual-key/model', or give the API key a default virtual key.",
    )
    .into()
}

/// A provider, its address and credential, and the model there.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) provider: &'static dyn Provider,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) slug: Option<String>,
    pub(crate) model: String,
    pub(crate) way: Way,
}

/// Who has named a target's address, and so which rules hold for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The operator, a virtual key or the provider's own documentation.
    Operator,
    /// A config or a caller: public addresses over https only.
    Public,
}

impl Target {
    /// The provider and the virtual key, for an error's reader.
    pub(crate) fn shown(&self) -> String {
        let name = self.provider.name();
        match &self.slug {
            Some(slug) if slug != name => format!("'{name}' (virtual key '{slug}')"),
            _ => format!("'{name}'"),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.provider.dialect()
    }
}

impl Gateway {
    /// The target that a request names.
    pub(crate) async fn target(&self, call: &Call, wanted: Wanted) -> Result<Target, Error> {
        let Wanted { place, model } = wanted;
        match place {
            Place::Bare(name) => {
                let provider = find(&name)?;
                let endpoint =
                    endpoint(provider, None, call.caller_credential.clone(), Value::Null)?;
                Ok(Target {
                    provider,
                    endpoint,
                    slug: None,
                    model,
                    way: Way::Operator,
                })
            }
            Place::VirtualKey(slug) => {
                self.target_of(&call.principal.workspace_id, slug, model)
                    .await
            }
        }
    }

    /// The target behind a virtual key: a stored one, else one from the environment, else demo.
    pub(crate) async fn target_of(
        &self,
        workspace_id: &str,
        slug: String,
        model: String,
    ) -> Result<Target, Error> {
        if let Some(Opened { provider, endpoint }) = self.opened(workspace_id, &slug).await? {
            return Ok(Target {
                provider,
                endpoint,
                slug: Some(slug),
                model,
                way: Way::Operator,
            });
        }
        let secret = self.environment_key(workspace_id, &slug);
        if secret.is_none() && slug != DEMO {
            return Err(unknown_key(&slug));
        }
        let provider = find(&slug)?;
        let endpoint = endpoint(provider, None, secret, Value::Null)?;
        Ok(Target {
            provider,
            endpoint,
            slug: Some(slug),
            model,
            way: Way::Operator,
        })
    }

    /// The target at another address. A credential that the gateway keeps goes to no other origin
    /// than the one that it was stored for; the caller's own goes where the caller says.
    pub(crate) fn hosted(&self, mut target: Target, at: &str, url: &Url) -> Result<Target, Error> {
        let endpoint = target.endpoint.as_ref();
        if is_same_base(&endpoint.base_url, url) {
            return Ok(target);
        }
        let keeps = target.slug.is_some() && endpoint.credential.is_some();
        if keeps && endpoint.base_url.origin() != url.origin() {
            return Err(kept_credential(at, &target, url));
        }
        target.way = self.hosted_by(at, url)?;
        target.endpoint = Arc::new(Endpoint {
            base_url: url.clone(),
            ..endpoint.clone()
        });
        Ok(target)
    }

    /// The slugs that a workspace may name beside the stored ones.
    pub(crate) fn built_in_slugs(&self, workspace_id: &str) -> Vec<String> {
        let own = workspace_id == DEFAULT_WORKSPACE_ID;
        let keys = self.parts.environment_keys.iter().filter(|_| own);
        keys.map(|key| key.provider.clone())
            .chain([DEMO.to_owned()])
            .collect()
    }

    fn environment_key(&self, workspace_id: &str, slug: &str) -> Option<SecretString> {
        let mut keys = self.parts.environment_keys.iter();
        let key = keys.find(|key| key.provider == slug)?;
        (workspace_id == DEFAULT_WORKSPACE_ID).then(|| key.secret.clone())
    }

    pub(crate) fn open(&self, row: &VirtualKeyRow) -> Result<Option<SecretString>, Error> {
        if !row.is_usable(now()) {
            let message = format!(
                "The virtual key '{}' is {} or has expired.",
                row.slug, row.status
            );
            let body = ErrorBody::invalid("x-portkey-virtual-key", code::VALUE, message);
            return Err(body.into());
        }
        let Some(sealed) = row.credential() else {
            return Ok(None);
        };
        let secret = self.parts.vault.open(row.binding(), &sealed);
        secret
            .map(Some)
            .map_err(|error| Error::Internal(format!("vault: {error}")))
    }
}

fn is_same_base(one: &Url, other: &Url) -> bool {
    one.as_str().trim_end_matches('/') == other.as_str().trim_end_matches('/')
}

fn kept_credential(at: &str, target: &Target, url: &Url) -> Error {
    let message = format!(
        "Invalid '{at}': the credential of the provider {} is not sent to '{}': it belongs to \
         another host. Give the virtual key that host (portunus virtual-key update \
         --custom-host), or send a provider key of your own in 'Authorization' with \
         'x-portkey-provider'.",
        target.shown(),
        url.host_str().unwrap_or_default()
    );
    ErrorBody::invalid(at, "host_not_allowed", message).into()
}

pub(crate) fn find(name: &str) -> Result<&'static dyn Provider, Error> {
    portunus_providers::find(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let message = format!("The provider '{shown}' is not one that this version knows.");
        ErrorBody::invalid("x-portkey-provider", code::VALUE, message).into()
    })
}

pub(crate) fn endpoint(
    provider: &'static dyn Provider,
    custom_host: Option<&str>,
    credential: Option<SecretString>,
    settings: Value,
) -> Result<Arc<Endpoint>, Error> {
    let name = provider.name();
    let base = custom_host
        .or(provider.default_base_url())
        .unwrap_or(NOWHERE);
    let base_url = Url::parse(base)
        .map_err(|error| Error::Internal(format!("base URL of '{name}': {error}")))?;
    Ok(Arc::new(Endpoint {
        base_url,
        credential,
        provider: name.to_owned(),
        settings,
    }))
}

/// For a provider that is never dialled or that builds its own address from its settings; a
/// call to it would fail at the resolver (RFC 6761).
const NOWHERE: &str = "https://unset.invalid/v1";

fn unknown_key(slug: &str) -> Error {
    let shown: String = slug.chars().take(64).collect();
    let message = format!(
        "There is no virtual key '{shown}' in this workspace (and no provider of that name has its \
         key in the environment). List them with 'portunus virtual-key list', or make one with \
         'portunus virtual-key create'."
    );
    ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("x-portkey-virtual-key")
        .code("virtual_key_not_found")
        .into()
}

#[cfg(test)]
mod tests;
