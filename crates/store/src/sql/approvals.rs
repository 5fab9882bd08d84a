//! Questions for approval: asked, decided, used once.

use sqlx::AssertSqlSafe;

use super::bulk::insert_text;
use super::columns::{columns, get, push};
use super::driver::{Arguments, Connection, Executor, Pool, Row, begin, failed, lock_approvals};
use crate::error::StoreError;
use crate::model::{
    APPROVAL_APPROVED, APPROVAL_DENIED, APPROVAL_EXPIRED, APPROVAL_PENDING, APPROVAL_USED,
    ApprovalRow, Decided, Listed, Page, Refusal, Used, now,
};

const WHAT: &str = "approval";

columns!(ApprovalRow:
    id workspace_id api_key_id response_id created_at_ms expires_at_ms server_label server_url
    server_digest tool tool_digest tool_definition arguments call_id state reason decided_at_ms
    decided_by used_at_ms;
    json:);

/// One statement for all rows: all or none without a transaction.
pub(super) async fn insert(pool: &Pool, rows: &[ApprovalRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::default();
    rows.iter().try_for_each(|row| bind(row, &mut arguments))?;
    let text = insert_text("INSERT INTO approvals", NAMES, rows.len());
    sqlx::query_with(AssertSqlSafe(text), arguments)
        .execute(pool)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

pub(super) async fn find(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
) -> Result<Option<ApprovalRow>, StoreError> {
    let row = stored(pool, workspace_id, id).await?;
    Ok(row.map(|row| row.at(now().as_millisecond())))
}

/// The newest row of a tool.
pub(super) async fn newest(
    pool: &Pool,
    workspace_id: &str,
    server_digest: &str,
    tool: &str,
) -> Result<Option<ApprovalRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM approvals WHERE workspace_id = $1 AND server_digest = $2 AND tool = $3 \
         ORDER BY created_at_ms DESC, id DESC LIMIT 1",
    )
    .bind(workspace_id)
    .bind(server_digest)
    .bind(tool)
    .fetch_optional(pool)
    .await
    .map_err(failed(WHAT))?;
    let row: Option<ApprovalRow> = row.as_ref().map(read).transpose()?;
    Ok(row.map(|row| row.at(now().as_millisecond())))
}

/// The row as it is stored: an expired one has the state that it had.
async fn stored(
    executor: impl Executor<'_>,
    workspace_id: &str,
    id: &str,
) -> Result<Option<ApprovalRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM approvals WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(executor)
        .await
        .map_err(failed(WHAT))?;
    row.as_ref().map(read).transpose()
}

/// The states as [`ApprovalRow::at`] shows them; `$2` is NULL for all.
macro_rules! in_state {
    ($select:literal) => {
        concat!(
            $select,
            " FROM approvals WHERE workspace_id = $1 AND ($2 IS NULL OR $2 = \
             CASE WHEN state <> 'used' AND expires_at_ms <= $3 THEN 'expired' ELSE state END)"
        )
    };
}

/// A page of those in a state, or of all, newest first.
pub(super) async fn list(
    pool: &Pool,
    workspace_id: &str,
    state: Option<&str>,
    page: Page,
) -> Result<Listed<ApprovalRow>, StoreError> {
    let now_ms = now().as_millisecond();
    let text = concat!(
        in_state!("SELECT *"),
        " ORDER BY created_at_ms DESC, id DESC LIMIT $4 OFFSET $5"
    );
    let rows = sqlx::query(text)
        .bind(workspace_id)
        .bind(state)
        .bind(now_ms)
        .bind(i64::from(page.limit))
        .bind(i64::from(page.offset))
        .fetch_all(pool)
        .await
        .map_err(failed(WHAT))?;
    let total = sqlx::query_scalar(in_state!("SELECT count(*)"))
        .bind(workspace_id)
        .bind(state)
        .bind(now_ms)
        .fetch_one(pool)
        .await
        .map_err(failed(WHAT))?;
    let shown = rows.iter().map(|row| Ok(read(row)?.at(now_ms)));
    Ok(Listed {
        rows: shown.collect::<Result<_, StoreError>>()?,
        total,
    })
}

/// A decision, not yet made.
pub(super) struct Decision<'a> {
    pub(super) approve: bool,
    pub(super) reason: Option<&'a str>,
    pub(super) by: &'a str,
    pub(super) now_ms: i64,
}

/// One conditional statement decides; the row is read only to say why it did not.
pub(super) async fn decide(
    pool: &Pool,
    workspace_id: &str,
    id: &str,
    decision: Decision<'_>,
) -> Result<Decided, StoreError> {
    let state = if decision.approve {
        APPROVAL_APPROVED
    } else {
        APPROVAL_DENIED
    };
    let done = sqlx::query(
        "UPDATE approvals SET state = $3, reason = $4, decided_by = $5, decided_at_ms = $6 \
         WHERE workspace_id = $1 AND id = $2 AND state = $7 AND expires_at_ms > $6",
    )
    .bind(workspace_id)
    .bind(id)
    .bind(state)
    .bind(decision.reason)
    .bind(decision.by)
    .bind(decision.now_ms)
    .bind(APPROVAL_PENDING)
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    if done.rows_affected() > 0 {
        return Ok(Decided::Done);
    }
    let row = stored(pool, workspace_id, id).await?;
    Ok(row.map_or(Decided::Missing, |row| {
        Decided::NotPending(row.at(decision.now_ms).state)
    }))
}

/// The transaction holds the rows before it reads them: of any number of callers one sees an
/// approval unused. It is rolled back by being dropped.
pub(super) async fn use_all(
    pool: &Pool,
    workspace_id: &str,
    ids: &[String],
    now_ms: i64,
) -> Result<Used, StoreError> {
    let failed = failed(WHAT);
    let mut transaction = begin(pool).await.map_err(&failed)?;
    lock_approvals(&mut transaction, workspace_id, ids)
        .await
        .map_err(&failed)?;
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        match use_one(&mut transaction, workspace_id, id, now_ms).await? {
            Ok(row) => rows.push(row),
            Err(why) => {
                let id = id.clone();
                return Ok(Used::Refused { id, why });
            }
        }
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(Used::Rows(rows))
}

async fn use_one(
    connection: &mut Connection,
    workspace_id: &str,
    id: &str,
    now_ms: i64,
) -> Result<Result<ApprovalRow, Refusal>, StoreError> {
    let row = stored(&mut *connection, workspace_id, id).await?;
    let row = match usable(row, now_ms) {
        Ok(row) => row,
        Err(why) => return Ok(Err(why)),
    };
    sqlx::query(
        "UPDATE approvals SET state = 'used', used_at_ms = $3 WHERE workspace_id = $1 AND id = $2",
    )
    .bind(workspace_id)
    .bind(id)
    .bind(now_ms)
    .execute(connection)
    .await
    .map_err(failed(WHAT))?;
    Ok(Ok(row))
}

fn usable(row: Option<ApprovalRow>, now_ms: i64) -> Result<ApprovalRow, Refusal> {
    let row = row.ok_or(Refusal::Missing)?.at(now_ms);
    match row.state.as_str() {
        APPROVAL_USED => Err(Refusal::AlreadyUsed),
        APPROVAL_EXPIRED => Err(Refusal::Expired),
        _ => Ok(row),
    }
}
