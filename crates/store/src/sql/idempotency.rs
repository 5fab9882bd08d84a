//! Requests that may be sent again under the same key.

use std::sync::LazyLock;

use super::bulk::insert_text;
use super::columns::{columns, get, push};
use super::driver::{Arguments, Pool, Row, failed, mark};
use crate::error::StoreError;
use crate::model::{Claimed, IDEMPOTENCY_DONE, IdempotencyRow};

const WHAT: &str = "idempotency key";

columns!(IdempotencyRow:
    workspace_id api_key_id key body_digest state owner created_at_ms expires_at_ms status
    content_type answer;
    json:);

/// Takes a key that is free or whose time is over, the number after the columns; touches no row
/// otherwise.
static CLAIM: LazyLock<String> = LazyLock::new(|| {
    let insert = insert_text("INSERT INTO idempotency", NAMES, 1);
    let set: Vec<_> = NAMES[3..]
        .iter()
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "{insert} ON CONFLICT (workspace_id, api_key_id, \"key\") DO UPDATE SET {} \
         WHERE idempotency.expires_at_ms <= {}",
        set.join(", "),
        mark(NAMES.len() + 1)
    )
});

/// How often a key may go away between the attempt to take it and the look at who has it.
const ATTEMPTS: usize = 8;

/// Which row: workspace, API key, key.
pub(super) type Name<'a> = [&'a str; 3];

/// One conditional statement claims: of any number of callers one finds the key free.
pub(super) async fn claim(
    pool: &Pool,
    row: &IdempotencyRow,
    now_ms: i64,
) -> Result<Claimed, StoreError> {
    for _attempt in 0..ATTEMPTS {
        if claimed(pool, row, now_ms).await? {
            return Ok(Claimed::Yours);
        }
        if let Some(found) = find(pool, row).await? {
            return Ok(taken(found, row));
        }
    }
    Err(StoreError::Unavailable("the key comes and goes".to_owned()))
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

async fn find(pool: &Pool, row: &IdempotencyRow) -> Result<Option<IdempotencyRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM idempotency WHERE workspace_id = $1 AND api_key_id = $2 AND \"key\" = $3",
    )
    .bind(&row.workspace_id)
    .bind(&row.api_key_id)
    .bind(&row.key)
    .fetch_optional(pool)
    .await
    .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

async fn claimed(pool: &Pool, row: &IdempotencyRow, now_ms: i64) -> Result<bool, StoreError> {
    let mut arguments = Arguments::default();
    bind(row, &mut arguments)?;
    push(&mut arguments, now_ms)?;
    let done = sqlx::query_with(CLAIM.as_str(), arguments)
        .execute(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(done.rows_affected() > 0)
}

/// Keeps the answer of a running request; does nothing when it runs no more.
pub(super) async fn finish(
    pool: &Pool,
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
    pool: &Pool,
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
