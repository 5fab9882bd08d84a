use std::sync::Arc;

use futures_util::future::join_all;
use portunus_store::{
    APPROVAL_APPROVED, APPROVAL_DENIED, APPROVAL_EXPIRED, APPROVAL_PENDING, APPROVAL_USED,
    ApprovalRow, DEFAULT_WORKSPACE_ID, Decided, Page, Refusal, Store, StoreError, Used,
};
use tokio::task::JoinSet;

use crate::TempDatabase;
use crate::rows::other_workspace;
use crate::state_rows::{FAR_MS, NOW_MS, PAST_MS, approval, ids};

crate::conformance! {
    an_approval_is_read_as_it_was_written
    questions_are_stored_whole_or_not_at_all
    of_fifty_callers_one_gets_it
    several_are_used_all_or_none
    what_is_decided_is_used_as_decided
    of_two_decisions_one_stands
    an_expired_one_is_neither_decided_nor_used
    another_workspace_sees_nothing
    pages_are_newest_first_and_by_state
    the_newest_of_a_tool_is_found
    expired_approvals_are_pruned
}

const OURS: &str = DEFAULT_WORKSPACE_ID;

async fn insert(store: &dyn Store, rows: &[ApprovalRow]) {
    store.insert_approvals(rows).await.unwrap();
}

async fn found(store: &dyn Store, id: &str) -> ApprovalRow {
    store.approval(OURS, id).await.unwrap().unwrap()
}

async fn use_up<const N: usize>(store: &dyn Store, names: [&str; N]) -> Used {
    store
        .use_approvals(OURS, &ids(names), NOW_MS)
        .await
        .unwrap()
}

async fn decide(store: &dyn Store, id: &str, approve: bool, reason: Option<&str>) -> Decided {
    store
        .decide_approval(OURS, id, approve, reason, "admin", NOW_MS)
        .await
        .unwrap()
}

fn refused(id: &str, why: Refusal) -> Used {
    let id = id.to_owned();
    Used::Refused { id, why }
}

fn not_pending(state: &str) -> Decided {
    Decided::NotPending(state.to_owned())
}

fn ended(id: &str, expires_at_ms: i64) -> ApprovalRow {
    ApprovalRow {
        expires_at_ms,
        ..approval(OURS, id)
    }
}

/// A row with a value in every field.
fn full(id: &str) -> ApprovalRow {
    ApprovalRow {
        state: APPROVAL_USED.to_owned(),
        reason: Some("since 'it' is safe".to_owned()),
        decided_at_ms: Some(300),
        decided_by: Some("admin".to_owned()),
        used_at_ms: Some(400),
        ..approval(OURS, id)
    }
}

async fn an_approval_is_read_as_it_was_written(store: &dyn Store) {
    let bare = ApprovalRow {
        api_key_id: None,
        ..approval(OURS, "mcpr_bare")
    };
    let rows = [full("mcpr_full"), bare];
    insert(store, &rows).await;
    for row in &rows {
        assert_eq!(found(store, &row.id).await, *row);
    }
    assert_eq!(store.approval(OURS, "mcpr_none").await.unwrap(), None);
}

async fn questions_are_stored_whole_or_not_at_all(store: &dyn Store) {
    let twice = approval(OURS, "mcpr_twice");
    let rows = [approval(OURS, "mcpr_a"), twice.clone(), twice];
    let error = store.insert_approvals(&rows).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict("approval")), "{error}");
    assert_eq!(store.approval(OURS, "mcpr_a").await.unwrap(), None);
    let lost = [approval("ws-none", "mcpr_a")];
    let error = store.insert_approvals(&lost).await.unwrap_err();
    assert!(matches!(error, StoreError::NoParent("approval")), "{error}");
    let odd = ApprovalRow {
        state: "odd".to_owned(),
        ..approval(OURS, "mcpr_a")
    };
    assert!(store.insert_approvals(&[odd]).await.is_err());
    insert(store, &[]).await;
    let many: Vec<_> = (0..40)
        .map(|number| approval(OURS, &format!("mcpr_{number}")))
        .collect();
    insert(store, &many).await;
    assert_eq!(found(store, "mcpr_39").await, many[39]);
}

/// Exactly one has the row; all others are told that it is used.
fn assert_one_winner(answers: &[Used], row: &ApprovalRow) {
    let (won, lost): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| matches!(answer, Used::Rows(_)));
    assert_eq!(won, [&Used::Rows(vec![row.clone()])]);
    for answer in lost {
        assert_eq!(*answer, refused(&row.id, Refusal::AlreadyUsed));
    }
}

async fn of_fifty_callers_one_gets_it(store: &dyn Store) {
    let row = approval(OURS, "mcpr_1");
    insert(store, std::slice::from_ref(&row)).await;
    let answers = join_all((0..50).map(|_| use_up(store, ["mcpr_1"]))).await;
    assert_one_winner(&answers, &row);
    let used = ApprovalRow {
        state: APPROVAL_USED.to_owned(),
        used_at_ms: Some(NOW_MS),
        ..row
    };
    assert_eq!(found(store, "mcpr_1").await, used);
}

/// As above over two stores on one file, as two processes have it, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_callers_of_two_stores_one_gets_it() {
    let database = TempDatabase::new();
    one_gets_it([database.open().await, database.open().await]).await;
}

pub(crate) async fn one_gets_it(stores: [Arc<dyn Store>; 2]) {
    let row = approval(OURS, "mcpr_1");
    insert(&*stores[0], std::slice::from_ref(&row)).await;
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let store = Arc::clone(&stores[number % 2]);
        tasks.spawn(async move { use_up(&*store, ["mcpr_1"]).await });
    }
    assert_one_winner(&tasks.join_all().await, &row);
}

async fn several_are_used_all_or_none(store: &dyn Store) {
    let rows = ["mcpr_a", "mcpr_b", "mcpr_c"].map(|id| approval(OURS, id));
    insert(store, &rows).await;
    insert(store, &[ended("mcpr_over", PAST_MS), full("mcpr_used")]).await;
    let cases = [
        (["mcpr_a", "mcpr_none", "mcpr_b"], Refusal::Missing),
        (["mcpr_a", "mcpr_used", "mcpr_b"], Refusal::AlreadyUsed),
        (["mcpr_a", "mcpr_over", "mcpr_b"], Refusal::Expired),
        (["mcpr_a", "mcpr_a", "mcpr_b"], Refusal::AlreadyUsed),
    ];
    for (names, why) in cases {
        assert_eq!(use_up(store, names).await, refused(names[1], why));
        for id in ["mcpr_a", "mcpr_b"] {
            assert_eq!(found(store, id).await.state, APPROVAL_PENDING, "{names:?}");
        }
    }
    let [a, b, c] = rows;
    let got = use_up(store, ["mcpr_c", "mcpr_a"]).await;
    assert_eq!(got, Used::Rows(vec![c, a]));
    assert_eq!(use_up(store, ["mcpr_b"]).await, Used::Rows(vec![b]));
    assert_eq!(use_up(store, []).await, Used::Rows(Vec::new()));
}

async fn what_is_decided_is_used_as_decided(store: &dyn Store) {
    insert(store, &["mcpr_yes", "mcpr_no"].map(|id| approval(OURS, id))).await;
    let done = decide(store, "mcpr_yes", true, None).await;
    assert_eq!(done, Decided::Done);
    let done = decide(store, "mcpr_no", false, Some("too late")).await;
    assert_eq!(done, Decided::Done);

    let yes = found(store, "mcpr_yes").await;
    assert_eq!(
        (yes.state.as_str(), &yes.reason),
        (APPROVAL_APPROVED, &None)
    );
    let no = found(store, "mcpr_no").await;
    let expected = ApprovalRow {
        state: APPROVAL_DENIED.to_owned(),
        reason: Some("too late".to_owned()),
        decided_at_ms: Some(NOW_MS),
        decided_by: Some("admin".to_owned()),
        ..approval(OURS, "mcpr_no")
    };
    assert_eq!(no, expected);
    // The first word stands.
    let again = decide(store, "mcpr_no", true, None).await;
    assert_eq!(again, not_pending(APPROVAL_DENIED));
    assert_eq!(found(store, "mcpr_no").await, expected);

    let got = use_up(store, ["mcpr_yes", "mcpr_no"]).await;
    assert_eq!(got, Used::Rows(vec![yes, no]));
    let again = decide(store, "mcpr_yes", false, None).await;
    assert_eq!(again, not_pending(APPROVAL_USED));
    let again = decide(store, "mcpr_none", false, None).await;
    assert_eq!(again, Decided::Missing);
}

async fn of_two_decisions_one_stands(store: &dyn Store) {
    insert(store, &[approval(OURS, "mcpr_1")]).await;
    let words = (0..20).map(|number| decide(store, "mcpr_1", number % 2 == 0, None));
    let answers = join_all(words).await;
    let stands = found(store, "mcpr_1").await.state;
    let done = answers
        .iter()
        .filter(|answer| **answer == Decided::Done)
        .count();
    assert_eq!(done, 1);
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Decided::Done || *answer == not_pending(&stands))
    );
}

async fn an_expired_one_is_neither_decided_nor_used(store: &dyn Store) {
    // The time that counts is the one that is given: the end itself is too late.
    let granted = ApprovalRow {
        state: APPROVAL_APPROVED.to_owned(),
        ..ended("mcpr_granted", NOW_MS)
    };
    let rows = [
        ended("mcpr_end", NOW_MS),
        ended("mcpr_before", NOW_MS + 1),
        granted,
    ];
    insert(store, &rows).await;
    for id in ["mcpr_end", "mcpr_granted"] {
        assert_eq!(use_up(store, [id]).await, refused(id, Refusal::Expired));
        let late = decide(store, id, true, None).await;
        assert_eq!(late, not_pending(APPROVAL_EXPIRED));
        assert_eq!(found(store, id).await.state, APPROVAL_EXPIRED);
    }
    let in_time = decide(store, "mcpr_before", true, None).await;
    assert_eq!(in_time, Decided::Done);
    let got = use_up(store, ["mcpr_before"]).await;
    assert!(matches!(got, Used::Rows(rows) if rows[0].state == APPROVAL_APPROVED));
    // What was used in time stays used.
    assert_eq!(found(store, "mcpr_before").await.state, APPROVAL_USED);
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let other = other_workspace(store).await;
    let ours = approval(OURS, "mcpr_1");
    insert(store, std::slice::from_ref(&ours)).await;
    assert_eq!(store.approval(&other, "mcpr_1").await.unwrap(), None);
    let listed = store
        .list_approvals(&other, None, Page::default())
        .await
        .unwrap();
    assert_eq!((listed.rows.len(), listed.total), (0, 0));
    let decided = store
        .decide_approval(&other, "mcpr_1", true, None, "admin", NOW_MS)
        .await
        .unwrap();
    assert_eq!(decided, Decided::Missing);
    let used = store
        .use_approvals(&other, &ids(["mcpr_1"]), NOW_MS)
        .await
        .unwrap();
    assert_eq!(used, refused("mcpr_1", Refusal::Missing));
    assert_eq!(found(store, "mcpr_1").await, ours);
    // The same id elsewhere neither collides nor mixes.
    insert(store, &[approval(&other, "mcpr_1")]).await;
    assert!(matches!(use_up(store, ["mcpr_1"]).await, Used::Rows(_)));
    let theirs = store.approval(&other, "mcpr_1").await.unwrap().unwrap();
    assert_eq!(theirs.state, APPROVAL_PENDING);
}

async fn listed(store: &dyn Store, state: Option<&str>, page: Page) -> (Vec<String>, i64) {
    let listed = store.list_approvals(OURS, state, page).await.unwrap();
    let names = listed.rows.into_iter().map(|row| row.id);
    (names.collect(), listed.total)
}

async fn pages_are_newest_first_and_by_state(store: &dyn Store) {
    let rows: Vec<_> = (0..6)
        .map(|number| ApprovalRow {
            created_at_ms: 100 + number / 2,
            ..approval(OURS, &format!("mcpr_{number}"))
        })
        .collect();
    insert(store, &rows).await;
    insert(store, &[ended("mcpr_over", PAST_MS)]).await;
    decide(store, "mcpr_1", true, None).await;
    decide(store, "mcpr_2", false, None).await;
    use_up(store, ["mcpr_3"]).await;

    let all = listed(store, None, Page::default()).await;
    assert_eq!(
        all.0,
        [
            "mcpr_5",
            "mcpr_4",
            "mcpr_3",
            "mcpr_2",
            "mcpr_over",
            "mcpr_1",
            "mcpr_0"
        ]
    );
    assert_eq!(all.1, 7);
    let page = Page {
        limit: 2,
        offset: 1,
    };
    let pending = listed(store, Some(APPROVAL_PENDING), page).await;
    assert_eq!(pending, (ids(["mcpr_4", "mcpr_0"]), 3));
    for (state, id) in [
        (APPROVAL_APPROVED, "mcpr_1"),
        (APPROVAL_DENIED, "mcpr_2"),
        (APPROVAL_USED, "mcpr_3"),
        (APPROVAL_EXPIRED, "mcpr_over"),
    ] {
        let found = listed(store, Some(state), Page::default()).await;
        assert_eq!(found, (ids([id]), 1), "{state}");
        let row = store.approval(OURS, id).await.unwrap().unwrap();
        assert_eq!(row.state, state);
    }
    let odd = listed(store, Some("' OR 1=1"), Page::default()).await;
    assert_eq!(odd, (Vec::new(), 0));
}

async fn the_newest_of_a_tool_is_found(store: &dyn Store) {
    let other = other_workspace(store).await;
    let asked = |id: &str, created_at_ms| ApprovalRow {
        created_at_ms,
        ..approval(OURS, id)
    };
    let elsewhere = ApprovalRow {
        server_digest: "ee".repeat(32),
        ..asked("mcpr_server", 900)
    };
    let another = ApprovalRow {
        tool: "list".to_owned(),
        ..asked("mcpr_tool", 900)
    };
    let theirs = ApprovalRow {
        workspace_id: other.clone(),
        ..asked("mcpr_theirs", 900)
    };
    let rows = [
        asked("mcpr_b", 200),
        asked("mcpr_a", 300),
        asked("mcpr_c", 100),
    ];
    insert(store, &rows).await;
    insert(store, &[elsewhere, another, theirs]).await;
    let digest = &rows[0].server_digest;
    let newest = async |workspace_id: &str, tool: &str| {
        let row = store.newest_approval(workspace_id, digest, tool).await;
        row.unwrap().map(|row| row.id)
    };
    assert_eq!(newest(OURS, "remove").await.as_deref(), Some("mcpr_a"));
    assert_eq!(newest(OURS, "list").await.as_deref(), Some("mcpr_tool"));
    assert_eq!(
        newest(&other, "remove").await.as_deref(),
        Some("mcpr_theirs")
    );
    assert_eq!(newest(OURS, "none").await, None);
}

async fn expired_approvals_are_pruned(store: &dyn Store) {
    let rows = [30, 10, 20, 40].map(|end| ended(&format!("mcpr_{end}"), FAR_MS + end));
    insert(store, &rows).await;
    use_up(store, ["mcpr_10"]).await;
    assert_eq!(store.prune_approvals(FAR_MS + 40, 2).await.unwrap(), 2);
    let left = listed(store, None, Page::default()).await;
    assert_eq!(left, (ids(["mcpr_40", "mcpr_30"]), 2));
    assert_eq!(store.prune_approvals(FAR_MS + 40, 2).await.unwrap(), 1);
    assert_eq!(store.prune_approvals(FAR_MS + 40, 2).await.unwrap(), 0);
}
