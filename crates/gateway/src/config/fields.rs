//! Reading the fields of a config, and refusing them by path.

use crate::error::{Error, invalid};
use portunus_protocol::error::{ErrorBody, code, kind};
use serde_json::{Map, Value};
use std::time::Duration;

const MAX_TIMEOUT_MS: u64 = 3_600_000;

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
