use futures_util::future::join_all;
use portunus_store::{
    APPROVAL_APPROVED, APPROVAL_DENIED, APPROVAL_USED, ApprovalRow, DEFAULT_WORKSPACE_ID,
    JOURNAL_DONE, ResponseRow, Store, StoreError,
};

use crate::rows::other_workspace;
use crate::state_rows::{FAR_MS, NOW_MS, PAST_MS, SECRET, approval, ids, journal, response};

crate::conformance! {
    a_response_is_read_as_it_was_written
    a_response_takes_the_place_of_its_former_self
    an_item_leads_to_the_newest_response_that_holds_it
    an_expired_response_is_as_if_it_did_not_exist
    a_deleted_response_takes_what_is_its_own_along
    another_workspace_sees_nothing
    a_response_needs_its_workspace
    a_wrong_response_does_not_harm_those_beside_it
    expired_responses_are_pruned_oldest_first
}

const OURS: &str = DEFAULT_WORKSPACE_ID;

async fn put(store: &dyn Store, row: &ResponseRow, items: &[&str]) {
    let items: Vec<_> = items.iter().map(|id| (*id).to_owned()).collect();
    store.put_response(row.clone(), items).await.unwrap();
}

async fn found(store: &dyn Store, id: &str) -> Option<ResponseRow> {
    store.response(OURS, id).await.unwrap()
}

/// Id of the response that an item leads to.
async fn holder(store: &dyn Store, item_id: &str) -> Option<String> {
    let row = store.response_of_item(OURS, item_id).await.unwrap();
    row.map(|row| row.id)
}

async fn a_response_is_read_as_it_was_written(store: &dyn Store) {
    let full = response(OURS, "resp_full");
    let bare = ResponseRow {
        api_key_id: None,
        virtual_key: None,
        previous_response_id: None,
        ..response(OURS, "resp_bare")
    };
    put(store, &full, &["msg_1"]).await;
    put(store, &bare, &[]).await;
    assert_eq!(found(store, "resp_full").await, Some(full.clone()));
    assert_eq!(found(store, "resp_bare").await, Some(bare));
    assert_eq!(found(store, "resp_none").await, None);
    let by_item = store.response_of_item(OURS, "msg_1").await.unwrap();
    assert_eq!(by_item, Some(full));
}

async fn a_response_takes_the_place_of_its_former_self(store: &dyn Store) {
    let before = ResponseRow {
        status: "in_progress".to_owned(),
        ..response(OURS, "resp_1")
    };
    put(store, &before, &["msg_old", "msg_both"]).await;
    let after = ResponseRow {
        response: "{\"output\":[]}".to_owned(),
        ..response(OURS, "resp_1")
    };
    put(store, &after, &["msg_both", "msg_new"]).await;
    assert_eq!(found(store, "resp_1").await, Some(after));
    assert_eq!(holder(store, "msg_old").await, None);
    for item in ["msg_both", "msg_new"] {
        assert_eq!(holder(store, item).await.as_deref(), Some("resp_1"));
    }
}

async fn an_item_leads_to_the_newest_response_that_holds_it(store: &dyn Store) {
    let made_at = |id, created_at_ms| ResponseRow {
        created_at_ms,
        ..response(OURS, id)
    };
    // Not in the order of their ids or of writing; an id may be named twice.
    put(store, &made_at("resp_b", 300), &["msg_1", "msg_1"]).await;
    put(store, &made_at("resp_c", 200), &["msg_1", "it's \"2%\""]).await;
    put(store, &made_at("resp_a", 100), &["msg_1"]).await;
    assert_eq!(holder(store, "msg_1").await.as_deref(), Some("resp_b"));
    assert_eq!(
        holder(store, "it's \"2%\"").await.as_deref(),
        Some("resp_c")
    );
    assert_eq!(holder(store, "msg_2").await, None);
    assert_eq!(holder(store, "msg%").await, None);
    assert!(store.delete_response(OURS, "resp_b").await.unwrap());
    assert_eq!(holder(store, "msg_1").await.as_deref(), Some("resp_c"));
}

async fn an_expired_response_is_as_if_it_did_not_exist(store: &dyn Store) {
    let over = ResponseRow {
        created_at_ms: 200,
        expires_at_ms: PAST_MS,
        ..response(OURS, "resp_over")
    };
    put(store, &over, &["msg_1", "msg_2"]).await;
    put(store, &response(OURS, "resp_here"), &["msg_1"]).await;
    assert_eq!(found(store, "resp_over").await, None);
    assert_eq!(holder(store, "msg_1").await.as_deref(), Some("resp_here"));
    assert_eq!(holder(store, "msg_2").await, None);
    assert!(!store.delete_response(OURS, "resp_over").await.unwrap());
    // Nobody was told of it, but it is gone for good.
    assert_eq!(store.prune_responses(FAR_MS, 10).await.unwrap(), 0);
}

async fn open_and_used_approvals(store: &dyn Store) {
    let of = |id: &str, state: &str, response_id: &str| ApprovalRow {
        state: state.to_owned(),
        response_id: response_id.to_owned(),
        ..approval(OURS, id)
    };
    let rows = [
        of("mcpr_pending", "pending", "resp_1"),
        of("mcpr_approved", APPROVAL_APPROVED, "resp_1"),
        of("mcpr_denied", APPROVAL_DENIED, "resp_1"),
        of("mcpr_used", APPROVAL_USED, "resp_1"),
        of("mcpr_else", "pending", "resp_2"),
    ];
    store.insert_approvals(&rows).await.unwrap();
}

async fn a_deleted_response_takes_what_is_its_own_along(store: &dyn Store) {
    put(store, &response(OURS, "resp_1"), &["msg_1"]).await;
    put(store, &response(OURS, "resp_2"), &["msg_2"]).await;
    open_and_used_approvals(store).await;
    let call = journal(OURS, "mcp_1");
    store.journal_intents(&[call]).await.unwrap();
    let end = store.journal_done(OURS, "mcp_1", JOURNAL_DONE, "ok", Some(SECRET), NOW_MS);
    assert!(end.await.unwrap());

    assert!(store.delete_response(OURS, "resp_1").await.unwrap());
    assert!(!store.delete_response(OURS, "resp_1").await.unwrap());
    assert_eq!(found(store, "resp_1").await, None);
    assert_eq!(holder(store, "msg_1").await, None);
    for id in ["mcpr_pending", "mcpr_approved", "mcpr_denied"] {
        assert_eq!(store.approval(OURS, id).await.unwrap(), None, "{id}");
    }
    for id in ["mcpr_used", "mcpr_else"] {
        assert!(store.approval(OURS, id).await.unwrap().is_some(), "{id}");
    }
    let calls = store.journal(OURS, "resp_1").await.unwrap();
    assert_eq!((calls[0].state.as_str(), &calls[0].result), ("done", &None));
    assert!(found(store, "resp_2").await.is_some());
    assert_eq!(holder(store, "msg_2").await.as_deref(), Some("resp_2"));
    // The same id can be stored again, without the former items.
    put(store, &response(OURS, "resp_1"), &["msg_3"]).await;
    assert_eq!(holder(store, "msg_1").await, None);
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let other = other_workspace(store).await;
    let ours = response(OURS, "resp_1");
    put(store, &ours, &["msg_1", "msg_2"]).await;
    store
        .insert_approvals(&[approval(OURS, "mcpr_1")])
        .await
        .unwrap();
    assert_eq!(store.response(&other, "resp_1").await.unwrap(), None);
    assert_eq!(store.response_of_item(&other, "msg_1").await.unwrap(), None);
    assert!(!store.delete_response(&other, "resp_1").await.unwrap());
    // The same ids elsewhere neither collide nor mix.
    let theirs = ResponseRow {
        model: "theirs".to_owned(),
        created_at_ms: 900,
        ..response(&other, "resp_1")
    };
    put(store, &theirs, &["msg_1"]).await;
    assert_eq!(found(store, "resp_1").await, Some(ours.clone()));
    let by_item = store.response_of_item(OURS, "msg_1").await.unwrap();
    assert_eq!(by_item, Some(ours.clone()));
    let by_item = store.response_of_item(&other, "msg_1").await.unwrap();
    assert_eq!(by_item, Some(theirs));
    assert!(store.delete_response(&other, "resp_1").await.unwrap());
    assert_eq!(found(store, "resp_1").await, Some(ours));
    assert_eq!(holder(store, "msg_2").await.as_deref(), Some("resp_1"));
    assert!(store.approval(OURS, "mcpr_1").await.unwrap().is_some());
}

async fn a_response_needs_its_workspace(store: &dyn Store) {
    let error = store
        .put_response(response("ws-none", "resp_1"), ids(["msg_1"]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NoParent("response")), "{error}");
    // The connection that failed is usable, and nothing was left behind.
    put(store, &response(OURS, "resp_1"), &["msg_1"]).await;
    assert_eq!(holder(store, "msg_1").await.as_deref(), Some("resp_1"));
    let missing = store.response_of_item("ws-none", "msg_1").await.unwrap();
    assert_eq!(missing, None);
}

/// Responses that are stored at the same time may share a transaction.
async fn a_wrong_response_does_not_harm_those_beside_it(store: &dyn Store) {
    let rows: Vec<_> = (0..100)
        .map(|number| match number {
            30 => response("ws-none", "resp_30"),
            _ => response(OURS, &format!("resp_{number}")),
        })
        .collect();
    let items = ids(["msg_1"]);
    let puts = rows
        .iter()
        .map(|row| store.put_response(row.clone(), items.clone()));
    for (row, answer) in rows.iter().zip(join_all(puts).await) {
        let right = row.workspace_id == OURS;
        assert_eq!(answer.is_ok(), right, "{row:?} {answer:?}");
        let stored = found(store, &row.id).await;
        assert_eq!(stored.as_ref(), right.then_some(row));
    }
    assert_eq!(holder(store, "msg_1").await.as_deref(), Some("resp_99"));
}

async fn expired_responses_are_pruned_oldest_first(store: &dyn Store) {
    for end in [30, 10, 20, 40] {
        let row = ResponseRow {
            expires_at_ms: FAR_MS + end,
            ..response(OURS, &format!("resp_{end}"))
        };
        put(store, &row, &[&format!("msg_{end}")]).await;
    }
    assert_eq!(store.prune_responses(FAR_MS + 40, 2).await.unwrap(), 2);
    assert_eq!(found(store, "resp_10").await, None);
    assert_eq!(found(store, "resp_20").await, None);
    assert_eq!(holder(store, "msg_20").await, None);
    assert!(found(store, "resp_30").await.is_some());
    assert_eq!(store.prune_responses(FAR_MS + 40, 2).await.unwrap(), 1);
    assert_eq!(store.prune_responses(FAR_MS + 40, 2).await.unwrap(), 0);
    assert_eq!(holder(store, "msg_40").await.as_deref(), Some("resp_40"));
}
