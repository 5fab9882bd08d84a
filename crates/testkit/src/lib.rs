//! Test bed of Portunus: a fake model provider on loopback.
//!
//! [`FakeProvider`] speaks two dialects on one port: OpenAI's Responses (`POST /v1/responses`, with
//! provider-run `mcp` tools) and chat completions (`POST /v1/chat/completions`). It is scripted by
//! the model's name ([`fault::Fault`]) and by marks in the prompt ([`script::Script`]), and it keeps
//! every request it got, so that a test can ask what reached the provider and what was cut short:
//! `GET /__requests`, `GET /__disconnects`, `DELETE /__requests`.
//!
//! The binary `fake-provider` serves the same to tests that are not written in Rust. Nothing here is
//! part of the product.

mod arguments;
pub mod ask;
mod chat;
pub mod fault;
mod journal;
mod native;
mod responses;
pub mod script;
mod server;
mod wire;

pub use journal::{Disconnect, Journal, Recorded};
pub use server::FakeProvider;
