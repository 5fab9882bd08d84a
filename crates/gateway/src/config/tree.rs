//! The tree of a routing config: targets, and groups of them, nested freely.

use super::fields::{self, Fields, unbuilt};
use crate::error::{Error, invalid};
use crate::policy::McpExecution;
use http::HeaderName;
use serde_json::{Map, Value};
use std::time::Duration;
use url::Url;

/// Portkey's default codes for a retry.
const RETRY_CODES: [u16; 6] = [429, 500, 502, 503, 504, 529];
/// More attempts than this are refused.
const MAX_RETRIES: u64 = 5;
/// Most targets of one group.
const MAX_TARGETS: usize = 100;
/// Most groups inside of each other.
const MAX_DEPTH: usize = 8;

/// Fields of Portkey's config that this version does not serve.
const UNBUILT: [&str; 18] = [
    "api_key",
    "passthrough",
    "prompt_id",
    "fetch_integrated_models",
    "cache",
    "cb_config",
    "default_params",
    "drop_params",
    "strict_open_ai_compliance",
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks",
    "input_mutators",
    "output_mutators",
    "openai_project",
    "openai_organization",
    "resource_name",
];

/// What decides how a request is served, and so is read before a target is chosen.
const FIXED_PARAMS: [&str; 10] = [
    "background",
    "conversation",
    "input",
    "max_tool_calls",
    "parallel_tool_calls",
    "previous_response_id",
    "store",
    "stream",
    "stream_options",
    "tools",
];

/// One level of a config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Level {
    /// Where it stands, in the words of an answer's header: `config.targets[1]`.
    pub(crate) index: String,
    pub(crate) kind: Kind,
    /// Its share among its siblings, for a group that draws.
    pub(crate) weight: f64,
    pub(crate) settings: Settings,
}

/// What a level is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Where requests go: behind this virtual key, or where the request itself says.
    Target(Option<String>),
    /// A choice among others; never empty.
    Group(Mode, Vec<Level>),
}

/// How a group chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The first.
    Single,
    /// One, drawn by weight.
    Loadbalance,
    /// One after the other, for failures with these statuses, or with any.
    Fallback(Option<Vec<u16>>),
}

impl Mode {
    /// As configs spell it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Loadbalance => "loadbalance",
            Self::Fallback(_) => "fallback",
        }
    }
}

/// What a level hands down to those below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) retry: Option<Retry>,
    /// Longest wait for the head of one attempt's answer.
    pub(crate) request_timeout: Option<Duration>,
    /// Fields that replace those of the body.
    pub(crate) override_params: Map<String, Value>,
    /// Base URL in place of the target's own.
    pub(crate) custom_host: Option<Url>,
    /// Headers of the request that the provider gets too.
    pub(crate) forward_headers: Option<Vec<HeaderName>>,
}

/// Repeats of one turn at one provider, never of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) on_status_codes: Vec<u16>,
    /// Whether a wait that the provider asks for is granted.
    pub(crate) use_retry_after: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 0,
            on_status_codes: RETRY_CODES.to_vec(),
            use_retry_after: true,
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self {
            index: "config".to_owned(),
            kind: Kind::Target(None),
            weight: 1.0,
            settings: Settings::default(),
        }
    }
}

impl Settings {
    /// These settings below `parent`: parameters are merged key by key, all else is taken whole
    /// from the nearest level that has it. Source: Portkey's open gateway.
    pub(crate) fn under(&self, parent: &Self) -> Self {
        let mut override_params = parent.override_params.clone();
        let own = self.override_params.iter();
        override_params.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        Self {
            retry: nearest(&self.retry, &parent.retry),
            request_timeout: self.request_timeout.or(parent.request_timeout),
            override_params,
            custom_host: nearest(&self.custom_host, &parent.custom_host),
            forward_headers: nearest(&self.forward_headers, &parent.forward_headers),
        }
    }
}

fn nearest<T: Clone>(own: &Option<T>, above: &Option<T>) -> Option<T> {
    own.as_ref().or(above.as_ref()).cloned()
}

/// Reads a tree.
pub(crate) struct Parser {
    /// What errors call the root.
    pub(crate) root: &'static str,
}

/// A tree, and who runs MCP servers.
pub(crate) type Parsed = (Level, Option<McpExecution>);

impl Parser {
    /// The whole config.
    pub(crate) fn parse(&self, mut fields: Map<String, Value>) -> Result<Parsed, Error> {
        let at = format!("{}.mcp_execution", self.root);
        let word = match fields.shift_remove("mcp_execution") {
            Some(value) => Some(execution(&at, &value)?),
            None => None,
        };
        Ok((self.level("", 0, fields)?, word))
    }

    fn level(&self, path: &str, depth: usize, fields: Map<String, Value>) -> Result<Level, Error> {
        let at = format!("{}{path}", self.root);
        if depth > MAX_DEPTH {
            return Err(invalid(&at, "may not be nested more than 8 deep"));
        }
        let mut level = Level {
            index: format!("config{path}"),
            ..Level::default()
        };
        let mut group = Group::default();
        let mut virtual_key = None;
        for (key, value) in fields {
            let at = format!("{at}.{key}");
            match key.as_str() {
                "strategy" => group.mode = Some(mode(&at, &value)?),
                "targets" => group.targets = Some(self.targets(&at, path, depth, value)?),
                "virtual_key" | "provider" => {
                    let slug = slug(&at, &key, &value)?;
                    if virtual_key.as_ref().is_some_and(|other| *other != slug) {
                        return Err(invalid(&at, "names another virtual key than its sibling"));
                    }
                    virtual_key = Some(slug);
                }
                "name" => drop(fields::text(&at, &value)?),
                "weight" => level.weight = weight(&at, &value)?,
                _ => setting(&mut level.settings, &at, &key, value)?,
            }
        }
        level.kind = group.kind(&at, virtual_key)?;
        Ok(level)
    }

    fn targets(
        &self,
        at: &str,
        path: &str,
        depth: usize,
        value: Value,
    ) -> Result<Vec<Level>, Error> {
        let Value::Array(list) = value else {
            return Err(invalid(at, "must be an array of configs"));
        };
        if list.is_empty() || list.len() > MAX_TARGETS {
            return Err(invalid(at, "must hold 1 to 100 targets"));
        }
        let target = |(number, value)| match value {
            Value::Object(fields) => {
                self.level(&format!("{path}.targets[{number}]"), depth + 1, fields)
            }
            _ => Err(invalid(&format!("{at}[{number}]"), "must be an object")),
        };
        list.into_iter().enumerate().map(target).collect()
    }
}

fn setting(settings: &mut Settings, at: &str, key: &str, value: Value) -> Result<(), Error> {
    match key {
        "retry" => settings.retry = Some(retry(at, &value)?),
        "request_timeout" => {
            settings.request_timeout = Some(fields::timeout(at, value.as_u64())?);
        }
        "override_params" => settings.override_params = params(at, value)?,
        "custom_host" => settings.custom_host = Some(fields::host(at, fields::text(at, &value)?)?),
        "forward_headers" => settings.forward_headers = Some(forward(at, &value)?),
        "on_status_codes" => {
            return Err(invalid(at, "belongs into 'strategy' or 'retry'"));
        }
        "mcp_execution" => return Err(invalid(at, "may stand at the top level only")),
        _ if is_unbuilt(key) => {
            return Err(unbuilt(at, &format!("the config field '{key}'")));
        }
        _ => return Err(fields::unknown(at)),
    }
    Ok(())
}

#[derive(Default)]
struct Group {
    mode: Option<Mode>,
    targets: Option<Vec<Level>>,
}

impl Group {
    fn kind(self, at: &str, virtual_key: Option<String>) -> Result<Kind, Error> {
        match (self.mode, self.targets) {
            (None, None) => Ok(Kind::Target(virtual_key)),
            (None, Some(_)) => Err(fields::missing(&format!("{at}.strategy"))),
            (Some(_), None) => Err(fields::missing(&format!("{at}.targets"))),
            (Some(_), Some(_)) if virtual_key.is_some() => Err(invalid(
                at,
                "names a virtual key beside 'targets': name it in the targets",
            )),
            (Some(Mode::Loadbalance), Some(targets))
                if targets.iter().all(|target| target.weight <= 0.0) =>
            {
                Err(invalid(
                    &format!("{at}.targets"),
                    "must hold a target whose weight is over 0",
                ))
            }
            (Some(mode), Some(targets)) => Ok(Kind::Group(mode, targets)),
        }
    }
}

fn is_unbuilt(key: &str) -> bool {
    let vendor = ["aws_", "vertex_", "azure_"];
    UNBUILT.contains(&key)
        || ["deployment_id", "api_version", "deployments"].contains(&key)
        || vendor.iter().any(|prefix| key.starts_with(prefix))
}

fn execution(at: &str, value: &Value) -> Result<McpExecution, Error> {
    let word = McpExecution::parse(fields::text(at, value)?);
    word.ok_or_else(|| invalid(at, "must be 'auto', 'provider' or 'gateway'"))
}

/// `virtual_key: slug` with or without its `@`, `provider: @slug`.
fn slug(at: &str, key: &str, value: &Value) -> Result<String, Error> {
    let text = fields::text(at, value)?;
    let slug = match text.strip_prefix('@') {
        Some(slug) => slug,
        None if key == "provider" => {
            return Err(unbuilt(
                at,
                "a bare provider name in a config: write '@virtual-key'",
            ));
        }
        None => text,
    };
    if slug.is_empty() {
        return Err(invalid(at, "must name a virtual key"));
    }
    Ok(slug.to_owned())
}

fn mode(at: &str, value: &Value) -> Result<Mode, Error> {
    let strategy = Fields::of(at, value)?;
    let mut codes = None;
    let mut word = None;
    for (at, key, value) in strategy.each() {
        match key {
            "mode" => word = Some(fields::text(&at, value)?),
            "on_status_codes" => codes = Some(fields::codes(&at, value)?),
            "conditions" | "default" | "sticky" | "cb_config" => {
                return Err(unbuilt(&at, &format!("the config field 'strategy.{key}'")));
            }
            _ => return Err(fields::unknown(&at)),
        }
    }
    let mode_at = format!("{at}.mode");
    match word {
        Some("fallback") => Ok(Mode::Fallback(codes)),
        Some(_) if codes.is_some() => Err(invalid(
            &format!("{at}.on_status_codes"),
            "belongs to the mode 'fallback'",
        )),
        Some("single") => Ok(Mode::Single),
        Some("loadbalance") => Ok(Mode::Loadbalance),
        Some("conditional") => Err(unbuilt(&mode_at, "the mode 'conditional'")),
        Some(_) => Err(invalid(
            &mode_at,
            "must be 'single', 'fallback' or 'loadbalance'",
        )),
        None => Err(fields::missing(&mode_at)),
    }
}

fn forward(at: &str, value: &Value) -> Result<Vec<HeaderName>, Error> {
    let list = value.as_array().map(Vec::as_slice);
    let list = list.ok_or_else(|| invalid(at, "must be an array of names of headers"))?;
    let names: Vec<&str> = list
        .iter()
        .map(|name| fields::text(at, name))
        .collect::<Result<_, _>>()?;
    fields::header_names(at, names.into_iter())
}

fn weight(at: &str, value: &Value) -> Result<f64, Error> {
    value
        .as_f64()
        .filter(|weight| (0.0..=1e9).contains(weight))
        .ok_or_else(|| invalid(at, "must be a number from 0"))
}

fn params(at: &str, value: Value) -> Result<Map<String, Value>, Error> {
    let Value::Object(params) = value else {
        return Err(invalid(at, "must be an object"));
    };
    if let Some(fixed) = FIXED_PARAMS.iter().find(|key| params.contains_key(**key)) {
        return Err(invalid(&format!("{at}.{fixed}"), "cannot be overridden"));
    }
    if let Some(model) = params.get("model") {
        let at = format!("{at}.model");
        if fields::text(&at, model)?.is_empty() {
            return Err(invalid(&at, "must name a model"));
        }
    }
    Ok(params)
}

fn retry(at: &str, value: &Value) -> Result<Retry, Error> {
    let mut retry = Retry::default();
    for (at, key, value) in Fields::of(at, value)?.each() {
        match key {
            "attempts" => {
                let number = value.as_u64().filter(|number| *number <= MAX_RETRIES);
                let number =
                    number.ok_or_else(|| invalid(&at, "must be an integer from 0 to 5"))?;
                retry.attempts = u32::try_from(number).unwrap_or(0);
            }
            "on_status_codes" => retry.on_status_codes = fields::codes(&at, value)?,
            "use_retry_after_header" | "use_retry_after_headers" => {
                let on = value.as_bool();
                retry.use_retry_after = on.ok_or_else(|| invalid(&at, "must be a boolean"))?;
            }
            _ => return Err(fields::unknown(&at)),
        }
    }
    Ok(retry)
}
