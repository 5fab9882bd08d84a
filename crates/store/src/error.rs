//! What can go wrong with the store.

use std::path::PathBuf;

/// Why the store did not do what it was asked. No text holds a bound value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database URL cannot be used.
    #[error(
        "database URL: {0}; expected sqlite:///path/portunus.db, sqlite::memory: or \
         postgres://user@host/name"
    )]
    Url(String),
    /// The database file cannot be made or read.
    #[error("database file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A newer Portunus has written this database.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: \
         start the newer Portunus that wrote it, or restore a backup made before the upgrade"
    )]
    NewerSchema {
        /// Version in the database.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// A row with this name or id exists already, or was changed meanwhile.
    #[error("{0} exists already or was changed meanwhile")]
    Conflict(&'static str),
    /// A row that the new one belongs to does not exist.
    #[error("{0} belongs to a workspace or row that does not exist")]
    NoParent(&'static str),
    /// `after` names no log of this workspace.
    #[error("`after` names no log of this workspace")]
    UnknownCursor,
    /// A stored value cannot be read.
    #[error("column {column} holds a value that cannot be read: {reason}")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// Why.
        reason: String,
    },
    /// The database is locked, full, gone or too slow; the same call may work later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Anything else that the database says.
    #[error("database: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// True when the same call may work later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
