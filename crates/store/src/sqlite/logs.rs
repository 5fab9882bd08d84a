//! The request log.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::columns::{Columns, failed, get};
use super::log_filter::push_where;
use crate::error::StoreError;
use crate::model::{LogDetail, LogFilter, LogRecord, LogSummary, RequestRow};

const WHAT: &str = "log";

/// Columns that the list leaves out.
const BODIES: [&str; 2] = ["request_body", "response_body"];

const BY_INDEX: &str = " ORDER BY \"index\"";
const BY_TURN: &str = " ORDER BY turn, \"index\"";

pub(super) async fn insert(pool: &SqlitePool, records: &[LogRecord]) -> Result<(), StoreError> {
    let mut transaction = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed(WHAT))?;
    for record in records {
        insert_record(&mut transaction, record).await?;
    }
    transaction.commit().await.map_err(failed(WHAT))
}

async fn insert_record(
    connection: &mut SqliteConnection,
    record: &LogRecord,
) -> Result<(), StoreError> {
    let request = &record.request;
    insert_row(connection, "requests", None, request).await?;
    let owner = Some((request.workspace_id.as_str(), request.id.as_str()));
    for row in &record.attempts {
        insert_row(connection, "attempts", owner, row).await?;
    }
    for row in &record.turns {
        insert_row(connection, "turns", owner, row).await?;
    }
    for row in &record.tool_lists {
        insert_row(connection, "tool_lists", owner, row).await?;
    }
    for row in &record.tool_calls {
        insert_row(connection, "tool_calls", owner, row).await?;
    }
    Ok(())
}

/// `owner` is the workspace and log that a part of a log belongs to.
async fn insert_row<T: Columns>(
    connection: &mut SqliteConnection,
    table: &'static str,
    owner: Option<(&str, &str)>,
    row: &T,
) -> Result<(), StoreError> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO ");
    query.push(table).push(" (");
    if owner.is_some() {
        query.push("workspace_id, log_id, ");
    }
    push_names::<T>(&mut query, &[]);
    query.push(") VALUES (");
    let mut values = query.separated(", ");
    if let Some((workspace_id, log_id)) = owner {
        values.push_bind(workspace_id).push_bind(log_id);
    }
    row.bind(&mut values)?;
    query.push(")");
    query
        .build()
        .execute(connection)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

/// The columns of a row, quoted (`index` is a word of SQL); `without` are read as NULL.
fn push_names<T: Columns>(query: &mut QueryBuilder<Sqlite>, without: &[&str]) {
    let mut names = query.separated(", ");
    for name in T::NAMES {
        let null = if without.contains(name) {
            "NULL AS "
        } else {
            ""
        };
        names
            .push(null)
            .push_unseparated("\"")
            .push_unseparated(name)
            .push_unseparated("\"");
    }
}

pub(super) async fn list(
    pool: &SqlitePool,
    workspace_id: &str,
    filter: &LogFilter,
    limit: u32,
    after: Option<&str>,
) -> Result<(Vec<LogSummary>, bool), StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    push_names::<RequestRow>(&mut query, &BODIES);
    query.push(
        ", (SELECT count(*) FROM tool_lists AS l WHERE l.workspace_id = r.workspace_id \
         AND l.log_id = r.id) AS tool_lists FROM requests AS r",
    );
    push_where(&mut query, workspace_id, filter);
    if let Some(after) = after {
        let created_at_ms = cursor_time(pool, workspace_id, after).await?;
        query
            .push(" AND (r.created_at_ms, r.id) < (")
            .push_bind(created_at_ms);
        query.push(", ").push_bind(after).push(")");
    }
    query.push(" ORDER BY r.created_at_ms DESC, r.id DESC LIMIT ");
    query.push_bind(i64::from(limit) + 1);
    // Filters make many texts: keep them out of the cache of prepared statements.
    let rows = query
        .build()
        .persistent(false)
        .fetch_all(pool)
        .await
        .map_err(failed(WHAT))?;
    let limit = limit as usize;
    let page = rows
        .iter()
        .take(limit)
        .map(read_summary)
        .collect::<Result<_, _>>()?;
    Ok((page, rows.len() > limit))
}

async fn cursor_time(pool: &SqlitePool, workspace_id: &str, id: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT created_at_ms FROM requests WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(failed(WHAT))?
        .ok_or(StoreError::UnknownCursor)
}

fn read_summary(row: &SqliteRow) -> Result<LogSummary, StoreError> {
    Ok(LogSummary {
        request: RequestRow::read(row)?,
        tool_lists: get(row, "tool_lists")?,
    })
}

pub(super) async fn find(
    pool: &SqlitePool,
    workspace_id: &str,
    id: &str,
) -> Result<Option<LogDetail>, StoreError> {
    // One transaction: a log that is pruned meanwhile is whole or missing.
    let mut transaction = pool.begin().await.map_err(failed(WHAT))?;
    let row = sqlx::query("SELECT * FROM requests WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed(WHAT))?;
    let Some(row) = row else { return Ok(None) };
    let owner = (workspace_id, id);
    Ok(Some(LogDetail {
        request: RequestRow::read(&row)?,
        attempts: parts(&mut transaction, "attempts", BY_TURN, owner).await?,
        turns: parts(&mut transaction, "turns", BY_INDEX, owner).await?,
        tool_lists: parts(&mut transaction, "tool_lists", BY_INDEX, owner).await?,
        tool_calls: parts(&mut transaction, "tool_calls", BY_TURN, owner).await?,
    }))
}

async fn parts<T: Columns>(
    connection: &mut SqliteConnection,
    table: &'static str,
    order: &'static str,
    (workspace_id, log_id): (&str, &str),
) -> Result<Vec<T>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    push_names::<T>(&mut query, &[]);
    query.push(" FROM ").push(table);
    query.push(" WHERE workspace_id = ").push_bind(workspace_id);
    query.push(" AND log_id = ").push_bind(log_id).push(order);
    let rows = query
        .build()
        .fetch_all(connection)
        .await
        .map_err(failed(WHAT))?;
    rows.iter().map(T::read).collect()
}

pub(super) async fn count(
    pool: &SqlitePool,
    workspace_id: &str,
    filter: &LogFilter,
) -> Result<i64, StoreError> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM requests AS r");
    push_where(&mut query, workspace_id, filter);
    query
        .build_query_scalar()
        .persistent(false)
        .fetch_one(pool)
        .await
        .map_err(failed(WHAT))
}

pub(super) async fn prune(
    pool: &SqlitePool,
    workspace_id: &str,
    before_ms: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM requests WHERE workspace_id = $1 AND id IN (SELECT id FROM requests \
         WHERE workspace_id = $1 AND created_at_ms < $2 ORDER BY created_at_ms, id LIMIT $3)",
    )
    .bind(workspace_id)
    .bind(before_ms)
    .bind(i64::from(limit))
    .execute(pool)
    .await
    .map_err(failed(WHAT))?;
    Ok(done.rows_affected())
}
