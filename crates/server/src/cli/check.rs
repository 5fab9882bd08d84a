//! `portunus check`: would the gateway start with these settings?

use super::out::{Out, complain};
use super::{Global, environment};
use crate::examine;
use crate::settings::{Problem, Problems, Settings};
use anyhow::{Error, Result};
use serde_json::json;
use std::process::ExitCode;

/// Prints every problem; the exit code is 1 when there is one.
pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let out = global.out();
    let (settings, file) = match examined(global).await {
        Ok(good) => good,
        Err(error) => return Ok(bad(out, &problems_of(&error))),
    };
    if out.is_json() {
        out.json(&json!({"ok": true, "problems": [], "settings": settings}));
    } else {
        out.line(&format!("{} ({file})", out.green("The settings are good.")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints problems.
pub(super) fn bad(out: Out, problems: &[Problem]) -> ExitCode {
    if out.is_json() {
        out.json(&json!({"ok": false, "problems": problems}));
    } else {
        complain(&Problems(problems.to_vec()).to_string());
    }
    ExitCode::FAILURE
}

/// The problems that an error tells of.
pub(super) fn problems_of(error: &Error) -> Vec<Problem> {
    match error.downcast_ref::<Problems>() {
        Some(problems) => problems.0.clone(),
        None => vec![examine::problem("", error)],
    }
}

/// The settings and where they come from.
async fn examined(global: &Global) -> Result<(Settings, String)> {
    let sources = global.sources()?;
    let settings = examine::examine(&sources, &environment)?.settings;
    master_key(&settings).await?;
    let file = sources.file.map_or_else(
        || "no settings file".to_owned(),
        |(path, _)| path.display().to_string(),
    );
    Ok((settings, file))
}

/// Whether the master key can be used, and fits a database that is there. Nothing is made.
///
/// # Errors
/// As the start would have them.
async fn master_key(settings: &Settings) -> Result<()> {
    let default_place = settings.database.is_none();
    if !default_place || !settings.data_dir.join("portunus.db").is_file() {
        crate::first_start::existing_master_key(&settings.data_dir, &environment)?;
        return Ok(());
    }
    let store = portunus_store::open(&settings.database_url()).await?;
    let outcome = examine::master_key(settings, store.as_ref(), &environment).await;
    store.close().await;
    outcome
        .map(drop)
        .map_err(|problem| Problems(vec![problem]).into())
}
