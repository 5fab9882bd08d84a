//! The words of the gateway: OpenAI's Responses API (requests, items, events, the
//! response object), the server-sent-event framing, and the shapes of chat completions.
//!
//! The Responses API is both the front door and the inner language: providers translate to
//! and from these types, the tool loop speaks them, and the log is derived from them. This
//! crate does no IO, has no clock but the one inside an id, and never waits.

pub mod chat;
pub mod error;
pub mod event;
pub mod fold;
pub mod id;
pub mod item;
pub mod media;
pub mod request;
pub mod response;
pub mod shallow;
pub mod sse;
