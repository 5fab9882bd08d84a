//! Error answers: OpenAI's and Portkey's shape at once, from one type.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use portunus_protocol::error::{ErrorBody, code, kind};

/// Says whose fault an error is: `client`, `gateway`, `provider`, `mcp`.
const ERROR_SOURCE: HeaderName = HeaderName::from_static("x-portunus-error-source");

/// An error answer of the server itself (the gateway's own come ready-made in its replies).
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// What the caller is told.
    pub body: Box<ErrorBody>,
    /// Further header fields, such as `retry-after`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with this status and body.
    #[must_use]
    pub fn new(status: StatusCode, body: ErrorBody) -> Self {
        Self {
            status,
            body: Box::new(body),
            headers: Vec::new(),
        }
    }

    /// 400 about one field.
    pub fn field(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorBody::invalid(param, code, message),
        )
    }

    /// 404: there is no such thing, or it belongs to another workspace. The two are not told
    /// apart.
    #[must_use]
    pub fn not_found(what: &str, id: &str) -> Self {
        let message = format!("No {what} found with id '{}'.", shown(id));
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("not_found");
        Self::new(StatusCode::NOT_FOUND, body)
    }

    /// 401, the same for an absent, unknown, expired or disabled key.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "Incorrect or missing gateway API key. Send a key of this gateway as \
                       `x-portkey-api-key`, as `Authorization: Bearer` or as `x-api-key`; \
                       `portunus key create` makes one.";
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code(code::API_KEY);
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, body);
        refusal
            .headers
            .push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        refusal
    }

    /// 403: the key is good, but lacks a scope.
    #[must_use]
    pub fn forbidden(scope: &str) -> Self {
        let message = format!("This key lacks the scope `{scope}`.");
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("missing_scope");
        Self::new(StatusCode::FORBIDDEN, body)
    }

    /// 403: the call is for the admin token, whatever scopes a key has.
    #[must_use]
    pub fn admin_only() -> Self {
        let message = "Only the admin token may do this; an API key may not, whatever its scopes.";
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("missing_scope");
        Self::new(StatusCode::FORBIDDEN, body)
    }

    /// 409: the request and what is stored contradict each other.
    pub fn conflict(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            ErrorBody::invalid(param, code, message),
        )
    }

    /// 503 with a time to wait.
    pub fn busy(message: impl Into<String>) -> Self {
        let body = ErrorBody::new(kind::UNAVAILABLE, message).code("overloaded");
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, body);
        refusal
            .headers
            .push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        refusal
    }

    /// 503: the database does not answer at the moment. The cause goes to the process's log.
    pub fn database(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the database is not available");
        let mut refusal =
            Self::busy("The gateway's database does not answer at the moment. Try again.");
        refusal.body.code = Some(code::DATABASE.into());
        refusal
    }

    /// 500. The cause goes to the process's log, not to the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed inside the gateway");
        let message = "The gateway failed. Its log has the cause under the request id.";
        let body = ErrorBody::new(kind::SERVER, message).code(code::SERVER);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, body)
    }
}

impl Refusal {
    /// Puts its header fields, and whose fault it is.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.iter().cloned());
        headers.insert(ERROR_SOURCE, HeaderValue::from_static(self.source()));
    }

    /// 400: the request's end cannot be told, so that the connection ends with it.
    #[must_use]
    pub(crate) fn two_lengths() -> Self {
        let message = "The request has both Content-Length and Transfer-Encoding: send one.";
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("malformed_request");
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, body);
        refusal
            .headers
            .push((header::CONNECTION, HeaderValue::from_static("close")));
        refusal
    }

    /// Whose fault it is: the caller's or the gateway's.
    #[must_use]
    pub fn source(&self) -> &'static str {
        if self.status.is_server_error() {
            "gateway"
        } else {
            "client"
        }
    }
}

impl From<portunus_store::StoreError> for Refusal {
    fn from(error: portunus_store::StoreError) -> Self {
        if error.is_transient() {
            return Self::database(&error);
        }
        Self::internal(&error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body.envelope())).into_response();
        self.mark(response.headers_mut());
        response
    }
}

/// An id as it may be repeated in a message: bounded, without control characters.
fn shown(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Answer to a path that does not exist, in OpenAI's words.
pub async fn unknown_path(method: http::Method, uri: http::Uri) -> Refusal {
    let message = format!("Invalid URL ({method} {})", shown(uri.path()));
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("unknown_url");
    Refusal::new(StatusCode::NOT_FOUND, body)
}

/// Answer to a path that exists, with another method.
pub async fn wrong_method(method: http::Method, uri: http::Uri) -> Refusal {
    let message = format!(
        "Not allowed to {method} on {}. The `allow` header names what is.",
        shown(uri.path())
    );
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).code("method_not_supported");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, body)
}

/// Answer when a handler panicked; the payload is logged by the panic hook alone.
pub fn panicked(_payload: Box<dyn std::any::Any + Send>) -> Response {
    Refusal::internal(&"a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_messages_are_bounded_and_plain() {
        let refusal = Refusal::not_found("log", &format!("a\r\n\u{1b}[31m{}", "x".repeat(500)));
        let message = refusal.body.message;
        assert!(
            message.len() < 130 && !message.contains(char::is_control),
            "{message}"
        );
    }

    #[test]
    fn every_401_is_the_same() {
        let response = Refusal::unauthorized().into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
}
