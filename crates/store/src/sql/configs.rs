//! Saved routing configs: the row that requests get, and every version beside it.

use sqlx::AssertSqlSafe;

use super::bulk::insert_text;
use super::columns::{columns, get, push};
use super::driver::{Arguments, Connection, Pool, Row, begin, failed};
use super::owned::{self, Owned};

use crate::error::StoreError;
use crate::model::{CONFIG_VERSIONS, ConfigRow, Listed, Page};

const WHAT: &str = "config";

columns!(ConfigRow:
    id workspace_id slug name is_default status version version_id owner_id updated_by
    created_at_ms updated_at_ms config;
    json:);

impl Owned for ConfigRow {
    const TABLE: &'static str = "configs";
    const WHAT: &'static str = WHAT;

    fn read(row: &Row) -> Result<Self, StoreError> {
        read(row)
    }
}

pub(super) async fn insert(pool: &Pool, row: &ConfigRow) -> Result<(), StoreError> {
    let mut arguments = Arguments::default();
    bind(row, &mut arguments)?;
    let text = insert_text("INSERT INTO configs", NAMES, 1);
    let mut transaction = begin(pool).await.map_err(failed(WHAT))?;
    sqlx::query_with(AssertSqlSafe(text), arguments)
        .execute(&mut *transaction)
        .await
        .map_err(failed(WHAT))?;
    insert_version(&mut transaction, row).await?;
    transaction.commit().await.map_err(failed(WHAT))
}

async fn insert_version(connection: &mut Connection, row: &ConfigRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO config_versions (workspace_id, config_id, version, version_id, name, status, \
         updated_by, updated_at_ms, config) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(row.version)
    .bind(&row.version_id)
    .bind(&row.name)
    .bind(&row.status)
    .bind(&row.updated_by)
    .bind(row.updated_at_ms)
    .bind(&row.config)
    .execute(connection)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// The condition on `version` keeps two writers from both believing that theirs is the next.
pub(super) async fn update(pool: &Pool, row: &ConfigRow) -> Result<bool, StoreError> {
    let mut transaction = begin(pool).await.map_err(failed(WHAT))?;
    let done = sqlx::query(
        "UPDATE configs SET name = $4, status = $5, version_id = $6, updated_by = $7, \
         updated_at_ms = $8, config = $9, is_default = $10, version = $3 \
         WHERE workspace_id = $1 AND id = $2 AND version = $3 - 1",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(row.version)
    .bind(&row.name)
    .bind(&row.status)
    .bind(&row.version_id)
    .bind(&row.updated_by)
    .bind(row.updated_at_ms)
    .bind(&row.config)
    .bind(row.is_default)
    .execute(&mut *transaction)
    .await
    .map_err(failed(WHAT))?;
    if done.rows_affected() == 0 {
        drop(transaction);
        return match owned::find::<ConfigRow>(pool, &row.workspace_id, "id", &row.id).await? {
            Some(_changed) => Err(StoreError::Conflict(WHAT)),
            None => Ok(false),
        };
    }
    insert_version(&mut transaction, row).await?;
    forget(&mut transaction, row).await?;
    transaction.commit().await.map_err(failed(WHAT))?;
    Ok(true)
}

/// Removes the versions that are too old to be kept.
async fn forget(connection: &mut Connection, row: &ConfigRow) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM config_versions WHERE workspace_id = $1 AND config_id = $2 AND version <= $3",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(row.version - CONFIG_VERSIONS)
    .execute(connection)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// A page of the versions, newest first, each as the config was then.
pub(super) async fn versions(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
    page: Page,
) -> Result<Listed<ConfigRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT c.id, c.workspace_id, c.slug, v.name, c.is_default, v.status, v.version, \
         v.version_id, c.owner_id, v.updated_by, c.created_at_ms, v.updated_at_ms, v.config \
         FROM configs AS c JOIN config_versions AS v \
         ON v.workspace_id = c.workspace_id AND v.config_id = c.id \
         WHERE c.workspace_id = $1 AND c.id = $2 ORDER BY v.version DESC LIMIT $3 OFFSET $4",
    )
    .bind(workspace_id)
    .bind(id)
    .bind(i64::from(page.limit))
    .bind(i64::from(page.offset))
    .fetch_all(pool)
    .await
    .map_err(failed(WHAT))?;
    let total = sqlx::query_scalar(
        "SELECT count(*) FROM config_versions WHERE workspace_id = $1 AND config_id = $2",
    )
    .bind(workspace_id)
    .bind(id)
    .fetch_one(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(Listed {
        rows: rows.iter().map(read).collect::<Result<_, _>>()?,
        total,
    })
}
