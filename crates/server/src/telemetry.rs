//! The process's own log: lines on standard error, text or JSON. Nothing that came in a
//! header, a body or an answer is ever a field of it.

use crate::settings::{Log, LogFormat};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts the log of the process; a second call changes nothing.
pub fn start(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    // Fails only when a log was started before, as in a test binary.
    let _already_started = match settings.format {
        LogFormat::Text => builder.with_ansi(colours()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Colours for people at a terminal that did not set `NO_COLOR`.
fn colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
