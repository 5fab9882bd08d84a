//! [`Store`] in SQL, for whichever driver stands above this module.
//!
//! The files here are part of each backend: `#[path]` brings them in, so that their types are that
//! driver's and a query is written once. Where databases differ, the backend's `driver` has the
//! word for it.

mod approvals;
pub(super) mod bulk;
pub(super) mod columns;
mod configs;
mod exports;
mod idempotency;
mod journal;
mod keys;
mod log_filter;
mod logs;
mod owned;
mod processes;
pub(super) mod state;
mod virtual_keys;
mod workspaces;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::{driver, group};
use crate::error::StoreError;
use crate::model::{
    ApiKeyRow, ApprovalRow, Claimed, ConfigRow, Decided, ExportRow, IdempotencyRow, JournalRow,
    Listed, LogDetail, LogFilter, LogRecord, LogSummary, NewWorkspace, Page, ResponseRow, Used,
    VaultMetaRow, VirtualKeyRow, WorkspaceRow,
};
use crate::store::{BoxFuture, Store};
use driver::{Pool, failed};
use group::Group;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Longest wait of a request for one call: a database that hangs, or that somebody else has
/// locked, holds nobody longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Work that gives up in time.
fn in_time<'a, T>(work: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Answer<'a, T> {
    Box::pin(async move {
        let late = |_elapsed| {
            let seconds = CALL_TIMEOUT.as_secs();
            Err(StoreError::Unavailable(format!(
                "no answer within {seconds} s"
            )))
        };
        timeout(CALL_TIMEOUT, work).await.unwrap_or_else(late)
    })
}

/// A database.
pub(crate) struct Backend {
    /// What is committed here is on disk before a call returns.
    pub(super) keys: Pool,
    /// What is committed here survives the death of the process. Requests find their keys and
    /// configs here too, so that they do not wait behind writes that wait for the disk.
    pub(super) logs: Pool,
    /// As `logs`, for what each request writes. In SQLite one connection: it finds its pages in
    /// its own cache, which a second writer would make worthless, and nobody fights for the lock.
    pub(super) writes: Group,
    virtual_key_changes: AtomicU64,
    config_changes: AtomicU64,
}

impl Backend {
    /// A database with these connections; see the fields.
    pub(super) fn new(keys: Pool, logs: Pool, writes: Group) -> Self {
        Self {
            keys,
            logs,
            writes,
            virtual_key_changes: AtomicU64::new(0),
            config_changes: AtomicU64::new(0),
        }
    }
}

/// Counts a change when `work` is over, also when it is given up.
async fn changing<T>(changes: &AtomicU64, work: impl Future<Output = T>) -> T {
    let _changed = Changed(changes);
    work.await
}

struct Changed<'a>(&'a AtomicU64);

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Store for Backend {
    fn ping(&self) -> Answer<'_, ()> {
        in_time(async {
            let asked = sqlx::query("SELECT 1").execute(&self.keys).await;
            asked.map(drop).map_err(failed("database"))
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.writes.close().await;
            self.logs.close().await;
            self.keys.close().await;
        })
    }

    fn create_workspace(&self, new: NewWorkspace) -> Answer<'_, WorkspaceRow> {
        in_time(workspaces::create(&self.keys, new))
    }

    fn list_workspaces(&self) -> Answer<'_, Vec<WorkspaceRow>> {
        in_time(workspaces::list(&self.keys))
    }

    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceRow>> {
        in_time(workspaces::find(&self.keys, id))
    }

    fn insert_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, ()> {
        in_time(keys::insert(&self.keys, row))
    }

    fn api_key_by_lookup<'a>(&'a self, lookup: &'a str) -> Answer<'a, Option<ApiKeyRow>> {
        in_time(keys::by_lookup(&self.logs, lookup))
    }

    fn list_api_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ApiKeyRow>> {
        in_time(owned::list(&self.keys, workspace_id, page))
    }

    fn api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ApiKeyRow>> {
        in_time(owned::find(&self.keys, workspace_id, "id", id))
    }

    fn update_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, bool> {
        in_time(keys::update(&self.keys, row))
    }

    fn delete_api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        in_time(owned::delete::<ApiKeyRow>(&self.keys, workspace_id, id))
    }

    fn touch_api_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        at: Timestamp,
    ) -> Answer<'a, bool> {
        in_time(keys::touch(&self.logs, workspace_id, id, at))
    }

    fn insert_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, ()> {
        let work = virtual_keys::insert(&self.keys, row);
        in_time(changing(&self.virtual_key_changes, work))
    }

    fn virtual_key_by_slug<'a>(
        &'a self,
        workspace_id: &'a str,
        slug: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>> {
        in_time(owned::find(&self.logs, workspace_id, "slug", slug))
    }

    fn virtual_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>> {
        in_time(owned::find(&self.keys, workspace_id, "id", id))
    }

    fn list_virtual_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<VirtualKeyRow>> {
        in_time(owned::list(&self.keys, workspace_id, page))
    }

    fn update_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, bool> {
        let work = virtual_keys::update(&self.keys, row);
        in_time(changing(&self.virtual_key_changes, work))
    }

    fn virtual_key_changes(&self) -> u64 {
        self.virtual_key_changes.load(Ordering::SeqCst)
    }

    fn delete_virtual_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        let work = owned::delete::<VirtualKeyRow>(&self.keys, workspace_id, id);
        in_time(changing(&self.virtual_key_changes, work))
    }

    fn insert_config<'a>(&'a self, row: &'a ConfigRow) -> Answer<'a, ()> {
        let work = configs::insert(&self.keys, row);
        in_time(changing(&self.config_changes, work))
    }

    fn config_by_slug<'a>(
        &'a self,
        workspace_id: &'a str,
        slug: &'a str,
    ) -> Answer<'a, Option<ConfigRow>> {
        in_time(owned::find(&self.logs, workspace_id, "slug", slug))
    }

    fn config<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ConfigRow>> {
        in_time(owned::find(&self.keys, workspace_id, "id", id))
    }

    fn list_configs<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ConfigRow>> {
        in_time(owned::list(&self.keys, workspace_id, page))
    }

    fn config_versions<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ConfigRow>> {
        in_time(configs::versions(&self.keys, workspace_id, id, page))
    }

    fn update_config<'a>(&'a self, row: &'a ConfigRow) -> Answer<'a, bool> {
        let work = configs::update(&self.keys, row);
        in_time(changing(&self.config_changes, work))
    }

    fn config_changes(&self) -> u64 {
        self.config_changes.load(Ordering::SeqCst)
    }

    fn delete_config<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        let work = owned::delete::<ConfigRow>(&self.keys, workspace_id, id);
        in_time(changing(&self.config_changes, work))
    }

    fn vault_meta<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VaultMetaRow>> {
        in_time(workspaces::meta(&self.keys, name))
    }

    fn insert_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool> {
        in_time(workspaces::insert_meta(&self.keys, row))
    }

    fn update_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool> {
        in_time(workspaces::update_meta(&self.keys, row))
    }

    fn write_logs<'a>(&'a self, records: &'a [LogRecord]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut turn = self.writes.turn().await?;
            logs::insert(turn.connection()?, records).await
        })
    }

    fn list_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        filter: &'a LogFilter,
        limit: u32,
        after: Option<&'a str>,
    ) -> Answer<'a, (Vec<LogSummary>, bool)> {
        in_time(logs::list(&self.logs, workspace_id, filter, limit, after))
    }

    fn log<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<LogDetail>> {
        in_time(logs::find(&self.logs, workspace_id, id))
    }

    fn count_logs<'a>(&'a self, workspace_id: &'a str, filter: &'a LogFilter) -> Answer<'a, i64> {
        in_time(logs::count(&self.logs, workspace_id, filter))
    }

    fn prune_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        before_ms: i64,
        limit: u32,
    ) -> Answer<'a, u64> {
        Box::pin(logs::prune(&self.logs, workspace_id, before_ms, limit))
    }

    fn put_response(&self, row: ResponseRow, item_ids: Vec<String>) -> Answer<'_, ()> {
        let items = item_ids.iter().map(|id| state::item_key(id)).collect();
        in_time(self.writes.put(row, items))
    }

    fn response<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<ResponseRow>> {
        in_time(state::find(&self.logs, workspace_id, id))
    }

    fn delete_response<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        // In the class of keys: what a client has deleted does not come back.
        in_time(state::delete(&self.keys, workspace_id, id))
    }

    fn response_of_item<'a>(
        &'a self,
        workspace_id: &'a str,
        item_id: &'a str,
    ) -> Answer<'a, Option<ResponseRow>> {
        in_time(state::of_item(&self.logs, workspace_id, item_id))
    }

    fn prune_responses(&self, before_ms: i64, limit: u32) -> Answer<'_, u64> {
        let by = ("responses", "expires_at_ms");
        Box::pin(state::prune(&self.logs, by, before_ms, limit))
    }

    fn insert_approvals<'a>(&'a self, rows: &'a [ApprovalRow]) -> Answer<'a, ()> {
        in_time(approvals::insert(&self.keys, rows))
    }

    fn approval<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<ApprovalRow>> {
        in_time(approvals::find(&self.keys, workspace_id, id))
    }

    fn newest_approval<'a>(
        &'a self,
        workspace_id: &'a str,
        server_digest: &'a str,
        tool: &'a str,
    ) -> Answer<'a, Option<ApprovalRow>> {
        in_time(approvals::newest(
            &self.keys,
            workspace_id,
            server_digest,
            tool,
        ))
    }

    fn list_approvals<'a>(
        &'a self,
        workspace_id: &'a str,
        state: Option<&'a str>,
        page: Page,
    ) -> Answer<'a, Listed<ApprovalRow>> {
        in_time(approvals::list(&self.keys, workspace_id, state, page))
    }

    fn decide_approval<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        approve: bool,
        reason: Option<&'a str>,
        by: &'a str,
        now_ms: i64,
    ) -> Answer<'a, Decided> {
        let decision = approvals::Decision {
            approve,
            reason,
            by,
            now_ms,
        };
        in_time(approvals::decide(&self.keys, workspace_id, id, decision))
    }

    fn use_approvals<'a>(
        &'a self,
        workspace_id: &'a str,
        ids: &'a [String],
        now_ms: i64,
    ) -> Answer<'a, Used> {
        in_time(approvals::use_all(&self.keys, workspace_id, ids, now_ms))
    }

    fn prune_approvals(&self, before_ms: i64, limit: u32) -> Answer<'_, u64> {
        let by = ("approvals", "expires_at_ms");
        Box::pin(state::prune(&self.logs, by, before_ms, limit))
    }

    fn journal_intents<'a>(&'a self, rows: &'a [JournalRow]) -> Answer<'a, ()> {
        in_time(journal::insert(&self.writes, rows))
    }

    fn journal_done<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        state: &'a str,
        outcome: &'a str,
        result: Option<&'a str>,
        now_ms: i64,
    ) -> Answer<'a, bool> {
        let end = journal::End {
            state,
            outcome,
            result,
            now_ms,
        };
        in_time(journal::end(&self.writes, workspace_id, id, end))
    }

    fn journal<'a>(
        &'a self,
        workspace_id: &'a str,
        response_id: &'a str,
    ) -> Answer<'a, Vec<JournalRow>> {
        in_time(journal::list(&self.logs, workspace_id, response_id))
    }

    fn journal_sweep(&self, now_ms: i64) -> Answer<'_, u64> {
        Box::pin(journal::sweep(&self.keys, now_ms))
    }

    fn beat<'a>(&'a self, process: &'a str) -> Answer<'a, ()> {
        in_time(processes::beat(&self.logs, process))
    }

    fn lives<'a>(&'a self, process: &'a str) -> Answer<'a, bool> {
        in_time(processes::lives(&self.logs, process))
    }

    fn leave<'a>(&'a self, process: &'a str) -> Answer<'a, ()> {
        in_time(processes::leave(&self.logs, process))
    }

    fn prune_journal(&self, before_ms: i64, limit: u32) -> Answer<'_, u64> {
        let by = ("tool_journal", "created_at_ms");
        Box::pin(state::prune(&self.logs, by, before_ms, limit))
    }

    fn claim_idempotency<'a>(
        &'a self,
        row: &'a IdempotencyRow,
        now_ms: i64,
    ) -> Answer<'a, Claimed> {
        in_time(idempotency::claim(&self.keys, row, now_ms))
    }

    fn finish_idempotency<'a>(
        &'a self,
        workspace_id: &'a str,
        api_key_id: &'a str,
        key: &'a str,
        status: i64,
        content_type: &'a str,
        answer: &'a str,
    ) -> Answer<'a, ()> {
        let name = [workspace_id, api_key_id, key];
        in_time(idempotency::finish(
            &self.keys,
            name,
            status,
            content_type,
            answer,
        ))
    }

    fn release_idempotency<'a>(
        &'a self,
        workspace_id: &'a str,
        api_key_id: &'a str,
        key: &'a str,
    ) -> Answer<'a, ()> {
        let name = [workspace_id, api_key_id, key];
        in_time(idempotency::release(&self.keys, name))
    }

    fn prune_idempotency(&self, before_ms: i64, limit: u32) -> Answer<'_, u64> {
        let by = ("idempotency", "expires_at_ms");
        Box::pin(state::prune(&self.logs, by, before_ms, limit))
    }

    fn insert_export<'a>(&'a self, row: &'a ExportRow) -> Answer<'a, ()> {
        in_time(exports::insert(&self.keys, row))
    }

    fn export<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ExportRow>> {
        in_time(owned::find(&self.keys, workspace_id, "id", id))
    }

    fn list_exports<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ExportRow>> {
        in_time(owned::list(&self.keys, workspace_id, page))
    }

    fn update_export<'a>(
        &'a self,
        state: &'a str,
        run: &'a str,
        row: &'a ExportRow,
    ) -> Answer<'a, bool> {
        in_time(exports::update(&self.keys, (state, run), row))
    }

    fn break_off_export<'a>(
        &'a self,
        run: &'a str,
        now_ms: i64,
        error: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(exports::break_off(&self.keys, run, now_ms, error))
    }

    fn sweep_exports<'a>(&'a self, before_ms: i64, now_ms: i64, error: &'a str) -> Answer<'a, u64> {
        Box::pin(exports::sweep(&self.keys, before_ms, now_ms, error))
    }

    fn prune_exports(&self, before_ms: i64, limit: u32) -> Answer<'_, u64> {
        let by = ("exports", "expires_at_ms");
        Box::pin(state::prune(&self.logs, by, before_ms, limit))
    }
}
