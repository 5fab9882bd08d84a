//! The store as its users see it: every backend by its URL, and what happens to the files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests outside of test functions"
)]

mod api_keys;
mod approvals;
mod configs;
mod crash;
mod exports;
mod files;
mod idempotency;
mod journal;
mod log_filter;
mod logs;
mod postgres;
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

/// A PostgreSQL database of one test, on the server that `PORTUNUS_TEST_POSTGRES` names by the URL
/// of one of its databases. A test that fails leaves it there.
pub(crate) struct PostgresDatabase {
    server: sqlx::PgPool,
    name: String,
    url: String,
}

impl PostgresDatabase {
    /// `None`, saying so, when there is no server to test with.
    #[expect(clippy::print_stdout, reason = "says that a test is skipped")]
    pub(crate) async fn new() -> Option<Self> {
        let Ok(server) = std::env::var("PORTUNUS_TEST_POSTGRES") else {
            println!("skipped: PORTUNUS_TEST_POSTGRES names no PostgreSQL");
            return None;
        };
        let name = portunus_store::new_id("portunus_test_").replace('-', "_");
        // The name of the database is the last part of the path.
        let (whole, query) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _database) = whole.rsplit_once('/').unwrap();
        let url = format!("{host}/{name}?{query}");
        let server = sqlx::PgPool::connect(&server).await.unwrap();
        let text = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(&server)
            .await
            .unwrap();
        Some(Self { server, name, url })
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        open(&self.url).await.unwrap()
    }

    /// The database as somebody with a SQL shell sees it.
    pub(crate) async fn raw(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.url).await.unwrap()
    }

    pub(crate) async fn remove(self) {
        let text = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(&self.server)
            .await
            .unwrap();
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

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let Some(database) = crate::PostgresDatabase::new().await else { return };
                let store = database.open().await;
                super::$name(&*store).await;
                store.close().await;
                database.remove().await;
            })+
        }
    };
}
pub(crate) use conformance;
