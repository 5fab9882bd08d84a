//! The request log.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;

use super::bulk::{ROWS, Texts, insert_all, insert_text};
use super::columns::{self, NAMES, get, get_json, json, push};
use super::driver::{Arguments, Connection, Database, Pool, Row, begin_on, failed};
use super::log_filter::push_where;
use crate::error::StoreError;
use crate::model::{
    AttemptRow, LogDetail, LogFilter, LogRecord, LogSummary, ToolCallRow, ToolListRow, TurnRow,
};

const WHAT: &str = "log";

/// Columns that the list leaves out.
const BODIES: [&str; 2] = ["request_body", "response_body"];

/// What a request used; see the table.
const USE_COLUMNS: [&str; 4] = ["workspace_id", "log_id", "server_label", "tool"];

static INSERT_REQUESTS: LazyLock<Texts> = LazyLock::new(|| {
    let columns = [NAMES, &["tool_lists", "parts"]].concat();
    ROWS.map(|rows| insert_text("INSERT INTO requests", &columns, rows))
});

static INSERT_USES: LazyLock<Texts> =
    LazyLock::new(|| ROWS.map(|rows| insert_text("INSERT INTO tool_uses", &USE_COLUMNS, rows)));

/// What happened within a request, as the column `parts` holds it.
#[derive(Serialize)]
struct Parts<'a> {
    attempts: &'a [AttemptRow],
    turns: &'a [TurnRow],
    tool_lists: &'a [ToolListRow],
    tool_calls: &'a [ToolCallRow],
}

#[derive(Deserialize)]
struct OwnParts {
    attempts: Vec<AttemptRow>,
    turns: Vec<TurnRow>,
    tool_lists: Vec<ToolListRow>,
    tool_calls: Vec<ToolCallRow>,
}

pub(super) async fn insert(
    connection: &mut Connection,
    records: &[LogRecord],
) -> Result<(), StoreError> {
    let mut transaction = begin_on(connection).await.map_err(failed(WHAT))?;
    insert_all(
        &mut transaction,
        &INSERT_REQUESTS,
        records,
        bind_record,
        WHAT,
    )
    .await?;
    let uses: Vec<[&str; 4]> = records.iter().flat_map(uses).collect();
    insert_all(&mut transaction, &INSERT_USES, &uses, bind_use, WHAT).await?;
    transaction.commit().await.map_err(failed(WHAT))
}

fn bind_record(record: &LogRecord, out: &mut Arguments) -> Result<(), StoreError> {
    columns::bind(&record.request, out)?;
    push(out, record.tool_lists.len() as i64)?;
    push(
        out,
        json(&Parts {
            attempts: &record.attempts,
            turns: &record.turns,
            tool_lists: &record.tool_lists,
            tool_calls: &record.tool_calls,
        })?,
    )
}

fn bind_use(row: &[&str; 4], out: &mut Arguments) -> Result<(), StoreError> {
    row.iter().try_for_each(|value| push(out, *value))
}

/// The servers and tools that a request used, each once.
fn uses(record: &LogRecord) -> impl Iterator<Item = [&str; 4]> {
    let request = &record.request;
    let calls = record.tool_calls.iter();
    let calls = calls.map(|call| (call.server_label.as_str(), call.tool.as_str()));
    let lists = record.tool_lists.iter();
    let lists = lists.map(|list| (list.server_label.as_str(), ""));
    let once: BTreeSet<_> = calls.chain(lists).collect();
    once.into_iter().map(|(server, tool)| {
        [
            request.workspace_id.as_str(),
            request.id.as_str(),
            server,
            tool,
        ]
    })
}

/// The columns of a request; `without` are read as NULL.
fn push_names(query: &mut QueryBuilder<Database>, without: &[&str]) {
    let mut names = query.separated(", ");
    for name in NAMES {
        let null = if without.contains(name) {
            "NULL AS "
        } else {
            ""
        };
        names.push(null).push_unseparated(name);
    }
}

pub(super) async fn list(
    pool: &Pool,
    workspace_id: &str,
    filter: &LogFilter,
    limit: u32,
    after: Option<&str>,
) -> Result<(Vec<LogSummary>, bool), StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    push_names(&mut query, &BODIES);
    query.push(", tool_lists FROM requests AS r");
    push_where(&mut query, workspace_id, filter);
    if let Some(after) = after {
        let created_at_ms = cursor_time(pool, workspace_id, after).await?;
        query
            .push(" AND (r.created_at_ms, r.id) < (")
            .push_bind(created_at_ms);
        query.push(", ").push_bind(after).push(")");
    }
    query.push(" ORDER BY r.created_at_ms DESC, r.id DESC LIMIT ");
    query.push_bind(i64::from(limit) + 1);
    // Filters make many texts: keep them out of the cache of prepared statements.
    let rows = query
        .build()
        .persistent(false)
        .fetch_all(pool)
        .await
        .map_err(failed(WHAT))?;
    let limit = limit as usize;
    let page = rows
        .iter()
        .take(limit)
        .map(read_summary)
        .collect::<Result<_, _>>()?;
    Ok((page, rows.len() > limit))
}

async fn cursor_time(pool: &Pool, workspace_id: &str, id: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT created_at_ms FROM requests WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?
        .ok_or(StoreError::UnknownCursor)
}

fn read_summary(row: &Row) -> Result<LogSummary, StoreError> {
    Ok(LogSummary {
        request: columns::read(row)?,
        tool_lists: get(row, "tool_lists")?,
    })
}

pub(super) async fn find(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
) -> Result<Option<LogDetail>, StoreError> {
    let row = sqlx::query("SELECT * FROM requests WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?;
    row.as_ref().map(read_detail).transpose()
}

fn read_detail(row: &Row) -> Result<LogDetail, StoreError> {
    let mut parts: OwnParts = get_json(row, "parts")?;
    parts.attempts.sort_by_key(|row| (row.turn, row.index));
    parts.tool_calls.sort_by_key(|row| (row.turn, row.index));
    Ok(LogDetail {
        request: columns::read(row)?,
        attempts: parts.attempts,
        turns: parts.turns,
        tool_lists: parts.tool_lists,
        tool_calls: parts.tool_calls,
    })
}

pub(super) async fn count(
    pool: &Pool,
    workspace_id: &str,
    filter: &LogFilter,
) -> Result<i64, StoreError> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM requests AS r");
    push_where(&mut query, workspace_id, filter);
    query
        .build_query_scalar()
        .persistent(false)
        .fetch_one(pool)
        .await
        .map_err(failed(WHAT))
}

pub(super) async fn prune(
    pool: &Pool,
    workspace_id: &str,
    before_ms: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM requests WHERE workspace_id = $1 AND id IN (SELECT id FROM requests \
         WHERE workspace_id = $1 AND created_at_ms < $2 ORDER BY created_at_ms, id LIMIT $3)",
    )
    .bind(workspace_id)
    .bind(before_ms)
    .bind(i64::from(limit))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected())
}
