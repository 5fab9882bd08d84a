//! The only accumulator: events in, the output of a response out.
//!
//! A non-streaming answer and the terminal event of a stream are both made here, so that
//! they cannot differ from what the events said.

use crate::event::{Event, ItemEvent, name};
use crate::item::{Content, Item, Part, ReasoningPart};

/// The items that the events have built so far.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    item: Item,
    open: bool,
}

impl Fold {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event. Events on unknown items change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::ItemAdded { output_index, item } => self.put(*output_index, item, true),
            Event::ItemDone { output_index, item } => self.put(*output_index, item, false),
            Event::Inside(inside) => self.inside(inside),
            Event::Lifecycle(..) | Event::Error(_) | Event::Other(_) => {}
        }
    }

    /// The number of items begun; the next item gets this `output_index`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no item has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The items in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.slots.iter().map(|slot| &slot.item)
    }

    /// The items that began and did not end, each with its index, marked `incomplete`.
    #[must_use]
    pub fn open_items(&self) -> Vec<(usize, Item)> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| slot.open);
        open.map(|(index, slot)| (index, incomplete(slot.item.clone())))
            .collect()
    }

    /// All items, ended or not, as the `output` of a response.
    #[must_use]
    pub fn into_output(self) -> Vec<Item> {
        self.slots.into_iter().map(|slot| slot.item).collect()
    }

    fn put(&mut self, index: usize, item: &Item, open: bool) {
        let slot = Slot {
            item: item.clone(),
            open,
        };
        match self.slots.get_mut(index) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
    }

    fn inside(&mut self, event: &ItemEvent) {
        let Some(slot) = self.slots.get_mut(event.output_index) else {
            return;
        };
        match &mut slot.item {
            Item::Message(message) => {
                if let Content::Parts(parts) = &mut message.content {
                    message_event(parts, event);
                }
            }
            Item::FunctionCall(call) => arguments_event(&mut call.arguments, event),
            Item::McpCall(call) => arguments_event(&mut call.arguments, event),
            Item::CustomToolCall(call) => arguments_event(&mut call.input, event),
            Item::Reasoning(reasoning) => match event.summary_index {
                Some(index) => {
                    reasoning_event(&mut reasoning.summary, index, "summary_text", event);
                }
                None => {
                    let content = reasoning.content.get_or_insert_default();
                    reasoning_event(
                        content,
                        event.content_index.unwrap_or(0),
                        "reasoning_text",
                        event,
                    );
                }
            },
            _ => {}
        }
    }
}

fn incomplete(mut item: Item) -> Item {
    let status = "incomplete".to_owned();
    match &mut item {
        Item::Message(message) => message.status = Some(status),
        Item::FunctionCall(call) => call.status = Some(status),
        Item::McpCall(call) => call.status = status,
        _ => {}
    }
    item
}

fn message_event(parts: &mut Vec<Part>, event: &ItemEvent) {
    let index = event.content_index.unwrap_or(0);
    if let Some(part) = &event.part {
        match parts.get_mut(index) {
            Some(old) => *old = part.clone(),
            None => parts.push(part.clone()),
        }
        return;
    }
    match parts.get_mut(index) {
        Some(Part::OutputText(part)) => {
            grow(&mut part.text, event.delta.as_ref(), event.text.as_ref());
            part.annotations.extend(event.annotation.clone());
            if event.kind == name::TEXT_DELTA {
                part.logprobs
                    .extend(event.logprobs.iter().flatten().cloned());
            }
        }
        Some(Part::Refusal { refusal }) => {
            grow(refusal, event.delta.as_ref(), event.refusal.as_ref());
        }
        _ => {}
    }
}

fn arguments_event(arguments: &mut String, event: &ItemEvent) {
    grow(
        arguments,
        event.delta.as_ref(),
        event.arguments.as_ref().or(event.input.as_ref()),
    );
}

fn reasoning_event(parts: &mut Vec<ReasoningPart>, index: usize, kind: &str, event: &ItemEvent) {
    if index >= parts.len() {
        parts.push(ReasoningPart {
            kind: kind.to_owned(),
            text: String::new(),
        });
    }
    if let Some(part) = parts.get_mut(index) {
        grow(&mut part.text, event.delta.as_ref(), event.text.as_ref());
    }
}

/// A delta adds, a whole text replaces.
fn grow(text: &mut String, delta: Option<&String>, whole: Option<&String>) {
    if let Some(delta) = delta {
        text.push_str(delta);
    }
    if let Some(whole) = whole {
        text.clone_from(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{FunctionCall, Message};

    fn inside(kind: &'static str, change: impl FnOnce(&mut ItemEvent)) -> Event {
        let mut event = ItemEvent::new(kind, "x", 0);
        change(&mut event);
        Event::Inside(event)
    }

    #[test]
    fn an_open_message_keeps_its_text() {
        let mut fold = Fold::new();
        let item = Item::Message(Message {
            role: "assistant".to_owned(),
            ..Message::default()
        });
        fold.apply(&Event::ItemAdded {
            output_index: 0,
            item,
        });
        fold.apply(&inside(name::PART_ADDED, |e| {
            e.part = Some(Part::output_text(""));
        }));
        fold.apply(&inside(name::TEXT_DELTA, |e| {
            e.delta = Some("Hel".to_owned());
        }));
        fold.apply(&inside(name::TEXT_DELTA, |e| {
            e.delta = Some("lo".to_owned());
        }));
        let open = fold.open_items();
        let text = serde_json::to_string(&open[0].1).unwrap();
        assert!(
            text.contains(r#""text":"Hello""#) && text.contains("incomplete"),
            "{text}"
        );
    }

    #[test]
    fn arguments_done_wins_over_deltas() {
        let mut fold = Fold::new();
        let item = Item::FunctionCall(FunctionCall::default());
        fold.apply(&Event::ItemAdded {
            output_index: 0,
            item,
        });
        fold.apply(&inside(name::ARGUMENTS_DELTA, |e| {
            e.delta = Some("{".to_owned());
        }));
        fold.apply(&inside(name::ARGUMENTS_DONE, |e| {
            e.arguments = Some("{}".to_owned());
        }));
        let Some(Item::FunctionCall(call)) = fold.items().next() else {
            panic!("no call")
        };
        assert_eq!(call.arguments, "{}");
    }
}
