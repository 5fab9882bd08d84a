//! The input of a request as the model gets it.
//!
//! Earlier MCP calls become function calls with their outputs, under the names that the
//! model knows the tools by; lists are never sent; what would need stored state is refused.

use crate::answers;
use crate::error::Error;
use crate::servers::Server;
use portunus_mcp::{Inventory, told};
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::item::{
    Content, FunctionCall, FunctionCallOutput, Item, McpApprovalRequest, McpCall,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Refuses what cannot be served, before anything is sent anywhere. `earlier` are the items of
/// earlier responses that come before `input`.
pub(crate) fn check(earlier: &[Item], input: &[Item], native: bool) -> Result<(), Error> {
    for (index, item) in input.iter().enumerate() {
        if let Item::Other(_) = item
            && !native
        {
            return Err(unknown_item(&format!("input[{index}]"), item.kind()));
        }
    }
    let all: Vec<&Item> = earlier.iter().chain(input).collect();
    check_ids(&all)?;
    check_answered(&all)?;
    let words: HashSet<&str> = all.iter().filter_map(|item| word_on(item)).collect();
    let open: Vec<&str> = all
        .iter()
        .filter_map(|item| open_request(item))
        .filter(|id| !words.contains(id))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "The following MCP approval requests do not have an approval: {}",
        open.join(", ")
    );
    Err(ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("input")
        .into())
}

fn check_ids(input: &[&Item]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for id in input.iter().filter_map(|item| item.id()) {
        if !seen.insert(id) {
            let message = format!(
                "Duplicate item found with id {id}. Remove duplicate items from your input and try again."
            );
            return Err(ErrorBody::new(kind::INVALID_REQUEST, message)
                .param("input")
                .into());
        }
    }
    Ok(())
}

/// Every provider refuses a call without its output; OpenAI's words say which.
fn check_answered(input: &[&Item]) -> Result<(), Error> {
    let answered: HashSet<&str> = input.iter().filter_map(|item| output_of(item)).collect();
    let open = input
        .iter()
        .filter_map(|item| asks(item))
        .find(|call_id| !answered.contains(call_id));
    let Some(call_id) = open else { return Ok(()) };
    let message = format!("No tool output found for function call {call_id}.");
    Err(ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("input")
        .into())
}

fn asks(item: &Item) -> Option<&str> {
    match item {
        Item::FunctionCall(call) => Some(&call.call_id),
        Item::CustomToolCall(call) => Some(&call.call_id),
        _ => None,
    }
}

fn output_of(item: &Item) -> Option<&str> {
    match item {
        Item::FunctionCallOutput(output) | Item::CustomToolCallOutput(output) => {
            Some(&output.call_id)
        }
        _ => None,
    }
}

fn open_request(item: &Item) -> Option<&str> {
    match item {
        Item::McpApprovalRequest(request) => Some(&request.id),
        _ => None,
    }
}

fn word_on(item: &Item) -> Option<&str> {
    match item {
        Item::McpApprovalResponse(word) => Some(&word.approval_request_id),
        _ => None,
    }
}

pub(crate) fn unknown_item(at: &str, kind: &str) -> Error {
    let message = format!(
        "Invalid '{at}': items of type '{kind}' cannot be given to this model; they need a provider that speaks the Responses API."
    );
    ErrorBody::invalid(at, code::VALUE, message).into()
}

/// A call that waited for approval, as the model is told of it now.
pub(crate) struct Told {
    pub(crate) wire_name: String,
    pub(crate) arguments: String,
    pub(crate) said: Content,
}

/// The items for the model, in order. `waited` are the requests for approval that are answered
/// now, by id.
pub(crate) fn translate(
    input: Vec<Item>,
    inventory: &Inventory,
    servers: &[Server],
    mut waited: HashMap<String, Told>,
) -> Vec<Arc<Item>> {
    let denied = denials(&input);
    let items = input.into_iter().flat_map(|item| match item {
        Item::McpCall(call) => earlier_call(call, inventory, servers),
        Item::McpApprovalRequest(request) => match waited.remove(&request.id) {
            Some(told) => pair(told.wire_name, request.id, told.arguments, told.said),
            None => earlier_request(request, inventory, servers, &denied),
        },
        Item::McpListTools(_) | Item::McpApprovalResponse(_) => Vec::new(),
        other => vec![other],
    });
    let mut items: Vec<Item> = items.collect();
    // A request that is answered though it is not in the context itself.
    for (id, told) in waited {
        items.extend(pair(told.wire_name, id, told.arguments, told.said));
    }
    items.into_iter().map(Arc::new).collect()
}

fn denials(input: &[Item]) -> HashMap<String, Option<String>> {
    let words = input.iter().filter_map(|item| match item {
        Item::McpApprovalResponse(word) if !word.approve => {
            Some((word.approval_request_id.clone(), word.reason.clone()))
        }
        _ => None,
    });
    words.collect()
}

/// A request that was answered in an earlier response: an approved one is there as its call, a
/// denied one is told again.
fn earlier_request(
    request: McpApprovalRequest,
    inventory: &Inventory,
    servers: &[Server],
    denied: &HashMap<String, Option<String>>,
) -> Vec<Item> {
    let Some(reason) = denied.get(&request.id) else {
        return Vec::new();
    };
    let name = wire_name(&request.server_label, &request.name, inventory, servers);
    let text = answers::denial(reason.as_deref());
    pair(name, request.id, request.arguments, Content::Text(text))
}

/// The name that the model knows a tool by.
pub(crate) fn wire_name(
    label: &str,
    tool: &str,
    inventory: &Inventory,
    servers: &[Server],
) -> String {
    let place = servers.iter().position(|s| s.tool.server_label == label);
    let known = place.and_then(|place| inventory.wire_name(place, tool));
    known.map_or_else(|| legal_name(label, tool), str::to_owned)
}

fn earlier_call(call: McpCall, inventory: &Inventory, servers: &[Server]) -> Vec<Item> {
    let name = wire_name(&call.server_label, &call.name, inventory, servers);
    let said = told::of(call.output.as_deref(), call.error.as_ref());
    pair(name, call.id, call.arguments, said)
}

/// A function call and its answer.
fn pair(name: String, call_id: String, arguments: String, output: Content) -> Vec<Item> {
    let asked = FunctionCall {
        name,
        call_id: call_id.clone(),
        arguments: sound(arguments),
        ..FunctionCall::default()
    };
    vec![Item::FunctionCall(asked), answer(call_id, output)]
}

/// The answer to a function call, for the model.
pub(crate) fn answer(call_id: String, output: Content) -> Item {
    Item::FunctionCallOutput(FunctionCallOutput {
        call_id,
        output,
        of_tool: true,
        ..FunctionCallOutput::default()
    })
}

/// Arguments that are no JSON object go back as an empty one: servers fail on the text.
pub(crate) fn sound(arguments: String) -> String {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&arguments) {
        Ok(_) => arguments,
        Err(_) => "{}".to_owned(),
    }
}

/// A name in every provider's alphabet for a tool that is no longer there.
fn legal_name(label: &str, tool: &str) -> String {
    let name = format!("{label}__{tool}");
    let legal = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    });
    legal.take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(value: serde_json::Value) -> Item {
        Item::from_value(value).unwrap()
    }

    #[test]
    fn an_earlier_call_becomes_a_pair() {
        let call = item(
            json!({"type":"mcp_call","id":"mcp_1","arguments":"{\"a\":1}","name":"t.x","server_label":"s","output":"o"}),
        );
        let list =
            item(json!({"type":"mcp_list_tools","id":"mcpl_1","server_label":"s","tools":[]}));
        let got = translate(vec![list, call], &Inventory::new(), &[], HashMap::new());
        let got =
            serde_json::to_value(got.iter().map(AsRef::as_ref).collect::<Vec<&Item>>()).unwrap();
        assert_eq!(got[0]["name"], "s__t_x");
        assert_eq!(got[0]["call_id"], got[1]["call_id"]);
        assert_eq!(got[1]["output"], "o");
        assert_eq!(got.as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_needs_state_is_refused() {
        let request = item(
            json!({"type":"mcp_approval_request","id":"mcpr_1","arguments":"{}","name":"t","server_label":"s"}),
        );
        let body = check(&[], &[request], false).unwrap_err().body();
        assert_eq!(
            body.message,
            "The following MCP approval requests do not have an approval: mcpr_1"
        );
        let other = item(json!({"type":"web_search_call","id":"ws_1"}));
        assert!(check(&[], std::slice::from_ref(&other), true).is_ok());
        assert!(check(&[], &[other], false).is_err());
    }

    #[test]
    fn broken_arguments_go_back_empty() {
        assert_eq!(sound("{\"a\"".to_owned()), "{}");
        assert_eq!(sound("{\"a\":1}".to_owned()), "{\"a\":1}");
    }
}
