//! Rows of exports of the request log.

use serde::Serialize;

/// `state` of an export that was not started.
pub const EXPORT_DRAFT: &str = "draft";
/// `state` of an export that is being written.
pub const EXPORT_RUNNING: &str = "in_progress";
/// `state` of an export whose file is whole.
pub const EXPORT_DONE: &str = "success";
/// `state` of an export that broke off.
pub const EXPORT_FAILED: &str = "failed";
/// `state` of an export that somebody has stopped.
pub const EXPORT_STOPPED: &str = "stopped";

/// An export of the request log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportRow {
    /// `exp-…`.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// When it was made, Unix time.
    pub created_at_ms: i64,
    /// When it last changed, Unix time. Grows all the time while it is written.
    pub updated_at_ms: i64,
    /// From this moment on it may be removed, Unix time.
    pub expires_at_ms: i64,
    /// `admin`, or the id of an API key.
    pub created_by: String,
    /// Free text.
    pub description: String,
    /// JSON object: which rows; opaque here.
    pub filters: String,
    /// JSON array of the names of fields; opaque here.
    pub requested_data: String,
    /// [`EXPORT_DRAFT`], [`EXPORT_RUNNING`], [`EXPORT_DONE`], [`EXPORT_FAILED`] or
    /// [`EXPORT_STOPPED`].
    pub state: String,
    /// Names the run that writes or wrote it; empty before the first.
    pub run: String,
    /// How many rows there were when it was last made or changed.
    pub total: i64,
    /// How many rows are written.
    pub exported: i64,
    /// Bytes of the file.
    pub bytes: i64,
    /// Why it failed.
    pub error: Option<String>,
}
