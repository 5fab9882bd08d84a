//! Finds the error in a body, whatever shape it has.

use crate::json::{self, text, word};
use serde_json::Value;
use std::borrow::Cow;

/// Characters of a plain-text body that are kept.
const MAX_CHARS: usize = 500;

/// What a body says about an error.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Whether the body has the shape of an error at all.
    pub(super) is_error: bool,
    pub(super) message: Option<String>,
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
    /// An HTTP status that the body itself names.
    pub(super) status: Option<u16>,
    /// Google's `RetryInfo.retryDelay`.
    pub(super) delay: Option<String>,
}

impl Report {
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::String(said)) => Self::plain(&said),
            Ok(value) => Self::of(&value),
            Err(_) => Self::plain(&String::from_utf8_lossy(body)),
        }
    }

    pub(super) fn of(value: &Value) -> Self {
        let value = match value {
            Value::Array(all) => all.first().unwrap_or(&Value::Null),
            one => one,
        };
        let message = message(value);
        let inner = match value.get("error") {
            Some(error) if error.is_object() => error,
            _ => value,
        };
        let base = value.get("base_resp").unwrap_or(&Value::Null);
        let code = word(inner, "code").or_else(|| word(base, "status_code"));
        Self {
            is_error: is_error(value),
            message: message.filter(|said| !said.trim().is_empty()),
            status: status(inner, base),
            kind: text(inner, "type")
                .or_else(|| text(inner, "status"))
                .map(str::to_owned),
            param: text(inner, "param").map(str::to_owned),
            delay: json::list(inner, "details")
                .iter()
                .find_map(|detail| text(detail, "retryDelay"))
                .map(str::to_owned),
            code: reason(inner).or(code),
        }
    }

    fn plain(said: &str) -> Self {
        let said = strip_tags(said);
        Self {
            is_error: true,
            message: (!said.is_empty()).then_some(said),
            ..Self::default()
        }
    }

    /// Whether the code or the type contains one of `words` (small letters).
    pub(super) fn says(&self, words: &[&str]) -> bool {
        contains(self.code.as_deref(), words) || contains(self.kind.as_deref(), words)
    }

    /// Whether the message contains one of `words` (small letters).
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        contains(self.message.as_deref(), words)
    }

    /// The code when it is a word and not a number.
    pub(super) fn word_code(&self) -> Option<String> {
        self.code
            .clone()
            .filter(|code| !code.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

fn contains(text: Option<&str>, words: &[&str]) -> bool {
    text.is_some_and(|text| {
        let text = text.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    })
}

fn is_error(value: &Value) -> bool {
    let failed = value
        .get("base_resp")
        .and_then(|base| json::count(base, "status_code"))
        .is_some_and(|code| code != 0);
    let told = value.get("error").is_some_and(|error| match error {
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    });
    let bare = value.get("choices").is_none()
        && value.get("output").is_none()
        && (text(value, "object").is_some_and(|word| word.eq_ignore_ascii_case("error"))
            || value.get("detail").is_some()
            || value.get("success") == Some(&Value::Bool(false))
            || (value.get("code").is_some() && text(value, "message").is_some()));
    failed || told || bare
}

/// The order of the places matters: the most telling one first.
fn message(value: &Value) -> Option<String> {
    if let Some(raw) = value.pointer("/error/metadata/raw") {
        return raw_cause(raw).or_else(|| error_message(value));
    }
    error_message(value)
        .or_else(|| value.get("message").and_then(said))
        .or_else(|| value.get("detail").and_then(said))
        .or_else(|| value.pointer("/errors/0/message").and_then(said))
        .or_else(|| value.pointer("/base_resp/status_msg").and_then(said))
}

fn error_message(value: &Value) -> Option<String> {
    match value.get("error")? {
        Value::String(text) => Some(text.clone()),
        error => error.get("message").and_then(said),
    }
}

/// OpenRouter's real cause: text, or the other provider's body as text.
fn raw_cause(raw: &Value) -> Option<String> {
    let raw = raw.as_str()?;
    let inner = serde_json::from_str::<Value>(raw).ok();
    inner
        .filter(Value::is_object)
        .and_then(|inner| message(&inner))
        .or_else(|| (!raw.is_empty()).then(|| strip_tags(raw)))
}

/// A message: text, text that is JSON again, a list of complaints, or an object of one.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with('{') => Some(nested(text)),
        Value::String(text) => Some(text.clone()),
        Value::Array(complaints) => Some(
            complaints
                .iter()
                .filter_map(complaint)
                .collect::<Vec<_>>()
                .join("; "),
        ),
        Value::Object(fields) => fields
            .get("detail")
            .or_else(|| fields.get("message"))
            .and_then(said),
        _ => None,
    }
}

fn nested(text: &str) -> String {
    let inner = serde_json::from_str::<Value>(text).ok();
    inner
        .and_then(|inner| said(&inner))
        .unwrap_or_else(|| text.to_owned())
}

/// One complaint of FastAPI: `{"loc": ["body", "tools"], "msg": "…"}`.
fn complaint(value: &Value) -> Option<String> {
    let msg = match value {
        Value::String(text) => return Some(text.clone()),
        _ => text(value, "msg").or_else(|| text(value, "message"))?,
    };
    let place = json::list(value, "loc")
        .iter()
        .filter(|step| **step != "body")
        .map(|step| {
            step.as_str()
                .map_or_else(|| step.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join(".");
    Some(if place.is_empty() {
        msg.to_owned()
    } else {
        format!("{place}: {msg}")
    })
}

/// Google's `details[].reason`, such as `API_KEY_INVALID`.
fn reason(error: &Value) -> Option<String> {
    json::list(error, "details")
        .iter()
        .find_map(|detail| text(detail, "reason"))
        .map(str::to_owned)
}

fn status(error: &Value, base: &Value) -> Option<u16> {
    let minimax = match json::count(base, "status_code") {
        Some(1002 | 1039) => Some(429),
        Some(1004 | 2049) => Some(401),
        Some(1008) => Some(402),
        Some(2013) => Some(400),
        Some(code) if code != 0 => Some(500),
        _ => None,
    };
    let named = ["code", "status_code", "status"]
        .iter()
        .find_map(|key| json::count(error, key))
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (400..600).contains(status));
    minimax.or(named)
}

/// The text of a page, or its title when it has one.
fn strip_tags(text: &str) -> String {
    let text = text
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map_or(Cow::Borrowed(text), |(title, _)| Cow::Borrowed(title));
    let mut out = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                out.push(' ');
            }
            c if !in_tag => out.push(c),
            _ => {}
        }
    }
    let words: Vec<_> = out.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARS).collect()
}
