//! The SQLite backend.
//!
//! Two pools on one file: `keys` commits with `synchronous=FULL` (on disk before a call returns),
//! `logs` with `NORMAL`. In memory there is one connection only, used for both.

mod columns;
mod keys;
mod log_filter;
mod logs;
mod open;
mod virtual_keys;
mod workspaces;

use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;

use crate::error::StoreError;
use crate::model::{
    ApiKeyRow, Listed, LogDetail, LogFilter, LogRecord, LogSummary, NewWorkspace, Page,
    VaultMetaRow, VirtualKeyRow, WorkspaceRow,
};
use crate::store::{BoxFuture, Store};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A SQLite database.
pub(crate) struct Sqlite {
    keys: SqlitePool,
    logs: SqlitePool,
}

impl Store for Sqlite {
    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(open::ping(&self.keys))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.logs.close().await;
            self.keys.close().await;
        })
    }

    fn create_workspace(&self, new: NewWorkspace) -> Answer<'_, WorkspaceRow> {
        Box::pin(workspaces::create(&self.keys, new))
    }

    fn list_workspaces(&self) -> Answer<'_, Vec<WorkspaceRow>> {
        Box::pin(workspaces::list(&self.keys))
    }

    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceRow>> {
        Box::pin(workspaces::find(&self.keys, id))
    }

    fn insert_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, ()> {
        Box::pin(keys::insert(&self.keys, row))
    }

    fn api_key_by_lookup<'a>(&'a self, lookup: &'a str) -> Answer<'a, Option<ApiKeyRow>> {
        Box::pin(keys::by_lookup(&self.keys, lookup))
    }

    fn list_api_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<ApiKeyRow>> {
        Box::pin(keys::list(&self.keys, workspace_id, page))
    }

    fn api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<ApiKeyRow>> {
        Box::pin(keys::find(&self.keys, workspace_id, id))
    }

    fn update_api_key<'a>(&'a self, row: &'a ApiKeyRow) -> Answer<'a, bool> {
        Box::pin(keys::update(&self.keys, row))
    }

    fn delete_api_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        Box::pin(keys::delete(&self.keys, workspace_id, id))
    }

    fn touch_api_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
        at: Timestamp,
    ) -> Answer<'a, bool> {
        Box::pin(keys::touch(&self.logs, workspace_id, id, at))
    }

    fn insert_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, ()> {
        Box::pin(virtual_keys::insert(&self.keys, row))
    }

    fn virtual_key_by_slug<'a>(
        &'a self,
        workspace_id: &'a str,
        slug: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>> {
        Box::pin(virtual_keys::by_slug(&self.keys, workspace_id, slug))
    }

    fn virtual_key<'a>(
        &'a self,
        workspace_id: &'a str,
        id: &'a str,
    ) -> Answer<'a, Option<VirtualKeyRow>> {
        Box::pin(virtual_keys::find(&self.keys, workspace_id, id))
    }

    fn list_virtual_keys<'a>(
        &'a self,
        workspace_id: &'a str,
        page: Page,
    ) -> Answer<'a, Listed<VirtualKeyRow>> {
        Box::pin(virtual_keys::list(&self.keys, workspace_id, page))
    }

    fn update_virtual_key<'a>(&'a self, row: &'a VirtualKeyRow) -> Answer<'a, bool> {
        Box::pin(virtual_keys::update(&self.keys, row))
    }

    fn delete_virtual_key<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, bool> {
        Box::pin(virtual_keys::delete(&self.keys, workspace_id, id))
    }

    fn vault_meta<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VaultMetaRow>> {
        Box::pin(workspaces::meta(&self.keys, name))
    }

    fn insert_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool> {
        Box::pin(workspaces::insert_meta(&self.keys, row))
    }

    fn update_vault_meta<'a>(&'a self, row: &'a VaultMetaRow) -> Answer<'a, bool> {
        Box::pin(workspaces::update_meta(&self.keys, row))
    }

    fn write_logs<'a>(&'a self, records: &'a [LogRecord]) -> Answer<'a, ()> {
        Box::pin(logs::insert(&self.logs, records))
    }

    fn list_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        filter: &'a LogFilter,
        limit: u32,
        after: Option<&'a str>,
    ) -> Answer<'a, (Vec<LogSummary>, bool)> {
        Box::pin(logs::list(&self.logs, workspace_id, filter, limit, after))
    }

    fn log<'a>(&'a self, workspace_id: &'a str, id: &'a str) -> Answer<'a, Option<LogDetail>> {
        Box::pin(logs::find(&self.logs, workspace_id, id))
    }

    fn count_logs<'a>(&'a self, workspace_id: &'a str, filter: &'a LogFilter) -> Answer<'a, i64> {
        Box::pin(logs::count(&self.logs, workspace_id, filter))
    }

    fn prune_logs<'a>(
        &'a self,
        workspace_id: &'a str,
        before_ms: i64,
        limit: u32,
    ) -> Answer<'a, u64> {
        Box::pin(logs::prune(&self.logs, workspace_id, before_ms, limit))
    }
}
