//! What the shared queries need to know of SQLite.

use sqlx::error::BoxDynError;
use sqlx::{Arguments as _, Connection as _, Decode, Encode, Error, Row as _, Type};

pub(super) use sqlx::Sqlite as Database;
pub(super) use sqlx::SqliteConnection as Connection;
pub(super) use sqlx::SqliteExecutor as Executor;
pub(super) use sqlx::sqlite::{
    SqliteArguments as Arguments, SqlitePool as Pool, SqliteRow as Row,
    SqliteTransaction as Transaction,
};

use super::sql::bulk::insert_text;
use crate::error::StoreError;

/// What tells two rows of a table apart.
pub(super) const ROW: &str = "rowid";
/// The time, Unix milliseconds, by the clock that all users of the database share.
pub(super) const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";
/// What tells in which order calls were noted.
pub(super) const NOTED: &str = "rowid";

/// Primary result codes of SQLite after which the same call may work later:
/// BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN.
const TRANSIENT: [i32; 7] = [5, 6, 7, 8, 10, 13, 14];

/// Turns an error of the driver into ours; `what` names the kind of row.
pub(super) fn failed(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| match &error {
        Error::Database(cause) if cause.is_unique_violation() => StoreError::Conflict(what),
        Error::Database(cause) if cause.is_foreign_key_violation() => StoreError::NoParent(what),
        Error::Database(cause) => {
            // The extended code holds the primary one in its low byte.
            let code = cause
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .map(|code| code & 255);
            if code.is_some_and(|code| TRANSIENT.contains(&code)) {
                return StoreError::Unavailable(cause.to_string());
            }
            StoreError::Database(Box::new(error))
        }
        Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::Io(_) => {
            StoreError::Unavailable(error.to_string())
        }
        _ => StoreError::Database(Box::new(error)),
    }
}

/// A transaction that has the only write lock from its start.
pub(super) async fn begin(pool: &Pool) -> Result<Transaction<'static>, Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

/// [`begin`] on a connection at hand.
pub(super) async fn begin_on(
    connection: &mut Connection,
) -> Result<sqlx::Transaction<'_, Database>, Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}

/// [`begin`] has locked them all.
pub(super) async fn lock_approvals(
    _transaction: &mut Connection,
    _workspace_id: &str,
    _ids: &[String],
) -> Result<(), Error> {
    Ok(())
}

/// The place of a bound value; they are bound in order.
pub(super) fn mark(_position: usize) -> String {
    "?".to_owned()
}

/// The text that stores so many responses of these columns, and then for each of them its
/// workspace, its id and the JSON list of its items: all or none, in one call of the driver.
/// REPLACE removes a former row first, and with it the index of its items.
pub(super) fn put_responses(names: &[&str], rows: usize) -> String {
    let replace = insert_text("REPLACE INTO responses", names, rows);
    let items = vec!["(?, ?, ?)"; rows].join(", ");
    format!(
        "BEGIN IMMEDIATE; {replace}; \
         INSERT INTO response_items (workspace_id, item_id, response_id) \
         SELECT DISTINCT v.column1, e.value, v.column2 \
         FROM (VALUES {items}) AS v, json_each(v.column3) AS e; COMMIT"
    )
}

/// A value that can be bound.
pub(super) trait Bound {
    fn add_to(self, out: &mut Arguments) -> Result<(), BoxDynError>;
}

impl<'t, T: Encode<'t, Database> + Type<Database>> Bound for T {
    fn add_to(self, out: &mut Arguments) -> Result<(), BoxDynError> {
        out.add(self)
    }
}

/// A value that can be read.
pub(super) trait Readable<'r>: Sized {
    fn read(row: &'r Row, column: &str) -> Result<Self, Error>;
}

impl<'r, T: Decode<'r, Database> + Type<Database>> Readable<'r> for T {
    fn read(row: &'r Row, column: &str) -> Result<Self, Error> {
        row.try_get(column)
    }
}
