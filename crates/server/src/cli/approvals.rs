//! `portunus approvals …`: tool calls that wait for a person.

use super::Global;
use super::key::{query, segment};
use super::link::Link;
use super::out::{Out, cell, cut};
use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The columns of the list: heading, field and most characters.
const COLUMNS: [(&str, &str, usize); 7] = [
    ("ID", "id", 80),
    ("STATE", "state", 8),
    ("ASKED", "created_at", 24),
    ("EXPIRES", "expires_at", 24),
    ("SERVER", "server_label", 24),
    ("TOOL", "tool", 32),
    ("ARGUMENTS", "arguments", 60),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the calls that wait, or those of another state
    List(List),
    /// Let a call run, once its caller comes back and approves it too
    Approve(Decision),
    /// Forbid a call, whatever its caller says
    Deny(Decision),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// pending, approved, denied, used, expired or all
    #[arg(long, default_value = "pending")]
    state: String,
    /// Workspace, by id or slug [default: the default one]
    #[arg(long)]
    workspace: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Decision {
    /// Id of the request, `mcpr_…`
    id: String,
    /// Why; of a denial the model is told
    #[arg(long)]
    reason: Option<String>,
    /// Workspace, by id or slug [default: the default one]
    #[arg(long)]
    workspace: Option<String>,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let work = async |link: &Link, out| match command {
        Command::List(args) => list(link, out, &args).await,
        Command::Approve(args) => decide(link, out, "approve", &args).await,
        Command::Deny(args) => decide(link, out, "deny", &args).await,
    };
    Link::through(global, work).await
}

async fn list(link: &Link, out: Out, args: &List) -> Result<()> {
    let state = if args.state == "all" { "" } else { &args.state };
    let mut path = format!("/v1/portunus/approvals?state={}", segment(state));
    path.push_str(&query(args.workspace.as_deref()).replacen('?', "&", 1));
    let found = link.call(Method::GET, &path, None).await?;
    if out.is_json() {
        out.json(&found);
        return Ok(());
    }
    let rows = found["data"].as_array().cloned().unwrap_or_default();
    let of = |row: &Value| {
        COLUMNS
            .map(|(_, field, most)| cut(&cell(&row[field]), most))
            .to_vec()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(of).collect();
    out.table(&COLUMNS.map(|(heading, ..)| heading), &rows);
    Ok(())
}

async fn decide(link: &Link, out: Out, word: &str, args: &Decision) -> Result<()> {
    let path = format!(
        "/v1/portunus/approvals/{}/{word}{}",
        segment(&args.id),
        query(args.workspace.as_deref())
    );
    let body = json!({"reason": args.reason});
    let decided = link.call(Method::POST, &path, Some(body)).await?;
    if out.is_json() {
        out.json(&decided);
        return Ok(());
    }
    out.line(&format!(
        "{} is {}: {} of {}.",
        cell(&decided["id"]),
        cell(&decided["state"]),
        cell(&decided["tool"]),
        cell(&decided["server_label"]),
    ));
    if decided["changed"] == true {
        out.line("The server describes this tool differently now: its caller is asked anew.");
    }
    Ok(())
}
