//! Carries out the caller's words on calls that waited, before the model's first turn.

use crate::answers::{self, Answered, Ask};
use crate::call::Principal;
use crate::error::Error;
use crate::history::{Told, wire_name};
use crate::record::Record;
use crate::run::{self, Planned, Runner};
use crate::sink::Sink;
use crate::turn;
use portunus_mcp::Inventory;
use portunus_protocol::item::Content;
use std::collections::HashMap;

/// What the words came to.
#[derive(Default)]
pub(crate) struct Resumed {
    /// For the model, by the id of the request.
    pub(crate) told: HashMap<String, Told>,
    /// A tool has changed since it was asked about: the caller is asked anew, and nothing else
    /// happens in this response.
    pub(crate) asked_anew: bool,
    /// How many calls ran.
    pub(crate) ran: u64,
}

/// What the words are carried out with.
pub(crate) struct Resume<'a> {
    pub(crate) runner: Runner<'a>,
    pub(crate) principal: &'a Principal,
    pub(crate) inventory: &'a Inventory,
    /// MCP calls that may run.
    pub(crate) max_calls: u64,
}

impl Resume<'_> {
    /// Uses the requests up, then runs what is approved: in this order, so that nothing runs
    /// twice whatever happens in between.
    pub(crate) async fn run(
        &self,
        answered: Vec<Answered>,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<Resumed, Error> {
        let mut resumed = Resumed::default();
        if answered.is_empty() {
            return Ok(resumed);
        }
        sink.begin().await?;
        answers::use_up(self.runner.gateway, self.principal, &answered).await?;
        let mut planned = Vec::new();
        for answer in answered {
            planned.extend(self.one(answer, &mut resumed, sink, record).await?);
        }
        if planned.is_empty() {
            return Ok(resumed);
        }
        let results = run::run(self.runner, planned, sink, record).await?;
        for result in results {
            if let Some(told) = resumed.told.get_mut(&result.call_id) {
                told.said = result.said;
            }
        }
        Ok(resumed)
    }

    /// The call to run, if one is to run.
    async fn one(
        &self,
        answer: Answered,
        resumed: &mut Resumed,
        sink: &mut Sink,
        record: &mut Record,
    ) -> Result<Option<Planned>, Error> {
        let (label, tool) = (&answer.row.server_label, &answer.row.tool);
        let mut told = Told {
            wire_name: wire_name(label, tool, self.inventory, self.runner.servers),
            arguments: answer.row.arguments.clone(),
            said: Content::Text(answer.denial()),
        };
        let id = answer.row.id.clone();
        if !answer.approved {
            resumed.told.insert(id, told);
            return Ok(None);
        }
        if resumed.ran >= self.max_calls {
            told.said = Content::Text(turn::OVER.to_owned());
            resumed.told.insert(id, told);
            return Ok(None);
        }
        if let Some(tool) = answer.tool(self.inventory) {
            resumed.ran += 1;
            let arguments = &answer.row.arguments;
            let opened =
                run::announce(sink, label, &tool.name, arguments, Some(id.clone())).await?;
            let planned = Planned::new(answer.server, tool.clone(), id.clone(), opened);
            resumed.told.insert(id, told);
            return Ok(Some(planned));
        }
        record.note(format!(
            "The tool '{tool}' of '{label}' has changed since it was asked about."
        ));
        match self.listed(&answer) {
            Some(ask) => {
                answers::ask(self.runner.gateway, ask, sink).await?;
                resumed.asked_anew = true;
            }
            None => {
                told.said = Content::Text(format!("The tool '{tool}' is no longer there."));
                resumed.told.insert(id, told);
            }
        }
        Ok(None)
    }

    /// The same call with the tool as it is listed now.
    fn listed(&self, answer: &Answered) -> Option<Ask<'_>> {
        let wire = self.inventory.wire_name(answer.server, &answer.row.tool)?;
        Some(Ask {
            principal: self.principal,
            server: self.runner.servers.get(answer.server)?,
            tool: self.inventory.find(wire)?.tool,
            arguments: answer.row.arguments.clone(),
            call_id: answer.row.call_id.clone(),
        })
    }
}
