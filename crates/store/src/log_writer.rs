//! Writes logs behind the requests' backs: a bounded queue, batches, exact counts.
//!
//! A request hands its record over and never waits. When the queue is full, or holds too many
//! bytes, the record loses its payload bodies and takes a second, small lane; when that is full
//! too, the record is dropped. Each is counted, so that at any moment
//! `sent = stored + dropped + queued`.

mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::error::StoreError;
use crate::model::{LogRecord, LogSummary};
use crate::store::{BoxFuture, Store};
use writer::Writer;

/// Most bytes of payload bodies that wait in the queue; further records lose theirs.
const MAX_QUEUED_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;
/// Summaries kept for a subscriber that is slow; it is told how many it has missed.
const NEWS: usize = 256;
/// Callers of [`LogWriter::flush`] that may wait in line.
const FLUSHES: usize = 16;

/// Sizes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Records that may wait with their payload; a quarter as many may wait without.
    pub queue: usize,
    /// Most records in one transaction.
    pub batch: usize,
    /// How long a record waits for others to share its transaction.
    pub flush: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            queue: 4096,
            batch: 128,
            flush: Duration::from_millis(100),
        }
    }
}

/// What has become of the records; `sent = stored + dropped + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LogCounts {
    /// Records handed over.
    pub sent: u64,
    /// Records in the database.
    pub stored: u64,
    /// Records lost: the queue was full, or the database refused them.
    pub dropped: u64,
    /// Records queued without their payload bodies, for want of room.
    pub payload_dropped: u64,
    /// Records on their way.
    pub queued: u64,
}

/// Hands records over to the task that writes them. Cheap to clone; the task ends when it is
/// closed or all clones are gone, after it has written what was queued.
#[derive(Clone)]
pub struct LogWriter {
    lanes: Arc<Lanes>,
    tally: Arc<Tally>,
}

/// The ends that the requests hold.
struct Lanes {
    main: mpsc::Sender<Box<LogRecord>>,
    reserve: mpsc::Sender<Box<LogRecord>>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    closing: CancellationToken,
    _close_on_drop: DropGuard,
}

/// What both sides see.
struct Tally {
    sent: AtomicU64,
    stored: AtomicU64,
    dropped: AtomicU64,
    payload_dropped: AtomicU64,
    queued_payload_bytes: AtomicUsize,
    /// The queue was full and that has been said.
    full: AtomicBool,
    news: broadcast::Sender<Arc<LogSummary>>,
}

/// Where batches go: the store, or a test's stand-in.
trait Sink: Send + Sync {
    fn write<'a>(&'a self, records: &'a [LogRecord]) -> BoxFuture<'a, Result<(), StoreError>>;
}

struct ToStore(Arc<dyn Store>);

impl Sink for ToStore {
    fn write<'a>(&'a self, records: &'a [LogRecord]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.write_logs(records)
    }
}

impl LogWriter {
    /// Starts the task on `tracker`. Await [`LogWriter::close`] before `tracker.wait()`.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, settings: LogSettings, tracker: &TaskTracker) -> Self {
        Self::start_with(Box::new(ToStore(store)), settings, tracker)
    }

    fn start_with(sink: Box<dyn Sink>, settings: LogSettings, tracker: &TaskTracker) -> Self {
        let (main, main_end) = mpsc::channel(settings.queue.max(1));
        let (reserve, reserve_end) = mpsc::channel((settings.queue / 4).max(1));
        let (flushes, flushes_end) = mpsc::channel(FLUSHES);
        let closing = CancellationToken::new();
        let tally = Arc::new(Tally::new());
        let writer = Writer {
            sink,
            main: main_end,
            reserve: reserve_end,
            flushes: flushes_end,
            closing: closing.clone(),
            tally: Arc::clone(&tally),
            batch: Vec::new(),
            limit: settings.batch.max(1),
            patience: settings.flush,
            failing: false,
        };
        tracker.spawn(writer.run());
        let _close_on_drop = closing.clone().drop_guard();
        let lanes = Arc::new(Lanes {
            main,
            reserve,
            flushes,
            closing,
            _close_on_drop,
        });
        Self { lanes, tally }
    }

    /// Queues a record, without waiting. What cannot be queued is counted.
    pub fn submit(&self, record: LogRecord) {
        self.tally.sent.fetch_add(1, Ordering::SeqCst);
        let mut record = Box::new(record);
        let had_payload = self.tally.reserve_payload(&mut record);
        let mut kept_payload = record.payload_bytes();
        let sent = match self.lanes.main.try_send(record) {
            Err(TrySendError::Full(mut record)) => {
                self.tally.release_payload(kept_payload);
                kept_payload = 0;
                strip(&mut record);
                self.tally.say_full();
                self.lanes.reserve.try_send(record)
            }
            other => other,
        };
        if sent.is_err() {
            self.tally.release_payload(kept_payload);
            self.tally.dropped.fetch_add(1, Ordering::SeqCst);
        } else if had_payload && kept_payload == 0 {
            self.tally.payload_dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What has become of the records so far.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        self.tally.counts()
    }

    /// Waits until every record submitted so far is stored or dropped.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.lanes.flushes.send(done).await.is_ok() {
            // An error means that the task has ended, and it ends only with nothing left to write.
            let _ended = wait.await;
        }
    }

    /// Writes what is queued and ends the task; records submitted later are counted as dropped.
    pub async fn close(&self) {
        self.lanes.closing.cancel();
        self.lanes.flushes.closed().await;
    }

    /// Summaries of the records that are stored from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<LogSummary>> {
        self.tally.news.subscribe()
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogWriter").field(&self.counts()).finish()
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            sent: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            payload_dropped: AtomicU64::new(0),
            queued_payload_bytes: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            news: broadcast::channel(NEWS).0,
        }
    }

    fn counts(&self) -> LogCounts {
        // `sent` last: a record is counted there before it can be counted elsewhere.
        let stored = self.stored.load(Ordering::SeqCst);
        let dropped = self.dropped.load(Ordering::SeqCst);
        let payload_dropped = self.payload_dropped.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        LogCounts {
            sent,
            stored,
            dropped,
            payload_dropped,
            queued: sent - stored - dropped,
        }
    }

    /// Books the record's payload, or removes it when there is no room for it; says whether the
    /// record had any.
    fn reserve_payload(&self, record: &mut LogRecord) -> bool {
        let bytes = record.payload_bytes();
        let before = self.queued_payload_bytes.fetch_add(bytes, Ordering::SeqCst);
        if bytes > 0 && before.saturating_add(bytes) > MAX_QUEUED_PAYLOAD_BYTES {
            self.release_payload(bytes);
            strip(record);
            self.say_full();
        }
        bytes > 0
    }

    fn release_payload(&self, bytes: usize) {
        self.queued_payload_bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// One line for each time that the queue fills up, not one for each record.
    fn say_full(&self) {
        if !self.full.swap(true, Ordering::SeqCst) {
            tracing::warn!("the log queue is full: payload bodies, then logs, are dropped");
        }
    }
}

/// Removes the payload bodies and leaves a remark for whoever reads the log.
fn strip(record: &mut LogRecord) {
    if record.payload_bytes() > 0 {
        record.drop_payload();
        record
            .request
            .notes
            .push("payload not kept: the log queue was full".to_owned());
    }
}
