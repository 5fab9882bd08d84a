//! Rows of what outlives a request: responses, approvals, the journal of tool calls and the
//! answers kept for a repeated request.

use std::fmt;

use serde::Serialize;

/// `state` of an approval that nobody has decided.
pub const APPROVAL_PENDING: &str = "pending";
/// `state` of an approval that the console has granted and that is not used yet.
pub const APPROVAL_APPROVED: &str = "approved";
/// `state` of an approval that the console has denied and that is not used yet.
pub const APPROVAL_DENIED: &str = "denied";
/// `state` of an approval that was answered by its caller, for good.
pub const APPROVAL_USED: &str = "used";
/// `state` that is shown of an approval whose time is over without use; it is never stored.
pub const APPROVAL_EXPIRED: &str = "expired";

/// `state` of a tool call that was about to leave.
pub const JOURNAL_INTENT: &str = "intent";
/// `state` of a tool call whose end is known.
pub const JOURNAL_DONE: &str = "done";
/// `state` of a tool call of which nobody knows whether it ran.
pub const JOURNAL_UNKNOWN: &str = "unknown";

/// A process that has not been heard of for so long is taken for dead, in milliseconds.
pub const PROCESS_LIFE_MS: i64 = 10_000;

/// `state` of an idempotency key whose request is not over.
pub const IDEMPOTENCY_RUNNING: &str = "running";
/// `state` of an idempotency key whose answer is kept.
pub const IDEMPOTENCY_DONE: &str = "done";

/// A stored response.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct ResponseRow {
    /// `resp_…`.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// Row id of the API key that asked for it.
    pub api_key_id: Option<String>,
    /// When it was made, Unix time.
    pub created_at_ms: i64,
    /// From this moment on it is as if it did not exist, Unix time.
    pub expires_at_ms: i64,
    /// Slug of the virtual key that served it; a continuation goes to the same.
    pub virtual_key: Option<String>,
    /// Provider name, e.g. `openai`.
    pub provider: String,
    /// The model that served it.
    pub model: String,
    /// The response that it continues.
    pub previous_response_id: Option<String>,
    /// `completed`, `incomplete`, `failed`, …
    pub status: String,
    /// JSON of the response object as the client saw it.
    pub response: String,
    /// JSON array: the input items of this request, each with an id.
    pub input: String,
    /// JSON per server label: digests of its URL and of its tool list; opaque here.
    pub servers: String,
}

impl fmt::Debug for ResponseRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("created_at_ms", &self.created_at_ms)
            .field("previous_response_id", &self.previous_response_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A question whether a tool may be called, and what became of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApprovalRow {
    /// `mcpr_…`.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// Row id of the API key whose request led to the question.
    pub api_key_id: Option<String>,
    /// The response that asks.
    pub response_id: String,
    /// When it was asked, Unix time.
    pub created_at_ms: i64,
    /// From this moment on it can neither be decided nor used, Unix time.
    pub expires_at_ms: i64,
    /// Label of the server.
    pub server_label: String,
    /// URL of the server as it may be shown.
    pub server_url: String,
    /// SHA-256 in hex of the whole URL.
    pub server_digest: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// Digest of the tool's definition.
    pub tool_digest: String,
    /// JSON of the definition as it was when asked: name, description, `input_schema`, `read_only`.
    pub tool_definition: String,
    /// The arguments that will run, whatever the caller sends back.
    pub arguments: String,
    /// The model's id of the call.
    pub call_id: String,
    /// [`APPROVAL_PENDING`], [`APPROVAL_APPROVED`], [`APPROVAL_DENIED`] or [`APPROVAL_USED`]; as
    /// shown also [`APPROVAL_EXPIRED`].
    pub state: String,
    /// Why it was decided so, in the decider's words.
    pub reason: Option<String>,
    /// When it was decided, Unix time.
    pub decided_at_ms: Option<i64>,
    /// `caller`, `admin` or the row id of an API key.
    pub decided_by: Option<String>,
    /// When it was used, Unix time.
    pub used_at_ms: Option<i64>,
}

impl ApprovalRow {
    /// The row as it is at `now_ms`: what has run out of time unused is [`APPROVAL_EXPIRED`].
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        if self.state != APPROVAL_USED && self.expires_at_ms <= now_ms {
            APPROVAL_EXPIRED.clone_into(&mut self.state);
        }
        self
    }
}

impl fmt::Debug for ApprovalRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("response_id", &self.response_id)
            .field("server_label", &self.server_label)
            .field("tool", &self.tool)
            .field("state", &self.state)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is stored.
    Done,
    /// The approval was decided, used or expired before; its state.
    NotPending(String),
    /// There is no such approval in this workspace.
    Missing,
}

/// What came of using approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// All were free and now belong to the caller: the rows as they were before, in the order of
    /// the ids.
    Rows(Vec<ApprovalRow>),
    /// One was not free; nothing has changed.
    Refused {
        /// The first that was not free.
        id: String,
        /// Why.
        why: Refusal,
    },
}

/// Why an approval cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such approval in this workspace.
    Missing,
    /// Somebody has used it, or it is named twice.
    AlreadyUsed,
    /// Its time is over.
    Expired,
}

/// One tool call, noted before it leaves and after its end.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalRow {
    /// Id of the output item, `mcp_…`.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// `req_…` of the request that made the call.
    pub request_id: String,
    /// `resp_…` of the response that the call belongs to.
    pub response_id: String,
    /// Label of the server.
    pub server_label: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// Digest of the arguments.
    pub argument_digest: String,
    /// [`JOURNAL_INTENT`], [`JOURNAL_DONE`] or [`JOURNAL_UNKNOWN`].
    pub state: String,
    /// When the call was about to leave, Unix time.
    pub created_at_ms: i64,
    /// When its end was noted, Unix time.
    pub ended_at_ms: Option<i64>,
    /// How it ended.
    pub outcome: Option<String>,
    /// What the tool answered.
    pub result: Option<String>,
    /// Name of the process that makes the call, see [`crate::Store::beat`].
    pub process: String,
}

impl fmt::Debug for JournalRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalRow")
            .field("id", &self.id)
            .field("workspace_id", &self.workspace_id)
            .field("response_id", &self.response_id)
            .field("server_label", &self.server_label)
            .field("tool", &self.tool)
            .field("state", &self.state)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// A request that may be sent again under the same `Idempotency-Key`, and its answer.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct IdempotencyRow {
    /// The owner.
    pub workspace_id: String,
    /// Row id of the API key; a key names a request of this caller only.
    pub api_key_id: String,
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// Digest of the request's body.
    pub body_digest: String,
    /// [`IDEMPOTENCY_RUNNING`] or [`IDEMPOTENCY_DONE`].
    pub state: String,
    /// The process that runs or ran it; a fresh random text at every start.
    pub owner: String,
    /// When it was claimed, Unix time.
    pub created_at_ms: i64,
    /// From this moment on the key is free again, Unix time.
    pub expires_at_ms: i64,
    /// HTTP status of the answer.
    pub status: Option<i64>,
    /// `Content-Type` of the answer.
    pub content_type: Option<String>,
    /// Body of the answer.
    pub answer: Option<String>,
}

impl fmt::Debug for IdempotencyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyRow")
            .field("workspace_id", &self.workspace_id)
            .field("api_key_id", &self.api_key_id)
            .field("state", &self.state)
            .field("owner", &self.owner)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What came of claiming an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody had it: the request is the caller's to run, finish or release.
    Yours,
    /// The same request is running, here or (by `owner`) in a process that may be dead.
    Running(IdempotencyRow),
    /// The same request is over; its answer is in the row.
    Done(IdempotencyRow),
    /// The key was used for another body.
    OtherBody,
}
