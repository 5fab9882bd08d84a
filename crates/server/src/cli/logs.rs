//! `portunus logs`: the newest requests; `-f` as they finish; with an id, one in full.

use super::Global;
use super::key::{query, segment};
use super::link::Link;
use super::out::{Out, cell, complain, cut};
use crate::demo::waterfall;
use anyhow::{Context, Result};
use http::Method;
use portunus_protocol::sse::Decoder;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Longest event of the log stream.
const EVENT_MAX_BYTES: usize = 4 << 20;
/// The columns of the list: heading and width.
const COLUMNS: [(&str, usize); 9] = [
    ("TIME", 30),
    ("STATUS", 6),
    ("OUTCOME", 10),
    ("MODEL", 22),
    ("TOOLS", 5),
    ("MS", 7),
    ("TOKENS", 7),
    ("ID", 40),
    ("INPUT", 40),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print requests as they finish, until Ctrl-C
    #[arg(short, long, conflicts_with = "id")]
    follow: bool,
    /// Id of one request, `log-…`
    id: Option<String>,
    /// How many of the newest
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// Workspace, by id or slug [default: the default one]
    #[arg(long)]
    workspace: Option<String>,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let work = async |link: &Link, out| match &args.id {
        Some(id) => one(link, out, id, args).await,
        None if args.follow => follow(link, out, args).await,
        None => list(link, out, args).await,
    };
    Link::through(global, work).await
}

async fn one(link: &Link, out: Out, id: &str, args: &Args) -> Result<()> {
    let path = format!(
        "/v1/logs/{}{}",
        segment(id),
        query(args.workspace.as_deref())
    );
    let log = link.call(Method::GET, &path, None).await?;
    if out.is_json() {
        out.json(&log);
    } else {
        waterfall::print(out, &log);
    }
    Ok(())
}

async fn list(link: &Link, out: Out, args: &Args) -> Result<()> {
    let mut path = format!("/v1/logs?limit={}", args.limit);
    path.push_str(&query(args.workspace.as_deref()).replacen('?', "&", 1));
    let found = link.call(Method::GET, &path, None).await?;
    if out.is_json() {
        out.json(&found);
        return Ok(());
    }
    heading(out);
    let rows = found["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for row in rows.iter().rev() {
        out.line(&row_text(out, row));
    }
    Ok(())
}

async fn follow(link: &Link, out: Out, args: &Args) -> Result<()> {
    let path = format!(
        "/v1/portunus/logs/stream{}",
        query(args.workspace.as_deref())
    );
    let mut body = link.stream(&path).await?;
    let mut decoder = Decoder::new(EVENT_MAX_BYTES);
    if !out.is_json() {
        heading(out);
    }
    while let Some(bytes) = body.next().await? {
        for frame in decoder.push(&bytes)? {
            let value: Value = serde_json::from_str(&frame.data).context("a log row")?;
            match (frame.event.as_deref(), out.is_json()) {
                (Some("log"), true) => out.json_line(&value),
                (Some("log"), false) => out.line(&row_text(out, &value)),
                (_, true) => complain(&json!({"lagged": value["rows"]}).to_string()),
                (_, false) => {
                    complain(&format!("(too fast: {} rows passed over)", value["rows"]));
                }
            }
        }
    }
    Ok(())
}

fn heading(out: Out) {
    let titles = COLUMNS.map(|(title, width)| format!("{title:width$}"));
    out.line(&out.dim(titles.join("  ").trim_end()));
}

fn row_text(out: Out, row: &Value) -> String {
    let tools = match row["tool_errors"].as_i64() {
        Some(errors) if errors > 0 => format!("{}!{errors}", row["tool_calls"]),
        _ => cell(&row["tool_calls"]),
    };
    let values = [
        cell(&row["created_at"]),
        cell(&row["response_status_code"]),
        cell(&row["outcome"]),
        cell(&row["ai_model"]),
        tools,
        cell(&row["response_time"]),
        cell(&row["total_units"]),
        cell(&row["id"]),
        cell(&row["preview"]),
    ];
    let cells = values.iter().zip(COLUMNS).map(|(value, (_, width))| {
        let value = cut(value, width);
        format!("{value:width$}")
    });
    let text = cells.collect::<Vec<_>>().join("  ").trim_end().to_owned();
    if row["is_success"] == false {
        out.red(&text)
    } else {
        text
    }
}
