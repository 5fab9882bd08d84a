//! Sessions and tool lists of all servers, by (workspace, URL, credential).
//!
//! There is no background task: whoever needs a session or a list opens it, and whoever
//! needs the same one meanwhile waits for that. What is old is dropped when something new
//! comes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::header::HeaderMap;
use portunus_egress::Client;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::bounds::Bounds;
use crate::entry::{Entries, Entry};
use crate::error::{CallError, CallOutcome, ListError, Meter, Timing};
use crate::fault::Fault;
use crate::message::Params;
use crate::mirror;
use crate::paging::{Pages, Walk};
use crate::peer::{Ask, Peer, Wiring};
use crate::session::Session;
use crate::spec::ServerSpec;
use crate::tool::{self, Listing, Tool, ToolResult};

/// Egress ends a wait by its own clock and knows its phase; ours is the last resort.
const GRACE: Duration = Duration::from_millis(250);

/// A call without a result.
struct Failed {
    fault: Fault,
    /// The tool may have run.
    unknown: bool,
}

impl Failed {
    /// Nothing of the call itself had left: whatever failed, the tool was not run.
    fn before_the_call(fault: Fault) -> Self {
        Self {
            fault,
            unknown: false,
        }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self {
            unknown: fault.may_have_run(),
            fault,
        }
    }
}

/// All servers of a process. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    wiring: Wiring,
    entries: Arc<Entries>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(client: Client, bounds: Bounds) -> Self {
        let wiring = Wiring {
            client,
            bounds,
            ids: Arc::new(AtomicU64::new(1)),
            notices: TaskTracker::new(),
        };
        Self(Arc::new(Shared {
            wiring,
            entries: Arc::default(),
        }))
    }

    /// The same sessions and lists under other bounds and with another way out. What is under
    /// way goes on as it began.
    #[must_use]
    pub fn with(&self, client: Client, bounds: Bounds) -> Self {
        let wiring = Wiring {
            client,
            bounds,
            ..self.0.wiring.clone()
        };
        Self(Arc::new(Shared {
            wiring,
            entries: Arc::clone(&self.0.entries),
        }))
    }

    /// The tools of a server, from the pool or from the server itself. Calls for the same
    /// server at the same time share one request and its outcome.
    ///
    /// # Errors
    /// [`ListError`]; a 401 or 403 also forgets everything kept for this credential.
    pub async fn list(&self, spec: &ServerSpec) -> Result<Listing, ListError> {
        let begun = Instant::now();
        let deadline = begun + self.bounds().list_timeout;
        let mut meter = Meter::default();
        let work = Box::pin(self.list_within(spec, begun, deadline, &mut meter));
        let outcome = timeout_at(deadline + GRACE, work)
            .await
            .unwrap_or_else(|_| Err(Arc::new(Fault::Deadline)));
        outcome
            .map(|mut listing| {
                listing.timing = meter.timing();
                listing.bytes = meter.bytes;
                listing
            })
            .map_err(|fault| ListError::new(&spec.label, fault, meter.timing()))
    }

    async fn list_within(
        &self,
        spec: &ServerSpec,
        begun: Instant,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<Listing, Arc<Fault>> {
        let key = spec.key();
        let entry = self.0.entries.get(key, self.bounds());
        let mut kept = entry.list.lock().await;
        if let Some(outcome) = kept.as_ref().and_then(|kept| kept.usable(begun)) {
            return outcome;
        }
        let peer = self.peer(spec);
        let outcome = self.fetch(&peer, &entry, deadline, meter).await;
        if let Err(fault) = &outcome
            && fault.is_auth()
        {
            self.0.entries.forget(key, &entry);
        }
        let outcome = outcome.map_err(Arc::new);
        let (listing, ttl, bytes) = match &outcome {
            Ok((protocol, pages)) => (Ok(listing(protocol, pages)), pages.ttl, pages.bytes),
            Err(fault) => (Err(Arc::clone(fault)), Duration::ZERO, 0),
        };
        *kept = Some(crate::entry::Kept::new(listing.clone(), ttl));
        drop(kept);
        self.0.entries.weigh(&entry, bytes, self.bounds());
        listing
    }

    /// Lists over the entry's session; an old session that fails is replaced once.
    async fn fetch(
        &self,
        peer: &Arc<Peer>,
        entry: &Entry,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<(&'static str, Pages), Fault> {
        let (session, is_new) = entry.session(peer, deadline, meter).await?;
        let fault = match walk(peer, &session, deadline, meter).await {
            Ok(pages) => return Ok((session.protocol(), pages)),
            Err(fault) => fault,
        };
        entry.drop_session(&session);
        if is_new || !fault.is_worth_a_new_connection() {
            return Err(fault);
        }
        let session = entry
            .replace(&session, &fault, peer, deadline, meter)
            .await?;
        let outcome = walk(peer, &session, deadline, meter).await;
        if outcome.is_err() {
            entry.drop_session(&session);
        }
        outcome.map(|pages| (session.protocol(), pages))
    }

    /// Calls a tool. The request is sent once; only when the server refused it because it had
    /// forgotten the session is it sent again, with a new one. Dropping the future cancels.
    pub async fn call(&self, spec: &ServerSpec, tool: &Tool, arguments: &RawValue) -> CallOutcome {
        let mut meter = Meter::default();
        let work = Box::pin(self.call_within(spec, tool, arguments, &mut meter));
        let outcome = work.await;
        CallOutcome {
            outcome_unknown: outcome.as_ref().is_err_and(|failed| failed.unknown),
            result: outcome.map_err(|failed| CallError::of(failed.fault, failed.unknown)),
            timing: meter.timing(),
            bytes: meter.bytes,
        }
    }

    async fn call_within(
        &self,
        spec: &ServerSpec,
        tool: &Tool,
        arguments: &RawValue,
        meter: &mut Meter,
    ) -> Result<ToolResult, Failed> {
        let key = spec.key();
        let entry = self.0.entries.get(key, self.bounds());
        let peer = self.peer(spec);
        let opening = Instant::now() + self.bounds().list_timeout;
        let opened = timeout_at(opening, entry.session(&peer, opening, meter)).await;
        let (session, is_new) = opened
            .unwrap_or(Err(Fault::Deadline))
            .map_err(Failed::before_the_call)?;
        let first = self
            .send_call(&peer, &session, tool, arguments, meter)
            .await;
        let outcome = match first {
            Err(fault) if !is_new && fault.is_session_loss_before_run() && !session.is_modern() => {
                let opening = Instant::now() + self.bounds().list_timeout;
                let session = entry
                    .replace(&session, &fault, &peer, opening, meter)
                    .await
                    .map_err(Failed::before_the_call)?;
                self.send_call(&peer, &session, tool, arguments, meter)
                    .await
            }
            other => other,
        };
        if let Err(fault) = &outcome {
            self.learn(key, &entry, &session, fault);
        }
        Ok(tool::read_result(&outcome?)?)
    }

    async fn send_call(
        &self,
        peer: &Arc<Peer>,
        session: &Session,
        tool: &Tool,
        arguments: &RawValue,
        meter: &mut Meter,
    ) -> Result<Box<RawValue>, Fault> {
        let deadline = Instant::now() + self.bounds().call_timeout;
        let mirrored = if session.is_modern() {
            mirror::headers(tool.mirrors(), arguments)
        } else {
            HeaderMap::new()
        };
        let params = Params {
            name: Some(&tool.name),
            arguments: Some(arguments),
            ..Params::default()
        };
        let max_bytes = self.bounds().max_result_bytes;
        let ask = Ask {
            method: "tools/call",
            params,
            mirrored,
            deadline,
            max_bytes,
        };
        timeout_at(deadline + GRACE, session.ask(peer, &ask, meter))
            .await
            .unwrap_or(Err(Fault::Deadline))
    }

    /// Forgets what a failed call has shown to be wrong.
    fn learn(
        &self,
        key: crate::spec::Key,
        entry: &Arc<Entry>,
        session: &Arc<Session>,
        fault: &Fault,
    ) {
        if fault.is_auth() {
            self.0.entries.forget(key, entry);
        } else if fault.is_session_loss() || matches!(fault.rpc_code(), Some(-32601 | -32022)) {
            entry.drop_session(session);
        }
        // The tool has changed or is gone: the next request lists anew.
        if matches!(fault.rpc_code(), Some(-32602 | -32020))
            && let Ok(mut kept) = entry.list.try_lock()
        {
            *kept = None;
        }
    }

    /// Waits until the notices of cancellation that are on their way are out; for shutdown.
    /// Bounded by `side_timeout`.
    pub async fn close(&self) {
        self.0.wiring.notices.close();
        self.0.wiring.notices.wait().await;
    }

    fn peer(&self, spec: &ServerSpec) -> Arc<Peer> {
        Peer::new(self.0.wiring.clone(), spec)
    }

    fn bounds(&self) -> &Bounds {
        &self.0.wiring.bounds
    }
}

/// Reads all pages.
async fn walk(
    peer: &Arc<Peer>,
    session: &Session,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Pages, Fault> {
    let mut walk = Walk::new(session.is_modern(), peer.bounds());
    let mut cursor: Option<Box<RawValue>> = None;
    loop {
        let params = Params {
            cursor: cursor.as_deref(),
            ..Params::default()
        };
        let ask = Ask {
            method: "tools/list",
            params,
            mirrored: HeaderMap::new(),
            deadline,
            // A page may be larger than the list: the list is then cut, not refused.
            max_bytes: peer.bounds().max_list_bytes.saturating_mul(2),
        };
        let page = session.ask(peer, &ask, meter).await?;
        cursor = walk.page(&page)?;
        if cursor.is_none() {
            return Ok(walk.finish());
        }
    }
}

fn listing(protocol: &'static str, pages: &Pages) -> Listing {
    Listing {
        tools: Arc::clone(&pages.tools),
        cached: false,
        timing: Timing::default(),
        bytes: 0,
        digest: pages.digest.clone(),
        protocol,
        dropped: pages.dropped.clone(),
    }
}
