//! The tools of all MCP servers of a request, listed at once, told in the order of the request.

use crate::Gateway;
use crate::error::Error;
use crate::record::{Record, count};
use crate::servers::{Server, forbidden};
use crate::sink::Sink;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portunus_mcp::{ListError, Listing, ServerSpec, ServerTools, Tool, filter};
use portunus_protocol::event::name;
use portunus_protocol::id::{self, Kind};
use portunus_protocol::item::{Item, McpAnnotations, McpListTools, McpTool};
use portunus_protocol::request::ServerUrlEcho;
use portunus_store::ToolListRow;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Where the item and the row of a list stand.
struct Open {
    id: String,
    /// `None`: the list is in the context already.
    output_index: Option<usize>,
    row: usize,
}

/// Lists the tools of every server. Lists that are in the context already (`known`, by label)
/// are not told again. One server that cannot be listed fails the request, as it
/// does at OpenAI.
pub(crate) async fn run(
    gateway: &Gateway,
    servers: &[Server],
    known: &HashSet<String>,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Vec<ServerTools>, Error> {
    record.tools_begin();
    let result = list_all(gateway, servers, known, sink, record).await;
    record.tools_end();
    result
}

async fn list_all(
    gateway: &Gateway,
    servers: &[Server],
    known: &HashSet<String>,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Vec<ServerTools>, Error> {
    sink.begin().await?;
    let mut open = Vec::with_capacity(servers.len());
    for server in servers {
        let is_known = known.contains(&server.tool.server_label);
        open.push(begin(server, is_known, sink, record).await?);
    }
    let mut waits = FuturesUnordered::new();
    for (place, server) in servers.iter().enumerate() {
        waits.push(timed(place, list(gateway, server.spec.as_ref())));
    }
    let mut found: Vec<Option<ServerTools>> = servers.iter().map(|_| None).collect();
    while let Some((place, result, took)) = waits.next().await {
        let (server, open) = (&servers[place], &open[place]);
        let result = result.map_err(|error| record.cleaned(error));
        let words = result.as_ref().err().map(error_words);
        let kept = words.and_then(|words| record.keep_words(&words));
        if let Some(row) = record.list(open.row) {
            row.total_ms = Some(crate::record::whole_ms(took));
            fill(row, &result, kept);
        }
        found[place] = Some(end(server, open, result, sink).await?);
    }
    Ok(found.into_iter().flatten().collect())
}

/// A wait with its place and how long it took.
pub(crate) async fn timed<T>(place: usize, wait: impl Future<Output = T>) -> (usize, T, Duration) {
    let started = Instant::now();
    (place, wait.await, started.elapsed())
}

async fn list(gateway: &Gateway, spec: Option<&ServerSpec>) -> Result<Listing, Error> {
    let spec =
        spec.ok_or_else(|| Error::Internal("a server without URL in the loop".to_owned()))?;
    gateway
        .parts
        .pool
        .list(spec)
        .await
        .map_err(|error| refused(&error))
}

fn refused(error: &ListError) -> Error {
    match error.forbidden() {
        Some(verdict) => forbidden("tools", verdict),
        None => Error::McpList {
            sentence: error.to_string(),
            detail: error.detail(),
        },
    }
}

async fn begin(
    server: &Server,
    is_known: bool,
    sink: &mut Sink,
    record: &mut Record,
) -> Result<Open, Error> {
    let id = id::make(Kind::McpListTools);
    let label = server.tool.server_label.clone();
    let row = record.begin_list(ToolListRow {
        item_id: Some(id.clone()),
        server_label: label.clone(),
        server_url: server
            .tool
            .shown_url(ServerUrlEcho::Origin)
            .unwrap_or_default(),
        run_by: "gateway".to_owned(),
        ..ToolListRow::default()
    });
    if is_known {
        return Ok(Open {
            id,
            output_index: None,
            row,
        });
    }
    let item = McpListTools {
        id: id.clone(),
        server_label: label,
        ..McpListTools::default()
    };
    let output_index = sink.add(Item::McpListTools(item)).await?;
    sink.mark(name::LIST_IN_PROGRESS, &id, output_index).await?;
    Ok(Open {
        id,
        output_index: Some(output_index),
        row,
    })
}

async fn end(
    server: &Server,
    open: &Open,
    result: Result<Listing, Error>,
    sink: &mut Sink,
) -> Result<ServerTools, Error> {
    let (event, told) = match &result {
        Ok(listing) => {
            let allowed = server.tool.allowed_tools.as_ref();
            let tools = filter(&listing.tools, allowed)
                .into_iter()
                .map(shown)
                .collect();
            (name::LIST_COMPLETED, (tools, None))
        }
        Err(error) => (name::LIST_FAILED, (Vec::new(), Some(error.body().message))),
    };
    if let Some(index) = open.output_index {
        let (tools, error) = told;
        let server_label = server.tool.server_label.clone();
        let item = McpListTools {
            id: open.id.clone(),
            server_label,
            tools,
            error,
        };
        sink.mark(event, &open.id, index).await?;
        sink.done(index, Item::McpListTools(item)).await?;
    }
    result.map(|listing| ServerTools {
        label: server.tool.server_label.clone(),
        tools: listing.tools,
        allowed: server.tool.allowed_tools.clone(),
    })
}

fn shown(tool: &Tool) -> McpTool {
    McpTool {
        annotations: Some(McpAnnotations {
            read_only: tool.read_only,
        }),
        description: tool.description.clone(),
        input_schema: tool.input_schema.clone(),
        name: tool.name.clone(),
    }
}

fn fill(row: &mut ToolListRow, result: &Result<Listing, Error>, words: Option<String>) {
    let ms = |ms: u64| i64::try_from(ms).ok();
    match result {
        Ok(listing) => {
            "completed".clone_into(&mut row.outcome);
            row.cached = listing.cached;
            row.protocol = Some(listing.protocol.to_owned());
            row.tools = count(listing.tools.len());
            row.bytes = i64::try_from(listing.bytes).ok();
            row.digest = Some(listing.digest.clone());
            row.connect_ms = ms(listing.timing.connect_ms);
            row.wait_ms = ms(listing.timing.wait_ms);
            row.read_ms = ms(listing.timing.read_ms);
            row.warnings = listing.dropped.iter().take(20).cloned().collect();
        }
        Err(_) => {
            "failed".clone_into(&mut row.outcome);
            row.error = words;
        }
    }
}

fn error_words(error: &Error) -> String {
    error
        .cause()
        .map_or_else(|| error.body().message, str::to_owned)
}
