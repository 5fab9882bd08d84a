//! Providers that speak the Responses API themselves: OpenAI, and OpenAI's models at Azure.

mod decode;
mod encode;
mod item;
mod lane;
mod quick;

use crate::classify;
use crate::failure::Failure;
use crate::head::{self, Auth, head};
use crate::provider::{Decoder, Dialect, EncodeError, Endpoint, Head, Outgoing, Provider};
use crate::turn::TurnRequest;
use http::HeaderMap;
use portunus_protocol::error::code;
use serde_json::Value;
use url::Url;

/// One provider of this dialect.
#[derive(Debug)]
pub(crate) struct Responses {
    name: &'static str,
    base_url: Option<&'static str>,
    env_key: &'static str,
    auth: Auth,
}

/// `api.openai.com`.
pub(crate) static OPENAI: Responses = Responses {
    name: "openai",
    base_url: Some("https://api.openai.com/v1"),
    env_key: "OPENAI_API_KEY",
    auth: Auth::Bearer,
};

/// Azure's v1 API, whose address holds the name of the customer's resource.
pub(crate) static AZURE: Responses = Responses {
    name: "azure-openai",
    base_url: None,
    env_key: "AZURE_OPENAI_API_KEY",
    auth: Auth::ApiKey,
};

impl Provider for Responses {
    fn name(&self) -> &'static str {
        self.name
    }

    fn dialect(&self) -> Dialect {
        Dialect::Responses
    }

    fn default_base_url(&self) -> Option<&'static str> {
        self.base_url
    }

    fn env_key(&self) -> Option<&'static str> {
        Some(self.env_key)
    }

    fn needs_credential(&self) -> bool {
        true
    }

    fn runs_mcp(&self) -> bool {
        true
    }

    fn head(&self, endpoint: &Endpoint) -> Result<Head, EncodeError> {
        let mut made = if self.base_url.is_none() && is_nowhere(&endpoint.base_url) {
            let endpoint = Endpoint {
                base_url: azure_url(self.name, &endpoint.settings["resource_name"])?,
                ..endpoint.clone()
            };
            head(&endpoint, self.auth, &["responses"])?
        } else {
            head(endpoint, self.auth, &["responses"])?
        };
        let organization = ["organization", "openai_organization"];
        head::setting(&mut made, endpoint, &organization, "openai-organization")?;
        let project = ["project", "openai_project"];
        head::setting(&mut made, endpoint, &project, "openai-project")?;
        Ok(made)
    }

    fn encode(&self, endpoint: &Endpoint, turn: &TurnRequest) -> Result<Outgoing, EncodeError> {
        let (body, notes) = encode::encode(self.name, turn)?;
        Ok(Outgoing {
            head: Provider::head(self, endpoint)?,
            body,
            notes,
        })
    }

    fn decoder(&self, _turn: &TurnRequest) -> Box<dyn Decoder> {
        Box::new(decode::ResponsesDecoder::new(self.name))
    }

    fn classify(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        classify::classify(self.name, status, headers, body)
    }
}

/// A host under `.invalid` says that the operator named none (RFC 6761).
fn is_nowhere(url: &Url) -> bool {
    url.host_str().is_none_or(|host| host.ends_with(".invalid"))
}

/// The name becomes a part of a host name, so nothing else may be in it.
fn azure_url(provider: &str, name: &Value) -> Result<Url, EncodeError> {
    let legal = |name: &&str| {
        (2..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    name.as_str()
        .filter(legal)
        .and_then(|name| {
            format!("https://{name}.openai.azure.com/openai/v1")
                .parse()
                .ok()
        })
        .ok_or_else(|| EncodeError {
            param: None,
            code: code::VALUE,
            message: format!(
                "The setting 'resource_name' of the provider '{provider}' must be the name of an Azure resource (2 to 64 letters, digits and hyphens), or the virtual key must name a custom host."
            ),
        })
}

#[cfg(test)]
mod tests;
