//! Earlier responses: found, owned, put in front of the input, and stored.
//!
//! A response belongs to the API key that made it. What belongs to somebody else is treated as
//! missing, on every path: an id of the provider's own is only passed on when it was seen in a
//! response of the same key at the same virtual key.

use crate::Gateway;
use crate::call::{Call, Principal};
use crate::error::Error;
use crate::front::Peek;
use crate::record::whole_ms;
use crate::route::Target;
use crate::secrets::Secrets;
use jiff::Timestamp;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::item::Item;
use portunus_protocol::request::Head;
use portunus_protocol::response::{Response, Status};
use portunus_store::{ResponseRow, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// What this gateway notes beside a stored response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Notes {
    /// The provider made the response and knows its ids.
    #[serde(default)]
    pub(crate) native: bool,
    /// Fingerprint of the URL of each server, by label.
    #[serde(default)]
    pub(crate) servers: HashMap<String, String>,
}

/// What a request names of earlier responses.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// `previous_response_id` and what came before it, oldest first.
    chain: Vec<ResponseRow>,
    /// Items that the input refers to, by id.
    referenced: HashMap<String, Item>,
    /// Virtual keys whose provider knows what is named.
    native_keys: HashSet<String>,
    /// Something that only this gateway knows is named.
    ours: bool,
    /// Fingerprints of the URLs of servers whose lists were filled in, by label.
    filled: HashMap<String, String>,
}

impl Context {
    /// Finds what a request names.
    pub(crate) async fn find(
        gateway: &Gateway,
        call: &Call,
        head: &Head<'_>,
        input: &[Peek],
    ) -> Result<Self, Error> {
        refuse_many(input, gateway.parts.bounds.max_references)?;
        let mut context = Self::default();
        if let Some(id) = head.string("previous_response_id") {
            context.chain = gateway.chain(&call.principal, id).await?;
            if let Some(row) = context.chain.last() {
                context.native_keys.extend(native_key(row));
                context.ours |= !notes(row).native;
            }
        }
        for (index, peek) in input.iter().enumerate() {
            if let Some((id, field)) = peek.named() {
                let at = format!("input[{index}].{field}");
                context
                    .find_item(gateway, &call.principal, id, &at, field)
                    .await?;
            }
        }
        Ok(context)
    }

    async fn find_item(
        &mut self,
        gateway: &Gateway,
        principal: &Principal,
        id: &str,
        at: &str,
        field: &str,
    ) -> Result<(), Error> {
        let store = &gateway.parts.store;
        let row = store.response_of_item(&principal.workspace_id, id).await?;
        let Some(row) = row.filter(|row| row.api_key_id == principal.api_key_id) else {
            // The request of an approval may be there though its response was not stored.
            if field == "approval_request_id" {
                self.ours = true;
                return Ok(());
            }
            let message = format!("Item with id '{id}' not found.");
            return Err(ErrorBody::invalid(at, code::VALUE, message).into());
        };
        self.native_keys.extend(native_key(&row));
        self.ours |= !notes(&row).native;
        if field == "id" {
            let item = history::<Item>(&row)
                .into_iter()
                .find(|item| item.id() == Some(id));
            self.referenced
                .extend(item.map(|item| (id.to_owned(), item)));
        }
        Ok(())
    }

    /// Whether the gateway must run the request, because the provider does not know what it
    /// names.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Whether the provider at `target` knows everything that is named; if it is another one,
    /// the answer to the caller.
    pub(crate) fn check_native(&self, target: &Target) -> Result<(), Error> {
        let here = target.slug.as_deref().unwrap_or("");
        let Some(other) = self.native_keys.iter().find(|key| *key != here) else {
            return Ok(());
        };
        let message = format!(
            "The earlier response was made with the virtual key '{other}', whose provider alone \
             knows it. Use that virtual key, or send the earlier items in 'input'."
        );
        Err(ErrorBody::invalid("previous_response_id", code::VALUE, message).into())
    }

    /// The items of the chain, oldest first.
    pub(crate) fn earlier(&self) -> Vec<Item> {
        self.chain.iter().flat_map(history).collect()
    }

    /// Fingerprints of the URLs of servers whose lists are in the chain, by label.
    pub(crate) fn listed_servers(&self) -> HashMap<String, String> {
        self.chain
            .iter()
            .flat_map(|row| notes(row).servers)
            .chain(self.filled.clone())
            .collect()
    }

    /// Fills in lists that were sent again without their tools, as some clients do, from the
    /// stored list of the same id. The first `max` are looked for.
    pub(crate) async fn fill_lists(
        &mut self,
        gateway: &Gateway,
        principal: &Principal,
        input: &mut [Item],
        max: usize,
    ) -> Result<(), Error> {
        let empty = input.iter_mut().filter_map(|item| match item {
            Item::McpListTools(list) if list.tools.is_empty() => Some(list),
            _ => None,
        });
        for list in empty.take(max) {
            let store = &gateway.parts.store;
            let row = store
                .response_of_item(&principal.workspace_id, &list.id)
                .await?;
            let Some(row) = row.filter(|row| row.api_key_id == principal.api_key_id) else {
                continue;
            };
            let stored = history::<Item>(&row)
                .into_iter()
                .find_map(|item| match item {
                    Item::McpListTools(stored) if stored.id == list.id => Some(stored),
                    _ => None,
                });
            if let Some(stored) = stored.filter(|stored| stored.server_label == list.server_label) {
                *list = stored;
                self.filled.extend(notes(&row).servers);
            }
        }
        Ok(())
    }

    /// The input with its references in full.
    pub(crate) fn resolve(&mut self, input: Vec<Item>) -> Vec<Item> {
        let resolve = |item| match item {
            Item::ItemReference(reference) => {
                let found = self.referenced.remove(&reference.id);
                found.unwrap_or(Item::ItemReference(reference))
            }
            other => other,
        };
        input.into_iter().map(resolve).collect()
    }
}

pub(crate) fn notes(row: &ResponseRow) -> Notes {
    serde_json::from_str(&row.servers).unwrap_or_default()
}

fn native_key(row: &ResponseRow) -> Option<String> {
    notes(row)
        .native
        .then(|| row.virtual_key.clone().unwrap_or_default())
}

/// What the model is to see of a response when it is continued: its input and its output.
pub(crate) fn history<T: DeserializeOwned>(row: &ResponseRow) -> Vec<T> {
    #[derive(Deserialize)]
    struct Answer<T> {
        output: Vec<T>,
    }
    let mut items: Vec<T> = serde_json::from_str(&row.input).unwrap_or_default();
    let answer = serde_json::from_str::<Answer<T>>(&row.response);
    items.extend(answer.into_iter().flat_map(|answer| answer.output));
    items
}

impl Gateway {
    /// A response and what came before it, oldest first.
    async fn chain(&self, principal: &Principal, id: String) -> Result<Vec<ResponseRow>, Error> {
        match self.back_from(principal, id).await? {
            (chain, None) => Ok(chain),
            (_, Some(missing)) => Err(no_previous(&missing)),
        }
    }

    /// A response and what came before it, oldest first, back to the beginning or to one that is
    /// no longer there, whose id is told.
    pub(crate) async fn back_from(
        &self,
        principal: &Principal,
        id: String,
    ) -> Result<(Vec<ResponseRow>, Option<String>), Error> {
        let max = self.parts.bounds.max_chain;
        let (mut chain, mut next, mut missing) = (Vec::new(), Some(id), None);
        while let Some(id) = next {
            if chain.len() == max {
                return Err(too_long(max));
            }
            match self.owned(principal, &id).await? {
                Some(row) => {
                    next = row.previous_response_id.clone();
                    chain.push(row);
                }
                None => {
                    missing = Some(id);
                    next = None;
                }
            }
        }
        chain.reverse();
        Ok((chain, missing))
    }

    /// A response that belongs to the caller.
    pub(crate) async fn owned(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<Option<ResponseRow>, Error> {
        let row = self
            .parts
            .store
            .response(&principal.workspace_id, id)
            .await?;
        Ok(row.filter(|row| row.api_key_id == principal.api_key_id))
    }
}

fn refuse_many(input: &[Peek], max: usize) -> Result<(), Error> {
    if input.iter().filter(|item| item.named().is_some()).count() <= max {
        return Ok(());
    }
    let message = format!("Invalid 'input': at most {max} items may name something earlier.");
    Err(ErrorBody::invalid("input", code::VALUE, message).into())
}

fn too_long(max: usize) -> Error {
    let message = format!(
        "More than {max} responses come before this one. Send the items that matter in 'input'."
    );
    ErrorBody::invalid("previous_response_id", code::VALUE, message).into()
}

fn no_previous(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    let message = format!("Previous response with id '{shown}' not found.");
    ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("previous_response_id")
        .code("previous_response_not_found")
        .into()
}

/// What the index of stored responses knows of one.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) status: Status,
    pub(crate) item_ids: Vec<String>,
}

impl From<&Response> for Ended {
    fn from(response: &Response) -> Self {
        Self {
            id: response.id.clone(),
            model: response.model.clone(),
            status: response.status,
            item_ids: ids_of(&response.output),
        }
    }
}

fn ids_of(items: &[Item]) -> Vec<String> {
    let ids = items.iter().filter_map(Item::id);
    ids.map(str::to_owned).collect()
}

/// What is needed to store a response when it is over.
pub(crate) struct Keep {
    workspace_id: String,
    api_key_id: Option<String>,
    virtual_key: Option<String>,
    provider: String,
    previous_response_id: Option<String>,
    input: Vec<Item>,
    notes: Notes,
    /// They are stored in no row, whoever repeats them.
    secrets: Secrets,
    life_ms: i64,
}

impl Keep {
    /// `None` when the request says `store: false`.
    pub(crate) fn of(
        gateway: &Gateway,
        call: &Call,
        head: &Head<'_>,
        target: &Target,
        notes: Notes,
    ) -> Option<Self> {
        let policy = gateway.parts.policy.store_responses;
        let stored = policy
            && head
                .shallow
                .get("store")
                .is_none_or(|raw| raw.get() != "false");
        let life = gateway.parts.bounds.response_life;
        stored.then(|| Self {
            workspace_id: call.principal.workspace_id.clone(),
            api_key_id: call.principal.api_key_id.clone(),
            virtual_key: target.slug.clone(),
            provider: target.provider.name().to_owned(),
            previous_response_id: head.string("previous_response_id"),
            input: Vec::new(),
            notes,
            secrets: Secrets::of(head),
            life_ms: whole_ms(life),
        })
    }

    /// The request's own input; items without an id get one.
    pub(crate) fn input(&mut self, input: &[Item]) {
        self.input = input.iter().cloned().map(identified).collect();
    }

    /// Stores a response that is over, before its client sees the end. `json` is the response as
    /// the client sees it. A database that fails costs the caller the stored copy, not the answer.
    pub(crate) async fn store(self, store: &dyn Store, ended: Ended, json: String) {
        let (row, ids) = self.row(ended, json);
        if let Err(error) = store.put_response(row, ids).await {
            tracing::error!(%error, "a response could not be stored");
        }
    }

    fn row(self, ended: Ended, json: String) -> (ResponseRow, Vec<String>) {
        let secrets = self.secrets;
        let input = serde_json::to_string(&self.input).unwrap_or_default();
        let mut ids = ids_of(&self.input);
        ids.extend(ended.item_ids);
        let now = Timestamp::now().as_millisecond();
        let row = ResponseRow {
            id: ended.id,
            workspace_id: self.workspace_id,
            api_key_id: self.api_key_id,
            created_at_ms: now,
            expires_at_ms: now.saturating_add(self.life_ms),
            virtual_key: self.virtual_key,
            provider: self.provider,
            model: ended.model,
            previous_response_id: self.previous_response_id,
            status: ended.status.as_str().to_owned(),
            response: secrets.blank_json(json),
            input: secrets.blank_json(input),
            servers: serde_json::to_string(&self.notes).unwrap_or_default(),
        };
        (row, ids)
    }
}

/// An item with an id; a reference keeps the one that it names.
fn identified(mut item: Item) -> Item {
    let fresh = |kind| Some(id::make(kind));
    match &mut item {
        Item::Message(message) if message.id.is_none() => message.id = fresh(Kind::Message),
        Item::Reasoning(item) if item.id.is_none() => item.id = fresh(Kind::Reasoning),
        Item::FunctionCall(item) if item.id.is_none() => item.id = fresh(Kind::FunctionCall),
        Item::FunctionCallOutput(item) if item.id.is_none() => {
            item.id = fresh(Kind::FunctionCallOutput);
        }
        Item::McpApprovalResponse(item) if item.id.is_none() => {
            item.id = fresh(Kind::McpApprovalResponse);
        }
        _ => {}
    }
    item
}
