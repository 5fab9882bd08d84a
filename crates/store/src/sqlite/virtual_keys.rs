//! Virtual keys.

use jiff::Timestamp;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::columns::{failed, get, get_json, get_time, get_time_opt, json};
use crate::error::StoreError;
use crate::model::{Listed, Page, VirtualKeyRow};

const WHAT: &str = "virtual key";

pub(super) async fn insert(pool: &SqlitePool, row: &VirtualKeyRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO virtual_keys (id, workspace_id, slug, name, provider, custom_host, note, \
         status, sealed, key_id, version, masked, settings, created_at_ms, updated_at_ms, \
         expires_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&row.id)
    .bind(&row.workspace_id)
    .bind(&row.slug)
    .bind(&row.name)
    .bind(&row.provider)
    .bind(&row.custom_host)
    .bind(&row.note)
    .bind(&row.status)
    .bind(&row.sealed)
    .bind(&row.key_id)
    .bind(row.version)
    .bind(&row.masked)
    .bind(json(&row.settings)?)
    .bind(row.created_at.as_millisecond())
    .bind(row.updated_at.as_millisecond())
    .bind(row.expires_at.map(Timestamp::as_millisecond))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// The condition on `version` keeps a stale writer from putting an old ciphertext back, and two
/// writers from both believing that theirs is the next version.
pub(super) async fn update(pool: &SqlitePool, row: &VirtualKeyRow) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE virtual_keys SET slug = $3, name = $4, provider = $5, custom_host = $6, \
         note = $7, status = $8, sealed = $9, key_id = $10, version = $11, masked = $12, \
         settings = $13, updated_at_ms = $14, expires_at_ms = $15 \
         WHERE workspace_id = $1 AND id = $2 \
         AND (version = $11 - 1 OR (version = $11 AND sealed = $9 AND key_id = $10))",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(&row.slug)
    .bind(&row.name)
    .bind(&row.provider)
    .bind(&row.custom_host)
    .bind(&row.note)
    .bind(&row.status)
    .bind(&row.sealed)
    .bind(&row.key_id)
    .bind(row.version)
    .bind(&row.masked)
    .bind(json(&row.settings)?)
    .bind(row.updated_at.as_millisecond())
    .bind(row.expires_at.map(Timestamp::as_millisecond))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    if done.rows_affected() > 0 {
        return Ok(true);
    }
    match find(pool, &row.workspace_id, &row.id).await? {
        Some(_changed) => Err(StoreError::Conflict(WHAT)),
        None => Ok(false),
    }
}

pub(super) async fn by_slug(
    pool: &SqlitePool,
    workspace_id: &str,
    slug: &str,
) -> Result<Option<VirtualKeyRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM virtual_keys WHERE workspace_id = $1 AND slug = $2")
        .bind(workspace_id)
        .bind(slug)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn find(
    pool: &SqlitePool,
    workspace_id: &str,
    id: &str,
) -> Result<Option<VirtualKeyRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM virtual_keys WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(
    pool: &SqlitePool,
    workspace_id: &str,
    page: Page,
) -> Result<Listed<VirtualKeyRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM virtual_keys WHERE workspace_id = $1 \
         ORDER BY created_at_ms, id LIMIT $2 OFFSET $3",
    )
    .bind(workspace_id)
    .bind(i64::from(page.limit))
    .bind(i64::from(page.offset))
    .fetch_all(pool)
    .await
    .map_err(failed(WHAT))?;
    let total = sqlx::query_scalar("SELECT count(*) FROM virtual_keys WHERE workspace_id = $1")
        .bind(workspace_id)
        .fetch_one(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(Listed {
        rows: rows.iter().map(read).collect::<Result<_, _>>()?,
        total,
    })
}

pub(super) async fn delete(
    pool: &SqlitePool,
    workspace_id: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM virtual_keys WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .execute(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

fn read(row: &SqliteRow) -> Result<VirtualKeyRow, StoreError> {
    Ok(VirtualKeyRow {
        id: get(row, "id")?,
        workspace_id: get(row, "workspace_id")?,
        slug: get(row, "slug")?,
        name: get(row, "name")?,
        provider: get(row, "provider")?,
        custom_host: get(row, "custom_host")?,
        note: get(row, "note")?,
        status: get(row, "status")?,
        sealed: get(row, "sealed")?,
        key_id: get(row, "key_id")?,
        version: get(row, "version")?,
        masked: get(row, "masked")?,
        settings: get_json(row, "settings")?,
        created_at: get_time(row, "created_at_ms")?,
        updated_at: get_time(row, "updated_at_ms")?,
        expires_at: get_time_opt(row, "expires_at_ms")?,
    })
}
