//! The journal of tool calls.

use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::columns::{columns, failed, get, push};
use super::group::{Change, Group, Size};
use super::state::insert_text;
use crate::error::StoreError;
use crate::model::JournalRow;

const WHAT: &str = "journal row";

columns!(JournalRow:
    id workspace_id request_id response_id server_label tool argument_digest state created_at_ms
    ended_at_ms outcome result;
    json:);

pub(super) async fn insert(group: &Group, rows: &[JournalRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut arguments = SqliteArguments::default();
    rows.iter().try_for_each(|row| bind(row, &mut arguments))?;
    let text = insert_text("INSERT INTO tool_journal", NAMES, rows.len());
    group.write(change(AssertSqlSafe(text), arguments)).await?;
    Ok(())
}

fn change(text: impl SqlSafeStr, arguments: SqliteArguments) -> Change {
    Change {
        text: text.into_sql_str(),
        arguments,
        size: Size::One,
        what: WHAT,
    }
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
    let mut arguments = SqliteArguments::default();
    for text in [workspace_id, id, end.state, end.outcome] {
        push(&mut arguments, text)?;
    }
    push(&mut arguments, end.result)?;
    push(&mut arguments, end.now_ms)?;
    let text = "UPDATE tool_journal SET state = $3, outcome = $4, result = $5, ended_at_ms = $6 \
                WHERE workspace_id = $1 AND id = $2 AND state <> 'done'";
    Ok(group.write(change(text, arguments)).await? > 0)
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
