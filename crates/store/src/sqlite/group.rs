//! The one task that writes what requests wait for, on a connection of its own.
//!
//! A call of the driver wakes another thread and is woken by it, which costs more than a row. So
//! responses that wait at the same time are stored by one call, and the connection is kept: to
//! give it back costs a call too. The task never waits for more than is there, so that a lone
//! change is not delayed. Nobody fights for the write lock, which SQLite gives by trying again
//! after ever longer sleeps.

use std::sync::{Arc, LazyLock};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr, Sqlite};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::task::JoinSet;

use super::driver::{failed, put_responses};
use super::sql::bulk::ROWS;
use super::sql::columns::{json, push};
use super::sql::state::{self, NAMES};
use crate::error::StoreError;
use crate::model::ResponseRow;

/// Changes that may wait; who comes later waits for a place.
const QUEUE: usize = 256;
/// Changes that are taken at once.
const GROUP: usize = 64;

/// For each number of [`ROWS`] the text that stores so many responses.
static PUT: LazyLock<[SqlStr; ROWS.len()]> =
    LazyLock::new(|| ROWS.map(|rows| AssertSqlSafe(put_responses(NAMES, rows)).into_sql_str()));

/// What is done all or none.
pub(super) struct Change {
    text: SqlStr,
    arguments: SqliteArguments,
    /// What an error calls the row.
    what: &'static str,
}

impl Change {
    /// One statement.
    pub(super) fn one(text: SqlStr, arguments: SqliteArguments, what: &'static str) -> Self {
        Self {
            text,
            arguments,
            what,
        }
    }
}

/// A response on its way, with the keys of its items.
struct Put {
    row: ResponseRow,
    items: Vec<String>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

enum Job {
    Put(Box<Put>),
    /// The answer is the number of rows touched.
    Other(Change, oneshot::Sender<Result<u64, StoreError>>),
}

/// The way to the task that writes. The task ends with this value.
pub(super) struct Group {
    queue: mpsc::Sender<Job>,
    lane: Arc<Lane>,
    _writer: JoinSet<()>,
}

impl Group {
    /// Writes on a connection of this pool. `keep` when nobody else uses the pool.
    pub(super) fn start(pool: SqlitePool, keep: bool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let kept = Mutex::default();
        let lane = Arc::new(Lane { pool, keep, kept });
        let mut writer = JoinSet::new();
        writer.spawn(run(Arc::clone(&lane), jobs));
        Self {
            queue,
            lane,
            _writer: writer,
        }
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.lane.pool
    }

    /// The connection, once the task does not write. For other long writes: here whoever waits
    /// is woken in turn.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        self.lane.turn().await
    }

    /// Stores a response and the keys of its items. When the caller is dropped that may be done
    /// or not, but never by half.
    pub(super) async fn put(&self, row: ResponseRow, items: Vec<String>) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let put = Box::new(Put { row, items, done });
        self.send(Job::Put(put)).await?;
        answer.await.map_err(|_closed| gone())?
    }

    /// Makes a change, as [`Group::put`]; says how many rows it has touched.
    pub(super) async fn write(&self, change: Change) -> Result<u64, StoreError> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Other(change, done)).await?;
        answer.await.map_err(|_closed| gone())?
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        self.queue.send(job).await.map_err(|_closed| gone())
    }

    /// Closes the pool.
    pub(super) async fn close(&self) {
        self.lane.kept.lock().await.take();
        self.lane.pool.close().await;
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the writer has stopped".to_owned())
}

/// The connection that writes.
struct Lane {
    pool: SqlitePool,
    /// False in memory: there is one connection, which others want too.
    keep: bool,
    kept: Mutex<Option<PoolConnection<Sqlite>>>,
}

impl Lane {
    async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let mut kept = self.kept.lock().await;
        if kept.is_none() {
            *kept = Some(self.pool.acquire().await.map_err(failed("database"))?);
        }
        Ok(Turn {
            kept,
            keep: self.keep,
        })
    }
}

/// The connection, until this is dropped.
pub(super) struct Turn<'a> {
    kept: MutexGuard<'a, Option<PoolConnection<Sqlite>>>,
    keep: bool,
}

impl Turn<'_> {
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.kept.as_deref_mut().ok_or_else(gone)
    }

    /// Takes another connection next time: the pool finds out whether this one is broken.
    fn forget(&mut self) {
        self.kept.take();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.kept.take();
        }
    }
}

async fn run(lane: Arc<Lane>, mut jobs: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        // Whoever is ready to ask by now comes along.
        tokio::task::yield_now().await;
        while group.len() < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        write(&lane, &mut group).await;
    }
}

async fn write(lane: &Lane, group: &mut Vec<Job>) {
    let mut turn = lane.turn().await;
    let (mut puts, mut sound) = (Vec::with_capacity(group.len()), true);
    for job in group.drain(..) {
        match job {
            Job::Put(put) => puts.push(*put),
            Job::Other(change, done) => {
                let answer = match connection(&mut turn) {
                    Ok(connection) => execute(connection, &change).await,
                    Err(error) => Err(error),
                };
                sound &= !answer.as_ref().is_err_and(StoreError::is_transient);
                // Nobody may be waiting any more.
                let _gone = done.send(answer);
            }
        }
    }
    match connection(&mut turn) {
        Ok(connection) => sound &= put_all(connection, puts).await,
        Err(error) => refuse(puts, &error.to_string()),
    }
    if let Ok(turn) = &mut turn
        && !sound
    {
        turn.forget();
    }
}

fn connection<'a>(
    turn: &'a mut Result<Turn<'_>, StoreError>,
) -> Result<&'a mut SqliteConnection, StoreError> {
    match turn {
        Ok(turn) => turn.connection(),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}

async fn execute(connection: &mut SqliteConnection, change: &Change) -> Result<u64, StoreError> {
    // Values are shared by their clones, not copied.
    let arguments = change.arguments.clone();
    let done = sqlx::query_with(change.text.clone(), arguments)
        .execute(connection)
        .await
        .map_err(failed(change.what))?;
    Ok(done.rows_affected())
}

/// False when the database could not be used.
async fn put_all(connection: &mut SqliteConnection, mut puts: Vec<Put>) -> bool {
    let mut sound = true;
    for (rows, text) in ROWS.into_iter().zip(&*PUT) {
        while puts.len() >= rows {
            let later = puts.split_off(rows);
            sound &= put_together(connection, text, puts).await;
            puts = later;
        }
    }
    sound
}

/// One wrong response must not take the others with it. False when the database could not be used.
async fn put_together(connection: &mut SqliteConnection, text: &SqlStr, puts: Vec<Put>) -> bool {
    match put_rows(connection, text, &puts).await {
        Ok(()) => puts.into_iter().for_each(|put| tell(put, Ok(()))),
        // The responses are fine: no use in trying them singly.
        Err(StoreError::Unavailable(why)) => {
            refuse(puts, &why);
            return false;
        }
        Err(_one) => {
            let [.., single] = &*PUT;
            for put in puts {
                let answer = put_rows(connection, single, std::slice::from_ref(&put)).await;
                tell(put, answer);
            }
        }
    }
    true
}

fn refuse(puts: Vec<Put>, why: &str) {
    let answer = || Err(StoreError::Unavailable(why.to_owned()));
    puts.into_iter().for_each(|put| tell(put, answer()));
}

fn tell(put: Put, answer: Result<(), StoreError>) {
    // Nobody may be waiting any more.
    let _gone = put.done.send(answer);
}

async fn put_rows(
    connection: &mut SqliteConnection,
    text: &SqlStr,
    puts: &[Put],
) -> Result<(), StoreError> {
    let arguments = arguments(puts)?;
    let done = sqlx::query_with(text.clone(), arguments)
        .execute(&mut *connection)
        .await;
    if done.is_err() {
        // It may have failed before the transaction, or after.
        let _none = sqlx::raw_sql("ROLLBACK").execute(connection).await;
    }
    done.map(drop).map_err(failed(state::WHAT))
}

fn arguments(puts: &[Put]) -> Result<SqliteArguments, StoreError> {
    let mut out = SqliteArguments::default();
    for put in puts {
        state::bind(&put.row, &mut out)?;
    }
    for Put { row, items, .. } in puts {
        let items = json(items)?;
        [&row.workspace_id, &row.id, &items]
            .into_iter()
            .try_for_each(|value| push(&mut out, value))?;
    }
    Ok(out)
}
