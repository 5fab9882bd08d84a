//! The rows: plain structs, one per table, free of SQL and of protocol types.
//!
//! `Debug` and `Serialize` never show a hash or a ciphertext: the first ends up in logs,
//! the second in answers of the admin API.

mod config;
mod export;
mod log;
mod state;

use std::collections::BTreeMap;
use std::fmt;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use config::{CONFIG_VERSIONS, ConfigRow, STATUS_INACTIVE};
pub use export::{
    EXPORT_DONE, EXPORT_DRAFT, EXPORT_FAILED, EXPORT_RUNNING, EXPORT_STOPPED, ExportRow,
};
pub use log::{
    AttemptRow, LogDetail, LogFilter, LogRecord, LogSummary, RequestRow, ToolCallRow, ToolListRow,
    TurnRow,
};

pub use state::{
    APPROVAL_APPROVED, APPROVAL_DENIED, APPROVAL_EXPIRED, APPROVAL_PENDING, APPROVAL_USED,
    ApprovalRow, Claimed, Decided, IDEMPOTENCY_DONE, IDEMPOTENCY_RUNNING, IdempotencyRow,
    JOURNAL_DONE, JOURNAL_INTENT, JOURNAL_UNKNOWN, JournalRow, PROCESS_LIFE_MS, Refusal,
    ResponseRow, Used,
};

use crate::vault::{Binding, Sealed};

/// Id of the workspace that every database has from the start.
pub const DEFAULT_WORKSPACE_ID: &str = "ws-default";

/// `status` of a key that may be used.
pub const STATUS_ACTIVE: &str = "active";

/// The time, cut to the milliseconds that the database keeps.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

/// A fresh sortable id: `prefix` followed by a UUID of version 7.
#[must_use]
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7())
}

/// Which part of a list to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The most rows to return.
    pub limit: u32,
    /// How many rows to skip.
    pub offset: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 100,
            offset: 0,
        }
    }
}

/// One page of a list, and how many rows the whole list has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// The rows of this page, in the order of the list.
    pub rows: Vec<T>,
    /// Number of rows over all pages.
    pub total: i64,
}

/// What is needed to make a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkspace {
    /// The name that people read.
    pub name: String,
    /// The name in URLs; unique.
    pub slug: String,
}

/// A workspace: the owner of every other row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkspaceRow {
    /// `ws-…`.
    pub id: String,
    /// The name that people read.
    pub name: String,
    /// The name in URLs; unique.
    pub slug: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a request gets when it names nothing itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKeyDefaults {
    /// Slug of the virtual key to use.
    pub virtual_key: Option<String>,
    /// Id of the routing config to use.
    pub config_id: Option<String>,
    /// Metadata added to every request.
    pub metadata: BTreeMap<String, String>,
    /// Whether a request may name another config than `config_id`.
    pub allow_config_override: bool,
}

impl Default for ApiKeyDefaults {
    fn default() -> Self {
        Self {
            virtual_key: None,
            config_id: None,
            metadata: BTreeMap::new(),
            allow_config_override: true,
        }
    }
}

/// The secret that a rotated API key had before; it still works until the grace ends.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Public part of the former secret.
    pub lookup: String,
    /// Keyed hash of the former secret.
    #[serde(skip)]
    pub hash: Vec<u8>,
    /// From this moment on the former secret is refused.
    pub grace_until: Timestamp,
}

impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotated")
            .field("lookup", &self.lookup)
            .field("grace_until", &self.grace_until)
            .finish_non_exhaustive()
    }
}

/// A credential of one of our clients. The secret itself is not kept.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ApiKeyRow {
    /// Row id.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// The name that people read.
    pub name: String,
    /// The 12 public characters of the secret; unique over all workspaces.
    pub lookup: String,
    /// HMAC-SHA-256 of the secret under the pepper.
    #[serde(skip)]
    pub hash: Vec<u8>,
    /// What the key may do, e.g. `completions.write`.
    pub scopes: Vec<String>,
    /// What a request gets when it names nothing itself.
    pub defaults: ApiKeyDefaults,
    /// Rate limits as given; opaque here.
    pub rate_limits: Value,
    /// Usage limits as given; opaque here.
    pub usage_limits: Value,
    /// [`STATUS_ACTIVE`], or why the key is refused.
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From this moment on the key is refused.
    pub expires_at: Option<Timestamp>,
    /// Last use, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// The secret before the last rotation.
    pub rotated: Option<Rotated>,
}

impl ApiKeyRow {
    /// True when the key is active and has not expired at `now`.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.status == STATUS_ACTIVE && self.expires_at.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for ApiKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("name", &self.name)
            .field("lookup", &self.lookup)
            .field("scopes", &self.scopes)
            .field("status", &self.status)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A stored provider credential, sealed, with what is needed to use it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct VirtualKeyRow {
    /// Row id; bound into the ciphertext.
    pub id: String,
    /// The owner; bound into the ciphertext.
    pub workspace_id: String,
    /// The name that requests use; unique in the workspace.
    pub slug: String,
    /// The name that people read.
    pub name: String,
    /// Provider name, e.g. `openai`.
    pub provider: String,
    /// Base URL that replaces the provider's own.
    pub custom_host: Option<String>,
    /// Free text.
    pub note: String,
    /// [`STATUS_ACTIVE`], or why the key is refused.
    pub status: String,
    /// The sealed credential; empty (with an empty `key_id`) when there is none.
    #[serde(skip)]
    pub sealed: Vec<u8>,
    /// Id of the master key that sealed it.
    pub key_id: String,
    /// Version of the credential; grows with every new or re-sealed one, bound into the ciphertext.
    pub version: i64,
    /// What may be shown of the credential, e.g. `…Ab3d`; see [`crate::vault::mask`].
    pub masked: String,
    /// Provider settings that are no secret; opaque here.
    pub settings: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// From this moment on the key is refused.
    pub expires_at: Option<Timestamp>,
}

impl VirtualKeyRow {
    /// What the ciphertext of this row is bound to.
    #[must_use]
    pub fn binding(&self) -> Binding<'_> {
        Binding {
            row_id: &self.id,
            workspace_id: &self.workspace_id,
            version: self.version,
        }
    }

    /// The sealed credential, `None` when the row was stored without one.
    #[must_use]
    pub fn credential(&self) -> Option<Sealed> {
        if self.sealed.is_empty() && self.key_id.is_empty() {
            return None;
        }
        Some(Sealed {
            key_id: self.key_id.clone(),
            bytes: self.sealed.clone(),
        })
    }

    /// True when the key is active and has not expired at `now`.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.status == STATUS_ACTIVE && self.expires_at.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for VirtualKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualKeyRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("slug", &self.slug)
            .field("provider", &self.provider)
            .field("status", &self.status)
            .field("key_id", &self.key_id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A small value that belongs to the whole database, sealed by the vault (for example the pepper).
#[derive(Clone, PartialEq, Eq)]
pub struct VaultMetaRow {
    /// What it is.
    pub name: String,
    /// The sealed value.
    pub sealed: Vec<u8>,
    /// Id of the master key that sealed it.
    pub key_id: String,
    /// Version, bound into the ciphertext.
    pub version: i64,
}

impl fmt::Debug for VaultMetaRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultMetaRow")
            .field("name", &self.name)
            .field("key_id", &self.key_id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
