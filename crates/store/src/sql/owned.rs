//! What is asked the same way of every table whose rows have an id and an owner.

use sqlx::AssertSqlSafe;

use super::driver::{Pool, Row, failed};
use crate::error::StoreError;
use crate::model::{Listed, Page};

/// A row with an `id`, a `workspace_id` and a `created_at_ms`.
pub(super) trait Owned: Sized {
    /// The table. It becomes part of the query.
    const TABLE: &'static str;
    /// What an error calls such a row.
    const WHAT: &'static str;

    fn read(row: &Row) -> Result<Self, StoreError>;
}

/// The row of this workspace that has `value` in `column`, which must be unique there.
pub(super) async fn find<T: Owned>(
    pool: &Pool,
    workspace_id: &str,
    column: &'static str,
    value: &str,
) -> Result<Option<T>, StoreError> {
    let table = T::TABLE;
    let sql = format!("SELECT * FROM {table} WHERE workspace_id = $1 AND {column} = $2");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(workspace_id)
        .bind(value)
        .fetch_optional(pool)
        .await
        .map_err(failed(T::WHAT))?;
    row.as_ref().map(T::read).transpose()
}

/// A page of the rows of this workspace, oldest first.
pub(super) async fn list<T: Owned>(
    pool: &Pool,
    workspace_id: &str,
    page: Page,
) -> Result<Listed<T>, StoreError> {
    let table = T::TABLE;
    let sql = format!(
        "SELECT * FROM {table} WHERE workspace_id = $1 \
         ORDER BY created_at_ms, id LIMIT $2 OFFSET $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(workspace_id)
        .bind(i64::from(page.limit))
        .bind(i64::from(page.offset))
        .fetch_all(pool)
        .await
        .map_err(failed(T::WHAT))?;
    let sql = format!("SELECT count(*) FROM {table} WHERE workspace_id = $1");
    let total = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(workspace_id)
        .fetch_one(pool)
        .await
        .map_err(failed(T::WHAT))?;
    Ok(Listed {
        rows: rows.iter().map(T::read).collect::<Result<_, _>>()?,
        total,
    })
}

/// Removes the row of that id; says whether there was one.
pub(super) async fn delete<T: Owned>(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = format!(
        "DELETE FROM {} WHERE workspace_id = $1 AND id = $2",
        T::TABLE
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(workspace_id)
        .bind(id)
        .execute(pool)
        .await
        .map_err(failed(T::WHAT))?;
    Ok(done.rows_affected() > 0)
}
