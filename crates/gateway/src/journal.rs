//! What is about to happen is written down before it happens: for requests that may be sent
//! again, each tool call is noted before it leaves and when it has ended.

use crate::Gateway;
use crate::call::Call;
use crate::error::Error;
use crate::idempotency;
use jiff::Timestamp;
use portunus_mcp::{CallOutcome, fingerprint};
use portunus_protocol::item::McpCall;
use portunus_store::{JOURNAL_DONE, JOURNAL_INTENT, JOURNAL_UNKNOWN, JournalRow};

/// The journal of one request.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    workspace_id: String,
    request_id: String,
}

impl Journal {
    /// `None` for a request without idempotency key: nobody could ask for what is noted.
    pub(crate) fn of(call: &Call) -> Option<Self> {
        call.header(idempotency::HEADER).map(|_| Self {
            workspace_id: call.principal.workspace_id.clone(),
            request_id: call.request_id.clone(),
        })
    }

    /// Notes calls that are about to leave. If that fails, they must not.
    pub(crate) async fn intend<'a>(
        &self,
        gateway: &Gateway,
        calls: impl Iterator<Item = &'a McpCall>,
    ) -> Result<(), Error> {
        let now = Timestamp::now().as_millisecond();
        let rows: Vec<JournalRow> = calls
            .map(|call| JournalRow {
                id: call.id.clone(),
                workspace_id: self.workspace_id.clone(),
                request_id: self.request_id.clone(),
                response_id: self.request_id.clone(),
                server_label: call.server_label.clone(),
                tool: call.name.clone(),
                argument_digest: fingerprint(&call.arguments),
                state: JOURNAL_INTENT.to_owned(),
                created_at_ms: now,
                ended_at_ms: None,
                outcome: None,
                result: None,
                process: gateway.process.clone(),
            })
            .collect();
        Ok(gateway.parts.store.journal_intents(&rows).await?)
    }

    /// Notes the end of a call. A note that fails leaves the intent, which reads as unknown.
    pub(crate) async fn ended(&self, gateway: &Gateway, id: &str, outcome: &CallOutcome) {
        let state = if outcome.outcome_unknown {
            JOURNAL_UNKNOWN
        } else {
            JOURNAL_DONE
        };
        let word = if outcome.result.is_ok() {
            "result"
        } else {
            "error"
        };
        let now = Timestamp::now().as_millisecond();
        let store = &gateway.parts.store;
        let noted = store
            .journal_done(&self.workspace_id, id, state, word, None, now)
            .await;
        if let Err(error) = noted {
            tracing::error!(%error, "the end of a tool call could not be noted");
        }
    }
}
