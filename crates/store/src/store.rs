//! The trait that every backend implements.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

use crate::error::StoreError;
use crate::model::{
    ApiKeyRow, ApprovalRow, Claimed, ConfigRow, Decided, ExportRow, IdempotencyRow, JournalRow,
    Listed, LogDetail, LogFilter, LogRecord, LogSummary, NewWorkspace, Page, ResponseRow, Used,
    VaultMetaRow, VirtualKeyRow, WorkspaceRow,
};

/// A future that borrows from the store and its arguments.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A database. One method per query; every one whose rows have an owner takes its workspace id,
/// and a row of another workspace is treated as missing.
///
/// Methods that change one row by id return whether there was such a row.
pub trait Store: Send + Sync {
    /// Answers when the database does.
    fn ping(&self) -> Answer<'_, ()>;
    /// Closes all connections after their current work; later calls fail. For the end of the
    /// process: the write-ahead log is folded into the database.
    fn close(&self) -> BoxFuture<'_, ()>;

    // Workspaces.

    /// Makes a workspace with a fresh id.
    fn create_workspace(&self, new: NewWorkspace) -> Answer<'_, WorkspaceRow>;
    /// All workspaces, oldest first.
    fn list_workspaces(&self) -> Answer<'_, Vec<WorkspaceRow>>;
    /// The workspace of that id.
    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceRow>>;

    // API keys.

    /// Stores a new API key.
    fn insert_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, ()>;
    /// The key whose secret has (or had, before its last rotation) this public part. The only
    /// query without workspace: it is what finds the workspace. The caller verifies the secret.
    fn api_key_by_lookup<'a>(&'a self, lookup: &'a str) -> Answer<'a, Option<ApiKeyRow>>;
    /// A page of the keys, oldest first.
    fn list_api_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ApiKeyRow>>;
    /// One key.
    fn api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ApiKeyRow>>;
    /// Replaces everything but `id`, `workspace_id`, `created_at` and `last_used_at`.
    fn update_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, bool>;
    /// Removes a key.
    fn delete_api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool>;
    /// Notes the last use of a key; the caller does so about once a minute, not for each request.
    /// In the class of logs: may be lost with the machine's power.
    fn touch_api_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        at: Timestamp,
    ) -> Answer<'a, bool>;

    // Virtual keys.

    /// Stores a new virtual key.
    fn insert_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, ()>;
    /// The virtual key of that slug.
    fn virtual_key_by_slug<'a>(
        &'a self,
        workspace_id: &'a str,
        slug: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>>;
    /// The virtual key of that id.
    fn virtual_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>>;
    /// A page of the virtual keys, oldest first.
    fn list_virtual_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<VirtualKeyRow>>;
    /// Replaces everything but `id`, `workspace_id` and `created_at`. A new ciphertext must come
    /// with the stored `version` plus one, an unchanged one with the stored `version`; anything
    /// else is a [`StoreError::Conflict`]: somebody has changed the credential meanwhile.
    fn update_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, bool>;
    /// Grows with every change of a virtual key that this process makes, so that what was
    /// derived from a row is known to be stale. Read it before the row.
    fn virtual_key_changes(&self) -> u64;
    /// Removes a virtual key.
    fn delete_virtual_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool>;

    // Saved routing configs.

    /// Stores a new config and its first version.
    fn insert_config<'a>(&'a self, row: &'a ConfigRow) -> Answer<'a, ()>;
    /// The config of that slug.
    fn config_by_slug<'a>(
        &'a self,
        workspace_id: &'a str,
        slug: &'a str,
    ) -> Answer<'a, Option<ConfigRow>>;
    /// The config of that id.
    fn config<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ConfigRow>>;
    /// A page of the configs, oldest first.
    fn list_configs<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ConfigRow>>;
    /// A page of the versions of a config, newest first, each as the config was then. The newest
    /// [`crate::CONFIG_VERSIONS`] are kept.
    fn config_versions<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ConfigRow>>;
    /// Makes a new version with this name, status and config, which must be the stored one's
    /// `version` plus one; anything else is a [`StoreError::Conflict`]: somebody has changed it
    /// meanwhile.
    fn update_config<'a>(&'a self, row: &'a ConfigRow) -> Answer<'a, bool>;
    /// As [`Store::virtual_key_changes`], for configs.
    fn config_changes(&self) -> u64;
    /// Removes a config with all its versions.
    fn delete_config<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool>;

    // Values of the whole database, sealed.

    /// The value of that name.
    fn vault_meta<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VaultMetaRow>>;
    /// Stores a value unless the name is taken; says whether it did.
    fn insert_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool>;
    /// Replaces a value if its stored version is older than `row.version`; says whether it did.
    fn update_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool>;

    // Logs.

    /// Stores records in one transaction: all or none.
    fn write_logs<'a>(&'a self, records: &'a [LogRecord]) -> Answer<'a, ()>;
    /// As [`Store::write_logs`], for a caller that does not need the records any more.
    fn insert_logs(&self, records: Vec<LogRecord>) -> Answer<'_, ()> {
        Box::pin(async move { self.write_logs(&records).await })
    }
    /// At most `limit` logs, newest first, and whether there are more. `after` is the id of the
    /// last log that the caller has; an id that is not a log of this workspace is
    /// [`StoreError::UnknownCursor`].
    fn list_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        filter: &'a LogFilter,
        limit: u32,
        after: Option<&'a str>,
    ) -> Answer<'a, (Vec<LogSummary>, bool)>;
    /// One log with all its rows.
    fn log<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<LogDetail>>;
    /// How many logs match.
    fn count_logs<'a>(&'a self, workspace_id: &'a str, filter: &'a LogFilter) -> Answer<'a, i64>;
    /// Removes at most `limit` logs that are older than `before_ms` (Unix time), oldest first;
    /// says how many.
    fn prune_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        before_ms: i64,
        limit: u32,
    ) -> Answer<'a, u64>;

    // Responses. In the class of logs, but waited for: stored when the call returns.

    /// Stores a response, in place of one with its id. `item_ids` are those of its input and
    /// output; [`Store::response_of_item`] finds it by them.
    fn put_response(&self, row: ResponseRow, item_ids: Vec<String>) -> Answer<'_, ()>;
    /// The response of that id, unless it has expired.
    fn response<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<ResponseRow>>;
    /// Removes a response, its approvals that are not used, and what tools answered from its
    /// journal. Says whether there was one that had not expired.
    fn delete_response<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool>;
    /// The newest response that holds an item, of those that have not expired.
    fn response_of_item<'a>(
        &'a self,
        workspace_id: &'a str,
        item_id: &'a str,
    ) -> Answer<'a, Option<ResponseRow>>;
    /// Removes at most `limit` responses of all workspaces that expired before `before_ms` (Unix
    /// time), oldest first; says how many. Their approvals and journal have their own ends.
    fn prune_responses(&self, before_ms: i64, limit: u32) -> Answer<'_, u64>;

    // Approvals. On disk before a call returns. What has expired is shown as
    // [`crate::APPROVAL_EXPIRED`].

    /// Stores questions: all or none.
    fn insert_approvals<'a>(&'a self, rows: &'a [ApprovalRow]) -> Answer<'a, ()>;
    /// One approval.
    fn approval<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<ApprovalRow>>;
    /// The newest approval of a tool, by the server's digest and the tool's name: it holds the
    /// definition that the server was seen with last.
    fn newest_approval<'a>(
        &'a self,
        workspace_id: &'a str,
        server_digest: &'a str,
        tool: &'a str,
    ) -> Answer<'a, Option<ApprovalRow>>;
    /// A page of the approvals in a state, or of all, newest first.
    fn list_approvals<'a>(
        &'a self,
        workspace_id: &'a str,
        state: Option<&'a str>,
        page: Page,
    ) -> Answer<'a, Listed<ApprovalRow>>;
    /// Decides a pending approval before its caller comes back. `by` says who does; `now_ms` is
    /// Unix time, here and below.
    fn decide_approval<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        approve: bool,
        reason: Option<&'a str>,
        by: &'a str,
        now_ms: i64,
    ) -> Answer<'a, Decided>;
    /// Uses approvals up, decided or not: all or none. Of any number of concurrent callers
    /// exactly one gets an approval. An id that is named twice is refused as used.
    fn use_approvals<'a>(
        &'a self,
        workspace_id: &'a str,
        ids: &'a [String],
        now_ms: i64,
    ) -> Answer<'a, Used>;
    /// As [`Store::prune_responses`], for approvals in any state.
    fn prune_approvals(&self, before_ms: i64, limit: u32) -> Answer<'_, u64>;

    // The journal of tool calls. In the class of logs, but waited for.

    /// Notes calls before they leave: all or none.
    fn journal_intents<'a>(&'a self, rows: &'a [JournalRow]) -> Answer<'a, ()>;
    /// Notes the end of a call: `state` is [`crate::JOURNAL_DONE`] or [`crate::JOURNAL_UNKNOWN`].
    /// `false` when there is no such call or it is done already: the first end stays.
    fn journal_done<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        state: &'a str,
        outcome: &'a str,
        result: Option<&'a str>,
        now_ms: i64,
    ) -> Answer<'a, bool>;
    /// The calls of a response, in the order in which they were noted.
    fn journal<'a>(
        &'a self,
        workspace_id: &'a str,
        response_id: &'a str,
    ) -> Answer<'a, Vec<JournalRow>>;
    /// Calls of all workspaces that a dead process has left without an end become
    /// [`crate::JOURNAL_UNKNOWN`]; says how many. Dead is who has not called [`Store::beat`] within
    /// [`crate::PROCESS_LIFE_MS`].
    fn journal_sweep(&self, now_ms: i64) -> Answer<'_, u64>;
    /// Removes at most `limit` calls of all workspaces that were noted before `before_ms`, oldest
    /// first; says how many.
    fn prune_journal(&self, before_ms: i64, limit: u32) -> Answer<'_, u64>;

    // Which processes work on the database. Of use where there may be several.

    /// Says that the process of that name lives.
    fn beat<'a>(&'a self, process: &'a str) -> Answer<'a, ()>;
    /// Whether that process has called [`Store::beat`] within [`crate::PROCESS_LIFE_MS`].
    fn lives<'a>(&'a self, process: &'a str) -> Answer<'a, bool>;
    /// Takes a process away: it is over in good order.
    fn leave<'a>(&'a self, process: &'a str) -> Answer<'a, ()>;

    // Idempotency keys. On disk before a call returns.

    /// Claims the key that `row` names, if it is free at `now_ms`. Of any number of concurrent
    /// callers exactly one gets it.
    fn claim_idempotency<'a>(&'a self, row: &'a IdempotencyRow, now_ms: i64)
    -> Answer<'a, Claimed>;
    /// Keeps the answer of a running request for whoever sends it again; no effect on a key that
    /// is free or done.
    fn finish_idempotency<'a>(
        &'a self,
        workspace_id: &'a str,
        api_key_id: &'a str,
        key: &'a str,
        status: i64,
        content_type: &'a str,
        answer: &'a str,
    ) -> Answer<'a, ()>;
    /// Frees the key of a running request that did nothing: it may be tried again. No effect on a
    /// key that is done.
    fn release_idempotency<'a>(
        &'a self,
        workspace_id: &'a str,
        api_key_id: &'a str,
        key: &'a str,
    ) -> Answer<'a, ()>;
    /// As [`Store::prune_responses`], for idempotency keys in any state.
    fn prune_idempotency(&self, before_ms: i64, limit: u32) -> Answer<'_, u64>;

    // Exports of the request log.

    /// Stores a new export.
    fn insert_export<'a>(&'a self, row: &'a ExportRow) -> Answer<'a, ()>;
    /// One export.
    fn export<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ExportRow>>;
    /// A page of the exports, oldest first.
    fn list_exports<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ExportRow>>;
    /// Replaces everything but `id`, `workspace_id`, `created_at_ms` and `created_by` of an export
    /// that is in `state` and whose run is `run`; else false. Of two changes at a time that expect
    /// the same, one counts if it changes the state or the run.
    fn update_export<'a>(
        &'a self,
        state: &'a str,
        run: &'a str,
        row: &'a ExportRow,
    ) -> Answer<'a, bool>;
    /// Marks the export of that run, in whatever workspace, as failed if it is being written: for
    /// a process that starts and finds the file of the one that died.
    fn break_off_export<'a>(
        &'a self,
        run: &'a str,
        now_ms: i64,
        error: &'a str,
    ) -> Answer<'a, bool>;
    /// Marks exports of all workspaces as failed that are being written and were last heard of
    /// before `before_ms`.
    fn sweep_exports<'a>(&'a self, before_ms: i64, now_ms: i64, error: &'a str) -> Answer<'a, u64>;
    /// Removes at most `limit` exports of all workspaces whose time was over before `before_ms`.
    fn prune_exports(&self, before_ms: i64, limit: u32) -> Answer<'_, u64>;
}
