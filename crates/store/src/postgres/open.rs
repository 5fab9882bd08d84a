//! Opening a database: the connections, the schema.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::driver::failed;
use super::group::Group;
use super::sql::Backend;
use crate::error::StoreError;

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for what is on disk before a call returns.
const KEY_CONNECTIONS: u32 = 4;
/// Connections for everything else.
const LOG_CONNECTIONS: u32 = 6;
/// What the server holds us to, in milliseconds: one statement, one wait for a lock, one pause
/// within a transaction.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "15000"),
    ("lock_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "15000"),
];
/// Whoever migrates holds this advisory lock; the number is "portunus" in ASCII.
const MIGRATION_LOCK: i64 = 0x706f_7274_756e_7573;

/// The schema, oldest step first. The version of a database is the number of steps it has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_init.sql"),
    include_str!("../../migrations/postgres/0002_configs.sql"),
    include_str!("../../migrations/postgres/0003_processes.sql"),
    include_str!("../../migrations/postgres/0004_exports.sql"),
];

pub(crate) async fn open(url: &str) -> Result<Backend, StoreError> {
    let options = PgConnectOptions::from_str(url)
        // The driver's reason may quote a part of the URL, and with it the password.
        .map_err(|_cause| StoreError::Url("it cannot be read".to_owned()))?
        .application_name("portunus");
    let mut first = first_connection(&options).await?;
    migrate(&mut first).await?;
    first.close().await.map_err(failed("database"))?;
    let options = options.options(LIMITS);
    let keys = pool(KEY_CONNECTIONS, &options, "on").await?;
    let logs = pool(LOG_CONNECTIONS, &options, "off").await?;
    Ok(Backend::new(keys, logs.clone(), Group::start(logs)))
}

/// What may be shown of a URL: the driver's reading of it, but the password.
pub(crate) fn shown(scheme: &str, url: &str) -> String {
    let Ok(options) = PgConnectOptions::from_str(url) else {
        return format!("{scheme}:…");
    };
    let (user, port) = (options.get_username(), options.get_port());
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let name = options.get_database().unwrap_or(user);
    format!("{scheme}://{user}@{host}:{port}/{name}")
}

/// A pool would try for long and forget why it failed.
async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connecting = PgConnection::connect_with(options);
    let connected = timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_elapsed| StoreError::Unavailable("PostgreSQL does not answer".to_owned()))?;
    connected.map_err(failed("database"))
}

async fn pool(
    connections: u32,
    options: &PgConnectOptions,
    synchronous: &str,
) -> Result<PgPool, StoreError> {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(
            options
                .clone()
                .options([("synchronous_commit", synchronous)]),
        )
        .await
        .map_err(failed("database"))
}

/// Brings the schema up to date in one transaction. Processes that start at once wait for each
/// other.
async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let failed = failed("schema");
    let mut transaction = connection.begin().await.map_err(&failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let done = version(&mut transaction).await?;
    for step in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(*step)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    if done < MIGRATIONS.len() {
        sqlx::query("UPDATE portunus_schema SET version = $1")
            .bind(MIGRATIONS.len() as i64)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}

/// How many steps this database has seen. The first one makes the table that tells.
async fn version(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let failed = failed("schema");
    let known: bool = sqlx::query_scalar("SELECT to_regclass('portunus_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(&failed)?;
    if !known {
        return Ok(0);
    }
    let found: i64 = sqlx::query_scalar("SELECT version FROM portunus_schema")
        .fetch_one(connection)
        .await
        .map_err(&failed)?;
    match usize::try_from(found) {
        Ok(done) if done <= MIGRATIONS.len() => Ok(done),
        _ => Err(StoreError::NewerSchema {
            found,
            known: MIGRATIONS.len() as i64,
        }),
    }
}
