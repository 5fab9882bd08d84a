//! Our answer in the place of hyper's own to a head that it cannot read.

use super::Caps;
use crate::answer::Refusal;
use crate::marks::Marks;
use http::{HeaderMap, StatusCode, header};
use portunus_protocol::error::{ErrorBody, kind};

/// The longest answer of hyper's own.
const BARE_BYTES: usize = 200;

/// What to send in the place of `bytes`, if they are an answer that no service made: a head
/// without marks, without a body, with a status that only the reader of heads gives.
pub(super) fn instead_of(bytes: &[u8], caps: &Caps) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
    if bytes.len() > BARE_BYTES || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    if !text.contains("content-length: 0") || text.contains("x-request-id") {
        return None;
    }
    Some(written(&refusal(status, caps)?))
}

fn refusal(status: &[u8], caps: &Caps) -> Option<Refusal> {
    let (status, code, message) = match status {
        b"00" => (
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "The head of the request cannot be read: check the request line, the names and values \
             of the header fields, and that there is one Content-Length or Transfer-Encoding."
                .to_owned(),
        ),
        b"14" => (
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            "The URL of the request is too long.".to_owned(),
        ),
        b"31" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!(
                "The head of the request is over the limit of {} bytes (setting \
                 limits.header_bytes) or of {} header fields (setting limits.headers).",
                caps.header_bytes, caps.headers
            ),
        ),
        _ => return None,
    };
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code(code);
    Some(Refusal::new(status, body))
}

/// The whole message, with marks: nobody read the caller's.
fn written(refusal: &Refusal) -> Vec<u8> {
    let marks = Marks::of(&HeaderMap::new());
    let body = refusal.body.envelope().to_string();
    let mut fields = HeaderMap::new();
    marks.put(&mut fields);
    refusal.mark(&mut fields);
    let plain = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONNECTION, "close"),
    ];
    fields.extend(plain.map(|(name, text)| (name, http::HeaderValue::from_static(text))));
    fields.insert(header::CONTENT_LENGTH, body.len().into());
    tracing::debug!(request_id = %marks.request_id, status = refusal.status.as_u16(), "unreadable head");
    let mut out = format!("HTTP/1.1 {}\r\n", refusal.status).into_bytes();
    for (name, value) in &fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(bare: &str, expected: Option<&str>) {
        let caps = Caps {
            write_timeout: Duration::from_secs(1),
            header_bytes: 7,
            headers: 3,
        };
        let got = instead_of(bare.as_bytes(), &caps);
        let got = got.map(|bytes| String::from_utf8(bytes).unwrap());
        let first = got.as_deref().and_then(|text| text.split("\r\n").next());
        assert_eq!(first, expected, "{bare:?}");
        if let Some(text) = got {
            assert!(text.contains("x-request-id: req_"), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())));
            assert!(body.contains(r#""type":"invalid_request_error""#), "{body}");
        }
    }

    #[test]
    fn only_a_bare_answer_is_replaced() {
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        };
        for status in ["400 Bad Request", "414 URI Too Long"] {
            check(&bare(status), Some(&format!("HTTP/1.1 {status}")));
        }
        check(
            &bare("431 Request Header Fields Too Large"),
            Some("HTTP/1.1 431 Request Header Fields Too Large"),
        );
        check(&bare("404 Not Found"), None);
        check(&bare("200 OK"), None);
        check(
            &bare("400 Bad Request").replace("connection: close", "x-request-id: r"),
            None,
        );
        check(
            &bare("400 Bad Request").replace("length: 0", "length: 1"),
            None,
        );
        check("HTTP/1.1 4", None);
        check("", None);
    }
}
