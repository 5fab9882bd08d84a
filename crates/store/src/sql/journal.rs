//! The journal of tool calls.

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::bulk::insert_text;
use super::columns::{columns, get, push};
use super::driver::{Arguments, NOTED, Pool, Row, failed};
use super::group::{Change, Group};
use super::processes;
use crate::error::StoreError;
use crate::model::JournalRow;

const WHAT: &str = "journal row";

columns!(JournalRow:
    id workspace_id request_id response_id server_label tool argument_digest state created_at_ms
    ended_at_ms outcome result process;
    json:);

pub(super) async fn insert(group: &Group, rows: &[JournalRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::default();
    rows.iter().try_for_each(|row| bind(row, &mut arguments))?;
    let text = insert_text("INSERT INTO tool_journal", NAMES, rows.len());
    let text = AssertSqlSafe(text).into_sql_str();
    group.write(Change::one(text, arguments, WHAT)).await?;
    Ok(())
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
    group: &Group,
    workspace_id: &str,
    id: &str,
    end: End<'_>,
) -> Result<bool, StoreError> {
    let mut arguments = Arguments::default();
    for text in [workspace_id, id, end.state, end.outcome] {
        push(&mut arguments, text)?;
    }
    push(&mut arguments, end.result)?;
    push(&mut arguments, end.now_ms)?;
    let text = "UPDATE tool_journal SET state = $3, outcome = $4, result = $5, ended_at_ms = $6 \
                WHERE workspace_id = $1 AND id = $2 AND state <> 'done'";
    let change = Change::one(text.into_sql_str(), arguments, WHAT);
    Ok(group.write(change).await? > 0)
}

/// The calls of a response, in the order in which they were noted.
pub(super) async fn list(
    pool: &Pool,
    workspace_id: &str,
    response_id: &str,
) -> Result<Vec<JournalRow>, StoreError> {
    let text = format!(
        "SELECT * FROM tool_journal WHERE workspace_id = $1 AND response_id = $2 \
         ORDER BY created_at_ms, {NOTED}"
    );
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(workspace_id)
        .bind(response_id)
        .fetch_all(pool)
        .await
        .map_err(failed(WHAT))?;
    rows.iter().map(read).collect()
}

/// Calls without an end whose process does not live are unknown.
pub(super) async fn sweep(pool: &Pool, now_ms: i64) -> Result<u64, StoreError> {
    let text = format!(
        "UPDATE tool_journal SET state = 'unknown', ended_at_ms = $1 WHERE state = 'intent' \
         AND process NOT IN (SELECT id FROM processes WHERE {})",
        processes::alive()
    );
    let done = sqlx::query(AssertSqlSafe(text))
        .bind(now_ms)
        .execute(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(done.rows_affected())
}
