//! The order rules of a turn: every item opens and closes, no delta outside of an open part,
//! every `done` says what the deltas said, and the fold of the events is what was done.

use crate::run::Outcome;
use portunus_protocol::event::{Event, ItemEvent, name};
use portunus_protocol::fold::Fold;
use portunus_protocol::item::Item;
use portunus_providers::TurnEvent;
use serde_json::Value;

#[derive(Default)]
struct State {
    /// Whether the `done` events must say what the deltas said: not when the server itself
    /// contradicts its deltas.
    texts: bool,
    items: Vec<Open>,
    done: Vec<Option<Value>>,
    fold: Fold,
}

struct Open {
    id: String,
    kind: String,
    open: bool,
    /// Opened by a `part.added` and not yet closed.
    part: Option<(Option<usize>, Option<usize>)>,
    text: String,
}

/// Checks the events. After a failure items may be left open, else nothing may.
pub(crate) fn order(outcome: &Outcome) {
    run(outcome, true);
}

/// The same, but the texts of a server that contradicts itself are its own matter.
pub(crate) fn nesting(outcome: &Outcome) {
    run(outcome, false);
}

fn run(outcome: &Outcome, texts: bool) {
    let mut state = State {
        texts,
        ..State::default()
    };
    let mut ended = false;
    for event in &outcome.events {
        assert!(!ended, "an event after the end: {event:?}");
        match event {
            TurnEvent::Item(event) => state.event(event),
            TurnEvent::End(_) => ended = true,
        }
    }
    assert_eq!(ended, outcome.failure.is_none(), "one end, or a failure");
    if ended {
        state.closed();
    }
}

impl State {
    fn event(&mut self, event: &Event) {
        self.fold.apply(event);
        match event {
            Event::ItemAdded { output_index, item } => self.added(*output_index, item),
            Event::ItemDone { output_index, item } => self.done(*output_index, item),
            Event::Inside(event) => self.inside(event),
            other => panic!("no item event: {other:?}"),
        }
    }

    fn added(&mut self, index: usize, item: &Item) {
        assert_eq!(index, self.items.len(), "indices are dense");
        let is_text = matches!(item, Item::Message(_) | Item::Reasoning(_));
        let texts = ["message", "reasoning"];
        let open = self
            .items
            .iter()
            .any(|open| open.open && texts.contains(&open.kind.as_str()));
        assert!(!(is_text && open), "two texts are open");
        self.items.push(Open {
            id: item.id().unwrap().to_owned(),
            kind: item.kind().to_owned(),
            open: true,
            part: None,
            text: String::new(),
        });
        self.done.push(None);
        let value = serde_json::to_value(item).unwrap();
        assert!(
            matches!(value["status"].as_str(), None | Some("" | "in_progress")),
            "{value}"
        );
        assert!(
            value["arguments"].as_str().unwrap_or("").is_empty() || open_kind(item),
            "{value}"
        );
    }

    fn done(&mut self, index: usize, item: &Item) {
        let open = &mut self.items[index];
        assert!(open.open, "done twice");
        assert_eq!(
            (open.id.as_str(), open.kind.as_str()),
            (item.id().unwrap(), item.kind())
        );
        assert!(open.part.is_none(), "a part is open at the end of its item");
        open.open = false;
        let value = serde_json::to_value(item).unwrap();
        assert_ne!(value["status"], "in_progress", "{value}");
        self.done[index] = Some(value);
    }

    fn inside(&mut self, event: &ItemEvent) {
        let texts = self.texts;
        let open = &mut self.items[event.output_index];
        assert!(open.open, "an event outside of its item: {event:?}");
        assert_eq!(open.id, event.item_id);
        let place = (event.content_index, event.summary_index);
        match event.kind.as_ref() {
            name::PART_ADDED | name::SUMMARY_PART_ADDED => {
                assert!(open.part.is_none(), "two parts are open");
                open.part = Some(place);
                open.text.clear();
            }
            name::PART_DONE | name::SUMMARY_PART_DONE => {
                assert_eq!(open.part.take(), Some(place));
                open.text.clear();
            }
            name::TEXT_DELTA | name::REFUSAL_DELTA | name::SUMMARY_DELTA => {
                assert_eq!(open.part, Some(place), "a delta outside of its part");
                open.text.push_str(event.delta.as_ref().unwrap());
            }
            name::REASONING_DELTA | name::ARGUMENTS_DELTA | name::CUSTOM_INPUT_DELTA => {
                open.text.push_str(event.delta.as_ref().unwrap());
            }
            name::TEXT_DONE | name::SUMMARY_DONE | name::REASONING_DONE => {
                open.says(event.text.as_ref(), texts);
            }
            name::REFUSAL_DONE => open.says(event.refusal.as_ref(), texts),
            name::ARGUMENTS_DONE => open.says(event.arguments.as_ref(), texts),
            name::CUSTOM_INPUT_DONE => open.says(event.input.as_ref(), texts),
            _ => {}
        }
    }

    fn closed(self) {
        assert!(
            self.items.iter().all(|item| !item.open),
            "an item is open at the end"
        );
        let folded = serde_json::to_value(self.fold.into_output()).unwrap();
        let done: Vec<_> = self.done.into_iter().flatten().collect();
        assert_eq!(folded, Value::Array(done));
    }
}

impl Open {
    fn says(&mut self, whole: Option<&String>, exactly: bool) {
        let text = std::mem::take(&mut self.text);
        if !exactly {
            return;
        }
        assert_eq!(
            whole.map(String::as_str),
            Some(text.as_str()),
            "done and deltas differ"
        );
    }
}

/// Approval requests come whole.
fn open_kind(item: &Item) -> bool {
    matches!(item, Item::McpApprovalRequest(_) | Item::Other(_))
}
