//! Who is asking. Every credential, whatever header carries it, is read by one function
//! ([`credentials`]); [`Caller`] guards the data plane and [`Admin`] the admin plane, and no
//! route takes both.

use crate::answer::Refusal;
use crate::app::{App, Shared};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use portunus_gateway::Principal;
use portunus_store::api_key::{self, Parsed};
use portunus_store::{ApiKeyRow, DEFAULT_WORKSPACE_ID, StoreError};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a key's row is used again. A change made by another process counts after that; one
/// made by this process counts at once.
const CACHE_TIME: Duration = Duration::from_secs(2);
/// Most rows kept.
const CACHE_ROWS: usize = 10_000;
/// How often the last use of a key is written down, in milliseconds.
const TOUCH_MS: i64 = 60_000;

const PORTKEY_API_KEY: HeaderName = HeaderName::from_static("x-portkey-api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// What clients send where a key is asked for and none is set (the clients of OpenAI and Portkey).
const DUMMIES: [&str; 4] = ["OPENAI_API_KEY", "DUMMY-KEY", "xx", "dummy"];

/// The credentials of one request.
#[derive(Debug, Default)]
pub struct Credentials {
    /// The gateway key: from `x-portkey-api-key`, else `Authorization: Bearer`, else `x-api-key`.
    pub key: Option<SecretString>,
    /// What else is in `Authorization` when the key came from `x-portkey-api-key`: the
    /// caller's own provider credential, perhaps.
    pub other: Option<SecretString>,
}

/// The only reader of credentials. A header that is there twice counts as a wrong key.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Credentials {
    let bearer = value(headers, &header::AUTHORIZATION).and_then(bearer);
    if let Some(key) = value(headers, &PORTKEY_API_KEY).and_then(no_dummy) {
        let other = bearer.and_then(no_dummy).filter(|text| *text != key);
        return Credentials {
            key: Some(key.into()),
            other: other.map(Into::into),
        };
    }
    let key = bearer
        .and_then(no_dummy)
        .or_else(|| value(headers, &X_API_KEY).and_then(no_dummy));
    Credentials {
        key: key.map(Into::into),
        other: None,
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    // Twice: which one would count is nobody's to guess. The empty text is no key of ours.
    if values.next().is_some() {
        Some("twice")
    } else {
        first.to_str().ok().map(str::trim)
    }
}

fn bearer(text: &str) -> Option<&str> {
    let Some((scheme, token)) = text.split_once(' ') else {
        return (text == "twice").then_some(text);
    };
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn no_dummy(text: &str) -> Option<&str> {
    (!text.is_empty() && !DUMMIES.contains(&text)).then_some(text)
}

/// The header without what is for the gateway alone: credentials, cookies, and the fields that
/// belong to the caller's connection or to proxies before us.
#[must_use]
pub fn without_credentials(mut headers: HeaderMap) -> HeaderMap {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let ours = [
        PORTKEY_API_KEY,
        X_API_KEY,
        API_KEY,
        header::AUTHORIZATION,
        header::COOKIE,
        header::PROXY_AUTHORIZATION,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::EXPECT,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::FORWARDED,
    ];
    for name in ours.into_iter().chain(nominated) {
        headers.remove(name);
    }
    let forwarded: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in forwarded {
        headers.remove(name);
    }
    headers
}

/// The keys that open the gateway: the admin token, and the cache of API keys' rows.
pub struct Keys {
    pepper: Zeroizing<[u8; 32]>,
    admin_token: SecretString,
    rows: Mutex<HashMap<String, (Instant, Arc<ApiKeyRow>)>>,
}

impl Keys {
    /// Keys under this pepper.
    #[must_use]
    pub fn new(pepper: Zeroizing<[u8; 32]>, admin_token: SecretString) -> Self {
        Self {
            pepper,
            admin_token,
            rows: Mutex::default(),
        }
    }

    /// The key under which API keys are hashed.
    #[must_use]
    pub fn pepper(&self) -> &[u8; 32] {
        &self.pepper
    }

    /// True when `key` is the admin token; takes the same time for every key of its length.
    #[must_use]
    pub fn is_admin_token(&self, key: &SecretString) -> bool {
        let (ours, theirs) = (self.admin_token.expose_secret(), key.expose_secret());
        let differ = ours
            .bytes()
            .zip(theirs.bytes())
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differ) == 0 && ours.len() == theirs.len()
    }

    /// Forgets the rows of all keys: one has changed.
    pub fn forget(&self) {
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn cached(&self, lookup: &str) -> Option<Arc<ApiKeyRow>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, row) = rows.get(lookup)?;
        (since.elapsed() < CACHE_TIME).then(|| Arc::clone(row))
    }

    fn remember(&self, lookup: String, row: &Arc<ApiKeyRow>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= CACHE_ROWS {
            rows.clear();
        }
        rows.insert(lookup, (Instant::now(), Arc::clone(row)));
    }
}

impl App {
    /// The row of an API key; `None` for one that is unknown, wrong, expired or disabled. The
    /// cache saves the query, never the check of the whole secret.
    async fn api_key(&self, key: &SecretString) -> Result<Option<Arc<ApiKeyRow>>, StoreError> {
        let Some(parsed) = api_key::parse(key.expose_secret()) else {
            return Ok(None);
        };
        let row = match self.keys.cached(&parsed.lookup) {
            Some(row) => Some(row),
            None => self.stored_api_key(&parsed).await?,
        };
        let now = Timestamp::now();
        let known = api_key::verify_row(self.keys.pepper(), &parsed, row.as_deref(), now);
        Ok(row.filter(|_| known))
    }

    async fn stored_api_key(&self, parsed: &Parsed) -> Result<Option<Arc<ApiKeyRow>>, StoreError> {
        let Some(row) = self.store.api_key_by_lookup(&parsed.lookup).await? else {
            return Ok(None);
        };
        let row = Arc::new(row);
        if api_key::verify_row(self.keys.pepper(), parsed, Some(&row), Timestamp::now()) {
            self.keys.remember(parsed.lookup.clone(), &row);
            self.touch(&row);
        }
        Ok(Some(row))
    }

    /// Notes the use of a key, now and then and beside the request.
    fn touch(&self, row: &Arc<ApiKeyRow>) {
        let now = Timestamp::now();
        let last = row.last_used_at.map_or(0, Timestamp::as_millisecond);
        if now.as_millisecond() - last < TOUCH_MS {
            return;
        }
        let (store, row) = (Arc::clone(&self.store), Arc::clone(row));
        self.tasks.spawn(async move {
            if let Err(error) = store.touch_api_key(&row.workspace_id, &row.id, now).await {
                tracing::debug!(%error, "last use of a key not noted");
            }
        });
    }

    /// The API key of a request, else the one and only 401.
    async fn authenticate(&self, key: Option<&SecretString>) -> Result<Arc<ApiKeyRow>, Refusal> {
        let Some(key) = key else {
            self.metrics.auth_failed("absent");
            return Err(Refusal::unauthorized());
        };
        let found = self.api_key(key).await.map_err(Refusal::from)?;
        found.ok_or_else(|| {
            self.metrics.auth_failed("wrong");
            Refusal::unauthorized()
        })
    }
}

fn require(scopes: &[String], any_of: &[&str]) -> Result<(), Refusal> {
    let has = any_of
        .iter()
        .any(|needed| scopes.iter().any(|scope| scope == needed));
    let first = any_of.first().copied().unwrap_or_default();
    if has {
        Ok(())
    } else {
        Err(Refusal::forbidden(first))
    }
}

/// The caller of a data-plane route: a good API key. The admin token is none.
#[derive(Debug)]
pub struct Caller {
    /// Workspace, key, scopes, defaults.
    pub principal: Principal,
    /// What else was in `Authorization`.
    pub credential: Option<SecretString>,
}

impl Caller {
    /// Refuses a key that has none of these scopes.
    ///
    /// # Errors
    /// 403 that names the first.
    pub fn require(&self, any_of: &[&str]) -> Result<(), Refusal> {
        require(&self.principal.scopes, any_of)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let found = credentials(&parts.headers);
        let row = app.authenticate(found.key.as_ref()).await?;
        let principal = Principal {
            workspace_id: row.workspace_id.clone(),
            api_key_id: Some(row.id.clone()),
            api_key_name: Some(row.name.clone()),
            scopes: row.scopes.clone(),
            defaults: row.defaults.clone(),
        };
        Ok(Self {
            principal,
            credential: found.other,
        })
    }
}

/// The caller of an admin route: the admin token, or an API key (within its workspace and
/// its scopes).
#[derive(Debug)]
pub struct Admin {
    key: Option<Arc<ApiKeyRow>>,
}

impl Admin {
    /// Refuses a key that lacks the scope; the admin token has all.
    ///
    /// # Errors
    /// 403 that names the scope.
    pub fn require(&self, scope: &str) -> Result<(), Refusal> {
        self.key
            .as_ref()
            .map_or(Ok(()), |row| require(&row.scopes, &[scope]))
    }

    /// Refuses everybody but the admin token.
    ///
    /// # Errors
    /// 403.
    pub fn require_token(&self) -> Result<(), Refusal> {
        if self.key.is_none() {
            Ok(())
        } else {
            Err(Refusal::admin_only())
        }
    }

    /// The scopes that this caller may pass on; `None` is all.
    #[must_use]
    pub fn scopes(&self) -> Option<&[String]> {
        self.key.as_ref().map(|row| row.scopes.as_slice())
    }

    /// Who decides, as rows name it: `admin`, or the id of the API key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or("admin", |row| row.id.as_str())
    }

    /// Id and name of the API key; `None` for the admin token.
    #[must_use]
    pub fn api_key(&self) -> Option<(String, String)> {
        let row = self.key.as_ref()?;
        Some((row.id.clone(), row.name.clone()))
    }

    /// True for the admin token, which sees every workspace.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.key.is_none()
    }

    /// Id of the workspace that the call is about: `asked` (id or slug), else the key's own, else
    /// the default one.
    ///
    /// # Errors
    /// 404 for a workspace that does not exist or is not this key's.
    pub async fn workspace(&self, app: &App, asked: Option<&str>) -> Result<String, Refusal> {
        let own = self.key.as_ref().map(|row| row.workspace_id.as_str());
        let Some(asked) = asked.filter(|text| !text.is_empty()) else {
            return Ok(own.unwrap_or(DEFAULT_WORKSPACE_ID).to_owned());
        };
        let all = app.store.list_workspaces().await?;
        let found = all
            .into_iter()
            .find(|row| row.id == asked || row.slug == asked);
        found
            .map(|row| row.id)
            .filter(|id| own.is_none_or(|own| own == id))
            .ok_or_else(|| Refusal::not_found("workspace", asked))
    }
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let key = credentials(&parts.headers).key;
        if key.as_ref().is_some_and(|key| app.keys.is_admin_token(key)) {
            return Ok(Self { key: None });
        }
        let row = app.authenticate(key.as_ref()).await?;
        Ok(Self { key: Some(row) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let found = credentials(&headers);
        let text = |secret: Option<SecretString>| secret.map(|s| s.expose_secret().to_owned());
        (text(found.key), text(found.other))
    }

    fn check(fields: &[(&str, &str)], key: Option<&str>, other: Option<&str>) {
        assert_eq!(
            of(fields),
            (key.map(str::to_owned), other.map(str::to_owned)),
            "{fields:?}"
        );
    }

    #[test]
    fn carriers_in_order() {
        let (portkey, bearer) = ("x-portkey-api-key", "authorization");
        check(
            &[(portkey, "a"), (bearer, "Bearer b"), ("x-api-key", "c")],
            Some("a"),
            Some("b"),
        );
        check(&[(bearer, "Bearer b"), ("x-api-key", "c")], Some("b"), None);
        check(&[(bearer, "bearer  b ")], Some("b"), None);
        check(&[("x-api-key", "c")], Some("c"), None);
        check(&[(bearer, "Basic b")], None, None);
        check(&[], None, None);
    }

    #[test]
    fn dummies_are_no_keys() {
        for dummy in DUMMIES {
            check(
                &[("x-portkey-api-key", dummy), ("x-api-key", "c")],
                Some("c"),
                None,
            );
            let bearer = format!("Bearer {dummy}");
            check(
                &[("x-portkey-api-key", "a"), ("authorization", &bearer)],
                Some("a"),
                None,
            );
            check(&[("authorization", &bearer)], None, None);
        }
    }

    #[test]
    fn the_gateway_key_is_never_taken_for_the_providers() {
        check(
            &[("x-portkey-api-key", "a"), ("authorization", "Bearer a")],
            Some("a"),
            None,
        );
    }

    #[test]
    fn a_repeated_header_is_a_wrong_key() {
        check(
            &[("x-portkey-api-key", "a"), ("x-portkey-api-key", "a")],
            Some("twice"),
            None,
        );
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        check(&twice, Some("twice"), None);
    }

    #[test]
    fn nothing_of_the_connection_or_of_a_credential_is_left() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer a"),
            ("x-portkey-api-key", "a"),
            ("x-api-key", "a"),
            ("api-key", "a"),
            ("cookie", "a"),
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-portkey-virtual-key", "openai"),
        ] {
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let left = without_credentials(headers);
        let names: Vec<&str> = left.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-portkey-virtual-key"]);
    }
}
