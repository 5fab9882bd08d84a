//! The task behind the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Sink, Tally};
use crate::error::StoreError;
use crate::model::LogRecord;

/// Waits before the second and third attempt to write a batch.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// Longest time for one attempt.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Writer {
    pub(super) sink: Box<dyn Sink>,
    pub(super) main: mpsc::Receiver<Box<LogRecord>>,
    pub(super) reserve: mpsc::Receiver<Box<LogRecord>>,
    pub(super) flushes: mpsc::Receiver<oneshot::Sender<()>>,
    pub(super) closing: CancellationToken,
    pub(super) tally: Arc<Tally>,
    /// Records taken from the queue but not written yet.
    pub(super) batch: Vec<LogRecord>,
    pub(super) limit: usize,
    pub(super) patience: Duration,
    /// The last batch failed and that has been said.
    pub(super) failing: bool,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut deadline = Instant::now();
        loop {
            let waiting = !self.batch.is_empty();
            let record = tokio::select! {
                () = self.closing.cancelled() => break,
                Some(done) = self.flushes.recv() => {
                    self.drain().await;
                    // Nobody may be waiting any more.
                    let _gone = done.send(());
                    continue;
                }
                () = sleep_until(deadline), if waiting => {
                    self.write_batch().await;
                    continue;
                }
                Some(record) = self.main.recv() => record,
                Some(record) = self.reserve.recv() => record,
            };
            if !waiting {
                deadline = Instant::now() + self.patience;
            }
            self.take(*record).await;
        }
        self.main.close();
        self.reserve.close();
        self.drain().await;
    }

    /// Writes all that is queued at this moment; what is queued meanwhile has its turn later.
    async fn drain(&mut self) {
        for _ in 0..self.main.len() {
            if let Some(record) = self.main.recv().await {
                self.take(*record).await;
            }
        }
        for _ in 0..self.reserve.len() {
            if let Some(record) = self.reserve.recv().await {
                self.take(*record).await;
            }
        }
        self.write_batch().await;
    }

    async fn take(&mut self, record: LogRecord) {
        self.batch.push(record);
        if self.batch.len() >= self.limit {
            self.write_batch().await;
        }
    }

    async fn write_batch(&mut self) {
        let records = std::mem::take(&mut self.batch);
        if records.is_empty() {
            return;
        }
        match self.write(&records).await {
            Ok(()) => self.stored(&records),
            // The records are fine or there is only one: no use in trying them singly.
            Err(error) if error.is_transient() || records.len() == 1 => {
                self.dropped(records.len(), &error);
            }
            Err(_) => self.write_singly(&records).await,
        }
        let bytes = records.iter().map(LogRecord::payload_bytes).sum();
        self.tally.release_payload(bytes);
    }

    /// One bad record must not take the others of its batch with it.
    async fn write_singly(&mut self, records: &[LogRecord]) {
        for (position, record) in records.iter().enumerate() {
            let record = std::slice::from_ref(record);
            match self.write(record).await {
                Ok(()) => self.stored(record),
                Err(error) if error.is_transient() => {
                    return self.dropped(records.len() - position, &error);
                }
                Err(error) => self.dropped(1, &error),
            }
        }
    }

    /// Tries again, a bounded number of times, what may work later.
    async fn write(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        for pause in PAUSES {
            match self.write_once(records).await {
                Err(error) if error.is_transient() => sleep(pause).await,
                other => return other,
            }
        }
        self.write_once(records).await
    }

    async fn write_once(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        let late = |_elapsed| Err(StoreError::Unavailable("it does not answer".to_owned()));
        timeout(WRITE_TIMEOUT, self.sink.write(records))
            .await
            .unwrap_or_else(late)
    }

    fn stored(&mut self, records: &[LogRecord]) {
        self.failing = false;
        if self.main.is_empty() {
            self.tally.full.store(false, Ordering::SeqCst);
        }
        self.tally
            .stored
            .fetch_add(records.len() as u64, Ordering::SeqCst);
        if self.tally.news.receiver_count() == 0 {
            return;
        }
        for record in records {
            // The last subscriber may just have left.
            let _nobody = self.tally.news.send(Arc::new(record.summary()));
        }
    }

    fn dropped(&mut self, count: usize, error: &StoreError) {
        self.tally.dropped.fetch_add(count as u64, Ordering::SeqCst);
        // One line for each time that writing begins to fail, not one for each batch.
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, count, "logs could not be written and are dropped");
        }
    }
}
