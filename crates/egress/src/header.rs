//! Which headers may leave, and how they must be spelled.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The longest header value that a caller may give, in bytes.
pub const MAX_HEADER_VALUE_BYTES: usize = 16 * 1024;

/// Headers that belong to one connection or to the framing of one message (RFC 9110 section
/// 7.6.1), and so are never copied from one message to another.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Further headers that only the client that sends the message may set.
const OURS: [&str; 13] = [
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "last-event-id",
    "max-forwards",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "via",
    "x-real-ip",
];

/// A caller-given header that is refused. The text names the header, never its value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// The name is no HTTP token (RFC 9110 section 5.1). The name is not repeated, because it may
    /// hold control characters.
    #[error("The header name is not valid: use letters, digits and hyphens.")]
    Name,
    /// The gateway, the connection or the MCP protocol owns this header.
    #[error("The header '{0}' must not be set: the gateway sets it itself.")]
    Reserved(String),
    /// The value holds CR, LF, NUL, another control character or a non-ASCII letter.
    #[error("The value of the header '{0}' must be printable ASCII.")]
    Value(String),
    /// The value is longer than [`MAX_HEADER_VALUE_BYTES`].
    #[error("The value of the header '{0}' is longer than {MAX_HEADER_VALUE_BYTES} bytes.")]
    TooLong(String),
}

/// Checks one header that a caller wants sent to a remote MCP server. The value is marked
/// sensitive, so that no `Debug` prints it.
///
/// # Errors
/// See [`HeaderError`]. Hop-by-hop, framing and routing headers and those of the MCP transport are
/// refused, also in their twin spelling with underscores, which some servers read as the same
/// header. `Accept` and `Content-Type` pass, because many people copy them along: whoever sends
/// sets its own after them.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
    let shown = parsed.as_str().to_owned();
    if is_reserved(&shown.replace('_', "-")) {
        return Err(HeaderError::Reserved(shown));
    }
    if value.len() > MAX_HEADER_VALUE_BYTES {
        return Err(HeaderError::TooLong(shown));
    }
    let printable = |byte: u8| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic();
    if !value.bytes().all(printable) {
        return Err(HeaderError::Value(shown));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value(shown))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn is_reserved(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
        || OURS.contains(&name)
        || ["proxy-", "x-forwarded-", "mcp-param-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Removes the headers that belong to one connection, and those that `Connection` nominates
/// (RFC 9110 section 7.6.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_headers_pass_and_are_sensitive() {
        for (name, value) in [
            ("Authorization", "Bearer sk_test_1"),
            ("X-Api-Key", "k"),
            ("x_custom", "a\tb"),
            ("Cookie", "a=b"),
            ("X-Empty", ""),
            ("Content-Type", "application/json"),
            ("Mcp-Token", "t"),
        ] {
            let (_, checked) = check_header(name, value).unwrap();
            assert!(checked.is_sensitive());
            assert_eq!(checked.to_str().unwrap(), value);
            assert_eq!(format!("{checked:?}"), "Sensitive");
        }
    }

    #[test]
    fn unsafe_names_are_refused() {
        for name in ["", "a b", "a:b", "a\r\nb", "a\0", "é", "(x)"] {
            assert_eq!(check_header(name, "v"), Err(HeaderError::Name), "{name:?}");
        }
    }

    #[test]
    fn unsafe_values_are_refused() {
        for value in [
            "a\r\nX-Evil: 1",
            "a\nb",
            "a\rb",
            "a\0",
            "é",
            "\u{7f}",
            "\u{1b}[0m",
        ] {
            let error = check_header("x-a", value).unwrap_err();
            assert_eq!(error, HeaderError::Value("x-a".to_owned()), "{value:?}");
        }
        let long = "a".repeat(MAX_HEADER_VALUE_BYTES + 1);
        assert_eq!(
            check_header("x-a", &long),
            Err(HeaderError::TooLong("x-a".to_owned()))
        );
        assert!(check_header("x-a", &long[1..]).is_ok());
    }

    #[test]
    fn headers_of_the_connection_are_reserved() {
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Host",
            "Content-Length",
            "Proxy-Authorization",
            "Proxy-Anything",
            "X-Forwarded-For",
            "Forwarded",
            "Via",
            "Expect",
            "Content-Encoding",
            "Mcp-Session-Id",
            "Mcp-Param-X",
            "MCP-Protocol-Version",
            "Last-Event-Id",
            "content_length",
            "Transfer_Encoding",
            "x_forwarded_host",
        ] {
            let reserved = HeaderError::Reserved(name.to_ascii_lowercase());
            assert_eq!(check_header(name, "v"), Err(reserved), "{name}");
        }
    }

    #[test]
    fn nominated_headers_are_stripped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("transfer-encoding", "chunked"),
            ("x-kept", "1"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-kept"]);
    }
}
