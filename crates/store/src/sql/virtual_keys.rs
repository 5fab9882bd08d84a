//! Virtual keys.

use jiff::Timestamp;

use super::columns::{get, get_json, get_time, get_time_opt, json};
use super::driver::{Pool, Row, failed};
use super::owned::{self, Owned};
use crate::error::StoreError;
use crate::model::VirtualKeyRow;

const WHAT: &str = "virtual key";

pub(super) async fn insert(pool: &Pool, row: &VirtualKeyRow) -> Result<(), StoreError> {
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
pub(super) async fn update(pool: &Pool, row: &VirtualKeyRow) -> Result<bool, StoreError> {
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
    match owned::find::<VirtualKeyRow>(pool, &row.workspace_id, "id", &row.id).await? {
        Some(_changed) => Err(StoreError::Conflict(WHAT)),
        None => Ok(false),
    }
}

impl Owned for VirtualKeyRow {
    const TABLE: &'static str = "virtual_keys";
    const WHAT: &'static str = WHAT;

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
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
}
