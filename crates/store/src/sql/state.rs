//! Responses and their items, and what the tables of state have in common.

use sqlx::AssertSqlSafe;

use super::columns::{columns, get, push};
use super::driver::{Arguments, Pool, ROW, Row, begin, failed};
use super::owned::{self, Owned};
use crate::error::StoreError;
use crate::model::{ResponseRow, now};

pub(crate) const WHAT: &str = "response";

columns!(ResponseRow:
    id workspace_id api_key_id created_at_ms expires_at_ms virtual_key provider model
    previous_response_id status response input servers;
    json:);

impl Owned for ResponseRow {
    const TABLE: &'static str = "responses";
    const WHAT: &'static str = WHAT;

    fn read(row: &Row) -> Result<Self, StoreError> {
        read(row)
    }
}

/// Removes at most `limit` rows, of all workspaces, whose `time_column` is before `before_ms`.
/// `table` and `time_column` become part of the text.
pub(super) async fn prune(
    pool: &Pool,
    (table, time_column): (&'static str, &'static str),
    before_ms: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    let text = format!(
        "DELETE FROM {table} WHERE {ROW} IN (SELECT {ROW} FROM {table} \
         WHERE {time_column} < $1 ORDER BY {time_column} LIMIT $2)"
    );
    let done = sqlx::query(AssertSqlSafe(text))
        .bind(before_ms)
        .bind(i64::from(limit))
        .execute(pool)
        .await
        .map_err(failed(table))?;
    Ok(done.rows_affected())
}

/// An id of an item as the index holds it: the prefix that names the kind goes last, so that the
/// items of one response, whose ids begin with the time, lie together.
pub(super) fn item_key(id: &str) -> String {
    match id.split_once('_') {
        Some((kind, rest)) => format!("{rest}_{kind}"),
        None => id.to_owned(),
    }
}

pub(super) async fn find(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
) -> Result<Option<ResponseRow>, StoreError> {
    let row: Option<ResponseRow> = owned::find(pool, workspace_id, "id", id).await?;
    let now_ms = now().as_millisecond();
    Ok(row.filter(|row| row.expires_at_ms > now_ms))
}

/// The newest response that holds the item.
pub(super) async fn of_item(
    pool: &Pool,
    workspace_id: &str,
    item_id: &str,
) -> Result<Option<ResponseRow>, StoreError> {
    let row = sqlx::query(
        "SELECT r.* FROM response_items AS i JOIN responses AS r \
         ON r.workspace_id = i.workspace_id AND r.id = i.response_id \
         WHERE i.workspace_id = $1 AND i.item_id = $2 AND r.expires_at_ms > $3 \
         ORDER BY r.created_at_ms DESC, r.id DESC LIMIT 1",
    )
    .bind(workspace_id)
    .bind(item_key(item_id))
    .bind(now().as_millisecond())
    .fetch_optional(pool)
    .await
    .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

/// Removes what belongs to a response too: its items, the approvals that are not used, and what
/// tools answered. What is left says that a call was made, not with what.
pub(super) async fn delete(pool: &Pool, workspace_id: &str, id: &str) -> Result<bool, StoreError> {
    let failed = failed(WHAT);
    let mut transaction = begin(pool).await.map_err(&failed)?;
    let end: Option<i64> = sqlx::query_scalar(
        "DELETE FROM responses WHERE workspace_id = $1 AND id = $2 RETURNING expires_at_ms",
    )
    .bind(workspace_id)
    .bind(id)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(&failed)?;
    let Some(end) = end else { return Ok(false) };
    for text in [
        "DELETE FROM approvals WHERE workspace_id = $1 AND response_id = $2 AND state <> 'used'",
        "UPDATE tool_journal SET result = NULL WHERE workspace_id = $1 AND response_id = $2",
    ] {
        sqlx::query(text)
            .bind(workspace_id)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(end > now().as_millisecond())
}
