//! From frames to a response body: pace, faults, and the watch on the reader.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::journal::Watch;

/// Pause between two frames of a slow stream.
const SLOW_PAUSE: Duration = Duration::from_millis(100);
/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(3600);

/// A stream of frames that misbehaves as `fault` says.
pub(crate) fn stream_answer(mut frames: Vec<String>, fault: Fault, watch: Watch) -> Response {
    match fault {
        Fault::Cut | Fault::Stall => frames.truncate(frames.len().div_ceil(2)),
        Fault::BadFrame => frames.insert(frames.len() / 2, "data: {\"cut\": \n\n".to_owned()),
        _ => {}
    }
    let state = Pace {
        frames: frames.into_iter(),
        fault,
        watch,
        sent: 0,
    };
    let body = Body::from_stream(stream::unfold(state, Pace::next));
    response(StatusCode::OK, "text/event-stream; charset=utf-8", body)
}

struct Pace {
    frames: std::vec::IntoIter<String>,
    fault: Fault,
    watch: Watch,
    sent: usize,
}

impl Pace {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if let Some(frame) = self.frames.next() {
            if self.fault == Fault::Slow && self.sent > 0 {
                tokio::time::sleep(SLOW_PAUSE).await;
            }
            self.sent += 1;
            return Some((Ok(Bytes::from(frame)), self));
        }
        if self.fault == Fault::Stall {
            tokio::time::sleep(NEVER).await;
        }
        self.watch.finish();
        if self.fault == Fault::Cut {
            self.fault = Fault::None;
            return Some((Err(break_off().await), self));
        }
        None
    }
}

/// The error that makes the connection break, once what was sent before it is on the wire.
async fn break_off() -> io::Error {
    tokio::time::sleep(SLOW_PAUSE).await;
    io::Error::other("cut")
}

fn half(text: &str) -> String {
    text.chars().take(text.len() / 2).collect()
}

/// One JSON body; `Cut` breaks the connection in its middle.
pub(crate) async fn json_answer(body: &Value, fault: Fault, mut watch: Watch) -> Response {
    if matches!(fault, Fault::Slow | Fault::Stall) {
        tokio::time::sleep(NEVER).await;
    }
    let text = match fault {
        Fault::BadFrame => format!("{{\"cut\": {body}"),
        Fault::Truncated => half(&body.to_string()),
        Fault::ErrorInStream => json!({"error": {"message": "The model broke.", "type": "server_error", "code": "server_error", "param": null}}).to_string(),
        _ => body.to_string(),
    };
    watch.finish();
    let body = if fault == Fault::Cut {
        let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
        let end = stream::once(async { Err(break_off().await) });
        Body::from_stream(stream::once(async { Ok(half) }).chain(end))
    } else {
        Body::from(text)
    };
    response(StatusCode::OK, "application/json", body)
}

/// The answer when the fault leaves no room for a model's answer: an error, HTML, or none at all.
pub(crate) async fn refusal(fault: Fault, model: &str, watch: &mut Watch) -> Option<Response> {
    let answer = match fault {
        Fault::Status(status) => error(status, model),
        Fault::Quota => error_body(429, &quota()),
        Fault::Garbage => response(
            StatusCode::OK,
            "text/html",
            Body::from("<html><body>Bad gateway</body></html>"),
        ),
        Fault::SlowHead => {
            tokio::time::sleep(NEVER).await;
            return None;
        }
        _ => return None,
    };
    watch.finish();
    Some(answer)
}

/// An error answer in OpenAI's words for `status`.
pub(crate) fn error(status: u16, model: &str) -> Response {
    let (kind, code, message) = match status {
        401 => (
            "invalid_request_error",
            json!("invalid_api_key"),
            "Incorrect API key provided: sk-****. You can find your API key on the account page."
                .to_owned(),
        ),
        404 => (
            "invalid_request_error",
            json!("model_not_found"),
            format!("The model `{model}` does not exist or you do not have access to it."),
        ),
        429 => (
            "tokens",
            json!("rate_limit_exceeded"),
            format!(
                "Rate limit reached for {model} on tokens per min (TPM): Limit 30000, Used 18928, Requested 11159. Please try again in 174ms."
            ),
        ),
        503 => (
            "server_error",
            Value::Null,
            "The engine is currently overloaded, please try again later".to_owned(),
        ),
        500.. => (
            "server_error",
            Value::Null,
            "The server had an error while processing your request. Sorry about that!".to_owned(),
        ),
        _ => (
            "invalid_request_error",
            Value::Null,
            "The fake provider refuses this request.".to_owned(),
        ),
    };
    let mut answer = error_body(
        status,
        &json!({"message": message, "type": kind, "param": null, "code": code}),
    );
    if status == 429 {
        let headers = answer.headers_mut();
        headers.insert("retry-after-ms", http::HeaderValue::from_static("174"));
        headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    answer
}

/// 400 with OpenAI's error body.
pub(crate) fn bad_request(message: &str) -> Response {
    error_body(
        400,
        &json!({"message": message, "type": "invalid_request_error", "param": null, "code": null}),
    )
}

/// The first function name that OpenAI would refuse, as its complaint.
pub(crate) fn bad_name<'a>(names: impl Iterator<Item = &'a Value>) -> Option<String> {
    let legal = |name: &str| {
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let mut seen = std::collections::HashSet::new();
    for (index, name) in names.enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !legal(name) {
            return Some(format!(
                "Invalid 'tools[{index}].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            ));
        }
        if !seen.insert(name) {
            return Some(format!(
                "Tool names must be unique: '{name}' is there twice."
            ));
        }
    }
    None
}

/// The error of an account without credit.
pub(crate) fn quota() -> Value {
    json!({"message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota", "param": null, "code": "insufficient_quota"})
}

fn error_body(status: u16, error: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response(
        status,
        "application/json",
        Body::from(json!({"error": error}).to_string()),
    )
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    headers.insert(
        "x-request-id",
        http::HeaderValue::from_static("req_fake_upstream"),
    );
    headers.insert(
        "openai-organization",
        http::HeaderValue::from_static("org-of-the-fake"),
    );
    response
}

/// Text cut into pieces as a model's tokens are: each word with the blank before it.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut cuts: Vec<usize> = text
        .match_indices(' ')
        .map(|(at, _)| at)
        .filter(|at| *at > 0)
        .collect();
    cuts.push(text.len());
    let mut from = 0;
    let mut pieces = Vec::with_capacity(cuts.len());
    for cut in cuts {
        pieces.push(&text[from..cut]);
        from = cut;
    }
    pieces
}

/// Rough token count: one for four bytes.
pub(crate) fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_join_to_the_text() {
        for text in ["a", " a", "The tool  said: x ", "\u{e9} \u{4e2d}"] {
            assert_eq!(pieces(text).concat(), text);
        }
        assert_eq!(pieces("a b c").len(), 3);
    }
}
