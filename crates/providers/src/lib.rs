//! Model providers: how a turn of the tool loop is said to each of them, and how their
//! answer is read back.
//!
//! Everything here is pure: no socket, no clock, no environment. A [`Provider`] turns a
//! [`TurnRequest`] into an HTTP request ([`Outgoing`]), hands out a [`Decoder`] for the
//! answer, and sorts error answers into a [`Failure`] in OpenAI's shape. [`find`] looks a
//! provider up by the name that virtual keys and configs use.
//!
//! Names worth knowing:
//! - `openai` speaks the Responses API; `openai-chat` speaks chat completions to the same
//!   server.
//! - `openai-compatible` is any server of the chat shape: it has no default address, and its
//!   key is optional. `ollama`, `llama-cpp`, `lmstudio` and `vllm` are the same with the
//!   usual local address and without a key.
//! - `demo` is a rule-based stand-in inside the gateway. It is no language model.

#![expect(
    clippy::result_large_err,
    reason = "a failure ends its attempt; its reader boxes it when it keeps it"
)]

mod chat;
mod classify;
mod compat;
mod demo;
mod digest;
mod envelope;
mod failure;
mod head;
mod json;
mod media;
mod openai;
mod output;
mod provider;
mod redact;
mod registry;
mod schema;
mod turn;
mod writer;

pub use failure::{Failure, FailureKind, Source};
pub use provider::{Decoder, Dialect, EncodeError, Endpoint, Head, Outgoing, Provider};
pub use registry::{all, find};
pub use turn::{Choice, Effective, ToolDef, TurnEnd, TurnEvent, TurnRequest, TurnStatus};
