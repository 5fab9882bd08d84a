//! Golden files and recorded traffic through the public interface of the crate.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::result_large_err,
    reason = "everything here is a test"
)]

mod check;
mod golden;
mod ids;
mod replay;
mod run;
mod turns;
