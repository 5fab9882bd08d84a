//! Workspaces, and the values of the whole database.

use super::columns::{get, get_time};
use super::driver::{Pool, Row, failed};
use crate::error::StoreError;
use crate::model::{NewWorkspace, VaultMetaRow, WorkspaceRow, new_id, now};

pub(super) async fn create(pool: &Pool, new: NewWorkspace) -> Result<WorkspaceRow, StoreError> {
    let row = WorkspaceRow {
        id: new_id("ws-"),
        name: new.name,
        slug: new.slug,
        created_at: now(),
    };
    sqlx::query("INSERT INTO workspaces (id, name, slug, created_at_ms) VALUES ($1, $2, $3, $4)")
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.slug)
        .bind(row.created_at.as_millisecond())
        .execute(pool)
        .await
        .map_err(failed("workspace"))?;
    Ok(row)
}

pub(super) async fn list(pool: &Pool) -> Result<Vec<WorkspaceRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, slug, created_at_ms FROM workspaces ORDER BY created_at_ms, id",
    )
    .fetch_all(pool)
    .await
    .map_err(failed("workspace"))?;
    rows.iter().map(read).collect()
}

pub(super) async fn find(pool: &Pool, id: &str) -> Result<Option<WorkspaceRow>, StoreError> {
    let row = sqlx::query("SELECT id, name, slug, created_at_ms FROM workspaces WHERE id = $1")
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(failed("workspace"))?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<WorkspaceRow, StoreError> {
    Ok(WorkspaceRow {
        id: get(row, "id")?,
        name: get(row, "name")?,
        slug: get(row, "slug")?,
        created_at: get_time(row, "created_at_ms")?,
    })
}

pub(super) async fn meta(pool: &Pool, name: &str) -> Result<Option<VaultMetaRow>, StoreError> {
    let row = sqlx::query("SELECT name, sealed, key_id, version FROM vault_meta WHERE name = $1")
        .bind(name)
        .fetch_optional(pool)
        .await
        .map_err(failed("vault value"))?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(VaultMetaRow {
        name: get(&row, "name")?,
        sealed: get(&row, "sealed")?,
        key_id: get(&row, "key_id")?,
        version: get(&row, "version")?,
    }))
}

pub(super) async fn insert_meta(pool: &Pool, row: &VaultMetaRow) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO vault_meta (name, sealed, key_id, version) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(&row.name)
    .bind(&row.sealed)
    .bind(&row.key_id)
    .bind(row.version)
    .execute(pool)
    .await
    .map_err(failed("vault value"))?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn update_meta(pool: &Pool, row: &VaultMetaRow) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE vault_meta SET sealed = $2, key_id = $3, version = $4 \
         WHERE name = $1 AND version < $4",
    )
    .bind(&row.name)
    .bind(&row.sealed)
    .bind(&row.key_id)
    .bind(row.version)
    .execute(pool)
    .await
    .map_err(failed("vault value"))?;
    Ok(done.rows_affected() > 0)
}
