//! What the shared queries need to know of PostgreSQL.

use std::borrow::Cow;

use sqlx::error::BoxDynError;
use sqlx::{Arguments as _, Connection as _, Error, Row as _};

pub(super) use sqlx::PgConnection as Connection;
pub(super) use sqlx::PgExecutor as Executor;
pub(super) use sqlx::PgTransaction as Transaction;
pub(super) use sqlx::Postgres as Database;
pub(super) use sqlx::postgres::{PgArguments as Arguments, PgPool as Pool, PgRow as Row};

use super::sql::bulk::insert_text;
use crate::error::StoreError;

/// What tells two rows of a table apart.
pub(super) const ROW: &str = "ctid";
/// The time, Unix milliseconds, by the clock that all users of the database share.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// What tells in which order calls were noted.
pub(super) const NOTED: &str = "noted";

/// Beginnings of SQLSTATE codes after which the same call may work later: connection lost, out
/// of resources, too slow, shutting down or starting, read-only (a standby), locked, rolled back
/// in favour of another transaction.
const TRANSIENT: [&str; 7] = ["08", "53", "57", "25006", "55P03", "40001", "40P01"];

/// Turns an error of the driver into ours; `what` names the kind of row. The server's details,
/// which may hold values, are left out.
pub(super) fn failed(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| match &error {
        Error::Database(cause) if cause.is_unique_violation() => StoreError::Conflict(what),
        Error::Database(cause) if cause.is_foreign_key_violation() => StoreError::NoParent(what),
        Error::Database(cause) => {
            let code = cause.code().unwrap_or_default();
            let text = format!("{} (SQLSTATE {code})", cause.message());
            match TRANSIENT.iter().any(|begin| code.starts_with(begin)) {
                true => StoreError::Unavailable(text),
                false => StoreError::Database(text.into()),
            }
        }
        Error::PoolTimedOut => StoreError::Unavailable(
            "no connection to PostgreSQL was free or could be made in time".to_owned(),
        ),
        Error::PoolClosed | Error::WorkerCrashed | Error::Io(_) | Error::Tls(_) => {
            StoreError::Unavailable(error.to_string())
        }
        _ => StoreError::Database(Box::new(error)),
    }
}

/// A transaction that sees what others commit: what it decides on, it locks first.
pub(super) async fn begin(pool: &Pool) -> Result<Transaction<'static>, Error> {
    pool.begin().await
}

/// [`begin`] on a connection at hand.
pub(super) async fn begin_on(
    connection: &mut Connection,
) -> Result<sqlx::Transaction<'_, Database>, Error> {
    connection.begin().await
}

/// Keeps these approvals from others until the transaction ends. Everybody locks in the same
/// order, so that nobody waits in a circle.
pub(super) async fn lock_approvals(
    transaction: &mut Connection,
    workspace_id: &str,
    ids: &[String],
) -> Result<(), Error> {
    sqlx::query(
        "SELECT 1 FROM approvals WHERE workspace_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE",
    )
    .bind(workspace_id)
    .bind(ids)
    .execute(transaction)
    .await?;
    Ok(())
}

/// The place of a bound value.
pub(super) fn mark(position: usize) -> String {
    format!("${position}")
}

/// The text that stores a response of these columns, the first two of which are id and
/// workspace, and its items from [`push_items`].
pub(super) fn put_response(names: &[&str]) -> String {
    let insert = insert_text("INSERT INTO responses", names, 1);
    let items = names.len() + 1;
    let set: Vec<_> = names[2..]
        .iter()
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "WITH stored AS ({insert} ON CONFLICT (workspace_id, id) DO UPDATE SET {}), \
         gone AS (DELETE FROM response_items \
         WHERE workspace_id = $2 AND response_id = $1 AND item_id <> ALL (${items})) \
         INSERT INTO response_items (workspace_id, item_id, response_id) \
         SELECT DISTINCT $2, item, $1 FROM unnest(${items}) AS item ON CONFLICT DO NOTHING",
        set.join(", ")
    )
}

/// Adds ids of items as one value. One that cannot be stored cannot be asked for either.
pub(super) fn push_items(out: &mut Arguments, ids: &[String]) -> Result<(), StoreError> {
    let ids: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|id| !id.contains('\0'))
        .collect();
    out.add(ids).map_err(StoreError::Database)
}

/// PostgreSQL keeps no NUL in a text: the replacement character stands for it.
fn text(value: &str) -> Cow<'_, str> {
    match value.contains('\0') {
        true => Cow::Owned(value.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(value),
    }
}

/// A value that can be bound.
pub(super) trait Bound {
    fn add_to(self, out: &mut Arguments) -> Result<(), BoxDynError>;
}

macro_rules! bound {
    ($($type:ty: $value:ident => $bound:expr;)+) => {
        $(impl Bound for $type {
            fn add_to(self, out: &mut Arguments) -> Result<(), BoxDynError> {
                let $value = self;
                out.add($bound)
            }
        })+
    };
}

bound! {
    &str: value => text(value);
    String: value => text(&value);
    &String: value => text(value);
    Option<&str>: value => value.map(text);
    &Option<String>: value => value.as_deref().map(text);
    i64: value => value;
    &i64: value => value;
    &Option<i64>: value => value;
    &bool: value => value;
    &u16: value => i64::from(*value);
}

/// A value that can be read.
pub(super) trait Readable<'r>: Sized {
    fn read(row: &'r Row, column: &str) -> Result<Self, Error>;
}

macro_rules! readable {
    ($($type:ty)+) => {
        $(impl<'r> Readable<'r> for $type {
            fn read(row: &'r Row, column: &str) -> Result<Self, Error> {
                row.try_get(column)
            }
        })+
    };
}

readable!(&'r str String Option<String> Vec<u8> Option<Vec<u8>> i64 Option<i64> bool);

/// There is no unsigned column.
impl Readable<'_> for u16 {
    fn read(row: &Row, column: &str) -> Result<Self, Error> {
        let value: i64 = row.try_get(column)?;
        value
            .try_into()
            .map_err(|error| Error::Decode(Box::new(error)))
    }
}
