//! `portunus vault …`: the master key that seals the virtual keys. Rotating it needs the database
//! alone, so that no gateway seals with the old key meanwhile.

use super::out::{Out, complain};
use super::{Global, environment};
use crate::rotation::{self, Rotated, Status};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the master keys and how many values each has sealed
    Status,
    /// Seal everything anew under a new master key, while no gateway runs
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// File that holds the new key [default: a fresh key]
    #[arg(long, value_name = "FILE", env = "PORTUNUS_NEW_MASTER_KEY_FILE")]
    new_key_file: Option<PathBuf>,
    /// Only say how many values would be sealed anew
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let settings = global.settings()?;
    let out = global.out();
    match command {
        Command::Status => show(out, &rotation::status(&settings, &environment).await?),
        Command::Rotate(args) if args.dry_run => {
            let file = args.new_key_file.as_deref();
            rehearsed(
                out,
                &rotation::rehearse(&settings, &environment, file).await?,
            );
        }
        Command::Rotate(args) => {
            let file = args.new_key_file.as_deref();
            let done = rotation::rotate(&settings, &environment, file).await?;
            return Ok(rotated(out, &done));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys that are given, then those that are not and have sealed something all the same.
fn keys(status: &Status) -> Vec<(&str, &'static str, u64)> {
    let count = |id: &str| status.sealed.get(id).copied().unwrap_or_default();
    let given = status.keys.iter().enumerate().map(|(place, id)| {
        let state = if place == 0 { "current" } else { "older" };
        (id.as_str(), state, count(id))
    });
    let missing = status
        .sealed
        .iter()
        .filter(|(id, _)| !status.keys.contains(id));
    given
        .chain(missing.map(|(id, sealed)| (id.as_str(), "missing", *sealed)))
        .collect()
}

fn shape(status: &Status) -> Value {
    let keys: Vec<Value> = keys(status)
        .into_iter()
        .map(|(id, state, sealed)| json!({"id": id, "state": state, "sealed": sealed}))
        .collect();
    json!({"keys": keys, "file": status.file, "behind": status.behind()})
}

fn show(out: Out, status: &Status) {
    if out.is_json() {
        return out.json(&shape(status));
    }
    let rows: Vec<Vec<String>> = keys(status)
        .into_iter()
        .map(|(id, state, sealed)| vec![id.to_owned(), state.to_owned(), sealed.to_string()])
        .collect();
    out.table(&["MASTER KEY", "STATE", "SEALED VALUES"], &rows);
    if status.behind() > 0 {
        out.line("`portunus vault rotate` seals everything anew with the current key.");
    }
}

fn rehearsed(out: Out, status: &Status) {
    let behind = status.behind();
    let total: u64 = status.sealed.values().sum();
    if out.is_json() {
        out.json(&json!({"dry_run": true, "to_reseal": behind, "sealed": total}));
    } else {
        out.line(&format!(
            "Of {total} sealed values {behind} would be sealed anew."
        ));
    }
}

fn rotated(out: Out, done: &Rotated) -> ExitCode {
    let status = &done.status;
    let failed: Vec<String> = done.failed.iter().map(ToString::to_string).collect();
    let good = failed.is_empty() && status.behind() == 0;
    if out.is_json() {
        let mut value = shape(status);
        value["resealed"] = done.resealed.into();
        value["failed"] = failed.into();
        out.json(&value);
    } else {
        told(out, done, good);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn told(out: Out, done: &Rotated, good: bool) {
    let current = done.status.keys.first().map_or("", String::as_str);
    out.line(&format!(
        "{} values were sealed anew with the master key '{current}'.",
        done.resealed
    ));
    for error in &done.failed {
        complain(&error.to_string());
    }
    match &done.status.file {
        _ if !good => complain("The older master keys are still needed and stay where they are."),
        Some(file) => {
            out.line(&format!(
                "{} holds this key alone now: back it up. Backups of the database from before \
                 still want the old one.",
                file.display()
            ));
        }
        None => out.line("Leave this key alone in PORTUNUS_MASTER_KEY from now on."),
    }
}
