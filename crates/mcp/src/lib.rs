//! Remote MCP servers as tools: a client for the three transports that servers speak.
//!
//! | revision | module | what it is |
//! | --- | --- | --- |
//! | 2026-07-28 | `modern` | stateless: one POST per request, nothing to open or to keep |
//! | 2025-03-26 to 2025-11-25 | `streamable` | a session, opened by `initialize` |
//! | 2024-11-05 | `legacy_sse` | a GET stream that carries the answers of POSTs |
//!
//! [`Pool`] is the way in: it finds out which of them a server speaks (`era`), keeps open
//! sessions and tool lists by (workspace, URL, credential), and lists and calls tools.
//! [`Inventory`] gives the tools of all servers of one request the names that a model may
//! use; [`approval`] says which calls need a person; [`output`] maps a result to an item, [`told`]
//! that item to what a model is told.
//!
//! Rules that hold everywhere here: a tool call is sent at most once (a server that answers
//! with a question to a person gets it once more, with the refusal to answer: `input`); every
//! wait and every size is bounded by [`Bounds`]; dropping a future closes its stream, which cancels the
//! call; one broken tool or content block never fails the rest; no redirect is followed;
//! no value of a credential reaches an error text.

pub mod approval;
mod block;
mod bounds;
mod digest;
mod entry;
mod era;
mod error;
mod fault;
#[cfg(fuzzing)]
pub mod fuzzing;
mod input;
mod inventory;
mod legacy_sse;
mod message;
mod mirror;
mod modern;
pub mod output;
mod paging;
mod peer;
mod pool;
mod reply;
mod schema;
mod session;
mod spec;
mod streamable;
pub mod told;
mod tool;

pub use bounds::Bounds;
pub use digest::fingerprint;
pub use error::{CallError, CallOutcome, ListError, ListErrorKind, Timing};
pub use inventory::{Found, FunctionView, Inventory, ServerTools, filter};
pub use pool::Pool;
pub use spec::ServerSpec;
pub use tool::{Listing, Tool, ToolResult};
