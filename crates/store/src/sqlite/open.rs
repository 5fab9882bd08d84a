//! Opening a database: the file, the connections, the schema.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use tokio::time::{Instant, sleep};

use super::driver::failed;
use super::group::Group;
use super::sql::Backend;
use crate::error::StoreError;

/// How long a write waits for another process or connection that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts where SQLite itself does not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How long a call waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections per pool; readers do not block each other or the writer in WAL mode.
const CONNECTIONS: u32 = 4;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_LIMIT_BYTES: &str = "67108864";

/// The schema, oldest step first. The version of a database is the number of steps it has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_compact_log.sql"),
    include_str!("../../migrations/sqlite/0003_state.sql"),
    include_str!("../../migrations/sqlite/0004_configs.sql"),
    include_str!("../../migrations/sqlite/0005_processes.sql"),
    include_str!("../../migrations/sqlite/0006_exports.sql"),
];

pub(crate) async fn open(url: &str) -> Result<Backend, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Url(error.to_string()))?
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    if in_memory(url) {
        memory(options).await
    } else {
        file(options).await
    }
}

/// One connection, never closed: the database is gone with it.
async fn memory(options: SqliteConnectOptions) -> Result<Backend, StoreError> {
    let pool = pool(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(failed("database"))?;
    let mut connection = pool.acquire().await.map_err(failed("database"))?;
    migrate(&mut connection).await?;
    drop(connection);
    let writes = Group::start(pool.clone(), false);
    Ok(Backend::new(pool.clone(), pool, writes))
}

async fn file(options: SqliteConnectOptions) -> Result<Backend, StoreError> {
    make_private(options.get_filename())?;
    // Before the pools are opened: a connection that has read an older schema may meet rows
    // with other columns than the driver expects.
    let mut first = wal_connection(&options).await?;
    migrate(&mut first).await?;
    first.close().await.map_err(failed("database"))?;
    let options = options.pragma("journal_size_limit", WAL_LIMIT_BYTES);
    let relaxed = options.clone().synchronous(SqliteSynchronous::Normal);
    let keys = pool(CONNECTIONS)
        .connect_with(options)
        .await
        .map_err(failed("database"))?;
    let logs = pool(CONNECTIONS)
        .connect_with(relaxed.clone())
        .await
        .map_err(failed("database"))?;
    let writes = pool(1)
        .connect_with(relaxed)
        .await
        .map_err(failed("database"))?;
    Ok(Backend::new(keys, logs, Group::start(writes, true)))
}

/// WAL is a property of the file. Switching to it needs the file alone for a moment, and SQLite
/// does not wait for that by itself: two processes that start at once would disturb each other.
async fn wal_connection(options: &SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        let error = match SqliteConnection::connect_with(&options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed("database")(error),
        };
        if !error.is_transient() || Instant::now() > give_up {
            return Err(error);
        }
        sleep(BUSY_PAUSE).await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection is a file handle of ours: asking whether it is alive tells nothing.
        .test_before_acquire(false)
}

fn in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Makes the file with mode 0600 before SQLite would make it with the umask's; SQLite gives its
/// side files the same mode. Files that are there already are tightened.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_created) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            tighten(path);
            Ok(())
        }
        Err(source) => Err(StoreError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(unix)]
fn tighten(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        let Ok(found) = std::fs::metadata(&file) else {
            continue;
        };
        if found.permissions().mode() & 0o077 == 0 {
            continue;
        }
        let done = std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).is_ok();
        tracing::warn!(file = %file.display(), tightened = done, "others could read the database");
    }
}

#[cfg(not(unix))]
fn tighten(_path: &Path) {}

/// Brings the schema up to date in one transaction. It takes the write lock first, so that two
/// processes that start at once do not both do it.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = failed("schema");
    if steps_to_do(connection).await?.is_empty() {
        // Nothing to write: do not wait for somebody who is writing.
        return Ok(());
    }
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    for (version, step) in steps_to_do(&mut transaction).await? {
        sqlx::raw_sql(step)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        // The pragma takes no parameters; the number is ours.
        let text = AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::raw_sql(text)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}

/// The steps that this database has not seen, each with the version that it leads to.
async fn steps_to_do(
    connection: &mut SqliteConnection,
) -> Result<Vec<(usize, &'static str)>, StoreError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await
        .map_err(failed("schema"))?;
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(StoreError::NewerSchema {
            found,
            known: MIGRATIONS.len() as i64,
        });
    }
    let steps = MIGRATIONS.iter().enumerate().skip(done);
    Ok(steps
        .map(|(position, step)| (position + 1, *step))
        .collect())
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePool;

    use super::*;

    async fn pragma(pool: &SqlitePool, text: &'static str) -> String {
        let value = format!("SELECT CAST({text} AS TEXT) FROM pragma_{text}");
        sqlx::query_scalar(AssertSqlSafe(value))
            .fetch_one(pool)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn keys_are_synced_fully_and_logs_normally() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("x.db").display());
        let store = open(&url).await.unwrap();
        let writes = store.writes.pool();
        for (pool, synchronous) in [(&store.keys, "2"), (&store.logs, "1"), (writes, "1")] {
            assert_eq!(pragma(pool, "synchronous").await, synchronous);
            assert_eq!(pragma(pool, "journal_mode").await, "wal");
            assert_eq!(pragma(pool, "foreign_keys").await, "1");
            let timeout: i64 = sqlx::query_scalar("PRAGMA busy_timeout")
                .fetch_one(pool)
                .await
                .unwrap();
            assert_eq!(timeout, 5000);
        }
    }
}
