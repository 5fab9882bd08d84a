//! Changes that their callers wait for: each by itself, the server orders them.

use std::sync::LazyLock;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _, SqlStr};

use super::driver::{self, Arguments, Database, Pool, failed};
use super::sql::state::{self, NAMES};
use crate::error::StoreError;
use crate::model::ResponseRow;

static PUT: LazyLock<SqlStr> =
    LazyLock::new(|| AssertSqlSafe(driver::put_response(NAMES)).into_sql_str());

/// One statement, done all or none.
pub(super) struct Change {
    text: SqlStr,
    arguments: Arguments,
    what: &'static str,
}

impl Change {
    /// One statement; `what` is what an error calls the row.
    pub(super) fn one(text: SqlStr, arguments: Arguments, what: &'static str) -> Self {
        Self {
            text,
            arguments,
            what,
        }
    }
}

/// The connections that write.
pub(super) struct Group(Pool);

impl Group {
    pub(super) fn start(pool: Pool) -> Self {
        Self(pool)
    }

    /// A connection for another long write.
    pub(super) async fn turn(&self) -> Result<Turn, StoreError> {
        self.0.acquire().await.map(Turn).map_err(failed("database"))
    }

    /// Stores a response and the keys of its items.
    pub(super) async fn put(&self, row: ResponseRow, items: Vec<String>) -> Result<(), StoreError> {
        let mut arguments = Arguments::default();
        state::bind(&row, &mut arguments)?;
        driver::push_items(&mut arguments, &items)?;
        let change = Change::one(PUT.clone(), arguments, state::WHAT);
        self.write(change).await.map(drop)
    }

    /// Makes a change; says how many rows it has touched.
    pub(super) async fn write(&self, change: Change) -> Result<u64, StoreError> {
        let done = sqlx::query_with(change.text, change.arguments)
            .execute(&self.0)
            .await
            .map_err(failed(change.what))?;
        Ok(done.rows_affected())
    }

    /// Closes the pool.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// A connection, until this is dropped.
pub(super) struct Turn(PoolConnection<Database>);

impl Turn {
    #[expect(clippy::unnecessary_wraps, reason = "in SQLite there may be none")]
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        Ok(&mut self.0)
    }
}
