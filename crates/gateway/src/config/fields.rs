//! Reading the fields of a config, and refusing them by path.

use crate::error::{Error, invalid};
use http::HeaderName;
use portunus_protocol::error::{ErrorBody, code, kind};
use serde_json::{Map, Value};
use std::time::Duration;
use url::Url;

const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Most headers that are forwarded.
const MAX_FORWARDED: usize = 32;

/// Headers that are never forwarded: credentials and cookies, what belongs to one connection or to
/// the body, and what opens a cloud's metadata server.
const NOT_FORWARDED: [&str; 31] = [
    "accept",
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "metadata",
    "metadata-flavor",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-real-ip",
    "x-aws-ec2-metadata-token",
    "x-aws-ec2-metadata-token-ttl-seconds",
    "x-goog-api-key",
    "x-google-metadata-request",
    "x-ms-retry-after-ms",
];

/// The fields of an object, with its path.
pub(super) struct Fields<'a> {
    at: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(at: &'a str, value: &'a Value) -> Result<Self, Error> {
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| invalid(at, "must be an object"))?;
        Ok(Self { at, fields })
    }

    /// Path, key and value of each.
    pub(super) fn each(&self) -> impl Iterator<Item = (String, &'a str, &'a Value)> {
        let at = self.at;
        self.fields
            .iter()
            .map(move |(key, value)| (format!("{at}.{key}"), key.as_str(), value))
    }
}

pub(super) fn timeout(at: &str, milliseconds: Option<u64>) -> Result<Duration, Error> {
    match milliseconds {
        Some(ms @ 1..=MAX_TIMEOUT_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(invalid(
            at,
            "must be a number of milliseconds from 1 to 3600000",
        )),
    }
}

pub(super) fn codes(at: &str, value: &Value) -> Result<Vec<u16>, Error> {
    let wrong = || invalid(at, "must be an array of HTTP statuses");
    let code = |value: &Value| {
        let code = value.as_u64().and_then(|code| u16::try_from(code).ok());
        code.filter(|code| (100..=999).contains(code))
            .ok_or_else(wrong)
    };
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(code).collect()
}

/// A base URL, judged by its spelling alone.
pub(super) fn host(at: &str, text: &str) -> Result<Url, Error> {
    let wrong = |why: &dyn std::fmt::Display| invalid(at, &format!("is no base URL: {why}"));
    let url = portunus_egress::parse_url(text.trim()).map_err(|error| wrong(&error))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(&"a query or a fragment does not belong there"));
    }
    Ok(url)
}

/// Names of headers that are to be forwarded.
pub(super) fn header_names<'a>(
    at: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<HeaderName>, Error> {
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<HeaderName> = names
        .map(|name| header_name(at, name))
        .collect::<Result<_, _>>()?;
    if names.len() > MAX_FORWARDED {
        return Err(invalid(at, "may name at most 32 headers"));
    }
    Ok(names)
}

fn header_name(at: &str, text: &str) -> Result<HeaderName, Error> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| invalid(at, "must hold names of headers"))?;
    let ours = ["x-portkey-", "x-portunus-", "x-forwarded-"];
    // Some servers read an underscore as a dash.
    let spelled = name.as_str().replace('_', "-");
    let kept = NOT_FORWARDED.contains(&spelled.as_str());
    if kept || ours.iter().any(|begin| spelled.starts_with(begin)) {
        let rule = format!("names the header '{name}', which is never forwarded");
        return Err(invalid(at, &rule));
    }
    Ok(name)
}

pub(super) fn text<'a>(at: &str, value: &'a Value) -> Result<&'a str, Error> {
    value
        .as_str()
        .ok_or_else(|| invalid(at, "must be a string"))
}

pub(super) fn unbuilt(at: &str, what: &str) -> Error {
    let message = format!("Unsupported parameter: '{at}': this version does not serve {what}.");
    ErrorBody::invalid(at, code::UNSUPPORTED, message).into()
}

pub(super) fn unknown(at: &str) -> Error {
    let shown: String = at.chars().take(200).collect();
    let message = format!("Unknown parameter: '{shown}'.");
    ErrorBody::invalid(shown, code::UNKNOWN, message).into()
}

pub(super) fn missing(at: &str) -> Error {
    ErrorBody::new(
        kind::INVALID_REQUEST,
        format!("Missing required parameter: '{at}'."),
    )
    .param(at)
    .code(code::MISSING)
    .into()
}
