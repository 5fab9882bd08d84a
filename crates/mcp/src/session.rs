//! What is kept of a server between two requests: which protocol it speaks, and its session.

use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::error::Meter;
use crate::fault::Fault;
use crate::legacy_sse::{self, Stock};
use crate::modern;
use crate::peer::{Ask, Peer};
use crate::streamable::{self, Streamable};

/// A way to a server.
pub(crate) enum Transport {
    /// 2026-07-28: nothing is kept but the knowledge.
    Modern,
    /// 2025-03-26 to 2025-11-25.
    Streamable(Streamable),
    /// 2024-11-05.
    EventStream(Stock),
}

/// A transport and when it was last used.
pub(crate) struct Session {
    pub(crate) transport: Transport,
    used: Mutex<Instant>,
}

impl Session {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            used: Mutex::new(Instant::now()),
        }
    }

    /// The revision, as it is logged.
    pub(crate) fn protocol(&self) -> &'static str {
        match &self.transport {
            Transport::Modern => modern::VERSION,
            Transport::Streamable(session) => session.version,
            Transport::EventStream(_) => "2024-11-05",
        }
    }

    pub(crate) fn is_modern(&self) -> bool {
        matches!(self.transport, Transport::Modern)
    }

    /// True when the server has likely forgotten the session. Streams of the oldest revision
    /// have a clock of their own.
    pub(crate) fn is_stale(&self, peer: &Peer) -> bool {
        let idle = self
            .used
            .lock()
            .map_or(true, |used| used.elapsed() > peer.bounds().session_idle);
        idle && matches!(self.transport, Transport::Streamable(_))
    }

    /// Sends one request, once, and reads its answer.
    pub(crate) async fn ask(
        &self,
        peer: &Arc<Peer>,
        ask: &Ask<'_>,
        meter: &mut Meter,
    ) -> Result<Box<RawValue>, Fault> {
        if let Ok(mut used) = self.used.lock() {
            *used = Instant::now();
        }
        match &self.transport {
            Transport::Modern => modern::ask(peer, ask, meter).await,
            Transport::Streamable(session) => session.ask(peer, ask, meter).await,
            Transport::EventStream(stock) => stock.ask(peer, ask, meter).await,
        }
    }

    /// A new session of the same kind, without asking again which kind it is.
    pub(crate) async fn renew(
        &self,
        peer: &Peer,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<Self, Fault> {
        Ok(Self::new(match &self.transport {
            Transport::Modern => Transport::Modern,
            Transport::Streamable(_) => {
                Transport::Streamable(streamable::open(peer, deadline, meter).await?)
            }
            Transport::EventStream(_) => {
                Transport::EventStream(Stock::with(legacy_sse::open(peer, deadline, meter).await?))
            }
        }))
    }
}
