use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;

/// Stands in for a store: each write waits for a permit and gives the next scripted answer, `Ok`
/// when the script is over. Records whose id begins with `bad` are always refused.
#[derive(Clone)]
struct Stand {
    gate: Arc<Semaphore>,
    script: Arc<Mutex<Vec<StoreError>>>,
    writes: Arc<Mutex<Vec<Vec<LogRecord>>>>,
}

impl Stand {
    fn new(permits: usize) -> Self {
        Self {
            gate: Arc::new(Semaphore::new(permits)),
            script: Arc::default(),
            writes: Arc::default(),
        }
    }

    fn answer(&self, error: StoreError) {
        self.script.lock().unwrap().push(error);
    }

    fn stored_ids(&self) -> Vec<String> {
        let writes = self.writes.lock().unwrap();
        writes
            .iter()
            .flatten()
            .map(|record| record.request.id.clone())
            .collect()
    }
}

impl Sink for Stand {
    fn write<'a>(&'a self, records: &'a [LogRecord]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            if let Some(error) = self.script.lock().unwrap().pop() {
                return Err(error);
            }
            if records
                .iter()
                .any(|record| record.request.id.starts_with("bad"))
            {
                return Err(StoreError::Conflict("log"));
            }
            self.writes.lock().unwrap().push(records.to_vec());
            Ok(())
        })
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("disk full".to_owned())
}

fn record(id: &str, body_bytes: usize) -> LogRecord {
    let mut record = LogRecord::default();
    record.request.id = id.to_owned();
    record.request.request_body = (body_bytes > 0).then(|| "b".repeat(body_bytes));
    record
}

fn start(stand: &Stand, queue: usize, batch: usize) -> (LogWriter, TaskTracker) {
    let tracker = TaskTracker::new();
    let settings = LogSettings {
        queue,
        batch,
        flush: Duration::from_millis(100),
    };
    (
        LogWriter::start_with(Box::new(stand.clone()), settings, &tracker),
        tracker,
    )
}

const OPEN: usize = 1_000_000;

fn assert_exact(counts: LogCounts) {
    assert_eq!(
        counts.sent,
        counts.stored + counts.dropped + counts.queued,
        "{counts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn records_share_a_batch_and_flush_waits_for_them() {
    let stand = Stand::new(OPEN);
    let (writer, _tracker) = start(&stand, 100, 3);
    for id in ["a", "b", "c", "d"] {
        writer.submit(record(id, 10));
    }
    writer.flush().await;
    let expected = LogCounts {
        sent: 4,
        stored: 4,
        ..LogCounts::default()
    };
    assert_eq!(writer.counts(), expected);
    let sizes: Vec<_> = stand.writes.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 1]);
    assert_eq!(stand.stored_ids(), ["a", "b", "c", "d"]);
    assert_eq!(writer.tally.queued_payload_bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_record_is_written_without_flush() {
    let stand = Stand::new(OPEN);
    let (writer, _tracker) = start(&stand, 100, 50);
    let mut news = writer.subscribe();
    writer.submit(record("a", 10));
    let summary = news.recv().await.unwrap();
    assert_eq!(summary.request.id, "a");
    assert_eq!(summary.request.request_body, None);
    assert_eq!(writer.counts().stored, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_bodies_first_and_then_records_and_counts_both() {
    let stand = Stand::new(0);
    let (writer, _tracker) = start(&stand, 8, 1);
    // On one thread the task has not run yet: 8 in the queue, 2 without body, 10 dropped.
    for number in 0..20 {
        writer.submit(record(&format!("r{number}"), 10));
    }
    let expected = LogCounts {
        sent: 20,
        stored: 0,
        dropped: 10,
        payload_dropped: 2,
        queued: 10,
    };
    assert_eq!(writer.counts(), expected);
    stand.gate.add_permits(OPEN);
    writer.flush().await;
    assert_eq!(
        writer.counts(),
        LogCounts {
            stored: 10,
            queued: 0,
            ..expected
        }
    );
    let writes = stand.writes.lock().unwrap();
    let with_body = writes
        .iter()
        .flatten()
        .filter(|one| one.request.request_body.is_some());
    assert_eq!(with_body.count(), 8);
    assert_eq!(writer.tally.queued_payload_bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_bytes_drop_bodies_although_there_are_places() {
    let stand = Stand::new(0);
    let (writer, _tracker) = start(&stand, 8, 1);
    writer.submit(record("small", 10));
    writer.submit(record("large", MAX_QUEUED_PAYLOAD_BYTES));
    writer.submit(record("none", 0));
    assert_eq!(writer.counts().payload_dropped, 1);
    stand.gate.add_permits(OPEN);
    writer.flush().await;
    assert_eq!(writer.counts().stored, 3);
    let writes = stand.writes.lock().unwrap();
    let bodies = writes.iter().flatten().map(LogRecord::payload_bytes);
    assert_eq!(bodies.collect::<Vec<_>>(), [10, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_loses_nothing() {
    let stand = Stand::new(OPEN);
    stand.answer(unavailable());
    stand.answer(unavailable());
    let (writer, _tracker) = start(&stand, 8, 2);
    writer.submit(record("a", 0));
    writer.submit(record("b", 0));
    writer.flush().await;
    assert_eq!(
        writer.counts(),
        LogCounts {
            sent: 2,
            stored: 2,
            ..LogCounts::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_failure_drops_the_batch_and_the_next_one_is_stored() {
    let stand = Stand::new(OPEN);
    (0..3).for_each(|_| stand.answer(unavailable()));
    let (writer, _tracker) = start(&stand, 8, 2);
    for id in ["a", "b", "c"] {
        writer.submit(record(id, 5));
    }
    writer.flush().await;
    let expected = LogCounts {
        sent: 3,
        stored: 1,
        dropped: 2,
        ..LogCounts::default()
    };
    assert_eq!(writer.counts(), expected);
    assert_eq!(stand.stored_ids(), ["c"]);
    assert_eq!(writer.tally.queued_payload_bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up() {
    let stand = Stand::new(0);
    let (writer, _tracker) = start(&stand, 8, 2);
    writer.submit(record("a", 0));
    writer.flush().await;
    assert_eq!(
        writer.counts(),
        LogCounts {
            sent: 1,
            dropped: 1,
            ..LogCounts::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_does_not_take_the_others_with_it() {
    let stand = Stand::new(OPEN);
    let (writer, _tracker) = start(&stand, 8, 4);
    for id in ["a", "bad", "c", "d"] {
        writer.submit(record(id, 0));
    }
    writer.flush().await;
    let expected = LogCounts {
        sent: 4,
        stored: 3,
        dropped: 1,
        ..LogCounts::default()
    };
    assert_eq!(writer.counts(), expected);
    assert_eq!(stand.stored_ids(), ["a", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_is_queued_and_later_records_are_counted() {
    let stand = Stand::new(OPEN);
    let (writer, tracker) = start(&stand, 8, 4);
    (0..5).for_each(|number| writer.submit(record(&number.to_string(), 0)));
    writer.close().await;
    tracker.close();
    tracker.wait().await;
    writer.submit(record("late", 10));
    writer.flush().await;
    let expected = LogCounts {
        sent: 6,
        stored: 5,
        dropped: 1,
        ..LogCounts::default()
    };
    assert_eq!(writer.counts(), expected);
    assert_eq!(writer.tally.queued_payload_bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_the_last_clone_is_gone() {
    let stand = Stand::new(OPEN);
    let (writer, tracker) = start(&stand, 8, 4);
    let clone = writer.clone();
    clone.submit(record("a", 0));
    drop((writer, clone));
    tracker.close();
    tracker.wait().await;
    assert_eq!(stand.stored_ids(), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_are_exact_under_a_slow_failing_store_and_many_threads() {
    let stand = Stand::new(0);
    (0..40).for_each(|_| stand.answer(StoreError::Conflict("log")));
    let (writer, _tracker) = start(&stand, 16, 4);
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let writer = writer.clone();
        let gate = Arc::clone(&stand.gate);
        senders.spawn(async move {
            for number in 0..500 {
                writer.submit(record(&format!("{sender}-{number}"), 100));
                assert_exact(writer.counts());
                // Far fewer writes than records are let through, so that the queue fills up.
                if number % 25 == 0 {
                    gate.add_permits(1);
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    senders.join_all().await;
    stand.gate.add_permits(OPEN);
    writer.flush().await;
    let counts = writer.counts();
    assert_exact(counts);
    assert_eq!((counts.sent, counts.queued), (4000, 0));
    assert_eq!(counts.stored as usize, stand.stored_ids().len());
    assert!(
        counts.dropped > 0 && counts.payload_dropped > 0,
        "{counts:?}"
    );
    assert_eq!(writer.tally.queued_payload_bytes.load(Ordering::SeqCst), 0);
}
