//! Writes the items of one turn. It cannot emit a delta outside of an open part: a delta
//! opens what it needs, and closing an item emits every `done`.

use crate::turn::{TurnEnd, TurnEvent};
use portunus_protocol::event::{Event, ItemEvent, name};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::item::{
    Content, CustomToolCall, FunctionCall, Item, Message, Part, Reasoning, ReasoningPart,
};
use serde_json::Value;

const IN_PROGRESS: &str = "in_progress";

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Whole.
    Completed,
    /// Cut short.
    Incomplete,
}

impl Ending {
    fn status(self) -> String {
        match self {
            Self::Completed => "completed".to_owned(),
            Self::Incomplete => "incomplete".to_owned(),
        }
    }
}

/// Names a call between its begin and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallKey(usize);

/// The one writer of item events. At most one message or reasoning item is open; calls may
/// be open in parallel.
#[derive(Debug, Default)]
pub(crate) struct TurnWriter {
    events: Vec<TurnEvent>,
    items: usize,
    open: Option<Open>,
    calls: Vec<OpenCall>,
}

#[derive(Debug)]
enum Open {
    Message(OpenMessage),
    Reasoning(OpenReasoning),
}

#[derive(Debug)]
struct OpenMessage {
    index: usize,
    id: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct OpenReasoning {
    index: usize,
    id: String,
    text: String,
    encrypted: Option<String>,
}

#[derive(Debug)]
struct OpenCall {
    index: usize,
    item: FunctionCall,
    id: String,
    open: bool,
}

impl TurnWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether any item has begun.
    pub(crate) fn has_written(&self) -> bool {
        self.items > 0
    }

    /// The events since the last time.
    pub(crate) fn take(&mut self) -> Vec<TurnEvent> {
        std::mem::take(&mut self.events)
    }

    /// New text of the message, with its log probabilities if there are any.
    pub(crate) fn text(&mut self, delta: &str, logprobs: Vec<Value>) {
        if delta.is_empty() {
            return;
        }
        self.message_part(
            |part| matches!(part, Part::OutputText(_)),
            || Part::output_text(""),
        );
        let Some((mut event, Part::OutputText(part))) = self.last_part(name::TEXT_DELTA) else {
            return;
        };
        part.text.push_str(delta);
        part.logprobs.extend(logprobs.iter().cloned());
        event.delta = Some(delta.to_owned());
        event.logprobs = Some(logprobs);
        self.push(Event::Inside(event));
    }

    /// New words of the model's refusal.
    pub(crate) fn refusal(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        self.message_part(
            |part| matches!(part, Part::Refusal { .. }),
            || Part::Refusal {
                refusal: String::new(),
            },
        );
        let Some((mut event, Part::Refusal { refusal })) = self.last_part(name::REFUSAL_DELTA)
        else {
            return;
        };
        refusal.push_str(delta);
        event.delta = Some(delta.to_owned());
        self.push(Event::Inside(event));
    }

    /// A citation of the text that is open; without open text there is nothing to cite.
    pub(crate) fn annotation(&mut self, annotation: Value) {
        let Some((mut event, Part::OutputText(part))) = self.last_part(name::ANNOTATION_ADDED)
        else {
            return;
        };
        if part.annotations.contains(&annotation) {
            return;
        }
        event.annotation_index = Some(part.annotations.len());
        event.annotation = Some(annotation.clone());
        part.annotations.push(annotation);
        self.push(Event::Inside(event));
    }

    /// New raw thoughts.
    pub(crate) fn reasoning(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        let mut reasoning = self.take_reasoning();
        reasoning.text.push_str(delta);
        let event = ItemEvent {
            content_index: Some(0),
            delta: Some(delta.to_owned()),
            ..ItemEvent::new(name::REASONING_DELTA, &reasoning.id, reasoning.index)
        };
        self.open = Some(Open::Reasoning(reasoning));
        self.push(Event::Inside(event));
    }

    /// State that goes with the thoughts and only the provider can read. Opens a reasoning
    /// item if none is open.
    pub(crate) fn encrypted(&mut self, state: String) {
        let mut reasoning = self.take_reasoning();
        reasoning.encrypted = Some(state);
        self.open = Some(Open::Reasoning(reasoning));
    }

    /// A function call begins.
    pub(crate) fn begin_call(&mut self, call_id: &str, name: &str) -> CallKey {
        self.close_text(Ending::Completed);
        let (index, id) = self.next(Kind::FunctionCall);
        let item = FunctionCall {
            id: Some(id.clone()),
            status: Some(IN_PROGRESS.to_owned()),
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            ..FunctionCall::default()
        };
        self.added(index, Item::FunctionCall(item.clone()));
        self.calls.push(OpenCall {
            index,
            item,
            id,
            open: true,
        });
        CallKey(self.calls.len() - 1)
    }

    /// New argument text of a call that is open.
    pub(crate) fn call_delta(&mut self, key: CallKey, delta: &str) {
        let Some(call) = self.calls.get_mut(key.0).filter(|call| call.open) else {
            return;
        };
        if delta.is_empty() {
            return;
        }
        call.item.arguments.push_str(delta);
        let event = ItemEvent {
            delta: Some(delta.to_owned()),
            ..ItemEvent::new(name::ARGUMENTS_DELTA, &call.id, call.index)
        };
        self.push(Event::Inside(event));
    }

    /// A call ends.
    pub(crate) fn end_call(&mut self, key: CallKey, ending: Ending) {
        let Some(call) = self.calls.get_mut(key.0).filter(|call| call.open) else {
            return;
        };
        call.open = false;
        call.item.status = Some(ending.status());
        let (index, item) = (call.index, call.item.clone());
        let event = ItemEvent {
            arguments: Some(item.arguments.clone()),
            ..ItemEvent::new(name::ARGUMENTS_DONE, &call.id, index)
        };
        self.push(Event::Inside(event));
        self.done(index, Item::FunctionCall(item));
    }

    /// A whole call of a custom tool.
    pub(crate) fn custom_call(&mut self, call_id: &str, name: &str, input: &str) {
        self.close_text(Ending::Completed);
        let (index, id) = self.next(Kind::CustomToolCall);
        let mut item = CustomToolCall {
            id: Some(id.clone()),
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            ..CustomToolCall::default()
        };
        self.added(index, Item::CustomToolCall(item.clone()));
        if !input.is_empty() {
            self.push(Event::Inside(ItemEvent {
                delta: Some(input.to_owned()),
                ..ItemEvent::new(name::CUSTOM_INPUT_DELTA, &id, index)
            }));
        }
        self.push(Event::Inside(ItemEvent {
            input: Some(input.to_owned()),
            ..ItemEvent::new(name::CUSTOM_INPUT_DONE, &id, index)
        }));
        input.clone_into(&mut item.input);
        self.done(index, Item::CustomToolCall(item));
    }

    /// Closes everything that is open and ends the turn.
    pub(crate) fn end(&mut self, end: TurnEnd, ending: Ending) -> Vec<TurnEvent> {
        self.close_text(ending);
        for key in 0..self.calls.len() {
            self.end_call(CallKey(key), ending);
        }
        self.events.push(TurnEvent::End(end));
        self.take()
    }

    /// Closes the message or reasoning item that is open.
    pub(crate) fn close_text(&mut self, ending: Ending) {
        match self.open.take() {
            None => {}
            Some(Open::Message(message)) => self.close_message(message, ending),
            Some(Open::Reasoning(reasoning)) => self.close_reasoning(reasoning),
        }
    }

    fn push(&mut self, event: Event) {
        self.events.push(TurnEvent::Item(event));
    }

    fn added(&mut self, output_index: usize, item: Item) {
        self.push(Event::ItemAdded { output_index, item });
    }

    fn done(&mut self, output_index: usize, item: Item) {
        self.push(Event::ItemDone { output_index, item });
    }

    fn next(&mut self, kind: Kind) -> (usize, String) {
        self.items += 1;
        (self.items - 1, id::make(kind))
    }

    /// Makes sure that a message is open and that its last part is of the wanted kind.
    fn message_part(&mut self, wanted: impl Fn(&Part) -> bool, make: impl Fn() -> Part) {
        if !matches!(self.open, Some(Open::Message(_))) {
            self.close_text(Ending::Completed);
            self.open_message();
        }
        let Some(Open::Message(message)) = &self.open else {
            return;
        };
        if message.parts.last().is_some_and(wanted) {
            return;
        }
        self.close_part();
        let Some(Open::Message(message)) = &mut self.open else {
            return;
        };
        message.parts.push(make());
        let mut event = message.event(name::PART_ADDED);
        event.part = Some(make());
        self.push(Event::Inside(event));
    }

    fn open_message(&mut self) {
        let (index, id) = self.next(Kind::Message);
        let item = message_item(&id, IN_PROGRESS.to_owned(), Vec::new());
        self.added(index, item);
        self.open = Some(Open::Message(OpenMessage {
            index,
            id,
            parts: Vec::new(),
        }));
    }

    /// Takes out the reasoning item that is open, or a new one; the caller puts it back.
    fn take_reasoning(&mut self) -> OpenReasoning {
        match self.open.take() {
            Some(Open::Reasoning(reasoning)) => return reasoning,
            other => self.open = other,
        }
        self.close_text(Ending::Completed);
        let (index, id) = self.next(Kind::Reasoning);
        self.added(index, reasoning_item(&id, Vec::new(), None));
        OpenReasoning {
            index,
            id,
            text: String::new(),
            encrypted: None,
        }
    }

    fn last_part(&mut self, kind: &'static str) -> Option<(ItemEvent, &mut Part)> {
        let Some(Open::Message(message)) = &mut self.open else {
            return None;
        };
        let event = message.event(kind);
        Some((event, message.parts.last_mut()?))
    }

    /// Emits the `done` events of the last part of the open message.
    fn close_part(&mut self) {
        let Some(Open::Message(message)) = &self.open else {
            return;
        };
        let Some(part) = message.parts.last().cloned() else {
            return;
        };
        let done = match &part {
            Part::OutputText(text) => ItemEvent {
                text: Some(text.text.clone()),
                logprobs: Some(text.logprobs.clone()),
                ..message.event(name::TEXT_DONE)
            },
            Part::Refusal { refusal } => ItemEvent {
                refusal: Some(refusal.clone()),
                ..message.event(name::REFUSAL_DONE)
            },
            _ => return,
        };
        let mut end = message.event(name::PART_DONE);
        end.part = Some(part);
        self.push(Event::Inside(done));
        self.push(Event::Inside(end));
    }

    fn close_message(&mut self, message: OpenMessage, ending: Ending) {
        self.open = Some(Open::Message(message));
        self.close_part();
        if let Some(Open::Message(message)) = self.open.take() {
            let item = message_item(&message.id, ending.status(), message.parts);
            self.done(message.index, item);
        }
    }

    fn close_reasoning(&mut self, reasoning: OpenReasoning) {
        let mut content = Vec::new();
        if !reasoning.text.is_empty() {
            self.push(Event::Inside(ItemEvent {
                content_index: Some(0),
                text: Some(reasoning.text.clone()),
                ..ItemEvent::new(name::REASONING_DONE, &reasoning.id, reasoning.index)
            }));
            content.push(ReasoningPart {
                kind: "reasoning_text".to_owned(),
                text: reasoning.text,
            });
        }
        let item = reasoning_item(&reasoning.id, content, reasoning.encrypted);
        self.done(reasoning.index, item);
    }
}

impl OpenMessage {
    /// An event of `kind` on the last part.
    fn event(&self, kind: &'static str) -> ItemEvent {
        ItemEvent {
            content_index: Some(self.parts.len().saturating_sub(1)),
            ..ItemEvent::new(kind, &self.id, self.index)
        }
    }
}

fn message_item(id: &str, status: String, parts: Vec<Part>) -> Item {
    Item::Message(Message {
        id: Some(id.to_owned()),
        status: Some(status),
        content: Content::Parts(parts),
        role: "assistant".to_owned(),
        ..Message::default()
    })
}

fn reasoning_item(id: &str, content: Vec<ReasoningPart>, encrypted: Option<String>) -> Item {
    Item::Reasoning(Reasoning {
        id: Some(id.to_owned()),
        content: Some(content),
        encrypted_content: encrypted,
        ..Reasoning::default()
    })
}
