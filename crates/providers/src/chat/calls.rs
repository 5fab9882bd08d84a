//! Puts tool calls together from deltas, mending what servers get wrong about index, id and
//! name.

use crate::json::{text, word};
use crate::writer::{CallKey, Ending, TurnWriter};
use portunus_protocol::id::{self, Kind};
use serde_json::Value;

/// The calls of one turn.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The provider's index; servers send 0 for all, begin at 1, or send none.
    index: Option<u64>,
    /// The provider's id, empty when it sent none.
    id: String,
    /// Ours when theirs is missing or already taken in this turn.
    call_id: String,
    /// Set once.
    name: String,
    arguments: String,
    /// How much of `arguments` was written.
    written: usize,
    key: Option<CallKey>,
    ended: bool,
}

/// One element of `tool_calls`.
#[derive(Debug)]
struct Delta {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// A call came without a name, so nobody can run it.
#[derive(Debug)]
pub(super) struct Nameless;

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes one element of a streamed `tool_calls`.
    pub(super) fn delta(&mut self, value: &Value, writer: &mut TurnWriter, custom: &[String]) {
        let delta = Delta::read(value);
        let at = self.place(&delta);
        self.apply(at, &delta, writer, custom);
    }

    /// Takes one element of the `tool_calls` of a whole answer: always a call of its own.
    pub(super) fn whole(&mut self, value: &Value, writer: &mut TurnWriter, custom: &[String]) {
        self.apply(None, &Delta::read(value), writer, custom);
    }

    /// Ends all calls. With `cut` the last one is incomplete when its arguments are no JSON.
    pub(super) fn finish(
        &mut self,
        cut: bool,
        writer: &mut TurnWriter,
        custom: &[String],
    ) -> Result<(), Nameless> {
        let last = self.slots.len().saturating_sub(1);
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.name.is_empty() {
                // Some servers fill in empty objects.
                if slot.arguments.is_empty() {
                    continue;
                }
                return Err(Nameless);
            }
            slot.finish(cut && at == last, writer, custom);
        }
        Ok(())
    }

    /// The slot that a delta goes on with; `None` = it begins a new call.
    fn place(&self, delta: &Delta) -> Option<usize> {
        let by_id = || {
            let mut slots = self.slots.iter();
            slots.rposition(|slot| !delta.id.is_empty() && slot.id == delta.id)
        };
        let last = || self.slots.len().checked_sub(1);
        let known = delta.index.and_then(|index| {
            let mut slots = self.slots.iter();
            slots.rposition(|slot| slot.index == Some(index))
        });
        match known {
            Some(at) if self.slots[at].begins_again(delta) => None,
            Some(at) => Some(at),
            None if delta.id.is_empty() && delta.name.is_empty() => last(),
            // An index may change between the start of a call and its arguments.
            None => by_id().filter(|at| delta.index.is_none() || !self.slots[*at].differs(delta)),
        }
    }

    fn apply(
        &mut self,
        at: Option<usize>,
        delta: &Delta,
        writer: &mut TurnWriter,
        custom: &[String],
    ) {
        let at = at.unwrap_or_else(|| {
            self.end_whole(writer, custom);
            self.slots.push(Slot {
                index: delta.index,
                ..Slot::default()
            });
            self.slots.len() - 1
        });
        let taken = !delta.id.is_empty()
            && self
                .slots
                .iter()
                .enumerate()
                .any(|(other, slot)| other != at && slot.call_id == delta.id);
        let slot = &mut self.slots[at];
        slot.adopt(delta, taken);
        slot.arguments.push_str(&delta.arguments);
        if !custom.contains(&slot.name) {
            slot.write(writer);
        }
    }
}

impl Calls {
    /// Another call begins: those that are whole end here, so that they keep their order.
    fn end_whole(&mut self, writer: &mut TurnWriter, custom: &[String]) {
        let whole = |slot: &&mut Slot| !slot.name.is_empty() && is_json(&slot.arguments);
        for slot in self.slots.iter_mut().filter(whole) {
            slot.finish(false, writer, custom);
        }
    }
}

impl Slot {
    /// Whether a delta at the index of this call begins another one: a new id together with
    /// a name, or a name again when the arguments are already whole.
    fn begins_again(&self, delta: &Delta) -> bool {
        if delta.name.is_empty() || self.name.is_empty() {
            return false;
        }
        if delta.id.is_empty() {
            return is_json(&self.arguments);
        }
        delta.id != self.id
    }

    /// Whether a delta with the id of this call and an index of its own names another
    /// function: then the id repeats.
    fn differs(&self, delta: &Delta) -> bool {
        !delta.name.is_empty() && !self.name.is_empty() && delta.name != self.name
    }

    fn adopt(&mut self, delta: &Delta, taken: bool) {
        if self.id.is_empty() {
            self.id.clone_from(&delta.id);
        }
        if self.key.is_none() && !delta.id.is_empty() && !taken && self.call_id.is_empty() {
            self.call_id.clone_from(&delta.id);
        }
        if self.name.is_empty() {
            self.name.clone_from(&delta.name);
        }
    }

    fn name_it(&mut self) {
        if self.call_id.is_empty() {
            self.call_id = id::make(Kind::Call);
        }
    }

    /// Writes what is new, once the name is known.
    fn write(&mut self, writer: &mut TurnWriter) {
        if self.name.is_empty() || self.ended {
            return;
        }
        self.name_it();
        let key = *self
            .key
            .get_or_insert_with(|| writer.begin_call(&self.call_id, &self.name));
        writer.call_delta(key, &self.arguments[self.written..]);
        self.written = self.arguments.len();
    }

    fn finish(&mut self, cut: bool, writer: &mut TurnWriter, custom: &[String]) {
        if self.ended {
            return;
        }
        let empty = self.arguments.trim().is_empty();
        // Broken arguments of a whole turn are the model's own words: whoever runs the call
        // tells it so.
        let ending = if cut && (empty || !is_json(&self.arguments)) {
            Ending::Incomplete
        } else {
            Ending::Completed
        };
        if custom.contains(&self.name) {
            self.name_it();
            self.ended = true;
            return writer.custom_call(&self.call_id, &self.name, &free_text(&self.arguments));
        }
        if self.arguments.is_empty() && !cut {
            self.arguments.push_str("{}");
        }
        self.write(writer);
        self.ended = true;
        if let Some(key) = self.key {
            writer.end_call(key, ending);
        }
    }
}

impl Delta {
    fn read(value: &Value) -> Self {
        let function = value.get("function").unwrap_or(&Value::Null);
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        Self {
            index: value.get("index").and_then(Value::as_u64),
            id: word(value, "id").unwrap_or_default(),
            name: text(function, "name").unwrap_or_default().to_owned(),
            arguments,
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The text of a custom tool that went as a function with the one property `input`.
fn free_text(arguments: &str) -> String {
    let input = serde_json::from_str::<Value>(arguments)
        .ok()
        .and_then(|value| value.get("input")?.as_str().map(str::to_owned));
    input.unwrap_or_else(|| arguments.to_owned())
}

#[cfg(test)]
mod tests;
