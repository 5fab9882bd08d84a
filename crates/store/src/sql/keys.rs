//! API keys.

use jiff::Timestamp;

use super::columns::{get, get_json, get_time, get_time_opt, json};
use super::driver::{Pool, Row, failed};
use super::owned::Owned;
use crate::error::StoreError;
use crate::model::{ApiKeyRow, Rotated};

const WHAT: &str = "API key";

pub(super) async fn insert(pool: &Pool, row: &ApiKeyRow) -> Result<(), StoreError> {
    let former = row.rotated.as_ref();
    sqlx::query(
        "INSERT INTO api_keys (id, workspace_id, name, lookup, hash, scopes, defaults, \
         rate_limits, usage_limits, status, created_at_ms, expires_at_ms, last_used_at_ms, \
         previous_lookup, previous_hash, previous_until_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&row.id)
    .bind(&row.workspace_id)
    .bind(&row.name)
    .bind(&row.lookup)
    .bind(&row.hash)
    .bind(json(&row.scopes)?)
    .bind(json(&row.defaults)?)
    .bind(json(&row.rate_limits)?)
    .bind(json(&row.usage_limits)?)
    .bind(&row.status)
    .bind(row.created_at.as_millisecond())
    .bind(row.expires_at.map(Timestamp::as_millisecond))
    .bind(row.last_used_at.map(Timestamp::as_millisecond))
    .bind(former.map(|former| &former.lookup))
    .bind(former.map(|former| &former.hash))
    .bind(former.map(|former| former.grace_until.as_millisecond()))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

pub(super) async fn update(pool: &Pool, row: &ApiKeyRow) -> Result<bool, StoreError> {
    let former = row.rotated.as_ref();
    let done = sqlx::query(
        "UPDATE api_keys SET name = $3, lookup = $4, hash = $5, scopes = $6, defaults = $7, \
         rate_limits = $8, usage_limits = $9, status = $10, expires_at_ms = $11, \
         previous_lookup = $12, previous_hash = $13, previous_until_ms = $14 \
         WHERE workspace_id = $1 AND id = $2",
    )
    .bind(&row.workspace_id)
    .bind(&row.id)
    .bind(&row.name)
    .bind(&row.lookup)
    .bind(&row.hash)
    .bind(json(&row.scopes)?)
    .bind(json(&row.defaults)?)
    .bind(json(&row.rate_limits)?)
    .bind(json(&row.usage_limits)?)
    .bind(&row.status)
    .bind(row.expires_at.map(Timestamp::as_millisecond))
    .bind(former.map(|former| &former.lookup))
    .bind(former.map(|former| &former.hash))
    .bind(former.map(|former| former.grace_until.as_millisecond()))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn by_lookup(pool: &Pool, lookup: &str) -> Result<Option<ApiKeyRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE lookup = $1 OR previous_lookup = $1")
        .bind(lookup)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?;
    row.as_ref().map(ApiKeyRow::read).transpose()
}

pub(super) async fn touch(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE api_keys SET last_used_at_ms = $3 WHERE workspace_id = $1 AND id = $2")
            .bind(workspace_id)
            .bind(id)
            .bind(at.as_millisecond())
            .execute(pool)
            .await
            .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

impl Owned for ApiKeyRow {
    const TABLE: &'static str = "api_keys";
    const WHAT: &'static str = WHAT;

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: get(row, "id")?,
            workspace_id: get(row, "workspace_id")?,
            name: get(row, "name")?,
            lookup: get(row, "lookup")?,
            hash: get(row, "hash")?,
            scopes: get_json(row, "scopes")?,
            defaults: get_json(row, "defaults")?,
            rate_limits: get_json(row, "rate_limits")?,
            usage_limits: get_json(row, "usage_limits")?,
            status: get(row, "status")?,
            created_at: get_time(row, "created_at_ms")?,
            expires_at: get_time_opt(row, "expires_at_ms")?,
            last_used_at: get_time_opt(row, "last_used_at_ms")?,
            rotated: read_rotated(row)?,
        })
    }
}

fn read_rotated(row: &Row) -> Result<Option<Rotated>, StoreError> {
    let lookup: Option<String> = get(row, "previous_lookup")?;
    let hash: Option<Vec<u8>> = get(row, "previous_hash")?;
    let grace_until = get_time_opt(row, "previous_until_ms")?;
    Ok(match (lookup, hash, grace_until) {
        (Some(lookup), Some(hash), Some(grace_until)) => Some(Rotated {
            lookup,
            hash,
            grace_until,
        }),
        _ => None,
    })
}
