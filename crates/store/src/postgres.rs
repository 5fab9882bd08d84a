//! The PostgreSQL backend.
//!
//! Two pools on one database: `keys` commits with `synchronous_commit=on` (on the server's disk
//! before a call returns), `logs` with `off` (it survives the death of any gateway; the last
//! moments may be lost with the server). A commit of the second kind waits for no disk, so that
//! nothing has to be grouped.

#![expect(
    clippy::duplicate_mod,
    reason = "the queries are written once and compiled for each driver"
)]

mod driver;
mod group;
mod open;
#[path = "sql/mod.rs"]
mod sql;

pub(crate) use open::{open, shown};
