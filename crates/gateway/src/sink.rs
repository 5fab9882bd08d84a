//! Where the loop's events go: numbered, folded, and sent if somebody streams.
//!
//! The loop cannot tell a streaming client from one that waits for the whole object.

use crate::error::Error;
use bytes::Bytes;
use jiff::Timestamp;
use portunus_protocol::error::ErrorBody;
use portunus_protocol::event::{Event, ItemEvent, Stage};
use portunus_protocol::fold::Fold;
use portunus_protocol::item::Item;
use portunus_protocol::response::{IncompleteDetails, Response, ResponseError, Status, Usage};
use portunus_providers::TurnEnd;
use std::time::Instant;
use tokio::sync::mpsc;
use uuid::Uuid;

/// How a response ends when nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Incomplete(String),
}

/// The one place that numbers events and that builds the terminal response.
pub(crate) struct Sink {
    out: Option<mpsc::Sender<Bytes>>,
    fold: Fold,
    next: u64,
    obfuscate: bool,
    begun: bool,
    first_delta: Option<Instant>,
    response: Response,
}

impl Sink {
    /// A sink for `response`; with `out` every event is sent there as bytes.
    pub(crate) fn new(
        response: Response,
        obfuscate: bool,
        out: Option<mpsc::Sender<Bytes>>,
    ) -> Self {
        Self {
            out,
            fold: Fold::new(),
            next: 0,
            obfuscate,
            begun: false,
            first_delta: None,
            response,
        }
    }

    /// Whether the first event is out, so that the HTTP status is decided.
    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    /// When the first delta went out.
    pub(crate) fn first_delta(&self) -> Option<Instant> {
        self.first_delta
    }

    /// The `output_index` of the next item.
    pub(crate) fn next_index(&self) -> usize {
        self.fold.len()
    }

    /// The id of the response.
    pub(crate) fn response_id(&self) -> &str {
        &self.response.id
    }

    /// Sends `response.created` and `response.in_progress`, once.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let response = Box::new(self.response.clone());
        self.send(&Event::Lifecycle(Stage::Created, response.clone()))
            .await?;
        self.send(&Event::Lifecycle(Stage::InProgress, response))
            .await
    }

    /// Sends one item event. Nothing is numbered or folded before there is room for it, so that
    /// a send that is given up leaves no gap.
    pub(crate) async fn emit(&mut self, event: Event) -> Result<(), Error> {
        let room = self.room().await?;
        if self.first_delta.is_none() && event.is_delta() {
            self.first_delta = Some(Instant::now());
        }
        self.fold.apply(&event);
        self.put(room, &event)
    }

    /// Begins an item at the next place, which is returned.
    pub(crate) async fn add(&mut self, item: Item) -> Result<usize, Error> {
        let output_index = self.next_index();
        self.emit(Event::ItemAdded { output_index, item }).await?;
        Ok(output_index)
    }

    /// Ends an item.
    pub(crate) async fn done(&mut self, output_index: usize, item: Item) -> Result<(), Error> {
        self.emit(Event::ItemDone { output_index, item }).await
    }

    /// Sends an event inside an item that has no fields of its own.
    pub(crate) async fn mark(
        &mut self,
        kind: &'static str,
        item_id: &str,
        output_index: usize,
    ) -> Result<(), Error> {
        self.emit(Event::Inside(ItemEvent::new(kind, item_id, output_index)))
            .await
    }

    /// What the provider reports about itself.
    pub(crate) fn report(&mut self, end: &TurnEnd) {
        let response = &mut self.response;
        if let Some(model) = &end.model {
            response.model.clone_from(model);
        }
        if let Some(tier) = &end.service_tier {
            response.service_tier = tier.as_str().into();
        }
        let ran = &end.effective;
        for (echo, told) in [
            (&mut response.reasoning, &ran.reasoning),
            (&mut response.temperature, &ran.temperature),
            (&mut response.top_p, &ran.top_p),
            (
                &mut response.prompt_cache_retention,
                &ran.prompt_cache_retention,
            ),
        ] {
            if !told.is_null() {
                echo.clone_from(told);
            }
        }
    }

    /// Ends the response well, but for its last event; items that a cut turn left open are
    /// closed.
    pub(crate) async fn end(mut self, ending: Ending, usage: Option<Usage>) -> Result<Last, Error> {
        self.begin().await?;
        self.close_open().await?;
        self.response.usage = usage;
        let stage = match ending {
            Ending::Completed => {
                self.response.status = Status::Completed;
                self.response.completed_at = Some(Timestamp::now().as_second());
                Stage::Completed
            }
            Ending::Incomplete(reason) => {
                self.response.status = Status::Incomplete;
                self.response.incomplete_details = Some(IncompleteDetails { reason });
                Stage::Incomplete
            }
        };
        Ok(self.last(stage))
    }

    /// Ends the response badly, but for its last events: items that are open are closed. The
    /// `error` event is one of the last, since the SDKs hang up at it.
    pub(crate) async fn fail(mut self, error: &Error, usage: Option<Usage>) -> Result<Last, Error> {
        self.begin().await?;
        self.close_open().await?;
        let body = error.body();
        self.response.usage = usage;
        self.response.status = Status::Failed;
        self.response.error = Some(ResponseError::of(&body));
        let mut last = self.last(Stage::Failed);
        last.error = Some(body);
        Ok(last)
    }

    /// Every item that began is done, though not complete.
    async fn close_open(&mut self) -> Result<(), Error> {
        for (index, item) in self.fold.open_items() {
            self.done(index, item).await?;
        }
        Ok(())
    }

    fn last(mut self, stage: Stage) -> Last {
        self.response.output = std::mem::take(&mut self.fold).into_output();
        if self.response.service_tier == "auto" && stage != Stage::Failed {
            self.response.service_tier = "default".into();
        }
        let response = Box::new(std::mem::take(&mut self.response));
        Last {
            sink: self,
            stage,
            error: None,
            response,
        }
    }

    async fn send(&mut self, event: &Event) -> Result<(), Error> {
        let room = self.room().await?;
        self.put(room, event)
    }

    /// A place in the channel; `None` when nobody streams.
    async fn room(&self) -> Result<Option<mpsc::OwnedPermit<Bytes>>, Error> {
        match &self.out {
            None => Ok(None),
            Some(out) => out
                .clone()
                .reserve_owned()
                .await
                .map(Some)
                .map_err(|_| Error::Gone),
        }
    }

    fn put(&mut self, room: Option<mpsc::OwnedPermit<Bytes>>, event: &Event) -> Result<(), Error> {
        let number = self.next;
        self.next += 1;
        let Some(room) = room else { return Ok(()) };
        let noise = (self.obfuscate && event.is_delta()).then(obfuscation);
        let bytes = event
            .encode(number, noise.as_deref())
            .map_err(|error| Error::Internal(format!("event: {error}")))?;
        room.send(bytes);
        Ok(())
    }
}

/// A response that is over but for its last events: the record is filed in between, so that
/// whoever has seen the end also finds the row.
pub(crate) struct Last {
    sink: Sink,
    stage: Stage,
    /// Sent before the terminal event.
    error: Option<ErrorBody>,
    response: Box<Response>,
}

impl Last {
    /// The final response.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// Sends the last events and returns the response.
    pub(crate) async fn send(self) -> Result<Response, Error> {
        let Self {
            mut sink,
            stage,
            error,
            response,
        } = self;
        if let Some(error) = error {
            sink.send(&Event::Error(error)).await?;
        }
        let event = Event::Lifecycle(stage, response);
        sink.send(&event).await?;
        match event {
            Event::Lifecycle(_, response) => Ok(*response),
            _ => Err(Error::Internal(
                "the last event is no lifecycle event".to_owned(),
            )),
        }
    }
}

/// 0 to 15 random letters and digits, so that the length of a delta tells nothing.
fn obfuscation() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random = Uuid::now_v7().into_bytes();
    let length = usize::from(random[15] & 15);
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte & 31)]);
    // Bytes 9 to 14 are random; each gives two letters and a half, so they are used twice.
    random[9..15]
        .iter()
        .cycle()
        .zip(0_u8..)
        .map(|(byte, turn)| letter(&byte.rotate_left(u32::from(turn))))
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_protocol::error::kind;
    use portunus_protocol::item::Message;

    async fn drain(mut from: mpsc::Receiver<Bytes>) -> String {
        let mut text = String::new();
        while let Some(bytes) = from.recv().await {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_failure_closes_open_items_and_ends_once() {
        let (to, from) = mpsc::channel(32);
        let mut sink = Sink::new(Response::default(), true, Some(to));
        sink.begin().await.unwrap();
        sink.add(Item::Message(Message {
            id: Some("msg_1".to_owned()),
            ..Message::default()
        }))
        .await
        .unwrap();
        let error = Error::Invalid(ErrorBody::new(kind::SERVER, "boom"));
        let response = sink.fail(&error, None).await.unwrap().send().await.unwrap();
        assert_eq!(response.status, Status::Failed);
        let text = drain(from).await;
        let kinds: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("event: "))
            .collect();
        assert_eq!(
            kinds,
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.output_item.done",
                "error",
                "response.failed"
            ]
        );
        for number in 0..6 {
            assert!(
                text.contains(&format!("\"sequence_number\":{number},")),
                "{number}: {text}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_listens() {
        let (to, from) = mpsc::channel(1);
        drop(from);
        let mut sink = Sink::new(Response::default(), true, Some(to));
        assert!(matches!(sink.begin().await, Err(Error::Gone)));
    }

    #[test]
    fn obfuscation_is_short() {
        for _ in 0..100 {
            let text = obfuscation();
            assert!(
                text.len() < 16 && text.bytes().all(|b| b.is_ascii_alphanumeric()),
                "{text}"
            );
        }
    }
}
