//! Request bodies in: JSON only, bounded in bytes and in time.

use crate::answer::Refusal;
use crate::settings::Limits;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portunus_protocol::error::{ErrorBody, code, kind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// The whole body of a request that must be JSON.
///
/// # Errors
/// 415 for another content type, 413 over the bound, 408 when it takes too long, 400 when
/// the connection fails.
pub async fn json_bytes(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<Bytes, Refusal> {
    if !is_json(headers) {
        return Err(wrong_type(headers));
    }
    if let Some(length) = content_length(headers).filter(|n| *n > limits.body_bytes as u64) {
        return Err(too_large(limits.body_bytes, Some(length)));
    }
    let reading = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(Duration::from_millis(limits.body_timeout_ms), reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits.body_bytes, None)),
        Ok(Err(_)) => Err(broken()),
        Err(_) => Err(too_slow(limits.body_timeout_ms)),
    }
}

/// `application/json`, or any `application/*+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn wrong_type(headers: &HeaderMap) -> Refusal {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let given = given.map_or_else(|| "none was sent".to_owned(), |v| format!("got '{v:.80}'"));
    let message = format!(
        "Unsupported Content-Type: {given}. Send the body as JSON with the header \
         'Content-Type: application/json'."
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("unsupported_content_type");
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, body)
}

fn too_large(limit_bytes: usize, length: Option<u64>) -> Refusal {
    let size = length.map_or_else(|| "over".to_owned(), |n| format!("{n} bytes, over"));
    let message = format!(
        "The request body is {size} the limit of {limit_bytes} bytes (setting limits.body_bytes)."
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("request_too_large");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, body)
}

fn too_slow(limit_ms: u64) -> Refusal {
    let message = format!("The request body did not arrive within {limit_ms} ms.");
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        ErrorBody::new(kind::TIMEOUT, message),
    )
}

fn broken() -> Refusal {
    let message = "The request body could not be read to its end.";
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorBody::new(kind::INVALID_REQUEST, message),
    )
}

/// A JSON object of the admin plane, parsed into `T`. Keys may be `camelCase` (Portkey's Node
/// SDK sends both spellings) but in the free-form maps named `metadata`, and in a `config`.
///
/// # Errors
/// As [`json_bytes`]; 400 that names the field for JSON of the wrong shape.
pub async fn json_object<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<T, Refusal> {
    let bytes = json_bytes(headers, body, limits).await?;
    let object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| {
        let message = format!("The request body is no JSON object: {e}.");
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code(code::JSON);
        Refusal::new(StatusCode::BAD_REQUEST, body)
    })?;
    from_object(&snake_keys(object))
}

/// Parses field by field of the error message that serde gives, so that `param` is set.
fn from_object<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(object.clone())).map_err(|error| {
        let text = error.to_string();
        if let Some(name) = text
            .strip_prefix("missing field `")
            .and_then(|t| t.split('`').next())
        {
            let message = format!("Missing required parameter: '{name}'.");
            return Refusal::field(name, code::MISSING, message);
        }
        let name = culprit::<T>(object).unwrap_or_default();
        Refusal::field(
            &name,
            code::TYPE,
            format!("Invalid type for '{name}': {text}."),
        )
    })
}

/// The one field without which parsing gets further (or fails for want of it).
fn culprit<T: DeserializeOwned>(object: &Map<String, Value>) -> Option<String> {
    let mends = |name: &&String| {
        let mut without = object.clone();
        without.shift_remove(name.as_str());
        let parsed: Result<T, _> = serde_json::from_value(Value::Object(without));
        parsed.map_or_else(
            |e| {
                e.to_string()
                    .starts_with(&format!("missing field `{name}`"))
            },
            |_| true,
        )
    };
    object.keys().find(mends).cloned()
}

fn snake_keys(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(key, value)| entry(&key, value))
        .collect()
}

fn entry(key: &str, value: Value) -> (String, Value) {
    let key = snake(key);
    let value = match value {
        Value::Object(inner) if key != "metadata" && key != "config" => {
            Value::Object(snake_keys(inner))
        }
        other => other,
    };
    (key, value)
}

/// `creditLimit` as `credit_limit`; `sub-type` as it is.
pub fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Example {
        name: String,
        #[serde(default)]
        usage_limits: Option<Value>,
        #[serde(default)]
        metadata: Option<Value>,
    }

    async fn parse(content_type: &str, body: &str) -> Result<Example, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        let limits = Limits {
            body_bytes: 100,
            ..Limits::default()
        };
        json_object(&headers, Body::from(body.to_owned()), &limits).await
    }

    #[tokio::test]
    async fn both_spellings_are_read_and_metadata_is_left_alone() {
        let body =
            json!({"name": "a", "usageLimits": {"creditLimit": 1}, "metadata": {"myTeam": "x"}});
        let got = parse("application/json; charset=utf-8", &body.to_string())
            .await
            .unwrap();
        assert_eq!(got.name, "a");
        assert_eq!(got.usage_limits, Some(json!({"credit_limit": 1})));
        assert_eq!(got.metadata, Some(json!({"myTeam": "x"})));
    }

    #[tokio::test]
    async fn refusals_name_the_field() {
        let missing = parse("application/json", "{}").await.unwrap_err();
        assert_eq!(missing.body.param.as_deref(), Some("name"));
        let wrong = parse("application/json", r#"{"x": 1, "name": 7}"#)
            .await
            .unwrap_err();
        assert_eq!(wrong.body.param.as_deref(), Some("name"));
        assert_eq!(wrong.body.code.as_deref(), Some("invalid_type"));
    }

    #[tokio::test]
    async fn size_type_and_syntax() {
        let big = format!("{{\"name\": \"{}\"}}", "x".repeat(200));
        assert_eq!(
            parse("application/json", &big).await.unwrap_err().status,
            413
        );
        assert_eq!(parse("text/plain", "{}").await.unwrap_err().status, 415);
        assert_eq!(
            parse("application/vnd.x+json", "{}")
                .await
                .unwrap_err()
                .status,
            400
        );
        assert_eq!(
            parse("application/json", "[").await.unwrap_err().status,
            400
        );
    }
}
