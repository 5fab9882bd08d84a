//! A Responses stream of another server as item events of ours: our ids, our indices, every
//! item opened and closed, however sloppy the server is.

use super::item::{Slot, implied};
use super::lane::Kind;
use super::quick::{self, Quick};
use crate::classify;
use crate::failure::Failure;
use crate::json::{count, list, text};
use crate::provider::Decoder;
use crate::turn::{Effective, TurnEnd, TurnEvent, TurnStatus};
use portunus_protocol::event::{Event, ItemEvent, name};
use portunus_protocol::item::Item;
use portunus_protocol::response::{InputDetails, OutputDetails, Usage};
use portunus_protocol::sse::Frame;
use serde_json::{Value, json};

/// Reads one answer.
pub(super) struct ResponsesDecoder {
    provider: &'static str,
    slots: Vec<Slot>,
    events: Vec<TurnEvent>,
    ended: bool,
}

impl ResponsesDecoder {
    pub(super) fn new(provider: &'static str) -> Self {
        Self {
            provider,
            slots: Vec::new(),
            events: Vec::new(),
            ended: false,
        }
    }

    fn bad(&mut self, what: &str) -> Failure {
        self.ended = true;
        Failure::bad_answer(self.provider, what)
    }

    fn push(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.extend(events.into_iter().map(TurnEvent::Item));
    }

    fn event(&mut self, kind: &str, mut value: Value) -> Result<(), Failure> {
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {}
            "response.completed" | "response.incomplete" => {
                let response = value["response"].take();
                self.end(&response, kind == "response.incomplete");
            }
            "response.failed" | "error" => return Err(self.failed(&value)),
            name::ITEM_ADDED => {
                let item = self.item(value["item"].take())?;
                self.begin(value["output_index"].as_u64(), item);
            }
            name::ITEM_DONE => {
                let item = self.item(value["item"].take())?;
                self.done(value["output_index"].as_u64(), item);
            }
            _ if kind.is_empty() && value.get("error").is_some() => {
                return Err(self.failed(&value));
            }
            _ => {
                let index = value.get("output_index").and_then(Value::as_u64);
                if let Ok(event) = serde_json::from_value(value) {
                    self.inside(index, event);
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, value: Value) -> Result<Item, Failure> {
        Item::from_value(value).map_err(|_| self.bad("sent an item that cannot be read"))
    }

    fn failed(&mut self, value: &Value) -> Failure {
        self.ended = true;
        let inner = value
            .pointer("/response/error")
            .or_else(|| value.get("error"));
        let report = match inner {
            Some(error) if !error.is_null() => json!({ "error": error }),
            _ => value.clone(),
        };
        classify::inside(self.provider, &report)
            .unwrap_or_else(|| Failure::bad_answer(self.provider, "reported a failed response"))
    }

    /// Begins an item. Messages and thoughts do not overlap here, though OpenRouter's do: one
    /// that is still open ends first, and its own end is overheard when it comes.
    fn begin(&mut self, upstream_index: Option<u64>, item: Item) -> usize {
        if is_text(&item) {
            for at in 0..self.slots.len() {
                if self.slots[at].is_open_text() {
                    let events = self.slots[at].end(None, self.provider);
                    self.push(events);
                }
            }
        }
        let (slot, event) = Slot::begin(self.slots.len(), upstream_index, item, self.provider);
        self.slots.push(slot);
        self.push([event]);
        self.slots.len() - 1
    }

    fn done(&mut self, upstream_index: Option<u64>, item: Item) {
        let id = item.id().unwrap_or_default();
        let at = self
            .find(upstream_index, id)
            .filter(|at| self.slots[*at].is_kind(&item));
        let at = at.unwrap_or_else(|| self.begin(upstream_index, item.clone()));
        let events = self.slots[at].end(Some(item), self.provider);
        self.push(events);
    }

    /// The item that an event is about: by index, by id (some rotate it), or, where neither
    /// is told, the last one that is open.
    fn find(&self, index: Option<u64>, id: &str) -> Option<usize> {
        let mut slots = self.slots.iter();
        slots.rposition(|slot| match (index, id) {
            (Some(_), _) => slot.upstream_index == index,
            (None, "") => slot.open,
            (None, id) => slot.upstream_id == id,
        })
    }

    fn inside(&mut self, index: Option<u64>, event: ItemEvent) {
        let found = self.find(index, &event.item_id);
        let at = match (found, Kind::of(&event)) {
            (Some(at), _) => at,
            (None, Some((kind, _))) => match implied(kind) {
                Some(item) => self.begin(index, with_id(item, &event.item_id)),
                None => return,
            },
            (None, None) => return,
        };
        let events = self.slots[at].inside(event);
        self.push(events);
    }

    fn end(&mut self, response: &Value, incomplete: bool) {
        self.ended = true;
        let output = list(response, "output");
        if self.slots.is_empty() {
            for item in output {
                if let Ok(item) = Item::from_value(item.clone()) {
                    self.done(None, item);
                }
            }
        }
        for at in 0..self.slots.len() {
            let last = last_word(output, at, &self.slots[at]);
            let events = self.slots[at].end(last, self.provider);
            self.push(events);
        }
        self.events.push(TurnEvent::End(TurnEnd {
            status: status(response, incomplete),
            usage: response.get("usage").and_then(usage),
            model: text(response, "model").map(str::to_owned),
            service_tier: text(response, "service_tier").map(str::to_owned),
            effective: effective(response),
            upstream_id: text(response, "id").map(str::to_owned),
        }));
    }

    /// Whether the items of the final response are looked at.
    fn needs_items(&self) -> bool {
        self.slots.is_empty() || self.slots.iter().any(|slot| slot.open)
    }

    fn parse(&mut self, json: &[u8]) -> Result<Value, Failure> {
        serde_json::from_slice(json).map_err(|_| self.bad("sent something that is no JSON"))
    }

    fn take(&mut self) -> Vec<TurnEvent> {
        std::mem::take(&mut self.events)
    }
}

impl Decoder for ResponsesDecoder {
    fn frame(&mut self, frame: &Frame) -> Result<Vec<TurnEvent>, Failure> {
        let data = frame.data.trim();
        if self.ended || data.is_empty() || data == "[DONE]" {
            return Ok(Vec::new());
        }
        match quick::read(data, frame.event.as_deref(), self.needs_items()) {
            Quick::Nothing => {}
            Quick::Delta(index, event) => self.inside(index, event),
            Quick::End(kind, response) => self.end(&response, kind == "response.incomplete"),
            Quick::Unknown => {
                let value = self.parse(data.as_bytes())?;
                let told = text(&value, "type").map(str::to_owned);
                let kind = told.or_else(|| frame.event.clone()).unwrap_or_default();
                self.event(&kind, value)?;
            }
        }
        Ok(self.take())
    }

    fn body(&mut self, json: &[u8]) -> Result<Vec<TurnEvent>, Failure> {
        if self.ended {
            return Ok(Vec::new());
        }
        let is_good = |response: &Value| {
            text(response, "status") != Some("failed") && response.get("output").is_some()
        };
        let quick = std::str::from_utf8(json)
            .ok()
            .and_then(|text| quick::response(text, true));
        let response = match quick.filter(is_good) {
            Some(response) => response,
            None => self.parse(json)?,
        };
        if !is_good(&response) {
            return Err(self.failed(&response));
        }
        self.end(&response, false);
        Ok(self.take())
    }

    fn finish(&mut self) -> Result<Vec<TurnEvent>, Failure> {
        if self.ended {
            return Ok(Vec::new());
        }
        Err(self.bad("ended its stream in the middle of the answer"))
    }
}

fn is_text(item: &Item) -> bool {
    matches!(item, Item::Message(_) | Item::Reasoning(_))
}

fn with_id(mut item: Item, id: &str) -> Item {
    match &mut item {
        Item::Message(message) => message.id = Some(id.to_owned()),
        Item::Reasoning(reasoning) => reasoning.id = Some(id.to_owned()),
        _ => {}
    }
    item
}

/// What the final response says of an item whose own end never came.
fn last_word(output: &[Value], at: usize, slot: &Slot) -> Option<Item> {
    let place = slot
        .upstream_index
        .and_then(|index| usize::try_from(index).ok());
    let value = output.get(place.unwrap_or(at))?;
    let item = Item::from_value(value.clone()).ok()?;
    slot.is_kind(&item).then_some(item)
}

fn status(response: &Value, incomplete: bool) -> TurnStatus {
    let reason = response
        .pointer("/incomplete_details/reason")
        .and_then(Value::as_str);
    match text(response, "status") {
        Some("cancelled") => TurnStatus::Failed {
            code: "server_error".to_owned(),
            message: "The provider cancelled the response.".to_owned(),
        },
        word if incomplete || word == Some("incomplete") => TurnStatus::Incomplete {
            reason: reason.unwrap_or("max_output_tokens").to_owned(),
        },
        _ => TurnStatus::Completed,
    }
}

fn effective(response: &Value) -> Effective {
    let told = |key: &str| response.get(key).cloned().unwrap_or_default();
    Effective {
        reasoning: told("reasoning"),
        temperature: told("temperature"),
        top_p: told("top_p"),
        prompt_cache_retention: told("prompt_cache_retention"),
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let input = count(value, "input_tokens")?;
    let output = count(value, "output_tokens").unwrap_or(0);
    let inputs = value.get("input_tokens_details").unwrap_or(&Value::Null);
    let outputs = value.get("output_tokens_details").unwrap_or(&Value::Null);
    Some(Usage {
        input_tokens: input,
        input_tokens_details: InputDetails {
            cache_write_tokens: count(inputs, "cache_write_tokens").unwrap_or(0),
            cached_tokens: count(inputs, "cached_tokens").unwrap_or(0),
        },
        output_tokens: output,
        output_tokens_details: OutputDetails {
            reasoning_tokens: count(outputs, "reasoning_tokens").unwrap_or(0),
        },
        total_tokens: input.saturating_add(output),
    })
}
