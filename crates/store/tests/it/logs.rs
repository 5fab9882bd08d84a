use portunus_store::{DEFAULT_WORKSPACE_ID, LogFilter, LogRecord, Store, StoreError};

use crate::rows::{full_log, other_workspace, small_log};

crate::conformance! {
    a_log_is_read_as_it_was_written
    pages_are_newest_first_and_hold_still
    a_batch_is_stored_whole_or_not_at_all
    another_workspace_sees_nothing
    old_logs_can_be_removed
}

fn everything() -> LogFilter {
    LogFilter::default()
}

async fn list(store: &dyn Store, limit: u32, after: Option<&str>) -> (Vec<String>, bool) {
    let filter = everything();
    let found = store
        .list_logs(DEFAULT_WORKSPACE_ID, &filter, limit, after)
        .await
        .unwrap();
    (
        found.0.into_iter().map(|one| one.request.id).collect(),
        found.1,
    )
}

async fn a_log_is_read_as_it_was_written(store: &dyn Store) {
    let full = full_log(DEFAULT_WORKSPACE_ID, "log-full");
    let bare = small_log(DEFAULT_WORKSPACE_ID, "log-bare", 5);
    store
        .insert_logs(vec![full.clone(), bare.clone()])
        .await
        .unwrap();
    for record in [&full, &bare] {
        let found = store
            .log(DEFAULT_WORKSPACE_ID, &record.request.id)
            .await
            .unwrap();
        assert_eq!(found.as_ref(), Some(record));
    }
    let (summaries, more) = store
        .list_logs(DEFAULT_WORKSPACE_ID, &everything(), 10, None)
        .await
        .unwrap();
    assert_eq!(summaries, [full.summary(), bare.summary()]);
    assert!(!more);
    assert_eq!(summaries[0].request.request_body, None);
    assert_eq!(summaries[0].tool_lists, 2);
    assert_eq!(
        store.log(DEFAULT_WORKSPACE_ID, "log-none").await.unwrap(),
        None
    );
}

async fn pages_are_newest_first_and_hold_still(store: &dyn Store) {
    // Several in one millisecond: the id decides.
    let logs: Vec<_> = (0..10_i64)
        .map(|number| {
            small_log(
                DEFAULT_WORKSPACE_ID,
                &format!("log-{number}"),
                100 + number / 4,
            )
        })
        .collect();
    store.insert_logs(logs).await.unwrap();
    let (first, more) = list(store, 4, None).await;
    assert_eq!(first, ["log-9", "log-8", "log-7", "log-6"]);
    assert!(more);
    let newer = small_log(DEFAULT_WORKSPACE_ID, "log-new", 500);
    store.insert_logs(vec![newer]).await.unwrap();
    let (second, more) = list(store, 4, Some("log-6")).await;
    assert_eq!(second, ["log-5", "log-4", "log-3", "log-2"]);
    assert!(more);
    let (third, more) = list(store, 2, Some("log-2")).await;
    assert_eq!(
        (third, more),
        (vec!["log-1".to_owned(), "log-0".to_owned()], false)
    );
    assert_eq!(list(store, 4, Some("log-0")).await, (Vec::new(), false));
    let filter = everything();
    let error = store
        .list_logs(DEFAULT_WORKSPACE_ID, &filter, 4, Some("log-x"))
        .await;
    assert!(matches!(error, Err(StoreError::UnknownCursor)));
}

async fn a_batch_is_stored_whole_or_not_at_all(store: &dyn Store) {
    let twice = small_log(DEFAULT_WORKSPACE_ID, "log-twice", 1);
    let batch = vec![
        full_log(DEFAULT_WORKSPACE_ID, "log-a"),
        twice.clone(),
        twice,
    ];
    let error = store.insert_logs(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict("log")), "{error}");
    assert_eq!(
        store
            .count_logs(DEFAULT_WORKSPACE_ID, &everything())
            .await
            .unwrap(),
        0
    );
    // The connection that failed is usable.
    let one = full_log(DEFAULT_WORKSPACE_ID, "log-a");
    store.insert_logs(vec![one]).await.unwrap();
    assert_eq!(
        store
            .count_logs(DEFAULT_WORKSPACE_ID, &everything())
            .await
            .unwrap(),
        1
    );
    store.insert_logs(Vec::new()).await.unwrap();
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let other = other_workspace(store).await;
    let ours = full_log(DEFAULT_WORKSPACE_ID, "log-1");
    // The same id elsewhere neither collides nor mixes.
    let theirs = LogRecord {
        tool_lists: Vec::new(),
        ..full_log(&other, "log-1")
    };
    let hidden = small_log(DEFAULT_WORKSPACE_ID, "log-2", 1);
    store
        .insert_logs(vec![ours.clone(), theirs.clone(), hidden])
        .await
        .unwrap();
    assert_eq!(
        store.log(&other, "log-1").await.unwrap(),
        Some(theirs.clone())
    );
    assert_eq!(
        store.log(DEFAULT_WORKSPACE_ID, "log-1").await.unwrap(),
        Some(ours)
    );
    assert_eq!(store.log(&other, "log-2").await.unwrap(), None);
    let (listed, _) = store
        .list_logs(&other, &everything(), 10, None)
        .await
        .unwrap();
    assert_eq!(listed, [theirs.summary()]);
    let by_list = LogFilter {
        mcp_server: Some("list0".to_owned()),
        ..everything()
    };
    assert_eq!(store.count_logs(&other, &by_list).await.unwrap(), 0);
    assert_eq!(
        store
            .count_logs(DEFAULT_WORKSPACE_ID, &by_list)
            .await
            .unwrap(),
        1
    );
    let foreign = store
        .list_logs(&other, &everything(), 10, Some("log-2"))
        .await;
    assert!(matches!(foreign, Err(StoreError::UnknownCursor)));
    assert_eq!(store.prune_logs(&other, i64::MAX, 10).await.unwrap(), 1);
    assert_eq!(
        store
            .count_logs(DEFAULT_WORKSPACE_ID, &everything())
            .await
            .unwrap(),
        2
    );
}

async fn old_logs_can_be_removed(store: &dyn Store) {
    let logs = (1..=4).map(|ms| {
        let mut log = full_log(DEFAULT_WORKSPACE_ID, &format!("log-{ms}"));
        log.request.created_at_ms = ms;
        log
    });
    store.insert_logs(logs.collect()).await.unwrap();
    assert_eq!(
        store.prune_logs(DEFAULT_WORKSPACE_ID, 4, 2).await.unwrap(),
        2
    );
    assert_eq!(list(store, 10, None).await.0, ["log-4", "log-3"]);
    assert_eq!(
        store.prune_logs(DEFAULT_WORKSPACE_ID, 4, 10).await.unwrap(),
        1
    );
    // The parts went too: the same id can be written again.
    store
        .insert_logs(vec![full_log(DEFAULT_WORKSPACE_ID, "log-1")])
        .await
        .unwrap();
}
