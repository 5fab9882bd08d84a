//! `portunus serve`, and `portunus` alone.

use super::out::complain;
use super::{Global, environment};
use crate::app::{App, Made};
use crate::reload::{Origin, reload};
use crate::server::Server;
use crate::signals::Signals;
use crate::{dump, files, first_start, telemetry};
use anyhow::Result;
use secrecy::{ExposeSecret, SecretString};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs the gateway until a signal.
pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let settings = global.settings()?;
    let log_level = telemetry::start(&settings.log);
    if !settings.core_dumps {
        dump::forbid();
    }
    files::raise();
    let mut signals = Signals::new()?;
    let again = global.clone();
    let origin = Origin {
        sources: Box::new(move || again.sources()),
        environment: Arc::new(environment),
        log_level,
        turn: Mutex::default(),
    };
    let app = App::from_origin(settings, origin).await?;
    let server = Server::bind(app.clone()).await?;
    let first_key = app.first_api_key().await?;
    greet(&app, first_key.as_ref());
    complain(&format!(
        "portunus is ready on {} (data in {})",
        server.base_url()?,
        app.live().settings.data_dir.display()
    ));
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    let mut running = JoinSet::new();
    running.spawn(server.run(stop.clone(), now.clone()));
    let anew = async || {
        // Said in the log.
        let _report = reload(&app).await;
    };
    signals.next_but(anew).await;
    stop.cancel();
    tokio::select! {
        _ended = running.join_next() => {}
        () = signals.next() => {
            now.cancel();
            running.join_next().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows, once, what this start made.
fn greet(app: &App, first_key: Option<&SecretString>) {
    announce(&app.made);
    for warning in first_start::open_secrets(&app.live().settings.data_dir) {
        complain(&warning);
    }
    if let Some(key) = first_key {
        complain(&format!(
            "API key (shown once):     {}",
            key.expose_secret()
        ));
        complain("  Send it as x-portkey-api-key; `portunus key create` makes more.");
    }
    let live = app.live();
    let keys: Vec<&str> = live
        .environment_keys()
        .iter()
        .map(|key| key.provider.as_str())
        .collect();
    if !keys.is_empty() {
        complain(&format!(
            "Virtual keys from the environment: {}",
            keys.join(", ")
        ));
    }
}

/// Shows secrets that were just made. Each is printed by the start that made it and never again.
pub(super) fn announce(made: &Made) {
    if let Some(found) = &made.admin_token {
        complain(&format!(
            "Admin token (shown once): {}",
            found.secret.expose_secret()
        ));
        kept(found.made.as_deref());
    }
    if let Some(found) = &made.master_key {
        complain("A master key was made. Back it up: without it the stored keys are lost.");
        kept(found.made.as_deref());
    }
}

fn kept(path: Option<&std::path::Path>) {
    if let Some(path) = path {
        complain(&format!(
            "  Kept in {} (readable by this user only).",
            path.display()
        ));
    }
}
