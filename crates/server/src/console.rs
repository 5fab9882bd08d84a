//! `GET /`: the landing page of the console.

use axum::response::{IntoResponse, Response};
use http::header;

/// No script, no remote load, no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page for somebody who opens the gateway's address in a browser.
#[utoipa::path(
    get, path = "/", tag = "console",
    responses((status = 200, description = "A static page", content_type = "text/html"))
)]
pub async fn landing() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, portunus_console::landing_page()).into_response()
}
