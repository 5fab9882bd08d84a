//! Requests that may be sent again under the same key.

use std::sync::LazyLock;

use sqlx::SqliteConnection;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};

use super::columns::{columns, failed, get, push};
use super::state::insert_text;
use crate::error::StoreError;
use crate::model::{Claimed, IDEMPOTENCY_DONE, IdempotencyRow};

const WHAT: &str = "idempotency key";

columns!(IdempotencyRow:
    workspace_id api_key_id key body_digest state owner created_at_ms expires_at_ms status
    content_type answer;
    json:);

static REPLACE: LazyLock<String> =
    LazyLock::new(|| insert_text("REPLACE INTO idempotency", NAMES, 1));

/// Which row: workspace, API key, key.
pub(super) type Name<'a> = [&'a str; 3];

/// The transaction takes the only write lock before it reads: of any number of callers one finds
/// the key free.
pub(super) async fn claim(
    pool: &SqlitePool,
    row: &IdempotencyRow,
    now_ms: i64,
) -> Result<Claimed, StoreError> {
    let failed = failed(WHAT);
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let claimed = match find(&mut transaction, row).await? {
        Some(found) if found.expires_at_ms > now_ms => taken(found, row),
        _ => {
            replace(&mut transaction, row).await?;
            Claimed::Yours
        }
    };
    transaction.commit().await.map_err(&failed)?;
    Ok(claimed)
}

fn taken(found: IdempotencyRow, asked: &IdempotencyRow) -> Claimed {
    if found.body_digest != asked.body_digest {
        Claimed::OtherBody
    } else if found.state == IDEMPOTENCY_DONE {
        Claimed::Done(found)
    } else {
        Claimed::Running(found)
    }
}

async fn find(
    connection: &mut SqliteConnection,
    row: &IdempotencyRow,
) -> Result<Option<IdempotencyRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM idempotency WHERE workspace_id = $1 AND api_key_id = $2 AND \"key\" = $3",
    )
    .bind(&row.workspace_id)
    .bind(&row.api_key_id)
    .bind(&row.key)
    .fetch_optional(connection)
    .await
    .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

async fn replace(
    connection: &mut SqliteConnection,
    row: &IdempotencyRow,
) -> Result<(), StoreError> {
    let mut arguments = SqliteArguments::default();
    bind(row, &mut arguments)?;
    sqlx::query_with(REPLACE.as_str(), arguments)
        .execute(connection)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

/// Keeps the answer of a running request; does nothing when it runs no more.
pub(super) async fn finish(
    pool: &SqlitePool,
    [workspace_id, api_key_id, key]: Name<'_>,
    status: i64,
    content_type: &str,
    answer: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE idempotency SET state = 'done', status = $4, content_type = $5, answer = $6 \
         WHERE workspace_id = $1 AND api_key_id = $2 AND \"key\" = $3 AND state = 'running'",
    )
    .bind(workspace_id)
    .bind(api_key_id)
    .bind(key)
    .bind(status)
    .bind(content_type)
    .bind(answer)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// Frees the key of a running request; an answer that is kept stays.
pub(super) async fn release(
    pool: &SqlitePool,
    [workspace_id, api_key_id, key]: Name<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM idempotency \
         WHERE workspace_id = $1 AND api_key_id = $2 AND \"key\" = $3 AND state = 'running'",
    )
    .bind(workspace_id)
    .bind(api_key_id)
    .bind(key)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}
