//! What a vendor's translation cannot say is refused before any server is contacted, so that a
//! stream that has not begun gets a plain answer.

use crate::error::Error;
use crate::route::Target;
use portunus_protocol::item::{Content, Item, McpApprovalResponse, Part};
use portunus_protocol::request::Body;
use portunus_providers::{Dialect, TurnRequest};
use std::sync::Arc;

/// Translates the client's own part of the first turn, if there is anything in it that some
/// vendor does not take.
pub(super) fn check(target: &Target, body: &Body) -> Result<(), Error> {
    let asks = body.options.top_logprobs.is_some() || !body.options.include.is_empty();
    let shows = body.input.iter().any(has_media);
    if target.dialect() != Dialect::Chat || !(asks || shows) {
        return Ok(());
    }
    // In its place, so that paths count right.
    let placeholder = Arc::new(Item::McpApprovalResponse(McpApprovalResponse::default()));
    let own = |item: &Item| match has_media(item) {
        true => Arc::new(item.clone()),
        false => Arc::clone(&placeholder),
    };
    let turn = TurnRequest {
        model: target.model.clone(),
        input: body.input.iter().map(own).collect(),
        options: body.options.clone(),
        ..TurnRequest::default()
    };
    target.provider.encode(&target.endpoint, &turn)?;
    Ok(())
}

fn has_media(item: &Item) -> bool {
    let Item::Message(message) = item else {
        return false;
    };
    let is_text = |part: &Part| matches!(part, Part::InputText(_) | Part::OutputText(_));
    match &message.content {
        Content::Text(_) => false,
        Content::Parts(parts) => !parts.iter().all(is_text),
    }
}
