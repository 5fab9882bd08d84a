//! The texts inside an item that grow by deltas, each with its own names of events.

use portunus_protocol::event::{ItemEvent, name};
use portunus_protocol::item::Part;
use serde_json::Value;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Summary,
    Thought,
    Arguments,
    CustomInput,
    McpArguments,
}

/// What an event does to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Delta,
    /// The whole text is known.
    Whole,
    Close,
}

/// One text.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    /// `content_index` or `summary_index`.
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) logprobs: Vec<Value>,
    pub(super) annotations: Vec<Value>,
    pub(super) open: bool,
}

impl Kind {
    /// The text and the step that an event is about.
    pub(super) fn of(event: &ItemEvent) -> Option<(Self, Step)> {
        Some(match event.kind.as_ref() {
            name::PART_ADDED => (Self::of_part(event)?, Step::Open),
            name::PART_DONE => (Self::of_part(event)?, Step::Close),
            name::SUMMARY_PART_ADDED => (Self::Summary, Step::Open),
            name::SUMMARY_PART_DONE => (Self::Summary, Step::Close),
            name::TEXT_DELTA => (Self::Text, Step::Delta),
            name::TEXT_DONE => (Self::Text, Step::Whole),
            name::REFUSAL_DELTA => (Self::Refusal, Step::Delta),
            name::REFUSAL_DONE => (Self::Refusal, Step::Whole),
            name::SUMMARY_DELTA => (Self::Summary, Step::Delta),
            name::SUMMARY_DONE => (Self::Summary, Step::Whole),
            name::REASONING_DELTA => (Self::Thought, Step::Delta),
            name::REASONING_DONE => (Self::Thought, Step::Close),
            name::ARGUMENTS_DELTA => (Self::Arguments, Step::Delta),
            name::ARGUMENTS_DONE => (Self::Arguments, Step::Whole),
            name::CUSTOM_INPUT_DELTA => (Self::CustomInput, Step::Delta),
            name::CUSTOM_INPUT_DONE => (Self::CustomInput, Step::Whole),
            name::MCP_ARGUMENTS_DELTA => (Self::McpArguments, Step::Delta),
            name::MCP_ARGUMENTS_DONE => (Self::McpArguments, Step::Close),
            _ => return None,
        })
    }

    /// Thoughts have no parts of their own; servers that send some are overheard.
    fn of_part(event: &ItemEvent) -> Option<Self> {
        match event.part.as_ref()? {
            Part::OutputText(_) => Some(Self::Text),
            Part::Refusal { .. } => Some(Self::Refusal),
            _ => None,
        }
    }

    pub(super) fn delta_name(self) -> &'static str {
        match self {
            Self::Text => name::TEXT_DELTA,
            Self::Refusal => name::REFUSAL_DELTA,
            Self::Summary => name::SUMMARY_DELTA,
            Self::Thought => name::REASONING_DELTA,
            Self::Arguments => name::ARGUMENTS_DELTA,
            Self::CustomInput => name::CUSTOM_INPUT_DELTA,
            Self::McpArguments => name::MCP_ARGUMENTS_DELTA,
        }
    }

    fn done_name(self) -> &'static str {
        match self {
            Self::Text => name::TEXT_DONE,
            Self::Refusal => name::REFUSAL_DONE,
            Self::Summary => name::SUMMARY_DONE,
            Self::Thought => name::REASONING_DONE,
            Self::Arguments => name::ARGUMENTS_DONE,
            Self::CustomInput => name::CUSTOM_INPUT_DONE,
            Self::McpArguments => name::MCP_ARGUMENTS_DONE,
        }
    }

    fn part_names(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Text | Self::Refusal => Some((name::PART_ADDED, name::PART_DONE)),
            Self::Summary => Some((name::SUMMARY_PART_ADDED, name::SUMMARY_PART_DONE)),
            _ => None,
        }
    }

    /// The index of the text that an event of this kind is about.
    pub(super) fn place(self, event: &ItemEvent) -> usize {
        match self {
            Self::Summary => event.summary_index.unwrap_or(0),
            Self::Text | Self::Refusal | Self::Thought => event.content_index.unwrap_or(0),
            _ => 0,
        }
    }

    /// The whole text that an event carries, if it does.
    pub(super) fn whole(event: &ItemEvent) -> Option<&str> {
        let text = event.text.as_ref().or(event.refusal.as_ref());
        let text = text.or(event.arguments.as_ref()).or(event.input.as_ref());
        let in_part = || match event.part.as_ref()? {
            Part::OutputText(part) => Some(part.text.as_str()),
            Part::Refusal { refusal } => Some(refusal.as_str()),
            Part::Other(value) => value.get("text")?.as_str(),
            _ => None,
        };
        text.map(String::as_str).or_else(in_part)
    }
}

impl Lane {
    /// A text that begins, and the event that says so.
    pub(super) fn begin(kind: Kind, at: usize, address: &Address<'_>) -> (Self, Option<ItemEvent>) {
        let lane = Self {
            kind,
            at,
            text: String::new(),
            logprobs: Vec::new(),
            annotations: Vec::new(),
            open: true,
        };
        let event = kind.part_names().map(|(added, _)| ItemEvent {
            part: Some(lane.part()),
            ..lane.event(added, address)
        });
        (lane, event)
    }

    /// More text.
    pub(super) fn delta(
        &mut self,
        delta: &str,
        logprobs: Vec<Value>,
        address: &Address<'_>,
    ) -> Option<ItemEvent> {
        if delta.is_empty() {
            return None;
        }
        self.text.push_str(delta);
        let mut event = self.event(self.kind.delta_name(), address);
        event.delta = Some(delta.to_owned());
        if self.kind == Kind::Text {
            self.logprobs.extend(logprobs.iter().cloned());
            event.logprobs = Some(logprobs);
        }
        Some(event)
    }

    /// The whole text: what goes beyond the deltas so far is one delta more.
    pub(super) fn grow(&mut self, whole: &str, address: &Address<'_>) -> Option<ItemEvent> {
        if whole.is_empty() {
            return None;
        }
        let rest = whole.strip_prefix(self.text.as_str()).map(str::to_owned);
        match rest {
            Some(rest) => self.delta(&rest, Vec::new(), address),
            None => {
                whole.clone_into(&mut self.text);
                None
            }
        }
    }

    /// The events that end the text.
    pub(super) fn close(&mut self, address: &Address<'_>) -> Vec<ItemEvent> {
        if !std::mem::replace(&mut self.open, false) {
            return Vec::new();
        }
        let mut done = self.event(self.kind.done_name(), address);
        let text = Some(self.text.clone());
        match self.kind {
            Kind::Text => {
                done.logprobs = Some(self.logprobs.clone());
                done.text = text;
            }
            Kind::Summary | Kind::Thought => done.text = text,
            Kind::Refusal => done.refusal = text,
            Kind::Arguments | Kind::McpArguments => done.arguments = text,
            Kind::CustomInput => done.input = text,
        }
        let end = self.kind.part_names().map(|(_, done)| ItemEvent {
            part: Some(self.part()),
            ..self.event(done, address)
        });
        std::iter::once(done).chain(end).collect()
    }

    /// The part as it is now.
    pub(super) fn part(&self) -> Part {
        match self.kind {
            Kind::Refusal => Part::Refusal {
                refusal: self.text.clone(),
            },
            Kind::Summary => {
                Part::Other(serde_json::json!({"type": "summary_text", "text": self.text}))
            }
            _ => Part::OutputText(portunus_protocol::item::OutputText {
                annotations: self.annotations.clone(),
                logprobs: self.logprobs.clone(),
                text: self.text.clone(),
            }),
        }
    }

    pub(super) fn event(&self, name: &'static str, address: &Address<'_>) -> ItemEvent {
        let mut event = ItemEvent::new(name, address.id, address.index);
        match self.kind {
            Kind::Summary => event.summary_index = Some(self.at),
            Kind::Text | Kind::Refusal | Kind::Thought => event.content_index = Some(self.at),
            _ => {}
        }
        event
    }
}

/// The item that a text is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) id: &'a str,
    pub(super) index: usize,
}
