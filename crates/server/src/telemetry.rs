//! The process's own log: lines on standard error, text or JSON. Nothing that came in a
//! header, a body or an answer is ever a field of it.

use crate::settings::{Log, LogFormat};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Changes what the log says; takes what `log.level` takes.
pub type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// Starts the log of the process; a second call changes nothing.
pub fn start(settings: &Log) -> SetLevel {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.level))
        .with_writer(stderr);
    // Fails only when a log was started before, as in a test binary.
    match settings.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(colours()).with_target(false);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let _already_started = builder.try_init();
            Box::new(move |level| said(handle.reload(filter(level))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let _already_started = builder.try_init();
            Box::new(move |level| said(handle.reload(filter(level))))
        }
    }
}

/// The level was checked with the other settings.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn said(outcome: Result<(), tracing_subscriber::reload::Error>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "log.level not changed");
    }
}

/// Colours for people at a terminal that did not set `NO_COLOR`.
fn colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
