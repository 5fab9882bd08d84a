//! The routing config of a request: that of `x-portkey-config`, or an empty one.
//!
//! A config is read once, into a tree of [`Level`]s; a field that is not served is refused by
//! its path.

use crate::call::Call;
use crate::error::{Error, invalid};
use crate::policy::McpExecution;
use http::HeaderMap;
use serde_json::{Map, Value};

mod fields;
mod tree;

use fields::unbuilt;
use tree::Parser;
pub(crate) use tree::{Kind, Level, Mode, Retry, Settings};

const HEADER: &str = "x-portkey-config";
const TIMEOUT: &str = "x-portkey-request-timeout";

/// What a config asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) tree: Level,
    pub(crate) mcp_execution: Option<McpExecution>,
}

impl Config {
    /// The config in the headers, or an empty one.
    pub(crate) fn of(call: &Call) -> Result<Self, Error> {
        let headers = &call.headers;
        refuse_headers(headers)?;
        let mut config = Self::in_header(call)?;
        if let Some(text) = call.header(TIMEOUT) {
            let limit = fields::timeout(TIMEOUT, text.parse().ok())?;
            config.tree.settings.request_timeout = Some(limit);
        }
        Ok(config)
    }

    fn in_header(call: &Call) -> Result<Self, Error> {
        let headers = &call.headers;
        let Some(value) = headers.get(HEADER) else {
            return Ok(Self::default());
        };
        let text = value
            .to_str()
            .map_err(|_| invalid(HEADER, "must be ASCII JSON"))?
            .trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if !call.principal.defaults.allow_config_override {
            return Err(invalid(
                HEADER,
                "may not be sent with this API key, whose allow_config_override is false",
            ));
        }
        if text.starts_with("pc-") {
            return Err(unbuilt(HEADER, "stored configs"));
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Self::parse(fields),
            _ => Err(invalid(HEADER, "must hold a JSON object")),
        }
    }

    fn parse(fields: Map<String, Value>) -> Result<Self, Error> {
        let (tree, mcp_execution) = Parser { root: HEADER }.parse(fields)?;
        Ok(Self {
            tree,
            mcp_execution,
        })
    }
}

/// Headers that would change the call, and that this version does not serve.
fn refuse_headers(headers: &HeaderMap) -> Result<(), Error> {
    let names = [
        "x-portkey-forward-headers",
        "x-portkey-default-input-guardrails",
        "x-portkey-default-output-guardrails",
        "x-portkey-cache-force-refresh",
    ];
    for name in names {
        if headers.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(unbuilt(name, &format!("the header '{name}'")));
        }
    }
    if headers
        .get("x-portkey-custom-host")
        .is_some_and(|value| !value.is_empty())
    {
        return Err(invalid(
            "x-portkey-custom-host",
            "cannot be set by a caller: whoever runs this gateway gives a virtual key its host \
             (portunus virtual-key create --custom-host)",
        ));
    }
    Ok(())
}

/// Metadata of the caller: that of the API key, over it that of the header. Values that are no
/// strings are written as JSON; a header that is no JSON object is dropped.
pub(crate) fn metadata(call: &Call) -> Map<String, Value> {
    let mut out: Map<String, Value> = Map::new();
    for (key, value) in &call.principal.defaults.metadata {
        out.insert(key.clone(), value.as_str().into());
    }
    let sent = call
        .header("x-portkey-metadata")
        .and_then(|text| serde_json::from_str(text).ok());
    if let Some(Value::Object(fields)) = sent {
        for (key, value) in fields.into_iter().take(MAX_METADATA) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let text: String = text.chars().take(128).collect();
            out.entry(key).or_insert_with(|| text.into());
        }
    }
    out
}

const MAX_METADATA: usize = 32;

#[cfg(test)]
mod tests;
