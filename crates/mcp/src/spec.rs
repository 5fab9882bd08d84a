//! Which server, on whose behalf, with which credential.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::digest;

/// One remote MCP server as a request names it.
#[derive(Clone)]
pub struct ServerSpec {
    /// Workspace of the caller: nothing is shared between two workspaces.
    pub workspace: String,
    /// Name of the server in items and errors.
    pub label: String,
    /// The server's URL, as the request gave it.
    pub url: Url,
    /// Headers for every request to this server, marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Bearer token; wins over an `authorization` header.
    pub authorization: Option<SecretString>,
}

impl fmt::Debug for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSpec")
            .field("workspace", &self.workspace)
            .field("label", &self.label)
            .field("origin", &self.url.origin().ascii_serialization())
            .field("headers", &self.headers.len())
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}

/// Identity of a server in the pool: workspace, URL and everything that authenticates.
pub(crate) type Key = [u8; 32];

impl ServerSpec {
    /// The pool's key. The label is no part of it: it only names the server for the caller.
    pub(crate) fn key(&self) -> Key {
        let token = self
            .authorization
            .as_ref()
            .map_or("", |t| t.expose_secret());
        let fixed = [
            self.workspace.as_bytes(),
            self.url.as_str().as_bytes(),
            token.as_bytes(),
        ];
        let headers = self
            .headers
            .iter()
            .flat_map(|(n, v)| [n.as_str().as_bytes(), v.as_bytes()]);
        digest::of(fixed.into_iter().chain(headers))
    }

    /// The headers that go with every request. Those that the transport itself writes, and
    /// a token that cannot be a header value, are left out.
    pub(crate) fn head(&self) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_ours(name)) {
            let mut value = value.clone();
            value.set_sensitive(true);
            head.append(name.clone(), value);
        }
        if let Some(token) = &self.authorization
            && let Ok(mut value) =
                HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        {
            value.set_sensitive(true);
            head.insert(header::AUTHORIZATION, value);
        }
        head
    }

    /// Everything that must not appear in a text of ours.
    pub(crate) fn secrets(&self) -> Secrets {
        let mut texts: Vec<String> = Vec::new();
        for value in self
            .headers
            .iter()
            .filter_map(|(_, value)| value.to_str().ok())
        {
            texts.push(value.to_owned());
            // "Bearer abc": a server may echo only the second part.
            texts.extend(value.split_once(' ').map(|(_, token)| token.to_owned()));
        }
        texts.extend(
            self.authorization
                .as_ref()
                .map(|t| t.expose_secret().to_owned()),
        );
        texts.extend(self.url.password().map(str::to_owned));
        texts.retain(|text| text.len() >= MIN_SECRET_BYTES);
        // The longest first, so that a part never leaves the rest of a whole behind.
        texts.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        Secrets(texts.into_iter().map(SecretString::from).collect())
    }
}

/// Shorter values ("1", "en") are no secrets, and blanking them would spoil every text.
const MIN_SECRET_BYTES: usize = 6;

/// Values that are blanked in everything that a server says back.
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// `text` with every secret replaced.
    pub(crate) fn blank(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text.replace(secret, "***")
            } else {
                text
            }
        })
    }
}

/// Header names that the transport writes and a caller may not set.
fn is_ours(name: &HeaderName) -> bool {
    const NAMES: [&str; 14] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-encoding",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || name.starts_with("mcp-") || name.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(headers: &[(&str, &str)], token: Option<&str>) -> ServerSpec {
        ServerSpec {
            workspace: "w".to_owned(),
            label: "l".to_owned(),
            url: Url::parse("https://example.com/mcp").unwrap(),
            headers: headers
                .iter()
                .map(|(n, v)| (HeaderName::try_from(*n).unwrap(), v.parse().unwrap()))
                .collect(),
            authorization: token.map(SecretString::from),
        }
    }

    #[test]
    fn key_separates_credentials_and_not_labels() {
        let plain = spec(&[], None);
        let mut relabelled = plain.clone();
        relabelled.label = "other".to_owned();
        let mut foreign = plain.clone();
        foreign.workspace = "v".to_owned();
        assert_eq!(plain.key(), relabelled.key());
        assert_ne!(plain.key(), foreign.key());
        assert_ne!(plain.key(), spec(&[], Some("token")).key());
        assert_ne!(
            spec(&[("a", "bc")], None).key(),
            spec(&[("ab", "c")], None).key()
        );
    }

    #[test]
    fn head_keeps_the_callers_headers_and_refuses_ours() {
        let head = spec(
            &[
                ("x-key", "one"),
                ("host", "evil"),
                ("mcp-name", "x"),
                ("authorization", "Basic a"),
            ],
            Some("tok"),
        )
        .head();
        assert_eq!(head.len(), 2);
        assert_eq!(head["authorization"], "Bearer tok");
        assert!(head["x-key"].is_sensitive());
    }

    #[test]
    fn secrets_are_blanked_and_debug_shows_none() {
        let spec = spec(
            &[("authorization", "Bearer abcdef123")],
            Some("secret-token"),
        );
        let text = spec
            .secrets()
            .blank("got abcdef123 and secret-token and Bearer abcdef123");
        assert_eq!(text, "got *** and *** and ***");
        let debug = format!("{spec:?}");
        assert!(
            !debug.contains("abcdef") && !debug.contains("secret-token"),
            "{debug}"
        );
    }
}
