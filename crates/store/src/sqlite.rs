//! The SQLite backend.
//!
//! Three pools on one file: `keys` commits with `synchronous=FULL` (on disk before a call returns),
//! `logs` with `NORMAL`, and so does `writes`, the one connection for what every request writes.
//! In memory there is one connection only, used for all. Responses and the journal are written by
//! one task, see [`group`].

mod driver;
mod group;
mod open;
#[path = "sql/mod.rs"]
mod sql;

pub(crate) use open::open;
