//! One item of the upstream's answer on its way to ours: our id, and no event missing.

use super::lane::{Address, Kind, Lane, Step};
use crate::envelope::Envelope;
use portunus_protocol::event::{Event, ItemEvent, name};
use portunus_protocol::id;
use portunus_protocol::item::{
    Content, FunctionCall, Item, Message, Part, Reasoning, ReasoningPart,
};
use serde_json::Value;

/// An item that has begun.
#[derive(Debug)]
pub(super) struct Slot {
    /// Place in the turn.
    index: usize,
    /// Ours.
    id: String,
    pub(super) upstream_index: Option<u64>,
    pub(super) upstream_id: String,
    pub(super) open: bool,
    /// As it began.
    item: Item,
    lanes: Vec<Lane>,
}

impl Slot {
    /// Begins an item; the event says so.
    pub(super) fn begin(
        index: usize,
        upstream_index: Option<u64>,
        item: Item,
        provider: &str,
    ) -> (Self, Event) {
        let upstream_id = item.id().unwrap_or_default().to_owned();
        let id = made_id(&item);
        let mut item = emptied(item);
        set_id(&mut item, &id);
        seal(&mut item, &upstream_id, provider);
        let slot = Self {
            index,
            id,
            upstream_index,
            upstream_id,
            open: true,
            item: item.clone(),
            lanes: Vec::new(),
        };
        let output_index = index;
        (slot, Event::ItemAdded { output_index, item })
    }

    /// Whether `item` is of the same kind.
    pub(super) fn is_kind(&self, item: &Item) -> bool {
        self.item.kind() == item.kind()
    }

    /// Whether it is a message or thoughts and still open.
    pub(super) fn is_open_text(&self) -> bool {
        self.open && matches!(self.item, Item::Message(_) | Item::Reasoning(_))
    }

    /// Whether a text of this kind belongs into this item.
    fn takes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Text | Kind::Refusal => matches!(self.item, Item::Message(_)),
            Kind::Summary | Kind::Thought => matches!(self.item, Item::Reasoning(_)),
            Kind::Arguments => matches!(self.item, Item::FunctionCall(_)),
            Kind::CustomInput => matches!(self.item, Item::CustomToolCall(_)),
            Kind::McpArguments => matches!(self.item, Item::McpCall(_)),
        }
    }

    /// An event inside the item; nothing happens in one that has ended.
    pub(super) fn inside(&mut self, mut event: ItemEvent) -> Vec<Event> {
        let mut out = Vec::new();
        if !self.open {
            return out;
        }
        match Kind::of(&event) {
            Some((kind, _)) if !self.takes(kind) => {}
            Some((kind, step)) => {
                let at = kind.place(&event);
                self.lane(kind, at, &mut out);
                self.step(kind, at, step, &mut event, &mut out);
            }
            None if event.kind == name::PART_ADDED || event.kind == name::PART_DONE => {}
            None if event.kind == name::ANNOTATION_ADDED => {
                if self.takes(Kind::Text) {
                    self.annotation(event, &mut out);
                }
            }
            None => {
                event.item_id.clone_from(&self.id);
                event.output_index = self.index;
                out.push(Event::Inside(event));
            }
        }
        out
    }

    /// The item as it is at its end. `None` = the upstream never said.
    pub(super) fn end(&mut self, item: Option<Item>, provider: &str) -> Vec<Event> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.open, false) {
            return out;
        }
        let mut item = item.unwrap_or_else(|| self.item.clone());
        let upstream_id = item.id().unwrap_or(&self.upstream_id).to_owned();
        for (kind, at, whole) in texts(&item) {
            self.lane(kind, at, &mut out);
            self.whole(kind, at, &whole, &mut out);
        }
        self.late_annotations(&item, &mut out);
        self.no_arguments(&item, &mut out);
        self.close_lanes(&mut out);
        self.complete(&mut item);
        set_id(&mut item, &self.id);
        seal(&mut item, &upstream_id, provider);
        let output_index = self.index;
        out.push(Event::ItemDone { output_index, item });
        out
    }

    /// A whole call without arguments has an empty object of them.
    fn no_arguments(&mut self, item: &Item, out: &mut Vec<Event>) {
        if let Item::FunctionCall(call) = item
            && call.status.as_deref() != Some("incomplete")
            && self.lanes.iter().all(|lane| lane.text.is_empty())
        {
            self.whole(Kind::Arguments, 0, "{}", out);
        }
    }

    fn step(
        &mut self,
        kind: Kind,
        at: usize,
        step: Step,
        event: &mut ItemEvent,
        out: &mut Vec<Event>,
    ) {
        match step {
            Step::Open => {}
            Step::Delta => {
                let delta = event.delta.take().unwrap_or_default();
                let logprobs = event.logprobs.take().unwrap_or_default();
                self.with_lane(kind, at, out, |lane, address| {
                    lane.delta(&delta, logprobs, address).into_iter().collect()
                });
            }
            Step::Whole | Step::Close => {
                if let Some(whole) = Kind::whole(event) {
                    self.whole(kind, at, whole, out);
                }
                if step == Step::Close {
                    self.with_lane(kind, at, out, Lane::close);
                }
            }
        }
    }

    fn whole(&mut self, kind: Kind, at: usize, whole: &str, out: &mut Vec<Event>) {
        self.with_lane(kind, at, out, |lane, address| {
            lane.grow(whole, address).into_iter().collect()
        });
    }

    /// Changes the open text of this kind and place. A closed one stays as it is.
    fn with_lane(
        &mut self,
        kind: Kind,
        at: usize,
        out: &mut Vec<Event>,
        change: impl FnOnce(&mut Lane, &Address<'_>) -> Vec<ItemEvent>,
    ) {
        let address = Address {
            id: &self.id,
            index: self.index,
        };
        let lane = self
            .lanes
            .iter_mut()
            .find(|lane| lane.kind == kind && lane.at == at && lane.open);
        if let Some(lane) = lane {
            out.extend(change(lane, &address).into_iter().map(Event::Inside));
        }
    }

    /// Makes sure that the text of this kind and place has begun; the one before it ends.
    fn lane(&mut self, kind: Kind, at: usize, out: &mut Vec<Event>) {
        let known = self
            .lanes
            .iter()
            .any(|lane| lane.kind == kind && lane.at == at);
        if known {
            return;
        }
        self.close_lanes(out);
        let address = Address {
            id: &self.id,
            index: self.index,
        };
        let (lane, event) = Lane::begin(kind, at, &address);
        self.lanes.push(lane);
        out.extend(event.map(Event::Inside));
    }

    fn close_lanes(&mut self, out: &mut Vec<Event>) {
        let address = Address {
            id: &self.id,
            index: self.index,
        };
        for lane in &mut self.lanes {
            out.extend(lane.close(&address).into_iter().map(Event::Inside));
        }
    }

    fn annotation(&mut self, mut event: ItemEvent, out: &mut Vec<Event>) {
        let at = event.content_index.unwrap_or(0);
        let Some(annotation) = event.annotation.take() else {
            return;
        };
        self.lane(Kind::Text, at, out);
        self.with_lane(Kind::Text, at, out, |lane, address| {
            let mut event = lane.event(name::ANNOTATION_ADDED, address);
            event.annotation_index = Some(lane.annotations.len());
            event.annotation = Some(annotation.clone());
            lane.annotations.push(annotation);
            vec![event]
        });
    }

    /// Annotations that only the finished item has.
    fn late_annotations(&mut self, item: &Item, out: &mut Vec<Event>) {
        let Item::Message(Message {
            content: Content::Parts(parts),
            ..
        }) = item
        else {
            return;
        };
        for (at, part) in parts.iter().enumerate() {
            let Part::OutputText(part) = part else {
                continue;
            };
            let known = self.lanes.iter().find(|lane| lane.at == at);
            let known = known.map_or(0, |lane| lane.annotations.len());
            for annotation in part.annotations.iter().skip(known) {
                let event = ItemEvent {
                    content_index: Some(at),
                    annotation: Some(annotation.clone()),
                    ..ItemEvent::default()
                };
                self.annotation(event, out);
            }
        }
    }

    /// Fills in what a sloppy server leaves out of the finished item.
    fn complete(&self, item: &mut Item) {
        let first = self.lanes.first();
        match (item, &self.item) {
            (Item::Message(message), _) => {
                if matches!(&message.content, Content::Parts(parts) if parts.is_empty()) {
                    message.content = Content::Parts(self.lanes.iter().map(Lane::part).collect());
                }
                finished(&mut message.status);
            }
            (Item::FunctionCall(call), Item::FunctionCall(begun)) => {
                if let Some(lane) = first {
                    call.arguments.clone_from(&lane.text);
                }
                complete_call(call, begun);
            }
            (Item::CustomToolCall(call), Item::CustomToolCall(begun)) => {
                call.call_id.clone_from(&begun.call_id);
                if call.input.is_empty()
                    && let Some(lane) = first
                {
                    call.input.clone_from(&lane.text);
                }
            }
            (Item::Reasoning(reasoning), _) => self.complete_thoughts(reasoning),
            _ => {}
        }
    }

    fn complete_thoughts(&self, reasoning: &mut Reasoning) {
        let said = |kind: Kind, word: &str| {
            let lanes = self.lanes.iter().filter(move |lane| lane.kind == kind);
            let parts = lanes.map(|lane| ReasoningPart {
                kind: word.to_owned(),
                text: lane.text.clone(),
            });
            parts.collect::<Vec<_>>()
        };
        if reasoning.summary.is_empty() {
            reasoning.summary = said(Kind::Summary, "summary_text");
        }
        if reasoning.content.as_ref().is_none_or(Vec::is_empty) {
            let thoughts = said(Kind::Thought, "reasoning_text");
            if !thoughts.is_empty() {
                reasoning.content = Some(thoughts);
            }
        }
        reasoning.extra.shift_remove("status");
    }
}

/// The item of a delta that came before its item.
pub(super) fn implied(kind: Kind) -> Option<Item> {
    match kind {
        Kind::Text | Kind::Refusal => Some(Item::Message(Message {
            role: "assistant".to_owned(),
            ..Message::default()
        })),
        Kind::Summary => Some(Item::Reasoning(Reasoning::default())),
        Kind::Thought => Some(Item::Reasoning(Reasoning {
            content: Some(Vec::new()),
            ..Reasoning::default()
        })),
        // A call without a name is nothing; it is made when the whole item comes.
        Kind::Arguments | Kind::CustomInput | Kind::McpArguments => None,
    }
}

fn complete_call(call: &mut FunctionCall, begun: &FunctionCall) {
    call.call_id.clone_from(&begun.call_id);
    if call.name.is_empty() {
        call.name.clone_from(&begun.name);
    }
    finished(&mut call.status);
    if serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_err() {
        call.status = Some("incomplete".to_owned());
    }
}

fn finished(status: &mut Option<String>) {
    if status.as_deref().is_none_or(|word| word == "in_progress") {
        *status = Some("completed".to_owned());
    }
}

/// The item as it begins: no text, no arguments.
fn emptied(mut item: Item) -> Item {
    let in_progress = || Some("in_progress".to_owned());
    match &mut item {
        Item::Message(message) => {
            message.content = Content::default();
            message.status = in_progress();
        }
        Item::FunctionCall(call) => {
            call.arguments.clear();
            call.status = in_progress();
            own_call_id(&mut call.call_id);
        }
        Item::CustomToolCall(call) => {
            call.input.clear();
            own_call_id(&mut call.call_id);
        }
        Item::Reasoning(reasoning) => {
            reasoning.summary.clear();
            if let Some(content) = &mut reasoning.content {
                content.clear();
            }
            reasoning.extra.shift_remove("status");
        }
        _ => {}
    }
    item
}

fn own_call_id(call_id: &mut String) {
    if call_id.is_empty() {
        *call_id = id::make(id::Kind::Call);
    }
}

/// The texts of a finished item.
fn texts(item: &Item) -> Vec<(Kind, usize, String)> {
    match item {
        Item::Message(message) => match &message.content {
            Content::Text(text) => vec![(Kind::Text, 0, text.clone())],
            Content::Parts(parts) => parts.iter().enumerate().filter_map(part_text).collect(),
        },
        Item::FunctionCall(call) => vec![(Kind::Arguments, 0, call.arguments.clone())],
        Item::CustomToolCall(call) => vec![(Kind::CustomInput, 0, call.input.clone())],
        Item::Reasoning(reasoning) => {
            let summary = reasoning.summary.iter().enumerate();
            let content = reasoning.content.iter().flatten().enumerate();
            let summary = summary.map(|(at, part)| (Kind::Summary, at, part.text.clone()));
            let content = content.map(|(at, part)| (Kind::Thought, at, part.text.clone()));
            summary.chain(content).collect()
        }
        _ => Vec::new(),
    }
}

fn part_text((at, part): (usize, &Part)) -> Option<(Kind, usize, String)> {
    match part {
        Part::OutputText(part) => Some((Kind::Text, at, part.text.clone())),
        Part::Refusal { refusal } => Some((Kind::Refusal, at, refusal.clone())),
        _ => None,
    }
}

fn made_id(item: &Item) -> String {
    let kind = match item {
        Item::Message(_) => id::Kind::Message,
        Item::Reasoning(_) => id::Kind::Reasoning,
        Item::FunctionCall(_) => id::Kind::FunctionCall,
        Item::CustomToolCall(_) => id::Kind::CustomToolCall,
        Item::McpListTools(_) => id::Kind::McpListTools,
        Item::McpCall(_) => id::Kind::McpCall,
        Item::McpApprovalRequest(_) => id::Kind::McpApprovalRequest,
        // A kind that we do not make keeps its name.
        other => return other.id().unwrap_or_default().to_owned(),
    };
    id::make(kind)
}

fn set_id(item: &mut Item, id: &str) {
    let own = || Some(id.to_owned());
    match item {
        Item::Message(item) => item.id = own(),
        Item::Reasoning(item) => item.id = own(),
        Item::FunctionCall(item) => item.id = own(),
        Item::CustomToolCall(item) => item.id = own(),
        Item::FunctionCallOutput(item) | Item::CustomToolCallOutput(item) => item.id = own(),
        Item::McpListTools(item) => id.clone_into(&mut item.id),
        Item::McpCall(item) => id.clone_into(&mut item.id),
        Item::McpApprovalRequest(item) => id.clone_into(&mut item.id),
        Item::McpApprovalResponse(item) => item.id = own(),
        Item::ItemReference(item) => id.clone_into(&mut item.id),
        Item::Other(value) => value["id"] = Value::from(id),
    }
}

/// Marks encrypted thoughts with their maker and its id of the item, which it checks.
fn seal(item: &mut Item, upstream_id: &str, provider: &str) {
    if let Item::Reasoning(reasoning) = item
        && let Some(state) = reasoning.encrypted_content.take()
    {
        let envelope = Envelope {
            provider: provider.to_owned(),
            model: String::new(),
            id: upstream_id.to_owned(),
            state,
        };
        reasoning.encrypted_content = Some(envelope.seal());
    }
}
