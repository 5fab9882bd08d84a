//! The only way out: one HTTP client that knows which addresses are forbidden.
//!
//! A request passes four gates. [`parse_url`] refuses odd spellings on the raw text, before a
//! parser could normalise them. [`Client::check`] judges scheme, name and literal addresses. The
//! resolver judges every answer of DNS and hands only judged addresses to the connector, so that
//! the checked address is the dialled one. The client itself follows no redirect, reads no proxy
//! variable and repeats no request.
//!
//! Caller-given MCP servers ([`Zone::Mcp`]) and operator-given model providers
//! ([`Zone::Provider`]) have different rules and separate connection pools.

mod allow;
mod body;
mod client;
mod connect;
mod error;
mod guard;
mod header;
mod own;
mod ranges;
mod resolve;
mod spelling;

pub use allow::{AllowError, AllowList};
pub use body::Body;
pub use client::{BuildError, Client, Limits, Response, Settings, Timing};
pub use error::{Phase, SendError};
pub use guard::{Forbidden, Zone};
pub use header::{HeaderError, MAX_HEADER_VALUE_BYTES, check_header, strip_hop_by_hop};
pub use own::Own;
pub use spelling::parse_url;
