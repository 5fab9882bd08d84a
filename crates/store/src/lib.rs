//! What Portunus remembers: SQL, the vault and keys. Nobody else knows SQL or opens secrets.
//!
//! [`open`] gives a [`Store`] for a URL. Rows are in [`model`]; payloads are opaque JSON, no
//! protocol type is known here. Every row belongs to a workspace and every query names it, so
//! that a foreign id looks like one that does not exist. Only what tidies up (`prune_…`,
//! `journal_sweep`) goes over all workspaces.
//!
//! Two classes of durability: keys, vault, workspaces, approvals and idempotency keys are on disk
//! before a call returns (SQLite `synchronous=FULL`); logs, responses and the journal of tool
//! calls are group-committed in WAL (`NORMAL`): they survive the death of the process, not always
//! that of the machine. A response or a journal row is there when its call returns; a log is
//! written later.

pub mod api_key;
mod error;
pub mod log_writer;
pub mod model;
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
/// `sqlite::memory:` lives as long as the returned value.
///
/// # Errors
/// [`StoreError::Url`] for another scheme, [`StoreError::NewerSchema`] when a newer Portunus has
/// written the database, [`StoreError::File`] and [`StoreError::Database`] when it cannot be used.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", _)) => Ok(Arc::new(sqlite::Sqlite::open(url).await?)),
        Some((scheme @ ("postgres" | "postgresql"), _)) => Err(StoreError::Url(format!(
            "{scheme} is not built into this version"
        ))),
        _ => Err(StoreError::Url("unknown scheme".to_owned())),
    }
}
