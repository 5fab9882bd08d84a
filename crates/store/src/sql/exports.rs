//! Exports of the request log: what was asked for and how far it is.

use sqlx::AssertSqlSafe;

use super::bulk::insert_text;
use super::columns::{columns, get, push};
use super::driver::{Arguments, Pool, Row, failed};
use super::owned::Owned;
use crate::error::StoreError;
use crate::model::{EXPORT_FAILED, EXPORT_RUNNING, ExportRow};

const WHAT: &str = "export";

columns!(ExportRow:
    id workspace_id created_at_ms updated_at_ms expires_at_ms created_by description filters
    requested_data state run total exported bytes error;
    json:);

impl Owned for ExportRow {
    const TABLE: &'static str = "exports";
    const WHAT: &'static str = WHAT;

    fn read(row: &Row) -> Result<Self, StoreError> {
        read(row)
    }
}

pub(super) async fn insert(pool: &Pool, row: &ExportRow) -> Result<(), StoreError> {
    let mut arguments = Arguments::default();
    bind(row, &mut arguments)?;
    let text = insert_text("INSERT INTO exports", NAMES, 1);
    sqlx::query_with(AssertSqlSafe(text), arguments)
        .execute(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

/// The condition on state and run is what makes one of two concurrent changes win.
pub(super) async fn update(
    pool: &Pool,
    (state, run): (&str, &str),
    row: &ExportRow,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE exports SET updated_at_ms = $5, expires_at_ms = $6, description = $7, \
         filters = $8, requested_data = $9, state = $10, run = $11, total = $12, exported = $13, \
         bytes = $14, error = $15 \
         WHERE workspace_id = $1 AND id = $2 AND state = $3 AND run = $4",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(state)
    .bind(run)
    .bind(row.updated_at_ms)
    .bind(row.expires_at_ms)
    .bind(&row.description)
    .bind(&row.filters)
    .bind(&row.requested_data)
    .bind(&row.state)
    .bind(&row.run)
    .bind(row.total)
    .bind(row.exported)
    .bind(row.bytes)
    .bind(&row.error)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

/// Those that say they are being written, of which nobody has heard since `before_ms`.
pub(super) async fn sweep(
    pool: &Pool,
    before_ms: i64,
    now_ms: i64,
    error: &str,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE exports SET state = $1, error = $2, updated_at_ms = $3 \
         WHERE state = $4 AND updated_at_ms < $5",
    )
    .bind(EXPORT_FAILED)
    .bind(error)
    .bind(now_ms)
    .bind(EXPORT_RUNNING)
    .bind(before_ms)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected())
}

/// The same of one, by its run: whose file a process finds when it starts.
pub(super) async fn break_off(
    pool: &Pool,
    run: &str,
    now_ms: i64,
    error: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE exports SET state = $1, error = $2, updated_at_ms = $3 \
         WHERE run = $4 AND state = $5",
    )
    .bind(EXPORT_FAILED)
    .bind(error)
    .bind(now_ms)
    .bind(run)
    .bind(EXPORT_RUNNING)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}
