//! The journal of tool calls.

use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};

use super::columns::{columns, failed, get, push};
use super::state::insert_all;
use crate::error::StoreError;
use crate::model::JournalRow;

const WHAT: &str = "journal row";

columns!(JournalRow:
    id workspace_id request_id response_id server_label tool argument_digest state created_at_ms
    ended_at_ms outcome result;
    json:);

pub(super) async fn insert(pool: &SqlitePool, rows: &[JournalRow]) -> Result<(), StoreError> {
    insert_all(pool, ("INSERT INTO tool_journal", WHAT), NAMES, rows, bind).await
}

/// How a call ended.
pub(super) struct End<'a> {
    pub(super) state: &'a str,
    pub(super) outcome: &'a str,
    pub(super) result: Option<&'a str>,
    pub(super) now_ms: i64,
}

/// Whoever made the call knows better than a sweep that another process did at its start: what
/// is unknown may still become done, never the reverse.
pub(super) async fn end(
    pool: &SqlitePool,
    workspace_id: &str,
    id: &str,
    end: End<'_>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE tool_journal SET state = $3, outcome = $4, result = $5, ended_at_ms = $6 \
         WHERE workspace_id = $1 AND id = $2 AND state <> 'done'",
    )
    .bind(workspace_id)
    .bind(id)
    .bind(end.state)
    .bind(end.outcome)
    .bind(end.result)
    .bind(end.now_ms)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

/// The calls of a response, in the order in which they were noted.
pub(super) async fn list(
    pool: &SqlitePool,
    workspace_id: &str,
    response_id: &str,
) -> Result<Vec<JournalRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM tool_journal WHERE workspace_id = $1 AND response_id = $2 \
         ORDER BY created_at_ms, rowid",
    )
    .bind(workspace_id)
    .bind(response_id)
    .fetch_all(pool)
    .await
    .map_err(failed(WHAT))?;
    rows.iter().map(read).collect()
}

pub(super) async fn sweep(pool: &SqlitePool, now_ms: i64) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE tool_journal SET state = 'unknown', ended_at_ms = $1 WHERE state = 'intent'",
    )
    .bind(now_ms)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected())
}
