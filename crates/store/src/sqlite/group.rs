//! Group commit: changes that wait at the same time share a transaction.
//!
//! One task writes, and it never waits for more: what has come while it wrote is the next group.
//! So a lone change is not delayed, and many at once cost one commit and do not fight for the
//! write lock, which SQLite gives by trying again after ever longer sleeps.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqlitePool};
use sqlx::{SqlStr, SqliteExecutor};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::task::JoinSet;

use super::driver::failed;
use crate::error::StoreError;

/// Changes that may wait; who comes later waits for a place.
const QUEUE: usize = 256;
/// Changes of one transaction.
const GROUP: usize = 64;

/// What is done all or none.
pub(super) struct Change {
    /// One statement or several.
    text: SqlStr,
    arguments: SqliteArguments,
    size: Size,
    /// What an error calls the row.
    what: &'static str,
}

impl Change {
    /// One statement.
    pub(super) fn one(text: SqlStr, arguments: SqliteArguments, what: &'static str) -> Self {
        Self {
            text,
            arguments,
            size: Size::One,
            what,
        }
    }

    /// The statements of [`super::driver::put_response`].
    pub(super) fn put_response(
        text: SqlStr,
        arguments: SqliteArguments,
        what: &'static str,
    ) -> Self {
        Self {
            size: Size::Several,
            ..Self::one(text, arguments, what)
        }
    }
}

/// How many statements a text has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// All or none by itself.
    One,
    /// All or none in a transaction only.
    Several,
}

/// Number of rows touched.
type Answer = Result<u64, StoreError>;

struct Job {
    change: Change,
    done: oneshot::Sender<Answer>,
}

/// The way to the task that writes. The task ends with this value.
pub(super) struct Group {
    queue: mpsc::Sender<Job>,
    turn: Arc<Mutex<()>>,
    _writer: JoinSet<()>,
}

impl Group {
    pub(super) fn start(pool: &SqlitePool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let turn = Arc::new(Mutex::new(()));
        let mut writer = JoinSet::new();
        writer.spawn(run(pool.clone(), jobs, Arc::clone(&turn)));
        Self {
            queue,
            turn,
            _writer: writer,
        }
    }

    /// Waits until the task does not write, and keeps it from writing. For other long writes:
    /// here whoever waits is woken in turn.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Makes a change; says how many rows it has touched. When the caller is dropped the change
    /// may be made or not, but never by half.
    pub(super) async fn write(&self, change: Change) -> Answer {
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let (done, answer) = oneshot::channel();
        let sent = self.queue.send(Job { change, done }).await;
        sent.map_err(|_closed| gone())?;
        answer.await.map_err(|_closed| gone())?
    }
}

async fn run(pool: SqlitePool, mut jobs: mpsc::Receiver<Job>, turn: Arc<Mutex<()>>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let _turn = turn.lock().await;
        if group.len() == 1 || !written_together(&pool, &mut group).await {
            write_singly(&pool, &mut group).await;
        }
    }
}

/// Answers all of the group, or says that one change is wrong and none is made.
async fn written_together(pool: &SqlitePool, group: &mut Vec<Job>) -> bool {
    match together(pool, group).await {
        Ok(answers) => {
            let told = group.drain(..).zip(answers);
            told.for_each(|(job, touched)| tell(job, Ok(touched)));
            true
        }
        // The changes are fine: no use in trying them singly.
        Err(StoreError::Unavailable(why)) => {
            let told = group.drain(..);
            told.for_each(|job| tell(job, Err(StoreError::Unavailable(why.clone()))));
            true
        }
        Err(_one) => false,
    }
}

/// One wrong change must not take the others of its group with it.
async fn write_singly(pool: &SqlitePool, group: &mut Vec<Job>) {
    for job in group.drain(..) {
        let answer = match job.change.size {
            Size::One => execute(pool, &job.change).await,
            Size::Several => alone(pool, &job.change).await,
        };
        tell(job, answer);
    }
}

fn tell(job: Job, answer: Answer) {
    // Nobody may be waiting any more.
    let _gone = job.done.send(answer);
}

async fn together(pool: &SqlitePool, group: &[Job]) -> Result<Vec<u64>, StoreError> {
    let failed = failed("group");
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let mut answers = Vec::with_capacity(group.len());
    for job in group {
        answers.push(execute(&mut *transaction, &job.change).await?);
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(answers)
}

async fn alone(pool: &SqlitePool, change: &Change) -> Answer {
    let failed = failed(change.what);
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let touched = execute(&mut *transaction, change).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(touched)
}

async fn execute(executor: impl SqliteExecutor<'_>, change: &Change) -> Answer {
    // Values are shared by their clones, not copied.
    let arguments = change.arguments.clone();
    let done = sqlx::query_with(change.text.clone(), arguments)
        .execute(executor)
        .await
        .map_err(failed(change.what))?;
    Ok(done.rows_affected())
}
