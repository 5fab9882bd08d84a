//! `portunus check`: would the gateway start with these settings?

use super::out::{chain, complain};
use super::{Global, environment};
use crate::settings::{self, Problem, Settings};
use crate::{first_start, tls};
use anyhow::Result;
use portunus_store::PEPPER;
use serde_json::json;
use std::process::ExitCode;

/// Prints every problem; the exit code is 1 when there is one.
pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let out = global.out();
    let (problems, good) = match examine(global).await {
        Ok(good) => (Vec::new(), Some(good)),
        Err(problems) => (problems, None),
    };
    let Some((settings, file)) = good else {
        if out.is_json() {
            out.json(&json!({"ok": false, "problems": problems}));
        } else {
            complain(&settings::Problems(problems).to_string());
        }
        return Ok(ExitCode::FAILURE);
    };
    if out.is_json() {
        out.json(&json!({"ok": true, "problems": [], "settings": settings}));
    } else {
        out.line(&format!("{} ({file})", out.green("The settings are good.")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings and where they come from, or what is wrong.
async fn examine(global: &Global) -> Result<(Settings, String), Vec<Problem>> {
    let sources = global
        .sources()
        .map_err(|error| vec![Problem::new("", chain(&error))])?;
    let settings = settings::load(&sources).map_err(|problems| problems.0)?;
    let mut problems = Vec::new();
    if let Some((cert, key)) = settings.tls_files()
        && let Err(error) = tls::acceptor(cert, key)
    {
        problems.push(Problem::new("tls", chain(&error)));
    }
    if let Err(error) = keys(&settings).await {
        problems.push(Problem::new("", chain(&error)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
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
async fn keys(settings: &Settings) -> Result<()> {
    let ring = first_start::existing_master_key(&settings.data_dir, &environment)?;
    let Some(ring) = ring else {
        return Ok(());
    };
    let default_place = settings.database.is_none();
    if !default_place || !settings.data_dir.join("portunus.db").is_file() {
        return Ok(());
    }
    let store = portunus_store::open(&settings.database_url()).await?;
    let outcome = match store.vault_meta(PEPPER).await? {
        Some(_) => first_start::unlock(settings, store.as_ref(), ring)
            .await
            .map(drop),
        None => Ok(()),
    };
    store.close().await;
    outcome
}
