//! The gateways that work on this database: each says now and then that it lives.

use sqlx::AssertSqlSafe;

use super::driver::{NOW_MS, Pool, failed};
use crate::error::StoreError;
use crate::model::PROCESS_LIFE_MS;

const WHAT: &str = "process";

/// The condition that a row is that of a process that lives.
pub(super) fn alive() -> String {
    format!("seen_at_ms > {NOW_MS} - {PROCESS_LIFE_MS}")
}

/// Says that a process lives, and forgets those that have long been dead.
pub(super) async fn beat(pool: &Pool, id: &str) -> Result<(), StoreError> {
    let text = format!(
        "INSERT INTO processes (id, seen_at_ms) VALUES ($1, {NOW_MS}) \
         ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms"
    );
    let said = sqlx::query(AssertSqlSafe(text)).bind(id).execute(pool);
    said.await.map_err(failed(WHAT))?;
    let text = format!("DELETE FROM processes WHERE seen_at_ms < {NOW_MS} - 86400000");
    let forgotten = sqlx::query(AssertSqlSafe(text)).execute(pool).await;
    forgotten.map(drop).map_err(failed(WHAT))
}

pub(super) async fn lives(pool: &Pool, id: &str) -> Result<bool, StoreError> {
    let text = format!(
        "SELECT EXISTS (SELECT 1 FROM processes WHERE id = $1 AND {})",
        alive()
    );
    let found = sqlx::query_scalar(AssertSqlSafe(text)).bind(id);
    found.fetch_one(pool).await.map_err(failed(WHAT))
}

pub(super) async fn leave(pool: &Pool, id: &str) -> Result<(), StoreError> {
    let gone = sqlx::query("DELETE FROM processes WHERE id = $1").bind(id);
    gone.execute(pool).await.map(drop).map_err(failed(WHAT))
}
