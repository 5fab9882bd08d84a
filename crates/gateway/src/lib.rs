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
mod journal;
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
mod secrets;
mod servers;
mod sink;
mod state;
mod stored;
mod tool_loop;
mod turn;

pub use call::{Call, Principal, Reply, ReplyBody};
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

/// The gateway: everything that a request needs, shared by all requests of the process.
pub struct Gateway {
    parts: Parts,
    opened: Arc<opened::OpenedKeys>,
    /// Room for retries.
    budget: Arc<attempts::Budget>,
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
            budget: Arc::default(),
            process: portunus_store::new_id(""),
            running: Arc::default(),
        })
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
            budget: Arc::clone(&self.budget),
            process: self.process.clone(),
            running: Arc::clone(&self.running),
        })
    }

    /// Serves `POST /v1/responses`. Dropping the future, or the stream of the reply, stops the
    /// model call and the tool calls and files the request as canceled.
    pub async fn responses(self: &Arc<Self>, call: Call) -> Reply {
        match call.header(idempotency::HEADER).map(str::to_owned) {
            Some(key) => self.respond_once(call, key).await,
            None => self.respond(call).await,
        }
    }

    async fn respond(self: &Arc<Self>, call: Call) -> Reply {
        let mut record = Record::open(&self.parts, &call);
        record.counts(self.budget.enter());
        match self.serve(&call, &mut record).await {
            Ok(Served::PassThrough(relay)) => relay.reply(record),
            Ok(Served::Loop(job, stream)) => reply::of_loop(job, stream, record).await,
            Err(error) => reply::refuse(error, record),
        }
    }

    async fn serve(self: &Arc<Self>, call: &Call, record: &mut Record) -> Result<Served, Error> {
        let head = Head::parse(&call.body)?;
        servers::refuse_many(&head, self.parts.bounds.max_servers)?;
        record.asked(&head);
        let input = front::peek(&head);
        front::refuse_unbuilt(&head, &input)?;
        let config = config::Config::of(call)?;
        let route = self.route(&head.model, call, &config, record).await?;
        let servers = servers::of(&head, &call.principal.workspace_id, self)?;
        let context = state::Context::find(self, call, &head, &input).await?;
        let execution = self.execution(&config);
        let plan = plan::decide(
            route.targets(),
            &head,
            &servers,
            execution,
            context.is_ours(),
        )?;
        record.planned(plan, !servers.is_empty());
        match plan {
            Plan::PassThrough => {
                let relay = self.relay(call, &head, &context, &route, record).await?;
                Ok(Served::PassThrough(relay))
            }
            Plan::ToolLoop => {
                let request = tool_loop::Request {
                    call,
                    head: &head,
                    route,
                    servers,
                    context,
                };
                let job = tool_loop::Job::new(self, request, record).await?;
                Ok(Served::Loop(Box::new(job), head.stream))
            }
        }
    }

    fn execution(&self, config: &config::Config) -> McpExecution {
        config
            .mcp_execution
            .unwrap_or(self.parts.policy.mcp_execution)
    }
}

enum Served {
    PassThrough(Box<pass_through::Relay>),
    Loop(Box<tool_loop::Job>, bool),
}
