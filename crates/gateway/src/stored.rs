//! Stored responses: read, listed, deleted. What belongs to another key is not there.

use crate::Gateway;
use crate::call::{Principal, Reply};
use crate::error::{Error, invalid};
use crate::state::history;
use crate::{payload, reply};
use portunus_protocol::error::{ErrorBody, kind};
use portunus_store::ResponseRow;
use serde_json::{Value, json};

/// Which input items to list.
#[derive(Clone, Debug, Default)]
pub struct ItemPage {
    /// 1 to 100; default 20.
    pub limit: Option<u64>,
    /// `asc` or `desc`, the default.
    pub order: Option<String>,
    /// The id of the last item that the caller has.
    pub after: Option<String>,
    /// The id of an item that the list ends before.
    pub before: Option<String>,
}

impl Gateway {
    /// A text of a request as it may be seen by others than its caller: as much as the log would
    /// keep of it. `None` below the payload level `redacted`.
    #[must_use]
    pub fn as_kept(&self, text: &str) -> Option<String> {
        let policy = &self.parts.policy;
        payload::keep(text, policy.payload, policy.payload_max_bytes)
    }

    /// Serves `GET /v1/responses/{id}`.
    pub async fn retrieve(&self, principal: &Principal, id: &str, stream: bool) -> Reply {
        let result = self
            .found(principal, id)
            .await
            .and_then(|row| match stream {
                false => Ok(row.response),
                true => Err(no_stream()),
            });
        answer(result)
    }

    /// Serves `DELETE /v1/responses/{id}`.
    pub async fn delete_response(&self, principal: &Principal, id: &str) -> Reply {
        answer(self.delete(principal, id).await)
    }

    async fn delete(&self, principal: &Principal, id: &str) -> Result<String, Error> {
        let row = self.found(principal, id).await?;
        let store = &self.parts.store;
        if !store
            .delete_response(&principal.workspace_id, &row.id)
            .await?
        {
            return Err(not_found(id));
        }
        Ok(json!({"id": row.id, "object": "response.deleted", "deleted": true}).to_string())
    }

    /// Serves `POST /v1/responses/{id}/cancel`: only background responses can be cancelled.
    pub async fn cancel(&self, principal: &Principal, id: &str) -> Reply {
        let result = self.found(principal, id).await.and_then(|row| {
            let what = match row.status.as_str() {
                "completed" => "Cannot cancel a completed response.",
                "failed" => "Cannot cancel a failed response.",
                _ => "Cannot cancel a synchronous response.",
            };
            let body = ErrorBody::new(kind::INVALID_REQUEST, what).param("response_id");
            Err(body.into())
        });
        answer(result)
    }

    /// Serves `GET /v1/responses/{id}/input_items`: what the model was given, the chain before
    /// the request included, newest first.
    pub async fn input_items(&self, principal: &Principal, id: &str, page: ItemPage) -> Reply {
        answer(self.items_page(principal, id, page).await)
    }

    async fn items_page(
        &self,
        principal: &Principal,
        id: &str,
        page: ItemPage,
    ) -> Result<String, Error> {
        let limit = match page.limit {
            None => 20,
            Some(limit @ 1..=100) => usize::try_from(limit).unwrap_or(20),
            Some(_) => return Err(invalid("limit", "must be from 1 to 100")),
        };
        let row = self.found(principal, id).await?;
        let mut items = self.context_of(principal, row).await?;
        match page.order.as_deref() {
            None | Some("desc") => items.reverse(),
            Some("asc") => {}
            Some(_) => return Err(invalid("order", "must be 'asc' or 'desc'")),
        }
        let place = |id: &str, param| {
            let found = items.iter().position(|item| item["id"] == id);
            found.ok_or_else(|| no_item(id, param))
        };
        let start = match &page.after {
            None => 0,
            Some(after) => place(after, "after")? + 1,
        };
        let end = match &page.before {
            None => items.len(),
            Some(before) => place(before, "before")?.max(start),
        };
        let rest = &items[start..end];
        let shown: Vec<Value> = rest.iter().take(limit).cloned().map(listed).collect();
        let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        Ok(json!({
            "object": "list",
            "data": shown,
            "first_id": id_of(shown.first()),
            "last_id": id_of(shown.last()),
            "has_more": rest.len() > limit,
        })
        .to_string())
    }

    /// Everything that the model was given, oldest first.
    async fn context_of(
        &self,
        principal: &Principal,
        row: ResponseRow,
    ) -> Result<Vec<Value>, Error> {
        let read = |json: &str| serde_json::from_str::<Vec<Value>>(json).unwrap_or_default();
        let mut items = Vec::new();
        if let Some(id) = row.previous_response_id {
            // What was deleted since is left out.
            let (chain, _) = self.back_from(principal, id).await?;
            items.extend(chain.iter().flat_map(history::<Value>));
        }
        items.extend(read(&row.input));
        Ok(items)
    }

    async fn found(&self, principal: &Principal, id: &str) -> Result<ResponseRow, Error> {
        self.owned(principal, id)
            .await?
            .ok_or_else(|| not_found(id))
    }
}

/// An item as OpenAI lists it: a message has a status, and its content in parts.
fn listed(mut item: Value) -> Value {
    if item["type"] != "message" {
        return item;
    }
    if let Some(text) = item["content"].as_str() {
        item["content"] = match item["role"] == "assistant" {
            true => json!([{"type": "output_text", "text": text, "annotations": []}]),
            false => json!([{"type": "input_text", "text": text}]),
        };
    }
    if item["status"].is_null() {
        item["status"] = "completed".into();
    }
    item
}

fn answer(result: Result<String, Error>) -> Reply {
    match result {
        Ok(body) => reply::json(body),
        Err(error) => reply::answer_of(&error, false),
    }
}

fn not_found(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    let message = format!("Response with id '{shown}' not found.");
    let body = ErrorBody::new(kind::INVALID_REQUEST, message);
    Error::Refused { status: 404, body }
}

fn no_item(id: &str, param: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    let message = format!("No item found with id '{shown}'.");
    let body = ErrorBody::new(kind::INVALID_REQUEST, message).param(param);
    Error::Refused { status: 404, body }
}

fn no_stream() -> Error {
    let message =
        "This response cannot be streamed because it was not created with background=true.";
    ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("stream")
        .into()
}
