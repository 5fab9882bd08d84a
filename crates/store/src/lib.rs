//! What Portunus remembers: SQL, the vault and keys. Nobody else knows SQL or opens secrets.
//!
//! [`open`] gives a [`Store`] for a URL. Rows are in [`model`]; payloads are opaque JSON, no
//! protocol type is known here. Every row belongs to a workspace and every query names it, so
//! that a foreign id looks like one that does not exist. Only what tidies up (`prune_…`,
//! `journal_sweep`) goes over all workspaces.
//!
//! Two classes of durability: keys, vault, workspaces, approvals and idempotency keys are on disk
//! before a call returns (SQLite `synchronous=FULL`, PostgreSQL `synchronous_commit=on`); logs, responses and the journal of tool
//! calls are group-committed in WAL (`NORMAL`, `off`): they survive the death of the process, not always
//! that of the machine. A response or a journal row is there when its call returns; a log is
//! written later.

pub mod api_key;
mod error;
pub mod log_writer;
pub mod model;
mod postgres;
mod sqlite;
mod store;
mod unlock;
pub mod vault;

use std::sync::Arc;

pub use error::StoreError;
pub use model::*;
pub use store::{BoxFuture, Store};
pub use unlock::{PEPPER, Pepper, Resealed, UnlockError, Unlocked, reseal, sealed_by, unlock};

/// Opens the database that `url` names, makes it when it is missing, and migrates it.
///
/// `sqlite:///path/portunus.db` is a file (made with mode 0600; its folder must exist);
/// `sqlite::memory:` lives as long as the returned value. `postgres://user@host/name` is a
/// database of a PostgreSQL server, which must exist; many processes may share it. The usual
/// `PG…` variables and `~/.pgpass` fill in what the URL leaves out.
///
/// # Errors
/// [`StoreError::Url`] for another scheme, [`StoreError::NewerSchema`] when a newer Portunus has
/// written the database, [`StoreError::File`] and [`StoreError::Database`] when it cannot be used.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", _)) => Ok(Arc::new(sqlite::open(url).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(postgres::open(url).await?)),
        _ => Err(StoreError::Url("unknown scheme".to_owned())),
    }
}

/// The URL of a database as it may be shown: without password, and without what cannot be told
/// from one.
#[must_use]
pub fn shown(url: &str) -> String {
    match url.split_once(':') {
        Some(("sqlite", _)) | None => url.to_owned(),
        Some((scheme @ ("postgres" | "postgresql"), _)) => postgres::shown(scheme, url),
        Some((scheme, _)) => format!("{scheme}:…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, text) in [
            ("sqlite:///x/portunus.db", "sqlite:///x/portunus.db"),
            ("portunus.db", "portunus.db"),
            ("mysql://root:canary@h/x", "mysql:…"),
            (
                "postgres://me:canary@db.example:6432/x",
                "postgres://me@db.example:6432/x",
            ),
            (
                "postgresql://me@h/x?password=canary",
                "postgresql://me@h:5432/x",
            ),
            (
                "postgres://me@h/x?password=a@canary",
                "postgres://me@h:5432/x",
            ),
            ("postgres://me:can/ary@h/x", "postgres:…"),
        ] {
            assert_eq!(shown(url), text);
        }
    }

    #[tokio::test]
    async fn no_error_shows_a_password() {
        for url in [
            "postgres://me:can/ary@h/x",
            "postgres://me:canary@127.0.0.1:1/x",
        ] {
            let error = open(url).await.err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("ary"), "{text}");
        }
    }
}
