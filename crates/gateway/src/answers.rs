//! The caller's words on calls that waited for approval.
//!
//! What runs is what was stored when the call was asked for: nothing that the caller sends back
//! changes it. Each request is used once, bound to the API key, the server's URL and the tool's
//! definition.

use crate::Gateway;
use crate::call::Principal;
use crate::error::Error;
use crate::record::whole_ms;
use crate::servers::Server;
use crate::sink::Sink;
use jiff::Timestamp;
use portunus_mcp::{Inventory, Tool, fingerprint};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::item::{Item, McpApprovalRequest, McpApprovalResponse};
use portunus_protocol::request::ServerUrlEcho;
use portunus_store::{APPROVAL_DENIED, ApprovalRow, Refusal, Used};
use serde_json::json;

/// One answered request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) row: ApprovalRow,
    /// Which server of this request it belongs to.
    pub(crate) server: usize,
    pub(crate) approved: bool,
    pub(crate) reason: Option<String>,
}

/// Finds the requests that `input` answers and checks that they may be answered here; nothing
/// is used up yet.
pub(crate) async fn find(
    gateway: &Gateway,
    principal: &Principal,
    servers: &[Server],
    input: &[Item],
) -> Result<Vec<Answered>, Error> {
    let mut found = Vec::new();
    for (index, item) in input.iter().enumerate() {
        let Item::McpApprovalResponse(word) = item else {
            continue;
        };
        let at = format!("input[{index}].approval_request_id");
        let store = &gateway.parts.store;
        let row = store
            .approval(&principal.workspace_id, &word.approval_request_id)
            .await?;
        let row = row.filter(|row| row.api_key_id == principal.api_key_id);
        let row = row.ok_or_else(|| unknown(&at, &word.approval_request_id))?;
        found.push(answered(row, word, servers, &at)?);
    }
    Ok(found)
}

fn answered(
    row: ApprovalRow,
    word: &McpApprovalResponse,
    servers: &[Server],
    at: &str,
) -> Result<Answered, Error> {
    if row.state == "used" {
        return Err(twice(&row.id));
    }
    if row.state == "expired" || row.expires_at_ms <= Timestamp::now().as_millisecond() {
        let message = format!("The approval request '{}' has expired. Ask again.", row.id);
        return Err(ErrorBody::invalid(at, code::VALUE, message).into());
    }
    let server = servers
        .iter()
        .position(|server| server.tool.server_label == row.server_label);
    let same = server.filter(|place| digest_of(&servers[*place]) == row.server_digest);
    let Some(server) = same else {
        let message = format!(
            "The approval request '{}' belongs to the server '{}' at {}: send that server in \
             'tools' again, with the same URL.",
            row.id, row.server_label, row.server_url
        );
        return Err(ErrorBody::invalid(at, code::VALUE, message).into());
    };
    // A denial in the console stands, with its reason, whatever the caller says.
    let denied = row.state == APPROVAL_DENIED;
    let [first, second] = if denied {
        [&row.reason, &word.reason]
    } else {
        [&word.reason, &row.reason]
    };
    let reason = first.clone().or_else(|| second.clone());
    let approved = word.approve && !denied;
    Ok(Answered {
        row,
        server,
        approved,
        reason,
    })
}

fn unknown(at: &str, id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    let message = format!("No approval request found with id '{shown}'.");
    ErrorBody::invalid(at, code::VALUE, message).into()
}

fn twice(id: &str) -> Error {
    let message = format!(
        "Duplicate item found with id {id}. Remove duplicate items from your input and try again: \
         this approval request was answered before."
    );
    ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("input")
        .into()
}

/// Uses the requests up, all or none: of several that try at once, one gets them.
pub(crate) async fn use_up(
    gateway: &Gateway,
    principal: &Principal,
    answered: &[Answered],
) -> Result<(), Error> {
    if answered.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = answered
        .iter()
        .map(|answer| answer.row.id.clone())
        .collect();
    let now = Timestamp::now().as_millisecond();
    let store = &gateway.parts.store;
    for answer in answered {
        // For whoever reads the list later; what counts is the single use below.
        let (id, reason) = (&answer.row.id, answer.reason.as_deref());
        let workspace = &principal.workspace_id;
        store
            .decide_approval(workspace, id, answer.approved, reason, "caller", now)
            .await?;
    }
    match gateway
        .parts
        .store
        .use_approvals(&principal.workspace_id, &ids, now)
        .await?
    {
        Used::Rows(_) => Ok(()),
        Used::Refused {
            id,
            why: Refusal::AlreadyUsed,
        } => Err(twice(&id)),
        Used::Refused { id, .. } => Err(unknown("input", &id)),
    }
}

impl Answered {
    /// The tool as it is listed now, if it is still the one that was asked about.
    pub(crate) fn tool<'a>(&self, inventory: &'a Inventory) -> Option<&'a Tool> {
        let wire = inventory.wire_name(self.server, &self.row.tool)?;
        let tool = inventory.find(wire)?.tool;
        (tool.digest() == self.row.tool_digest).then_some(tool)
    }

    /// What the model is told of a denial.
    pub(crate) fn denial(&self) -> String {
        denial(self.reason.as_deref())
    }
}

/// What the model is told of a denial.
pub(crate) fn denial(reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => {
            format!("The user denied this tool call. Reason: {reason}")
        }
        _ => "The user denied this tool call.".to_owned(),
    }
}

/// Fingerprint of the whole URL of a server.
pub(crate) fn digest_of(server: &Server) -> String {
    fingerprint(server.tool.server_url.as_deref().unwrap_or(""))
}

/// A call that has to wait for a word.
pub(crate) struct Ask<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) server: &'a Server,
    pub(crate) tool: &'a Tool,
    pub(crate) arguments: String,
    pub(crate) call_id: String,
}

/// Stores a request for approval, on disk before it is told to anybody, and tells it. Returns
/// its id.
pub(crate) async fn ask(gateway: &Gateway, ask: Ask<'_>, sink: &mut Sink) -> Result<String, Error> {
    let id = id::make(Kind::McpApprovalRequest);
    let item = Item::McpApprovalRequest(McpApprovalRequest {
        id: id.clone(),
        arguments: ask.arguments.clone(),
        name: ask.tool.name.clone(),
        server_label: ask.server.tool.server_label.clone(),
    });
    let row = row_of(gateway, ask, id.clone(), sink.response_id());
    gateway.parts.store.insert_approvals(&[row]).await?;
    let index = sink.add(item.clone()).await?;
    sink.done(index, item).await?;
    Ok(id)
}

fn row_of(gateway: &Gateway, ask: Ask<'_>, id: String, response_id: &str) -> ApprovalRow {
    let now = Timestamp::now().as_millisecond();
    let life = whole_ms(gateway.parts.bounds.approval_life);
    let Ask {
        principal,
        server,
        tool,
        arguments,
        call_id,
    } = ask;
    let definition = json!({
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "read_only": tool.read_only,
    });
    ApprovalRow {
        id,
        workspace_id: principal.workspace_id.clone(),
        api_key_id: principal.api_key_id.clone(),
        response_id: response_id.to_owned(),
        created_at_ms: now,
        expires_at_ms: now.saturating_add(life),
        server_label: server.tool.server_label.clone(),
        server_url: server
            .tool
            .shown_url(ServerUrlEcho::Origin)
            .unwrap_or_default(),
        server_digest: digest_of(server),
        tool: tool.name.clone(),
        tool_digest: tool.digest(),
        tool_definition: definition.to_string(),
        arguments,
        call_id,
        state: "pending".to_owned(),
        reason: None,
        decided_at_ms: None,
        decided_by: None,
        used_at_ms: None,
    }
}
