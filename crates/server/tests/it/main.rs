//! Tests of the server as a whole: its routes in process, its life as a real process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml lets tests panic, but does not see that these helpers are tests"
)]

mod admin;
mod aliases;
mod answers;
mod approval_cli;
mod approval_console;
mod approvals;
mod commands;
mod config_cli;
mod configs;
mod custom_hosts;
mod exports;
mod harness;
mod hosts;
mod inserted;
mod mcp;
mod process;
mod roles;
mod routing;
mod running;
mod sharing;
mod stored;
mod trip;
mod vault;
