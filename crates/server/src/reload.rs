//! Settings read anew while the gateway runs: all of them are checked, then they are live at
//! once, or none is.

use crate::app::App;
use crate::examine;
use crate::first_start;
use crate::live::Live;
use crate::settings::{Problem, Problems, Settings, Sources};
use anyhow::Result;
use portunus_gateway::EnvironmentKey;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Settings that are of the process's start: a change waits for the next one. `tls` stands for
/// having it or not.
pub const AT_START: [&str; 12] = [
    "listen",
    "data_dir",
    "database",
    "insecure_bind",
    "core_dumps",
    "metrics.listen",
    "limits.connections",
    "log.queue",
    "log.batch",
    "log.flush_ms",
    "log.format",
    "tls",
];

/// Looks up environment variables.
type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the process has its settings from, and can have them from again.
pub struct Origin {
    /// File, environment and command line, as they are now.
    pub sources: Box<dyn Fn() -> Result<Sources> + Send + Sync>,
    /// The environment, as it is now.
    pub environment: Lookup,
    /// Changes what the process's own log says.
    pub log_level: Box<dyn Fn(&str) + Send + Sync>,
    /// One reload at a time.
    pub turn: Mutex<()>,
}

/// What a reload did.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// What is live now and was different before: settings, and variables of provider keys.
    pub changed: Vec<String>,
    /// What has changed too, but counts from the next start on.
    pub restart: Vec<String>,
}

/// Reads the settings anew and puts them in the place of those that are live. Requests that run
/// go on with the settings that they began with.
///
/// # Errors
/// All problems at once, as `portunus check` has them; then nothing has changed.
pub async fn reload(app: &App) -> Result<Report, Problems> {
    let origin = app.origin.as_ref().ok_or_else(no_origin)?;
    let _turn = origin.turn.lock().await;
    let outcome = read_anew(app, origin).await;
    match &outcome {
        Ok(report) => {
            let (changed, restart) = (report.changed.join(", "), report.restart.join(", "));
            tracing::info!(changed, "settings reloaded");
            if !restart.is_empty() {
                tracing::warn!(settings = restart, "changed, but they need a restart");
            }
        }
        Err(problems) => {
            tracing::error!(%problems, "settings not reloaded: the old ones stay");
        }
    }
    outcome
}

fn no_origin() -> Problems {
    let message = "this gateway was not started from settings that could be read again";
    Problems(vec![Problem::new("", message)])
}

async fn read_anew(app: &App, origin: &Origin) -> Result<Report, Problems> {
    let failed = |error| Problems(vec![examine::problem("", &error)]);
    let environment = |name: &str| (origin.environment)(name);
    let sources = (origin.sources)().map_err(failed)?;
    let found = examine::examine(&sources, &environment)?;
    let before = app.live();
    let (settings, mut restart) = merged(&before.settings, &found.settings);
    restart.extend(secrets(app, &settings, &environment).await?);
    let report = Report {
        changed: changed(&before, &settings, &found.environment_keys),
        restart,
    };
    // Turned on or off: that waits for the start.
    let tls = match (&before.tls, found.tls) {
        (Some(_), Some(tls)) => Some(tls),
        (old, _) => old.clone(),
    };
    let after = before
        .with(settings, found.environment_keys, tls)
        .map_err(failed)?;
    if before.settings.log.level != after.settings.log.level {
        (origin.log_level)(&after.settings.log.level);
    }
    app.go_live(after);
    Ok(report)
}

/// Master key and admin token are read at the start alone; which of them is another now?
async fn secrets(
    app: &App,
    settings: &Settings,
    environment: first_start::Environment<'_>,
) -> Result<Vec<String>, Problems> {
    let master_key = examine::master_key(settings, app.store.as_ref(), environment).await;
    let token = first_start::existing_admin_token(&settings.data_dir, environment)
        .map_err(|error| examine::problem("", &error));
    let (master_key, token) = match (master_key, token) {
        (Ok(master_key), Ok(token)) => (master_key, token),
        (master_key, token) => {
            let problems = master_key.err().into_iter().chain(token.err());
            return Err(Problems(problems.collect()));
        }
    };
    let other_key = master_key.is_some_and(|key| key != app.master_key);
    let other_token = token.is_some_and(|token| !app.keys.is_admin_token(&token));
    let named = [(other_key, "master key"), (other_token, "admin token")];
    let named = named.into_iter().filter(|(other, _)| *other);
    Ok(named.map(|(_, name)| name.to_owned()).collect())
}

/// The new settings, but for what counts from the next start on, and the names of that.
fn merged(before: &Settings, new: &Settings) -> (Settings, Vec<String>) {
    let mut restart = differences(before, new);
    restart.retain(|path| AT_START.contains(&path.as_str()));
    if before.tls_files().is_some() != new.tls_files().is_some() {
        restart.push("tls".to_owned());
    }
    let (old, mut tree) = (tree(before), tree(new));
    for path in &restart {
        let pointer = format!("/{}", path.replace('.', "/"));
        if let (Some(slot), Some(value)) = (tree.pointer_mut(&pointer), old.pointer(&pointer)) {
            slot.clone_from(value);
        }
    }
    let settings = serde_json::from_value(tree).unwrap_or_else(|_| before.clone());
    (settings, restart)
}

fn tree(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Names of the settings, and variables of the provider keys, that are not as they were.
fn changed(before: &Live, settings: &Settings, keys: &[EnvironmentKey]) -> Vec<String> {
    let mut names = differences(&before.settings, settings);
    let holds = |keys: &[EnvironmentKey], key: &EnvironmentKey| {
        let same = |other: &EnvironmentKey| {
            other.provider == key.provider
                && other.secret.expose_secret() == key.secret.expose_secret()
        };
        keys.iter().any(same)
    };
    let old = before.environment_keys();
    let gone = old.iter().filter(|key| !holds(keys, key));
    let new = keys.iter().filter(|key| !holds(old, key));
    for key in gone.chain(new) {
        if !names.contains(&key.variable) {
            names.push(key.variable.clone());
        }
    }
    names
}

/// Paths of the settings that differ: `listen`, `limits.turns`.
fn differences(before: &Settings, after: &Settings) -> Vec<String> {
    let (before, after) = (tree(before), tree(after));
    let mut names = Vec::new();
    for (name, new) in after.as_object().into_iter().flatten() {
        let old = &before[name];
        match (old.as_object(), new.as_object()) {
            (Some(old), Some(new)) => {
                let other = new
                    .iter()
                    .filter(|(field, value)| old.get(*field) != Some(value));
                names.extend(other.map(|(field, _)| format!("{name}.{field}")));
            }
            _ if old != new => names.push(name.clone()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_start_stays_and_is_named() {
        let before = Settings::default();
        let mut new = Settings::default();
        new.limits.turns = 3;
        new.limits.connections = 1;
        new.listen.set_port(1);
        new.log.queue = 1;
        new.tls.cert = Some("c".into());
        new.tls.key = Some("k".into());
        let (settings, mut restart) = merged(&before, &new);
        restart.sort();
        assert_eq!(
            restart,
            ["limits.connections", "listen", "log.queue", "tls"]
        );
        assert_eq!(differences(&before, &settings), ["limits.turns"]);
    }

    #[test]
    fn every_setting_of_the_start_is_one() {
        let tree = serde_json::to_value(Settings::default()).unwrap();
        for path in AT_START {
            let pointer = format!("/{}", path.replace('.', "/"));
            assert!(tree.pointer(&pointer).is_some(), "{path}");
        }
    }

    #[test]
    fn other_files_of_tls_are_live() {
        let mut before = Settings::default();
        before.tls.cert = Some("c".into());
        before.tls.key = Some("k".into());
        let mut new = before.clone();
        new.tls.cert = Some("other".into());
        let (settings, restart) = merged(&before, &new);
        assert!(restart.is_empty());
        assert_eq!(differences(&before, &settings), ["tls.cert"]);
    }
}
