//! What a running gateway does about its database beside the requests: it notes at the start
//! which tool calls a dead process has left open, and removes what has run out of time.

use crate::app::Shared;
use crate::exporting;
use jiff::Timestamp;
use portunus_store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(2);
/// How many of these there are for one look at the calls of the others.
const BEATS_OF_A_SWEEP: u64 = 3;
/// How often expired rows are looked for.
const PAUSE: Duration = Duration::from_secs(600);
/// Rows of one removal: a request never waits long for the database behind it.
const ROWS: u32 = 500;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Starts the work; it ends when the end of the process begins. Returns when what must be done
/// before the first request is done.
pub async fn start(app: &Shared) {
    let store = Arc::clone(&app.store);
    let shared = !app.live().settings.database_url().starts_with("sqlite:");
    if shared {
        beats(app).await;
    }
    sweep(store.as_ref()).await;
    if let Err(error) = app.exports.recover(store.as_ref()).await {
        tracing::warn!(%error, "the files of exports could not be looked through");
    }
    let ending = app.life.draining.clone();
    let weak = Arc::downgrade(app);
    app.tasks.spawn(async move {
        let work = async {
            let mut ticks = tokio::time::interval(PAUSE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(app) = weak.upgrade() else {
                    return;
                };
                let live = app.live();
                let journal_ms = i64::from(live.settings.state.response_days) * DAY_MS;
                let log_days = live.settings.log.retention_days;
                let removed = prune(store.as_ref(), journal_ms).await;
                if let Err(error) = removed.and(prune_logs(store.as_ref(), log_days).await) {
                    tracing::warn!(%error, "expired rows could not be removed");
                }
                if let Err(error) = exporting::tidy_up(&app).await {
                    tracing::warn!(%error, "exports that are over could not be removed");
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = ending.cancelled() => {}
        }
    });
}

/// Tells the other processes on the database that this one lives, to the end of its last request,
/// and looks now and then whether one of them has died.
async fn beats(app: &Shared) {
    let (store, gone) = (Arc::clone(&app.store), app.life.gone.clone());
    let process = app.live().gateway.process().to_owned();
    beat(store.as_ref(), &process).await;
    app.tasks.spawn(async move {
        let work = async {
            let mut ticks = tokio::time::interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 1_u64.. {
                ticks.tick().await;
                beat(store.as_ref(), &process).await;
                if number.is_multiple_of(BEATS_OF_A_SWEEP) {
                    sweep(store.as_ref()).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = gone.cancelled() => {}
        }
        if let Err(error) = store.leave(&process).await {
            tracing::debug!(%error, "the other processes find out by themselves");
        }
    });
}

async fn beat(store: &dyn Store, process: &str) {
    if let Err(error) = store.beat(process).await {
        tracing::debug!(%error, "no sign of life to the other processes");
    }
}

/// A call of which nobody will say any more how it ended.
async fn sweep(store: &dyn Store) {
    match store.journal_sweep(Timestamp::now().as_millisecond()).await {
        Ok(0) => {}
        Ok(calls) => tracing::warn!(
            calls,
            "tool calls were at work when a gateway ended: whether they ran is unknown"
        ),
        Err(error) => tracing::warn!(%error, "the journal of tool calls could not be read"),
    }
}

/// Removes responses, approvals and idempotency keys whose time is over, and the journal of
/// calls that are older than `journal_ms`.
async fn prune(store: &dyn Store, journal_ms: i64) -> Result<(), StoreError> {
    let now_ms = Timestamp::now().as_millisecond();
    while store.prune_responses(now_ms, ROWS).await? >= u64::from(ROWS) {}
    while store.prune_approvals(now_ms, ROWS).await? >= u64::from(ROWS) {}
    while store.prune_idempotency(now_ms, ROWS).await? >= u64::from(ROWS) {}
    let journal_end_ms = now_ms.saturating_sub(journal_ms);
    while store.prune_journal(journal_end_ms, ROWS).await? >= u64::from(ROWS) {}
    Ok(())
}

/// Removes what the request log holds of more than `days` ago, in every workspace; 0 keeps it
/// for ever.
async fn prune_logs(store: &dyn Store, days: u32) -> Result<(), StoreError> {
    if days == 0 {
        return Ok(());
    }
    let before_ms = Timestamp::now().as_millisecond() - i64::from(days) * DAY_MS;
    for workspace in store.list_workspaces().await? {
        while store.prune_logs(&workspace.id, before_ms, ROWS).await? >= u64::from(ROWS) {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_store::{ApprovalRow, DEFAULT_WORKSPACE_ID, JOURNAL_INTENT, JournalRow};
    use portunus_store::{JOURNAL_UNKNOWN, LogFilter, LogRecord, NewWorkspace, ResponseRow};

    fn response(id: &str, expires_at_ms: i64) -> ResponseRow {
        ResponseRow {
            id: id.to_owned(),
            workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
            expires_at_ms,
            ..ResponseRow::default()
        }
    }

    fn approval(id: String, expires_at_ms: i64) -> ApprovalRow {
        ApprovalRow {
            id,
            workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
            expires_at_ms,
            state: "pending".to_owned(),
            ..ApprovalRow::default()
        }
    }

    #[tokio::test]
    async fn what_is_over_goes_and_the_rest_stays() {
        let store = portunus_store::open("sqlite::memory:").await.unwrap();
        let later_ms = Timestamp::now().as_millisecond() + DAY_MS;
        store
            .put_response(response("old", 1), vec![])
            .await
            .unwrap();
        store
            .put_response(response("new", later_ms), vec![])
            .await
            .unwrap();
        // More than one removal takes.
        let old = (0..=ROWS).map(|n| approval(format!("mcpr_{n}"), 1));
        for rows in old.collect::<Vec<_>>().chunks(100) {
            store.insert_approvals(rows).await.unwrap();
        }
        let open = approval("mcpr_new".to_owned(), later_ms);
        store.insert_approvals(&[open]).await.unwrap();
        prune(store.as_ref(), DAY_MS).await.unwrap();
        let left = store
            .list_approvals(DEFAULT_WORKSPACE_ID, None, portunus_store::Page::default())
            .await
            .unwrap();
        assert_eq!((left.total, left.rows[0].id.as_str()), (1, "mcpr_new"));
        assert_eq!(store.prune_responses(i64::MAX, 10).await.unwrap(), 1);
    }

    fn log(workspace_id: &str, id: String, created_at_ms: i64) -> LogRecord {
        let mut log = LogRecord::default();
        log.request.workspace_id = workspace_id.to_owned();
        log.request.id = id;
        log.request.created_at_ms = created_at_ms;
        log
    }

    #[tokio::test]
    async fn old_logs_go_in_every_workspace() {
        let store = portunus_store::open("sqlite::memory:").await.unwrap();
        let other = NewWorkspace {
            name: "Other".to_owned(),
            slug: "other".to_owned(),
        };
        let other = store.create_workspace(other).await.unwrap().id;
        let now_ms = Timestamp::now().as_millisecond();
        let mut logs = Vec::new();
        for workspace_id in [DEFAULT_WORKSPACE_ID, &other] {
            // More than one removal takes.
            let old = (0..=ROWS).map(|n| log(workspace_id, format!("log-{n}"), n.into()));
            logs.extend(old);
            let young_ms = now_ms - 6 * DAY_MS;
            logs.push(log(workspace_id, "log-young".to_owned(), young_ms));
        }
        store.insert_logs(logs).await.unwrap();
        let left = async |days| {
            prune_logs(store.as_ref(), days).await.unwrap();
            let all = LogFilter::default();
            let mine = store.count_logs(DEFAULT_WORKSPACE_ID, &all).await.unwrap();
            (mine, store.count_logs(&other, &all).await.unwrap())
        };
        let all = i64::from(ROWS) + 2;
        assert_eq!(left(0).await, (all, all));
        assert_eq!(left(7).await, (1, 1));
        assert_eq!(left(5).await, (0, 0));
    }

    #[tokio::test]
    async fn calls_of_a_dead_process_are_unknown() {
        let store = portunus_store::open("sqlite::memory:").await.unwrap();
        let call = JournalRow {
            id: "mcp_1".to_owned(),
            workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
            response_id: "resp_1".to_owned(),
            state: JOURNAL_INTENT.to_owned(),
            ..JournalRow::default()
        };
        store.journal_intents(&[call]).await.unwrap();
        sweep(store.as_ref()).await;
        let rows = store.journal(DEFAULT_WORKSPACE_ID, "resp_1").await.unwrap();
        assert_eq!(rows[0].state, JOURNAL_UNKNOWN);
    }
}
