//! The store as its users see it: every backend by its URL, and what happens to the files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests outside of test functions"
)]

mod api_keys;
mod approvals;
mod crash;
mod files;
mod idempotency;
mod journal;
mod log_filter;
mod logs;
mod responses;
mod rows;
mod state_rows;
mod tampering;
mod unlocking;
mod virtual_keys;

use std::path::PathBuf;
use std::sync::Arc;

use portunus_store::{Store, open};
use tempfile::TempDir;

/// A database file that goes away with this value.
pub(crate) struct TempDatabase {
    folder: TempDir,
}

impl TempDatabase {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("portunus.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        open(&self.url()).await.unwrap()
    }

    /// The file as somebody with a SQL shell sees it.
    pub(crate) async fn raw(&self) -> sqlx::SqlitePool {
        sqlx::SqlitePool::connect(&self.url()).await.unwrap()
    }
}

/// Runs each named function over every backend.
macro_rules! conformance {
    ($($name:ident)+) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                let store = portunus_store::open("sqlite::memory:").await.unwrap();
                super::$name(&*store).await;
            })+
        }

        mod file {
            $(#[tokio::test]
            async fn $name() {
                let database = crate::TempDatabase::new();
                let store = database.open().await;
                super::$name(&*store).await;
            })+
        }
    };
}
pub(crate) use conformance;
