//! `portunus config …`: saved routing configs, and the schema of the settings file.

use super::key::{Place, segment};
use super::link::Link;
use super::out::{Out, cell, complain};
use super::virtual_key::One;
use super::{Global, schema};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest config that is read.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the JSON schema of the settings file
    Schema,
    #[command(flatten)]
    Saved(Saved),
}

#[derive(Debug, Subcommand)]
pub(super) enum Saved {
    /// Save a routing config (JSON, from a file or standard input)
    Create(Create),
    /// List the saved routing configs
    List(Place),
    /// Print a saved routing config
    Show(One),
    /// Change a saved routing config; requests get the new version from then on
    Update(Update),
    /// Remove a saved routing config; requests that name it are refused from then on
    Delete(One),
    /// List the versions of a saved routing config, newest first
    Versions(One),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    #[arg(long)]
    name: String,
    /// File that holds the config [default: standard input]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    one: One,
    /// File that holds the new config; `-` is standard input
    file: Option<PathBuf>,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    /// Whether requests may use it
    #[arg(long, value_parser = ["active", "inactive"])]
    status: Option<String>,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let saved = match command {
        Command::Schema => return schema::run(),
        Command::Saved(saved) => saved,
    };
    let work = async |link: &Link, out| match saved {
        Saved::Create(args) => create(link, out, args).await,
        Saved::List(place) => list(link, out, &place).await,
        Saved::Show(one) => show(link, out, &one).await,
        Saved::Update(args) => update(link, out, args).await,
        Saved::Delete(one) => delete(link, out, &one).await,
        Saved::Versions(one) => versions(link, out, &one).await,
    };
    Link::through(global, work).await
}

fn path(one: &One, rest: &str) -> String {
    let path = format!("/v1/configs/{}{rest}", segment(&one.slug));
    one.place.of(&path)
}

/// The config in a file, or on standard input.
fn read(file: Option<&Path>) -> Result<Value> {
    let text = match file {
        Some(path) if path != Path::new("-") => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config from {}", path.display()))?,
        _ => from_stdin()?,
    };
    let config: Value = serde_json::from_str(&text).context("the config is no JSON")?;
    if !config.is_object() {
        bail!("the config is no JSON object");
    }
    Ok(config)
}

fn from_stdin() -> Result<String> {
    if stdin().is_terminal() {
        complain("The config as JSON, then Ctrl-D:");
    }
    let mut text = String::new();
    stdin()
        .take(CONFIG_MAX_BYTES)
        .read_to_string(&mut text)
        .context("standard input")?;
    Ok(text)
}

async fn create(link: &Link, out: Out, args: Create) -> Result<()> {
    let config = read(args.file.as_deref())?;
    let body = json!({"name": args.name, "config": config, "workspace_id": args.place.workspace});
    let made = link.call(Method::POST, "/v1/configs", Some(body)).await?;
    if out.is_json() {
        out.json(&made["data"]);
    } else {
        complain("Config saved. Requests name it in x-portkey-config:");
        out.line(&cell(&made["slug"]));
    }
    Ok(())
}

async fn list(link: &Link, out: Out, place: &Place) -> Result<()> {
    let found = link
        .call(Method::GET, &place.of("/v1/configs"), None)
        .await?;
    let columns = [
        ("SLUG", "slug"),
        ("STATUS", "status"),
        ("VERSION", "version"),
        ("CHANGED", "last_updated_at"),
        ("NAME", "name"),
    ];
    out.list(&found, &columns);
    Ok(())
}

async fn show(link: &Link, out: Out, one: &One) -> Result<()> {
    let found = link.call(Method::GET, &path(one, ""), None).await?;
    if out.is_json() {
        out.json(&found["data"]);
    } else {
        out.json(&found["config"]);
    }
    Ok(())
}

async fn update(link: &Link, out: Out, args: Update) -> Result<()> {
    let mut body = Map::new();
    body.extend(args.name.map(|name| ("name".to_owned(), name.into())));
    body.extend(args.status.map(|word| ("status".to_owned(), word.into())));
    if let Some(file) = &args.file {
        body.insert("config".to_owned(), read(Some(file))?);
    }
    if body.is_empty() {
        bail!("nothing to change: give a file (`-` is standard input), --name or --status");
    }
    let changed = link
        .call(Method::PUT, &path(&args.one, ""), Some(Value::Object(body)))
        .await?;
    out.changed("Config", &args.one.slug, &changed);
    Ok(())
}

async fn delete(link: &Link, out: Out, one: &One) -> Result<()> {
    link.call(Method::DELETE, &path(one, ""), None).await?;
    out.removed("Config", &one.slug);
    Ok(())
}

async fn versions(link: &Link, out: Out, one: &One) -> Result<()> {
    let found = link
        .call(Method::GET, &path(one, "/versions"), None)
        .await?;
    let columns = [
        ("VERSION", "version"),
        ("ID", "version_id"),
        ("STATUS", "status"),
        ("MADE", "last_updated_at"),
        ("BY", "updated_by"),
        ("CONFIG", "config"),
    ];
    out.list(&found, &columns);
    Ok(())
}
