//! Changes that their callers wait for: each by itself, the server orders them.

use sqlx::SqlStr;

use super::driver::{Arguments, Pool, failed};
use crate::error::StoreError;

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

    /// The statement of [`super::driver::put_response`].
    pub(super) fn put_response(text: SqlStr, arguments: Arguments, what: &'static str) -> Self {
        Self::one(text, arguments, what)
    }
}

/// The connections that write.
pub(super) struct Group(Pool);

/// Nobody has to wait for another's long write.
pub(super) struct Turn;

impl Group {
    pub(super) fn start(pool: &Pool) -> Self {
        Self(pool.clone())
    }

    pub(super) async fn turn(&self) -> Turn {
        Turn
    }

    /// Makes a change; says how many rows it has touched.
    pub(super) async fn write(&self, change: Change) -> Result<u64, StoreError> {
        let done = sqlx::query_with(change.text, change.arguments)
            .execute(&self.0)
            .await
            .map_err(failed(change.what))?;
        Ok(done.rows_affected())
    }
}
