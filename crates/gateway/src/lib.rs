//! The data path, in the order that a request takes it.
//!
//! [`Gateway::responses`] is the table of contents: read the head, choose the target, plan,
//! then either relay the provider's bytes or run the tool loop. Data goes down this list of
//! modules once and comes back once; what happened is kept in one `record::Record`, which
//! is filed exactly once, whatever ends the request.

mod answers;
mod attempts;
mod call;
mod config;
mod dispatch;
mod error;
mod front;
mod history;
mod idempotency;
mod input_tokens;
mod inserted;
mod journal;
mod kept;
mod lists;
mod models;
mod opened;
mod pass_through;
mod payload;
mod plan;
mod policy;
mod price;
mod record;
mod reply;
mod resume;
mod route;
mod run;
mod saved;
mod secrets;
mod servers;
mod sink;
mod state;
mod stored;
mod tool_loop;
mod turn;

pub use call::{Call, Principal, Reply, ReplyBody};
#[cfg(fuzzing)]
pub use config::fuzz_config;
pub use input_tokens::INPUT_TOKENS;
pub use inserted::Inserted;
pub use policy::{Bounds, EnvironmentKey, McpExecution, Parts, PayloadLevel, Policy};
pub use price::{PriceError, Prices};
pub use record::Observer;
pub use stored::ItemPage;

use error::Error;
use plan::Plan;
use portunus_protocol::request::Head;
use record::Record;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio_util::task::TaskTracker;

/// The gateway: everything that a request needs, shared by all requests of the process.
pub struct Gateway {
    parts: Parts,
    opened: Arc<opened::OpenedKeys>,
    saved: Arc<kept::Kept<Arc<saved::Saved>>>,
    /// Room for retries.
    budget: Arc<attempts::Budget>,
    /// Requests whose record is not filed.
    unfiled: TaskTracker,
    /// A fresh name of this process: a request that another one began is not running here.
    process: String,
    /// Idempotency keys whose requests run in this process.
    running: Arc<Mutex<HashSet<String>>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            opened: Arc::default(),
            saved: Arc::default(),
            budget: Arc::default(),
            unfiled: TaskTracker::new(),
            process: portunus_store::new_id(""),
            running: Arc::default(),
        })
    }

    /// The name of this process in the database.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.process
    }

    /// What this gateway is made of.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The same gateway with other parts, for the requests to come. Those that run keep the one
    /// that they began with.
    #[must_use]
    pub fn with(&self, parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            opened: Arc::clone(&self.opened),
            saved: Arc::clone(&self.saved),
            budget: Arc::clone(&self.budget),
            unfiled: self.unfiled.clone(),
            process: self.process.clone(),
            running: Arc::clone(&self.running),
        })
    }

    /// Waits until every request that has begun has filed its record. For the end of the process:
    /// what is aborted is dropped a moment later.
    pub async fn filed(&self) {
        self.unfiled.close();
        self.unfiled.wait().await;
    }

    /// Serves `POST /v1/responses`. Dropping the future, or the stream of the reply, stops the
    /// model call and the tool calls and files the request as canceled.
    pub async fn responses(self: &Arc<Self>, call: Call) -> Reply {
        match call.header(idempotency::HEADER).map(str::to_owned) {
            // Rare ways are boxed, so that the common ones need no room for them.
            Some(key) => Box::pin(self.respond_once(call, key)).await,
            None => self.respond(call).await,
        }
    }

    async fn respond(self: &Arc<Self>, call: Call) -> Reply {
        let mut record = Record::open(&self.parts, &call);
        record.counts(self.budget.enter(), self.unfiled.token());
        match self.serve(&call, &mut record).await {
            Ok(Served::PassThrough(relay)) => relay.reply(record),
            Ok(Served::Loop(job, stream)) => reply::of_loop(job, stream, record).await,
            Err(error) => reply::refuse(error, record),
        }
    }

    async fn serve(self: &Arc<Self>, call: &Call, record: &mut Record) -> Result<Served, Error> {
        let read = self.read(call, record).await?;
        let plan = plan::decide(
            read.route.targets(),
            &read.head,
            &read.servers,
            read.execution,
            read.context.is_ours(),
        )?;
        record.planned(plan, !read.servers.is_empty());
        match plan {
            Plan::PassThrough => {
                let (head, context) = (&read.head, &read.context);
                let relay = self.relay(call, head, context, &read.route, record);
                Ok(Served::PassThrough(Box::pin(relay).await?))
            }
            Plan::ToolLoop => {
                let stream = read.head.stream;
                let job = Box::pin(tool_loop::Job::new(self, call, read, record)).await?;
                Ok(Served::Loop(Box::new(job), stream))
            }
        }
    }

    /// Reads a request up to the point where it is planned: everything that can be refused
    /// without asking anybody.
    async fn read<'a>(&self, call: &'a Call, record: &mut Record) -> Result<Read<'a>, Error> {
        let head = Head::parse(&call.body)?;
        servers::refuse_many(&head, self.parts.bounds.max_servers)?;
        record.asked(&head);
        let input = front::peek(&head);
        front::refuse_unbuilt(&head, &input)?;
        let config = self.config(call, record).await?;
        Ok(Read {
            route: self.route(&head.model, call, &config, record).await?,
            servers: servers::of(&head, &call.principal.workspace_id, self)?,
            context: state::Context::find(self, call, &head, &input).await?,
            execution: config
                .routing
                .mcp_execution
                .unwrap_or(self.parts.policy.mcp_execution),
            head,
        })
    }
}

/// A request that was read and may be served.
struct Read<'a> {
    head: Head<'a>,
    route: Arc<attempts::Route>,
    servers: Vec<servers::Server>,
    context: state::Context,
    execution: McpExecution,
}

enum Served {
    PassThrough(Box<pass_through::Relay>),
    Loop(Box<tool_loop::Job>, bool),
}
