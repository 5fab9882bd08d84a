//! `portunus key …`: API keys of the gateway.

use super::Global;
use super::link::Link;
use super::out::{Out, cell, complain};
use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an API key; its secret is printed once
    Create(Create),
    /// List the API keys
    List(Place),
    /// Remove an API key; it opens nothing from then on
    Revoke(One),
    /// Give an API key a new secret; the former one works on for a while
    Rotate(Rotate),
}

/// Where a row is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Workspace, by id or slug [default: the default one]
    #[arg(long)]
    pub(super) workspace: Option<String>,
}

impl Place {
    /// `path`, in this workspace.
    pub(super) fn of(&self, path: &str) -> String {
        format!("{path}{}", query(self.workspace.as_deref()))
    }
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Id of the key, as `key list` shows it
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    #[arg(long)]
    name: String,
    /// What it may do; may be repeated [default: completions.write, models.list]
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// Virtual key of requests that name none
    #[arg(long, value_name = "SLUG")]
    virtual_key: Option<String>,
    /// When it ends, such as 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    one: One,
    /// How long the former secret works on, in seconds; at least 1800
    #[arg(long, default_value_t = 1_800)]
    grace_seconds: u64,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let work = async |link: &Link, out| match command {
        Command::Create(args) => create(link, out, args).await,
        Command::List(place) => list(link, out, &place).await,
        Command::Revoke(one) => revoke(link, out, &one).await,
        Command::Rotate(args) => rotate(link, out, &args).await,
    };
    Link::through(global, work).await
}

async fn create(link: &Link, out: Out, args: Create) -> Result<()> {
    let mut body = Map::new();
    body.insert("name".into(), args.name.into());
    if !args.scopes.is_empty() {
        body.insert("scopes".into(), args.scopes.into());
    }
    if let Some(slug) = args.virtual_key {
        body.insert("defaults".into(), json!({"virtual_key": slug}));
    }
    body.extend(args.expires_at.map(|at| ("expires_at".into(), at.into())));
    body.extend(
        args.place
            .workspace
            .map(|of| ("workspace_id".into(), of.into())),
    );
    let path = "/v1/api-keys/workspace/service";
    let made = link
        .call(Method::POST, path, Some(Value::Object(body)))
        .await?;
    shown_once(out, &made);
    Ok(())
}

/// Prints a fresh secret: alone on standard output, so that a script can take it.
fn shown_once(out: Out, made: &Value) {
    if out.is_json() {
        return out.json(made);
    }
    complain(&format!("API key {}, shown once:", cell(&made["id"])));
    out.line(&cell(&made["key"]));
    if !made["key_transition_expires_at"].is_null() {
        complain(&format!(
            "The former one works until {}.",
            cell(&made["key_transition_expires_at"])
        ));
    }
}

/// `?workspace_id=…`
pub(super) fn query(workspace: Option<&str>) -> String {
    let Some(workspace) = workspace else {
        return String::new();
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("?{}", query.append_pair("workspace_id", workspace).finish())
}

/// An id or slug as one segment of a path.
pub(super) fn segment(id: &str) -> String {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    id.bytes()
        .map(|b| {
            if legal(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

async fn list(link: &Link, out: Out, place: &Place) -> Result<()> {
    let found = link
        .call(Method::GET, &place.of("/v1/api-keys"), None)
        .await?;
    out.list(
        &found,
        &[
            ("ID", "id"),
            ("NAME", "name"),
            ("KEY", "key"),
            ("STATUS", "status"),
            ("SCOPES", "scopes"),
            ("LAST USED", "last_used_at"),
            ("EXPIRES", "expires_at"),
        ],
    );
    Ok(())
}

async fn revoke(link: &Link, out: Out, one: &One) -> Result<()> {
    let path = one.place.of(&format!("/v1/api-keys/{}", segment(&one.id)));
    link.call(Method::DELETE, &path, None).await?;
    if out.is_json() {
        out.json(&json!({"id": one.id, "revoked": true}));
    } else {
        out.line(&format!("API key {} opens nothing any more.", one.id));
    }
    Ok(())
}

async fn rotate(link: &Link, out: Out, args: &Rotate) -> Result<()> {
    let path = format!("/v1/api-keys/{}/rotate", segment(&args.one.id));
    let path = args.one.place.of(&path);
    let body = json!({"key_transition_period_ms": args.grace_seconds.saturating_mul(1_000)});
    shown_once(out, &link.call(Method::POST, &path, Some(body)).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_their_segment() {
        assert_eq!(segment("a/../b?x"), "a%2F..%2Fb%3Fx");
        assert_eq!(query(Some("a&b")), "?workspace_id=a%26b");
    }
}
