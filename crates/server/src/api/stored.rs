//! Responses that are stored: read, deleted, their input listed. A response belongs to the API
//! key that made it; that of another key is a 404.

use super::reply;
use crate::answer::Refusal;
use crate::app::Shared;
use crate::auth::Caller;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;
use portunus_gateway::{ItemPage, Reply};
use portunus_protocol::error::code;
use std::str::FromStr;

/// What a key needs for a response of its own.
const SCOPES: [&str; 1] = ["completions.write"];

/// Reads a stored response.
///
/// # Errors
/// 404 for one that is unknown, deleted, expired, of another key, or made with `store: false`.
#[utoipa::path(
    get, path = "/v1/responses/{id}", tag = "data plane",
    params(
        ("id" = String, Path, description = "`resp_…`"),
        ("include[]" = Option<Vec<String>>, Query, description = "Accepted; what is stored is shown whole"),
        ("stream" = Option<bool>, Query, description = "Only responses made in the background can be streamed again"),
        ("starting_after" = Option<u64>, Query, description = "Together with `stream`"),
    ),
    responses(
        (status = 200, description = "The response object"),
        (status = 400, description = "It cannot be streamed"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 404, description = "No such response of this key"),
    )
)]
pub async fn retrieve(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Refusal> {
    caller.require(&SCOPES)?;
    let stream = parameter(&uri, "stream", "a boolean")?.unwrap_or(false);
    parameter::<u64>(&uri, "starting_after", "an integer")?;
    let gateway = &app.live().gateway;
    let answer = gateway.retrieve(&caller.principal, &id, stream);
    placed(&app, answer).await
}

/// Deletes a stored response, with its open requests for approval.
///
/// # Errors
/// 404 as for reading one.
#[utoipa::path(
    delete, path = "/v1/responses/{id}", tag = "data plane",
    params(("id" = String, Path, description = "`resp_…`")),
    responses(
        (status = 200, description = "`{id, object: \"response.deleted\", deleted: true}`"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 404, description = "No such response of this key"),
    )
)]
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    caller.require(&SCOPES)?;
    let gateway = &app.live().gateway;
    placed(&app, gateway.delete_response(&caller.principal, &id)).await
}

/// Cancels a response that runs in the background: there are none yet, so that every response
/// that is found is refused.
///
/// # Errors
/// 400 in OpenAI's words; 404 as for reading one.
#[utoipa::path(
    post, path = "/v1/responses/{id}/cancel", tag = "data plane",
    params(("id" = String, Path, description = "`resp_…`")),
    responses(
        (status = 400, description = "The response is over, or does not run in the background"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 404, description = "No such response of this key"),
    )
)]
pub async fn cancel(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    caller.require(&SCOPES)?;
    let gateway = &app.live().gateway;
    placed(&app, gateway.cancel(&caller.principal, &id)).await
}

/// Lists what the model was given for a response, the responses before it included.
///
/// # Errors
/// 400 that names a wrong parameter; 404 as for reading one, and for an unknown `after` or `before`.
#[utoipa::path(
    get, path = "/v1/responses/{id}/input_items", tag = "data plane",
    params(
        ("id" = String, Path, description = "`resp_…`"),
        ("limit" = Option<u64>, Query, description = "1 to 100; 20 by default"),
        ("order" = Option<String>, Query, description = "`desc` (newest first, the default) or `asc`"),
        ("after" = Option<String>, Query, description = "The last id of the page before"),
        ("before" = Option<String>, Query, description = "An id that the list ends before"),
        ("include[]" = Option<Vec<String>>, Query, description = "Accepted; what is stored is shown whole"),
    ),
    responses(
        (status = 200, description = "`{object: \"list\", data: [item], first_id, last_id, has_more}`"),
        (status = 400, description = "A parameter is wrong"),
        (status = 403, description = "The key lacks the scope `completions.write`"),
        (status = 404, description = "No such response of this key, or no such item in it"),
    )
)]
pub async fn input_items(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Refusal> {
    caller.require(&SCOPES)?;
    let page = ItemPage {
        limit: parameter(&uri, "limit", "an integer")?,
        order: text(&uri, "order"),
        after: text(&uri, "after"),
        before: text(&uri, "before"),
    };
    let gateway = &app.live().gateway;
    placed(&app, gateway.input_items(&caller.principal, &id, page)).await
}

/// The answer, if there is a place for the request among those at work.
async fn placed(app: &Shared, answer: impl Future<Output = Reply>) -> Result<Response, Refusal> {
    let place = app.admission.enter(&app.metrics)?;
    Ok(reply::with_place(answer.await, place))
}

/// The first value of that name that is not empty.
fn text(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(key, value)| key == name && !value.is_empty());
    found.map(|(_, value)| value.into_owned())
}

/// A value of that name, parsed; `kind` says what it should be.
fn parameter<T: FromStr>(uri: &Uri, name: &str, kind: &str) -> Result<Option<T>, Refusal> {
    let Some(text) = text(uri, name) else {
        return Ok(None);
    };
    let wrong = |_| {
        let message = format!("Invalid type for '{name}': expected {kind}.");
        Refusal::field(name, code::TYPE, message)
    };
    text.parse().map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_by_name() {
        let uri: Uri = "/x?limit=5&after=a%20b&order=&order=asc".parse().unwrap();
        assert_eq!(parameter(&uri, "limit", "an integer").unwrap(), Some(5));
        assert_eq!(text(&uri, "after").as_deref(), Some("a b"));
        assert_eq!(text(&uri, "order").as_deref(), Some("asc"));
        assert_eq!(
            parameter::<bool>(&uri, "stream", "a boolean").unwrap(),
            None
        );
        let refused = parameter::<u64>(&uri, "after", "an integer").unwrap_err();
        assert_eq!(refused.body.param.as_deref(), Some("after"));
    }
}
