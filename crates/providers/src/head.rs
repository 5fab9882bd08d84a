//! URL and headers of a call.

use crate::provider::{EncodeError, Endpoint, Head};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use portunus_protocol::error::code;
use secrecy::ExposeSecret;
use url::Url;

/// How a provider takes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// `Authorization: Bearer …`; a call without a key is refused here.
    Bearer,
    /// The same, or nothing when there is no key.
    OptionalBearer,
    /// `api-key: …` (Azure).
    ApiKey,
}

/// The head of a `POST` to `path` under the endpoint's base.
pub(crate) fn head(endpoint: &Endpoint, auth: Auth, path: &[&str]) -> Result<Head, EncodeError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match (&endpoint.credential, auth) {
        (Some(key), Auth::ApiKey) => {
            let value = sensitive(endpoint, key.expose_secret())?;
            headers.insert(HeaderName::from_static("api-key"), value);
        }
        (Some(key), _) => {
            let value = sensitive(endpoint, &format!("Bearer {}", key.expose_secret()))?;
            headers.insert(AUTHORIZATION, value);
        }
        (None, Auth::OptionalBearer) => {}
        (None, _) => return Err(no_key(endpoint)),
    }
    Ok(Head {
        url: join(endpoint, path)?,
        headers,
    })
}

/// A header from a setting of the endpoint, if it is there.
pub(crate) fn setting(
    head: &mut Head,
    endpoint: &Endpoint,
    keys: &[&str],
    name: &'static str,
) -> Result<(), EncodeError> {
    let found = keys
        .iter()
        .find_map(|key| endpoint.settings.get(key)?.as_str());
    if let Some(text) = found {
        let value = HeaderValue::from_str(text).map_err(|_| EncodeError {
            param: None,
            code: code::VALUE,
            message: format!(
                "The setting '{}' of the provider '{}' cannot be sent as a header.",
                keys[0], endpoint.provider
            ),
        })?;
        head.headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

fn sensitive(endpoint: &Endpoint, text: &str) -> Result<HeaderValue, EncodeError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| EncodeError {
        param: None,
        code: code::PROVIDER_AUTH,
        message: format!(
            "The credential of the provider '{}' has characters that no header can carry.",
            endpoint.provider
        ),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn no_key(endpoint: &Endpoint) -> EncodeError {
    EncodeError {
        param: None,
        code: code::PROVIDER_AUTH,
        message: format!(
            "The provider '{}' needs an API key and none is stored for it.",
            endpoint.provider
        ),
    }
}

fn join(endpoint: &Endpoint, path: &[&str]) -> Result<Url, EncodeError> {
    let mut url = endpoint.base_url.clone();
    let Ok(mut segments) = url.path_segments_mut() else {
        return Err(EncodeError {
            param: None,
            code: code::VALUE,
            message: format!(
                "The address of the provider '{}' is no http(s) URL.",
                endpoint.provider
            ),
        });
    };
    segments.pop_if_empty().extend(path);
    drop(segments);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use serde_json::json;

    fn endpoint(base: &str, key: Option<&str>) -> Endpoint {
        Endpoint {
            base_url: base.parse().unwrap(),
            credential: key.map(SecretString::from),
            provider: "x".to_owned(),
            settings: json!({"organization": "org-1"}),
        }
    }

    #[test]
    fn urls_join_with_and_without_a_slash_and_keep_their_query() {
        for (base, url) in [
            ("https://a.b/v1", "https://a.b/v1/chat/completions"),
            ("https://a.b/v1/", "https://a.b/v1/chat/completions"),
            ("https://a.b", "https://a.b/chat/completions"),
            (
                "https://a.b/v1?api-version=1",
                "https://a.b/v1/chat/completions?api-version=1",
            ),
        ] {
            let endpoint = endpoint(base, Some("k"));
            let head = head(&endpoint, Auth::Bearer, &["chat", "completions"]).unwrap();
            assert_eq!(head.url.as_str(), url);
        }
    }

    #[test]
    fn a_key_is_sensitive_and_never_in_an_error() {
        let good = head(&endpoint("https://a.b", Some("sk-1")), Auth::Bearer, &[]).unwrap();
        assert_eq!(good.headers["authorization"], "Bearer sk-1");
        assert!(!format!("{good:?}").contains("sk-1"));
        let azure = head(&endpoint("https://a.b", Some("sk-1")), Auth::ApiKey, &[]).unwrap();
        assert_eq!(azure.headers["api-key"], "sk-1");
        let bad = head(&endpoint("https://a.b", Some("sk\n1")), Auth::Bearer, &[]).unwrap_err();
        assert!(!bad.message.contains('\n'), "{bad}");
    }

    #[test]
    fn a_missing_key_is_refused_only_where_one_is_needed() {
        let none = endpoint("http://localhost:11434/v1", None);
        assert!(head(&none, Auth::Bearer, &[]).is_err());
        let open = head(&none, Auth::OptionalBearer, &[]).unwrap();
        assert!(!open.headers.contains_key("authorization"));
    }

    #[test]
    fn settings_become_headers() {
        let endpoint = endpoint("https://a.b", Some("k"));
        let mut made = head(&endpoint, Auth::Bearer, &[]).unwrap();
        setting(
            &mut made,
            &endpoint,
            &["organization"],
            "openai-organization",
        )
        .unwrap();
        setting(&mut made, &endpoint, &["project"], "openai-project").unwrap();
        assert_eq!(made.headers["openai-organization"], "org-1");
        assert!(!made.headers.contains_key("openai-project"));
    }
}
