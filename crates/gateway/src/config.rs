//! The routing config of a request (`x-portkey-config`), as far as it is served.
//!
//! Served: `provider` (`@slug`), `virtual_key`, `retry`, `request_timeout` and our own
//! `mcp_execution`. Every other field of Portkey's config is refused by name.

use crate::call::Call;
use crate::error::Error;
use crate::policy::McpExecution;
use http::HeaderMap;
use portunus_protocol::error::{ErrorBody, code};
use serde_json::{Map, Value};
use std::time::Duration;

const HEADER: &str = "x-portkey-config";
const TIMEOUT: &str = "x-portkey-request-timeout";
const MAX_TIMEOUT_MS: u64 = 3_600_000;

/// Portkey's default codes for a retry.
const RETRY_CODES: [u16; 6] = [429, 500, 502, 503, 504, 529];

/// More attempts than this are refused.
const MAX_RETRIES: u64 = 5;

/// What a config asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) virtual_key: Option<String>,
    pub(crate) retry: Retry,
    pub(crate) mcp_execution: Option<McpExecution>,
    /// Longest wait for the head of one attempt's answer.
    pub(crate) request_timeout: Option<Duration>,
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

impl Config {
    /// The config in the headers, or an empty one.
    pub(crate) fn of(call: &Call) -> Result<Self, Error> {
        let headers = &call.headers;
        refuse_headers(headers)?;
        let mut config = Self::in_header(call)?;
        if let Some(text) = call.header(TIMEOUT) {
            config.request_timeout = Some(timeout(TIMEOUT, text.parse().ok())?);
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
            Ok(Value::Object(fields)) => Self::parse(&fields),
            _ => Err(invalid(HEADER, "must hold a JSON object")),
        }
    }

    fn parse(fields: &Map<String, Value>) -> Result<Self, Error> {
        let mut config = Self::default();
        for (key, value) in fields {
            let at = format!("{HEADER}.{key}");
            match key.as_str() {
                "virtual_key" => config.virtual_key = Some(text(&at, value)?.to_owned()),
                "provider" => match text(&at, value)?.strip_prefix('@') {
                    Some(slug) => config.virtual_key = Some(slug.to_owned()),
                    None => return Err(unbuilt(&at, "a bare provider name in a config")),
                },
                "retry" => config.retry = retry(&at, value)?,
                "request_timeout" => {
                    config.request_timeout = Some(timeout(&at, value.as_u64())?);
                }
                "mcp_execution" => {
                    let word = McpExecution::parse(text(&at, value)?);
                    let word = word
                        .ok_or_else(|| invalid(&at, "must be 'auto', 'provider' or 'gateway'"))?;
                    config.mcp_execution = Some(word);
                }
                _ => return Err(unbuilt(&at, &format!("the config field '{key}'"))),
            }
        }
        Ok(config)
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

fn retry(at: &str, value: &Value) -> Result<Retry, Error> {
    let fields = value
        .as_object()
        .ok_or_else(|| invalid(at, "must be an object"))?;
    let mut retry = Retry::default();
    for (key, value) in fields {
        let at = format!("{at}.{key}");
        match key.as_str() {
            "attempts" => {
                let number = value.as_u64().filter(|number| *number <= MAX_RETRIES);
                let number =
                    number.ok_or_else(|| invalid(&at, "must be an integer from 0 to 5"))?;
                retry.attempts = u32::try_from(number).unwrap_or(0);
            }
            "on_status_codes" => retry.on_status_codes = codes(&at, value)?,
            "use_retry_after_header" | "use_retry_after_headers" => {
                let on = value
                    .as_bool()
                    .ok_or_else(|| invalid(&at, "must be a boolean"))?;
                retry.use_retry_after = on;
            }
            _ => return Err(unbuilt(&at, &format!("the config field 'retry.{key}'"))),
        }
    }
    Ok(retry)
}

fn timeout(at: &str, milliseconds: Option<u64>) -> Result<Duration, Error> {
    match milliseconds {
        Some(1..=MAX_TIMEOUT_MS) => Ok(Duration::from_millis(milliseconds.unwrap_or(0))),
        _ => Err(invalid(
            at,
            "must be a number of milliseconds from 1 to 3600000",
        )),
    }
}

fn codes(at: &str, value: &Value) -> Result<Vec<u16>, Error> {
    let list = value
        .as_array()
        .ok_or_else(|| invalid(at, "must be an array of HTTP statuses"))?;
    let code = |value: &Value| value.as_u64().and_then(|code| u16::try_from(code).ok());
    list.iter()
        .map(|value| code(value).ok_or_else(|| invalid(at, "must be an array of HTTP statuses")))
        .collect()
}

fn text<'a>(at: &str, value: &'a Value) -> Result<&'a str, Error> {
    value
        .as_str()
        .ok_or_else(|| invalid(at, "must be a string"))
}

fn invalid(at: &str, rule: &str) -> Error {
    ErrorBody::invalid(at, code::VALUE, format!("Invalid '{at}': it {rule}.")).into()
}

fn unbuilt(at: &str, what: &str) -> Error {
    let message = format!("Unsupported parameter: '{at}': this version does not serve {what}.");
    ErrorBody::invalid(at, code::UNSUPPORTED, message).into()
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
mod tests {
    use super::*;
    use crate::call::test_call;

    fn config(text: &str) -> Result<Config, Error> {
        Config::of(&test_call(&[(HEADER, text)]))
    }

    #[test]
    fn served_fields() {
        let got = config(r#"{"provider":"@a","retry":{"attempts":2,"on_status_codes":[503],"use_retry_after_header":false},"request_timeout":700,"mcp_execution":"gateway"}"#).unwrap();
        assert_eq!(got.virtual_key.as_deref(), Some("a"));
        assert_eq!(
            got.retry,
            Retry {
                attempts: 2,
                on_status_codes: vec![503],
                use_retry_after: false,
            }
        );
        assert_eq!(got.mcp_execution, Some(McpExecution::Gateway));
        assert_eq!(got.request_timeout, Some(Duration::from_millis(700)));
    }

    #[test]
    fn a_key_may_forbid_a_config() {
        let mut call = test_call(&[(HEADER, "{}")]);
        call.principal.defaults.allow_config_override = false;
        assert_eq!(Config::of(&call).unwrap_err().status(), 400);
        call.headers.clear();
        assert_eq!(Config::of(&call).unwrap(), Config::default());
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for (text, param) in [
            (
                r#"{"strategy":{"mode":"fallback"}}"#,
                "x-portkey-config.strategy",
            ),
            (r#"{"cache":{"mode":"simple"}}"#, "x-portkey-config.cache"),
            (
                r#"{"retry":{"attempts":9}}"#,
                "x-portkey-config.retry.attempts",
            ),
            ("pc-abc", "x-portkey-config"),
            ("[]", "x-portkey-config"),
        ] {
            let error = config(text).unwrap_err();
            assert_eq!(error.status(), 400);
            assert_eq!(error.body().param.as_deref(), Some(param), "{text}");
        }
    }
}
