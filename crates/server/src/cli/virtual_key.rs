//! `portunus virtual-key …`: stored credentials of providers. The credential comes on standard
//! input or from a file, never in the arguments.

use super::Global;
use super::key::{Place, segment};
use super::link::Link;
use super::out::{Out, cell, complain};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest credential that is read.
const SECRET_MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Store a provider's credential (from standard input or --key-file)
    Create(Create),
    /// List the virtual keys, those of the environment included
    List(Place),
    /// Change a virtual key; a new credential comes as in `create`
    Update(Update),
    /// Remove a virtual key and its credential
    Delete(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its slug
    pub(super) slug: String,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Args)]
struct Secret {
    /// File that holds the credential
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The provider wants none (a local engine): do not read standard input
    #[arg(long, conflicts_with = "key_file")]
    no_key: bool,
}

#[derive(Debug, Args)]
struct Fields {
    /// Base URL of the provider, where it is not the usual one
    #[arg(long, value_name = "URL")]
    custom_host: Option<String>,
    /// Name of the resource, in place of the base URL (azure-openai)
    #[arg(long, value_name = "NAME")]
    resource_name: Option<String>,
    /// A remark
    #[arg(long)]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The provider: openai, anthropic, groq, ollama, …
    #[arg(long)]
    provider: String,
    /// The word by which requests name it [default: made from the name]
    #[arg(long)]
    slug: Option<String>,
    /// Its name [default: the slug, else the provider]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    secret: Secret,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    one: One,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// File that holds the new credential; `-` is standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let work = async |link: &Link, out| match command {
        Command::Create(args) => create(link, out, args).await,
        Command::List(place) => list(link, out, &place).await,
        Command::Update(args) => update(link, out, args).await,
        Command::Delete(one) => delete(link, out, &one).await,
    };
    Link::through(global, work).await
}

/// The first line of what `read` gives; never empty.
fn line_of(text: &str, from: &str) -> Result<SecretString> {
    let secret = text.trim();
    if secret.is_empty() {
        bail!("{from} is empty: no credential to store");
    }
    Ok(SecretString::from(secret.to_owned()))
}

fn from_stdin() -> Result<SecretString> {
    if stdin().is_terminal() {
        complain("The provider's credential, then Enter and Ctrl-D:");
    }
    let mut text = String::new();
    stdin()
        .take(SECRET_MAX_BYTES)
        .read_to_string(&mut text)
        .context("standard input")?;
    line_of(&text, "standard input")
}

fn from_file(path: &Path) -> Result<SecretString> {
    if path == Path::new("-") {
        return from_stdin();
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the credential from {}", path.display()))?;
    line_of(&text, &path.display().to_string())
}

impl Secret {
    fn read(&self) -> Result<Option<SecretString>> {
        match &self.key_file {
            _ if self.no_key => Ok(None),
            Some(path) => from_file(path).map(Some),
            None => from_stdin().map(Some),
        }
    }
}

impl Fields {
    fn put(self, body: &mut Map<String, Value>) {
        let fields = [
            ("custom_host", self.custom_host),
            ("resource_name", self.resource_name),
            ("note", self.note),
        ];
        for (name, value) in fields {
            body.extend(value.map(|value| (name.to_owned(), value.into())));
        }
    }
}

async fn create(link: &Link, out: Out, args: Create) -> Result<()> {
    let mut body = Map::new();
    let name = args
        .name
        .or_else(|| args.slug.clone())
        .unwrap_or_else(|| args.provider.clone());
    body.insert("name".into(), name.into());
    body.insert("provider".into(), args.provider.into());
    body.extend(args.slug.map(|slug| ("slug".into(), slug.into())));
    body.extend(
        args.place
            .workspace
            .map(|of| ("workspace_id".into(), of.into())),
    );
    args.fields.put(&mut body);
    if let Some(secret) = args.secret.read()? {
        body.insert("key".into(), secret.expose_secret().into());
    }
    let provider = body["provider"].clone();
    let made = link
        .call(Method::POST, "/v1/virtual-keys", Some(Value::Object(body)))
        .await;
    let made = made.map_err(|error| {
        let keyless = args.secret.no_key && error.to_string().contains("'key'");
        let hint = || {
            format!(
                "--no-key: the provider {} needs a credential",
                cell(&provider)
            )
        };
        if keyless {
            error.context(hint())
        } else {
            error
        }
    })?;
    if out.is_json() {
        out.json(&made["data"]);
    } else {
        complain("Virtual key stored. Requests name it in x-portkey-virtual-key:");
        out.line(&cell(&made["data"]["slug"]));
    }
    Ok(())
}

async fn list(link: &Link, out: Out, place: &Place) -> Result<()> {
    let found = link
        .call(Method::GET, &place.of("/v1/virtual-keys"), None)
        .await?;
    out.list(
        &found,
        &[
            ("SLUG", "slug"),
            ("PROVIDER", "provider"),
            ("KEY", "masked_key"),
            ("HOST", "custom_host"),
            ("SOURCE", "source"),
            ("STATUS", "status"),
            ("NAME", "name"),
        ],
    );
    Ok(())
}

async fn update(link: &Link, out: Out, args: Update) -> Result<()> {
    let mut body = Map::new();
    body.extend(args.name.map(|name| ("name".into(), name.into())));
    body.extend(
        args.one
            .place
            .workspace
            .map(|of| ("workspace_id".into(), of.into())),
    );
    args.fields.put(&mut body);
    if let Some(path) = &args.key_file {
        body.insert("key".into(), from_file(path)?.expose_secret().into());
    }
    if body.keys().all(|field| field == "workspace_id") {
        bail!(
            "nothing to change: give --name, --note, --custom-host, --resource-name or --key-file \
             (`-` reads the credential from standard input)"
        );
    }
    let path = format!("/v1/virtual-keys/{}", segment(&args.one.slug));
    let changed = link
        .call(Method::PUT, &path, Some(Value::Object(body)))
        .await?;
    out.changed("Virtual key", &args.one.slug, &changed);
    Ok(())
}

async fn delete(link: &Link, out: Out, one: &One) -> Result<()> {
    let path = one
        .place
        .of(&format!("/v1/virtual-keys/{}", segment(&one.slug)));
    link.call(Method::DELETE, &path, None).await?;
    out.removed("Virtual key", &one.slug);
    Ok(())
}
