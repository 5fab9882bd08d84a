use futures_util::future::join_all;
use portunus_store::{
    DEFAULT_WORKSPACE_ID, JOURNAL_DONE, JOURNAL_INTENT, JOURNAL_UNKNOWN, JournalRow,
    PROCESS_LIFE_MS, Store, StoreError,
};

use crate::TempDatabase;
use crate::rows::other_workspace;
use crate::state_rows::{NOW_MS, SECRET, journal};

crate::conformance! {
    a_call_is_read_as_it_was_noted
    calls_are_noted_whole_or_not_at_all
    a_wrong_call_does_not_harm_those_beside_it
    the_first_end_stays
    a_sweep_tells_what_nobody_knows
    a_sweep_leaves_the_calls_of_the_living
    another_workspace_sees_nothing
    old_calls_are_pruned
}

const OURS: &str = DEFAULT_WORKSPACE_ID;

async fn note(store: &dyn Store, rows: &[JournalRow]) {
    store.journal_intents(rows).await.unwrap();
}

async fn end(store: &dyn Store, id: &str, state: &str, result: Option<&str>) -> bool {
    store
        .journal_done(OURS, id, state, "ok", result, NOW_MS)
        .await
        .unwrap()
}

async fn calls(store: &dyn Store) -> Vec<JournalRow> {
    store.journal(OURS, "resp_1").await.unwrap()
}

async fn states(store: &dyn Store) -> Vec<(String, String)> {
    let calls = calls(store).await.into_iter();
    calls.map(|call| (call.id, call.state)).collect()
}

fn state(id: &str, state: &str) -> (String, String) {
    (id.to_owned(), state.to_owned())
}

async fn a_call_is_read_as_it_was_noted(store: &dyn Store) {
    let full = JournalRow {
        state: JOURNAL_DONE.to_owned(),
        ended_at_ms: Some(7),
        outcome: Some("tool_error".to_owned()),
        result: Some(SECRET.to_owned()),
        ..journal(OURS, "mcp_full")
    };
    let elsewhere = JournalRow {
        response_id: "resp_2".to_owned(),
        ..journal(OURS, "mcp_else")
    };
    // Of one millisecond: the order of writing counts, not that of the ids.
    let rows = [
        journal(OURS, "mcp_z"),
        full,
        elsewhere,
        journal(OURS, "mcp_a"),
    ];
    note(store, &rows).await;
    let [z, full, _, a] = rows;
    assert_eq!(calls(store).await, [z, full, a]);
    assert_eq!(store.journal(OURS, "resp_none").await.unwrap(), []);
}

async fn calls_are_noted_whole_or_not_at_all(store: &dyn Store) {
    note(store, &[journal(OURS, "mcp_1")]).await;
    let rows = [journal(OURS, "mcp_2"), journal(OURS, "mcp_1")];
    let error = store.journal_intents(&rows).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict("journal row")),
        "{error}"
    );
    assert_eq!(states(store).await, [state("mcp_1", JOURNAL_INTENT)]);
    note(store, &[]).await;
}

/// Calls that are noted at the same time may share a transaction.
async fn a_wrong_call_does_not_harm_those_beside_it(store: &dyn Store) {
    note(store, &[journal(OURS, "mcp_7")]).await;
    let rows: Vec<_> = (0..200)
        .map(|number| match number {
            50 => journal("ws-none", "mcp_50"),
            100 => journal(OURS, "mcp_7"),
            _ => journal(OURS, &format!("mcp_{}", number + 1000)),
        })
        .collect();
    let notes = rows
        .iter()
        .map(|row| store.journal_intents(std::slice::from_ref(row)));
    for (number, answer) in join_all(notes).await.into_iter().enumerate() {
        match number {
            50 => assert!(matches!(answer, Err(StoreError::NoParent("journal row")))),
            100 => assert!(matches!(answer, Err(StoreError::Conflict("journal row")))),
            _ => answer.unwrap(),
        }
    }
    assert_eq!(calls(store).await.len(), 199);
    let ends = (1000..1200).map(|number| {
        let id = format!("mcp_{number}");
        async move { end(store, &id, JOURNAL_DONE, Some("{}")).await }
    });
    let ended = join_all(ends).await;
    let missing: Vec<_> = (0..200).filter(|number| !ended[*number]).collect();
    assert_eq!(missing, [50, 100]);
}

async fn the_first_end_stays(store: &dyn Store) {
    note(store, &[journal(OURS, "mcp_1"), journal(OURS, "mcp_2")]).await;
    assert!(end(store, "mcp_1", JOURNAL_DONE, Some(SECRET)).await);
    let expected = JournalRow {
        state: JOURNAL_DONE.to_owned(),
        ended_at_ms: Some(NOW_MS),
        outcome: Some("ok".to_owned()),
        result: Some(SECRET.to_owned()),
        ..journal(OURS, "mcp_1")
    };
    assert!(!end(store, "mcp_1", JOURNAL_UNKNOWN, None).await);
    assert_eq!(
        calls(store).await,
        [expected, journal(OURS, "mcp_2")],
        "only the one that was named has ended"
    );
    assert!(!end(store, "mcp_none", JOURNAL_DONE, None).await);
}

async fn a_sweep_tells_what_nobody_knows(store: &dyn Store) {
    note(
        store,
        &["mcp_1", "mcp_2", "mcp_3"].map(|id| journal(OURS, id)),
    )
    .await;
    let theirs = other_workspace(store).await;
    note(store, &[journal(&theirs, "mcp_1")]).await;
    assert!(end(store, "mcp_1", JOURNAL_DONE, None).await);
    assert_eq!(store.journal_sweep(NOW_MS + 1).await.unwrap(), 3);
    assert_eq!(store.journal_sweep(NOW_MS + 2).await.unwrap(), 0);
    assert_eq!(
        states(store).await,
        [
            state("mcp_1", JOURNAL_DONE),
            state("mcp_2", JOURNAL_UNKNOWN),
            state("mcp_3", JOURNAL_UNKNOWN)
        ]
    );
    assert_eq!(calls(store).await[1].ended_at_ms, Some(NOW_MS + 1));
    // The process that made the call was alive after all.
    assert!(end(store, "mcp_2", JOURNAL_DONE, Some("{}")).await);
    assert!(!end(store, "mcp_2", JOURNAL_DONE, None).await);
    let late = &calls(store).await[1];
    assert_eq!(
        (late.state.as_str(), late.result.as_deref()),
        ("done", Some("{}"))
    );
}

async fn a_sweep_leaves_the_calls_of_the_living(store: &dyn Store) {
    let by = |process: &str, id: &str| JournalRow {
        process: process.to_owned(),
        ..journal(OURS, id)
    };
    note(
        store,
        &[
            by("here", "mcp_1"),
            by("there", "mcp_2"),
            by("gone", "mcp_3"),
        ],
    )
    .await;
    for process in ["here", "there", "there"] {
        store.beat(process).await.unwrap();
    }
    let lives = async |process| store.lives(process).await.unwrap();
    assert!(lives("here").await && lives("there").await && !lives("gone").await);
    assert_eq!(store.journal_sweep(NOW_MS).await.unwrap(), 1);
    store.leave("there").await.unwrap();
    assert!(!lives("there").await);
    assert_eq!(store.journal_sweep(NOW_MS).await.unwrap(), 1);
    let expected = [
        state("mcp_1", JOURNAL_INTENT),
        state("mcp_2", JOURNAL_UNKNOWN),
        state("mcp_3", JOURNAL_UNKNOWN),
    ];
    assert_eq!(states(store).await, expected);
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let other = other_workspace(store).await;
    note(store, &[journal(OURS, "mcp_1")]).await;
    assert_eq!(store.journal(&other, "resp_1").await.unwrap(), []);
    let ended = store
        .journal_done(&other, "mcp_1", JOURNAL_DONE, "ok", None, NOW_MS)
        .await
        .unwrap();
    assert!(!ended);
    // The same id elsewhere neither collides nor mixes.
    note(store, &[journal(&other, "mcp_1")]).await;
    assert!(end(store, "mcp_1", JOURNAL_DONE, None).await);
    let theirs = store.journal(&other, "resp_1").await.unwrap();
    assert_eq!(theirs, [journal(&other, "mcp_1")]);
}

async fn old_calls_are_pruned(store: &dyn Store) {
    let rows = [30, 10, 20, 40].map(|created_at_ms| JournalRow {
        created_at_ms,
        ..journal(OURS, &format!("mcp_{created_at_ms}"))
    });
    note(store, &rows).await;
    assert_eq!(store.prune_journal(40, 2).await.unwrap(), 2);
    assert_eq!(
        states(store).await,
        [
            state("mcp_30", JOURNAL_INTENT),
            state("mcp_40", JOURNAL_INTENT)
        ]
    );
    assert_eq!(store.prune_journal(40, 2).await.unwrap(), 1);
    assert_eq!(store.prune_journal(40, 2).await.unwrap(), 0);
}

#[tokio::test]
async fn a_closed_store_notes_nothing() {
    let database = TempDatabase::new();
    let store = database.open().await;
    store.close().await;
    let error = store.journal_intents(&[journal(OURS, "mcp_1")]).await;
    assert!(
        error.as_ref().is_err_and(StoreError::is_transient),
        "{error:?}"
    );
    let again = database.open().await;
    assert_eq!(calls(&*again).await, []);
}

/// Nobody waits so long: the time of the last sign is moved instead.
#[tokio::test]
async fn who_is_not_heard_of_is_dead() {
    let database = TempDatabase::new();
    let store = database.open().await;
    store.beat("here").await.unwrap();
    let raw = database.raw().await;
    for (earlier_ms, lives) in [(PROCESS_LIFE_MS - 5_000, true), (5_000, false)] {
        sqlx::query("UPDATE processes SET seen_at_ms = seen_at_ms - $1")
            .bind(earlier_ms)
            .execute(&raw)
            .await
            .unwrap();
        assert_eq!(store.lives("here").await.unwrap(), lives);
    }
    store.beat("here").await.unwrap();
    assert!(store.lives("here").await.unwrap());
}

#[tokio::test]
async fn a_sweep_does_not_read_the_whole_journal() {
    let database = TempDatabase::new();
    database.open().await;
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "EXPLAIN QUERY PLAN UPDATE tool_journal SET state = 'unknown' WHERE state = 'intent'",
    )
    .fetch_all(&database.raw().await)
    .await
    .unwrap();
    assert!(plan[0].3.contains("tool_journal_open"), "{plan:?}");
}
