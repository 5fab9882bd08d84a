//! The admin plane: Portkey's paths and shapes for virtual keys, API keys, configs and logs. Bodies and
//! queries are read in `snake_case` and `camelCase`, because Portkey's SDKs send both.

pub mod absent;
pub mod api_keys;
pub mod approvals;
pub mod configs;
pub mod exports;
mod host;
pub mod integrations;
pub mod log_filter;
pub mod log_insert;
pub mod log_shape;
pub mod log_stream;
pub mod logs;
pub mod providers;
pub mod reload;
pub mod virtual_keys;
pub mod workspaces;

use crate::answer::Refusal;
use crate::app::Shared;
use crate::auth::Admin;
use crate::body::{self, snake};
use axum::Json;
use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use jiff::Timestamp;
use portunus_protocol::error::code;
use portunus_store::Page;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Largest page of a list.
const PAGE_MAX: u32 = 1_000;
/// Longest name, note or slug, in bytes.
const TEXT_MAX_BYTES: usize = 512;

/// Parameters that may be repeated, for they hold lists.
const LISTS: [&str; 7] = [
    "status_code",
    "ai_model",
    "ai_org",
    "virtual_keys",
    "configs",
    "api_key_ids",
    "error_source",
];

/// What a handler answers.
type Answer = Result<Json<Value>, Refusal>;

/// An admin call but for its path and its body.
pub struct Ask {
    app: Shared,
    admin: Admin,
    query: Query,
}

impl FromRequestParts<Shared> for Ask {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let admin = Admin::from_request_parts(parts, app).await?;
        let Ok(query) = Query::from_request_parts(parts, app).await;
        Ok(Self {
            app: app.clone(),
            admin,
            query,
        })
    }
}

impl Ask {
    /// The workspace that the query names, for a caller with this scope.
    ///
    /// # Errors
    /// 403 that names the scope; 404 for a workspace that is not the caller's.
    async fn allowed(&self, scope: &str) -> Result<String, Refusal> {
        self.admin.require(scope)?;
        let asked = self.query.get("workspace_id");
        self.admin.workspace(&self.app, asked).await
    }

    /// The body.
    ///
    /// # Errors
    /// As [`body::json_object`].
    async fn body<T: DeserializeOwned>(&self, request: Request) -> Result<T, Refusal> {
        let (parts, body) = request.into_parts();
        body::json_object(&parts.headers, body, &self.app.live().settings.limits).await
    }
}

/// The query of an admin call, its names in `snake_case`, in order.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let text = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        Ok(Self(
            pairs
                .map(|(name, value)| (snake(&name), value.into_owned()))
                .collect(),
        ))
    }
}

impl Query {
    /// The first value of that name that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A number.
    ///
    /// # Errors
    /// 400 that names it when it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let wrong = |_| {
            let message = format!("Invalid type for '{name}': expected a number.");
            Refusal::field(name, code::TYPE, message)
        };
        text.parse().map(Some).map_err(wrong)
    }

    /// A moment: RFC 3339, or milliseconds since 1970.
    ///
    /// # Errors
    /// 400 that names it when it is none.
    pub fn moment(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let parsed = match text.parse::<i64>() {
            Ok(ms) => Timestamp::from_millisecond(ms).ok(),
            Err(_) => text.parse().ok(),
        };
        let message = format!("Invalid '{name}': expected a time such as 2026-05-30T13:33:59Z.");
        parsed
            .map(Some)
            .ok_or_else(|| Refusal::field(name, code::VALUE, message))
    }

    /// All values of that name; commas part values too.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, v)| v.split(','));
        values
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Portkey's `current_page` (from 0) and `page_size`.
    ///
    /// # Errors
    /// 400 for what is no number.
    pub fn page(&self) -> Result<Page, Refusal> {
        let size = self
            .number::<u32>("page_size")?
            .unwrap_or(100)
            .clamp(1, PAGE_MAX);
        let page = self.number::<u32>("current_page")?.unwrap_or(0);
        Ok(Page {
            limit: size,
            offset: page.saturating_mul(size),
        })
    }

    /// Refuses a name that comes more than once, unless its value is a list.
    ///
    /// # Errors
    /// 400 that names the first.
    pub fn once(&self, known: &[&str]) -> Result<(), Refusal> {
        let count = |name: &str| self.0.iter().filter(|(key, _)| key == name).count();
        match known
            .iter()
            .find(|name| !LISTS.contains(name) && count(name) > 1)
        {
            None => Ok(()),
            Some(name) => {
                let message = format!("Invalid '{name}': it is given more than once.");
                Err(Refusal::field(name, code::VALUE, message))
            }
        }
    }

    /// Refuses names that are not in `known`.
    ///
    /// # Errors
    /// 400 that names the first and lists what there is.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let Some((name, _)) = self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let message = format!(
            "Unknown parameter: '{name:.80}'. There are {}.",
            known.join(", ")
        );
        Err(Refusal::field(name, code::UNKNOWN, message))
    }
}

/// 400 for a field that is not there.
fn missing(param: &str) -> Refusal {
    let message = format!("Missing required parameter: '{param}'.");
    Refusal::field(param, code::MISSING, message)
}

/// Portkey's list.
fn listed(total: i64, items: &[Value]) -> Value {
    json!({"object": "list", "total": total, "data": items})
}

/// Refuses fields of Portkey's that are not built yet; absent, null and empty ones pass.
fn refuse_unbuilt(fields: &[(&str, &Option<Value>)]) -> Result<(), Refusal> {
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    match fields
        .iter()
        .find(|(_, value)| value.as_ref().is_some_and(is_set))
    {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("Unsupported parameter: '{name}' is not built yet.");
            Err(Refusal::field(name, code::UNSUPPORTED, message))
        }
    }
}

/// Refuses what a body has beyond the fields that its route knows, below `prefix`; null and the
/// names of `harmless` pass.
fn refuse_unknown(
    prefix: &str,
    other: &Map<String, Value>,
    harmless: &[&str],
) -> Result<(), Refusal> {
    let odd = other
        .iter()
        .find(|(name, value)| !value.is_null() && !harmless.contains(&name.as_str()));
    let Some((name, _)) = odd else { return Ok(()) };
    let name = format!("{prefix}{name:.80}");
    let message = format!("Unknown parameter: '{name}'.");
    Err(Refusal::field(&name, code::UNKNOWN, message))
}

/// A name or note within bounds and without control characters.
fn plain_text(param: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let message = if text.len() > TEXT_MAX_BYTES {
        format!("Invalid '{param}': longer than {TEXT_MAX_BYTES} bytes.")
    } else if text.contains(char::is_control) {
        format!("Invalid '{param}': control characters are not allowed.")
    } else {
        return Ok(text.to_owned());
    };
    Err(Refusal::field(param, code::VALUE, message))
}

/// A name: as [`plain_text`], and not empty.
fn name_text(text: &str) -> Result<String, Refusal> {
    let name = plain_text("name", text)?;
    if name.is_empty() {
        return Err(Refusal::field(
            "name",
            code::VALUE,
            "Invalid 'name': it is empty.",
        ));
    }
    Ok(name)
}

/// A time of expiry that lies ahead.
fn expiry(asked: Option<Timestamp>) -> Result<Option<Timestamp>, Refusal> {
    if asked.is_some_and(|at| at <= Timestamp::now()) {
        let message = "Invalid 'expires_at': the time has passed.";
        return Err(Refusal::field("expires_at", code::VALUE, message));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn query(text: &str) -> Query {
        let request = http::Request::builder()
            .uri(format!("/x?{text}"))
            .body(())
            .unwrap();
        Query::from_request_parts(&mut request.into_parts().0, &())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn queries_are_read_in_both_spellings() {
        let q =
            query("workspaceId=a&pageSize=5&current_page=2&virtual_keys=x,y&virtual_keys=z").await;
        assert_eq!(q.get("workspace_id"), Some("a"));
        assert_eq!(
            q.page().unwrap(),
            Page {
                limit: 5,
                offset: 10
            }
        );
        assert_eq!(q.list("virtual_keys"), ["x", "y", "z"]);
        assert!(query("page_size=ten").await.page().is_err());
        let refused = q.only(&["workspace_id"]).unwrap_err();
        assert_eq!(refused.body.param.as_deref(), Some("page_size"));
    }

    #[tokio::test]
    async fn moments_in_both_forms() {
        let q = query("a=2026-05-30T13:33:59Z&b=1780148039000&c=May").await;
        assert_eq!(q.moment("a").unwrap(), q.moment("b").unwrap());
        assert!(q.moment("c").is_err());
    }

    #[test]
    fn unbuilt_fields_are_refused_by_name_unless_empty() {
        let (nothing, something) = (Some(json!([])), Some(json!([{"type": "requests"}])));
        assert!(refuse_unbuilt(&[("rate_limits", &nothing), ("usage_limits", &None)]).is_ok());
        let refused = refuse_unbuilt(&[("rate_limits", &something)]).unwrap_err();
        assert_eq!(refused.body.param.as_deref(), Some("rate_limits"));
    }
}
