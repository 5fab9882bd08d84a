//! Exports of the request log: of concurrent changes one counts, and nothing is stuck.

use portunus_store::{
    DEFAULT_WORKSPACE_ID, EXPORT_DONE, EXPORT_DRAFT, EXPORT_FAILED, EXPORT_RUNNING, EXPORT_STOPPED,
    ExportRow, Page, Store, StoreError,
};

use crate::rows::other_workspace;

crate::conformance! {
    an_export_is_read_as_it_was_written
    a_change_wants_the_state_and_the_run_that_it_saw
    of_two_starts_one_counts
    what_is_silent_has_failed
    a_dead_process_leaves_nothing_running
    another_workspace_sees_nothing
    what_is_over_is_removed
}

const OURS: &str = DEFAULT_WORKSPACE_ID;

fn draft(workspace_id: &str, id: &str) -> ExportRow {
    ExportRow {
        id: id.to_owned(),
        workspace_id: workspace_id.to_owned(),
        created_at_ms: 100,
        updated_at_ms: 200,
        expires_at_ms: 300,
        created_by: "admin".to_owned(),
        description: "o'clock \" ☃".to_owned(),
        filters: r#"{"trace_id":"x"}"#.to_owned(),
        requested_data: r#"["id"]"#.to_owned(),
        state: EXPORT_DRAFT.to_owned(),
        run: String::new(),
        total: 7,
        exported: 0,
        bytes: 0,
        error: None,
    }
}

fn running(row: &ExportRow, run: &str) -> ExportRow {
    ExportRow {
        state: EXPORT_RUNNING.to_owned(),
        run: run.to_owned(),
        ..row.clone()
    }
}

fn ended(row: &ExportRow, state: &str) -> ExportRow {
    ExportRow {
        state: state.to_owned(),
        ..row.clone()
    }
}

async fn state(store: &dyn Store, id: &str) -> String {
    store.export(OURS, id).await.unwrap().unwrap().state
}

/// A draft and a running one, both stored.
async fn begun(store: &dyn Store) -> ExportRow {
    let row = draft(OURS, "exp-1");
    store.insert_export(&row).await.unwrap();
    let row = running(&row, "run-1");
    assert!(store.update_export(EXPORT_DRAFT, "", &row).await.unwrap());
    row
}

async fn an_export_is_read_as_it_was_written(store: &dyn Store) {
    let full = ExportRow {
        state: EXPORT_FAILED.to_owned(),
        run: "run-1".to_owned(),
        exported: 3,
        bytes: 99,
        error: Some("no room".to_owned()),
        ..draft(OURS, "exp-2")
    };
    let rows = [draft(OURS, "exp-1"), full];
    for row in &rows {
        store.insert_export(row).await.unwrap();
        assert_eq!(
            store.export(OURS, &row.id).await.unwrap().as_ref(),
            Some(row)
        );
    }
    let list = store.list_exports(OURS, Page::default()).await.unwrap();
    assert_eq!((list.total, list.rows), (2, rows.to_vec()));
    let again = store.insert_export(&rows[0]).await.unwrap_err();
    assert!(matches!(again, StoreError::Conflict("export")), "{again}");
    let odd = ended(&draft(OURS, "exp-3"), "odd");
    assert!(store.insert_export(&odd).await.is_err());
}

async fn a_change_wants_the_state_and_the_run_that_it_saw(store: &dyn Store) {
    let row = begun(store).await;
    let stopped = ended(&row, EXPORT_STOPPED);
    let done = ended(&row, EXPORT_DONE);
    assert!(
        !store
            .update_export(EXPORT_RUNNING, "run-0", &done)
            .await
            .unwrap()
    );
    assert!(
        store
            .update_export(EXPORT_RUNNING, "run-1", &stopped)
            .await
            .unwrap()
    );
    // The run that was stopped has no say any more.
    assert!(
        !store
            .update_export(EXPORT_RUNNING, "run-1", &done)
            .await
            .unwrap()
    );
    assert_eq!(store.export(OURS, "exp-1").await.unwrap(), Some(stopped));
}

async fn of_two_starts_one_counts(store: &dyn Store) {
    let row = draft(OURS, "exp-1");
    store.insert_export(&row).await.unwrap();
    let (a, b) = (running(&row, "run-a"), running(&row, "run-b"));
    let both = futures_util::future::join(
        store.update_export(EXPORT_DRAFT, "", &a),
        store.update_export(EXPORT_DRAFT, "", &b),
    );
    let (a, b) = both.await;
    assert!(a.unwrap() != b.unwrap());
}

async fn what_is_silent_has_failed(store: &dyn Store) {
    begun(store).await;
    store.insert_export(&draft(OURS, "exp-2")).await.unwrap();
    assert_eq!(store.sweep_exports(200, 900, "silent").await.unwrap(), 0);
    assert_eq!(store.sweep_exports(201, 900, "silent").await.unwrap(), 1);
    let row = store.export(OURS, "exp-1").await.unwrap().unwrap();
    assert_eq!(
        (row.state.as_str(), row.updated_at_ms),
        (EXPORT_FAILED, 900)
    );
    assert_eq!(row.error.as_deref(), Some("silent"));
    assert_eq!(state(store, "exp-2").await, EXPORT_DRAFT);
}

async fn a_dead_process_leaves_nothing_running(store: &dyn Store) {
    begun(store).await;
    store.insert_export(&draft(OURS, "exp-2")).await.unwrap();
    assert!(!store.break_off_export("", 900, "dead").await.unwrap());
    assert!(store.break_off_export("run-1", 900, "dead").await.unwrap());
    assert!(!store.break_off_export("run-1", 900, "dead").await.unwrap());
    assert_eq!(state(store, "exp-1").await, EXPORT_FAILED);
    assert_eq!(state(store, "exp-2").await, EXPORT_DRAFT);
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let other = other_workspace(store).await;
    let row = begun(store).await;
    assert_eq!(store.export(&other, "exp-1").await.unwrap(), None);
    let list = store.list_exports(&other, Page::default()).await.unwrap();
    assert_eq!((list.total, list.rows), (0, vec![]));
    let theirs = ExportRow {
        workspace_id: other,
        ..ended(&row, EXPORT_DONE)
    };
    assert!(
        !store
            .update_export(EXPORT_RUNNING, "run-1", &theirs)
            .await
            .unwrap()
    );
    assert_eq!(state(store, "exp-1").await, EXPORT_RUNNING);
}

async fn what_is_over_is_removed(store: &dyn Store) {
    for (id, expires_at_ms) in [("exp-1", 1), ("exp-2", 2), ("exp-3", 900)] {
        let row = ExportRow {
            expires_at_ms,
            ..draft(OURS, id)
        };
        store.insert_export(&row).await.unwrap();
    }
    assert_eq!(store.prune_exports(500, 1).await.unwrap(), 1);
    assert_eq!(store.prune_exports(500, 9).await.unwrap(), 1);
    let left = store.list_exports(OURS, Page::default()).await.unwrap();
    assert_eq!((left.total, left.rows[0].id.as_str()), (1, "exp-3"));
}
