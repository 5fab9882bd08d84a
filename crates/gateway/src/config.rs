//! The routing config of a request: that of `x-portkey-config`, a saved one that is named there or
//! by the API key, or an empty one.
//!
//! A config is read once, into a tree of [`Level`]s; a field that is not served is refused by
//! its path.

use crate::call::Call;
use crate::error::{Error, invalid};
use crate::policy::McpExecution;
use http::HeaderMap;
use serde_json::{Map, Value};
use std::sync::Arc;

mod fields;
mod tree;

use fields::unbuilt;
use tree::Parser;
pub(crate) use tree::{Kind, Level, Mode, Retry, Settings};

pub(crate) const HEADER: &str = "x-portkey-config";
/// Why a key refuses a config, or a header that beats one.
const NO_OVERRIDE: &str = "may not be sent with this API key, whose allow_config_override is false";
const TIMEOUT: &str = "x-portkey-request-timeout";
pub(crate) const HOST: &str = "x-portkey-custom-host";
pub(crate) const FORWARD: &str = "x-portkey-forward-headers";

/// A config, read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Routing {
    pub(crate) tree: Level,
    pub(crate) mcp_execution: Option<McpExecution>,
}

impl Routing {
    /// Reads a config; `root` is what errors call it.
    pub(crate) fn parse(root: &'static str, fields: Map<String, Value>) -> Result<Self, Error> {
        let (tree, mcp_execution) = Parser { root }.parse(fields)?;
        Ok(Self {
            tree,
            mcp_execution,
        })
    }
}

/// What a request asks for.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) routing: Arc<Routing>,
    /// What its headers say of every target, whatever the config says.
    pub(crate) over: Option<Settings>,
}

/// Where the config of a request is.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    Nothing,
    Inline(Arc<Routing>),
    Saved(Named<'a>),
}

/// A saved config that is named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) slug: &'a str,
    /// By the API key, not by the request.
    pub(crate) by_key: bool,
}

/// The config of a request: that of its header, else the default of its API key.
pub(crate) fn asked(call: &Call) -> Result<Asked<'_>, Error> {
    let defaults = &call.principal.defaults;
    let default = defaults.config_id.as_deref();
    let by_key = || match default.filter(|slug| !slug.is_empty()) {
        Some(slug) => Asked::Saved(Named { slug, by_key: true }),
        None => Asked::Nothing,
    };
    let Some(value) = call.headers.get(HEADER) else {
        return Ok(by_key());
    };
    let text = value
        .to_str()
        .map_err(|_| invalid(HEADER, "must be ASCII JSON"))?
        .trim();
    if text.is_empty() {
        return Ok(by_key());
    }
    if !defaults.allow_config_override {
        return Err(invalid(HEADER, NO_OVERRIDE));
    }
    if text.starts_with("pc-") {
        return Ok(Asked::Saved(Named {
            slug: text,
            by_key: false,
        }));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => {
            let routing = Routing::parse(HEADER, fields)?;
            Ok(Asked::Inline(Arc::new(routing)))
        }
        _ => Err(invalid(
            HEADER,
            "must hold a JSON object, or the slug of a saved config (pc-…)",
        )),
    }
}

/// What the headers say of every target; they beat the config. Source: Portkey, "Request headers".
pub(crate) fn over(call: &Call) -> Result<Option<Settings>, Error> {
    refuse_headers(&call.headers)?;
    refuse_override(call)?;
    let mut over = Settings::default();
    if let Some(text) = call.header(TIMEOUT) {
        over.request_timeout = Some(fields::timeout(TIMEOUT, text.parse().ok())?);
    }
    if let Some(text) = call.header(HOST) {
        over.custom_host = Some(fields::host(HOST, text)?);
    }
    if let Some(text) = call.header(FORWARD) {
        over.forward_headers = Some(fields::header_names(FORWARD, text.split(','))?);
    }
    Ok((over != Settings::default()).then_some(over))
}

/// The way in of `fuzz/targets/config.rs`.
///
/// # Panics
/// When a refusal does not name its field.
#[cfg(fuzzing)]
pub fn fuzz_config(text: &str) {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return;
    };
    if let Err(Error::Invalid(body)) = Routing::parse(HEADER, fields) {
        let param = body.param.unwrap_or_default();
        assert!(param.starts_with(HEADER), "{param}");
    }
}

/// An API key that bars other configs bars the headers that beat a config too.
fn refuse_override(call: &Call) -> Result<(), Error> {
    if call.principal.defaults.allow_config_override {
        return Ok(());
    }
    match [TIMEOUT, HOST, FORWARD]
        .iter()
        .find(|name| call.header(name).is_some())
    {
        Some(name) => Err(invalid(name, NO_OVERRIDE)),
        None => Ok(()),
    }
}

/// Headers that would change the call, and that this version does not serve.
fn refuse_headers(headers: &HeaderMap) -> Result<(), Error> {
    let names = [
        "x-portkey-default-input-guardrails",
        "x-portkey-default-output-guardrails",
        "x-portkey-cache-force-refresh",
    ];
    for name in names {
        if headers.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(unbuilt(name, &format!("the header '{name}'")));
        }
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
