//! The input of a request as the model gets it.
//!
//! Earlier MCP calls become function calls with their outputs, under the names that the
//! model knows the tools by; lists are never sent; what would need stored state is refused.

use crate::error::Error;
use crate::servers::Server;
use portunus_mcp::Inventory;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::item::{Content, FunctionCall, FunctionCallOutput, Item, McpCall};
use std::collections::HashSet;
use std::sync::Arc;

/// Refuses what cannot be served, before anything is sent anywhere.
pub(crate) fn check(input: &[Item], native: bool) -> Result<(), Error> {
    let open: Vec<&str> = input.iter().filter_map(open_request).collect();
    for (index, item) in input.iter().enumerate() {
        let at = format!("input[{index}]");
        match item {
            Item::Other(_) if !native => return Err(unknown_item(&at, item.kind())),
            _ => {}
        }
    }
    check_ids(input)?;
    check_answered(input)?;
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

fn check_ids(input: &[Item]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for id in input.iter().filter_map(Item::id) {
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
fn check_answered(input: &[Item]) -> Result<(), Error> {
    let answered: HashSet<&str> = input.iter().filter_map(answers).collect();
    let open = input
        .iter()
        .filter_map(asks)
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

fn answers(item: &Item) -> Option<&str> {
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

fn unknown_item(at: &str, kind: &str) -> Error {
    let message = format!(
        "Invalid '{at}': items of type '{kind}' cannot be given to this model; they need a provider that speaks the Responses API."
    );
    ErrorBody::invalid(at, code::VALUE, message).into()
}

/// The items for the model, in order.
pub(crate) fn translate(
    input: Vec<Item>,
    inventory: &Inventory,
    servers: &[Server],
) -> Vec<Arc<Item>> {
    let items = input.into_iter().flat_map(|item| match item {
        Item::McpCall(call) => earlier_call(call, inventory, servers),
        Item::McpListTools(_) | Item::McpApprovalRequest(_) | Item::McpApprovalResponse(_) => {
            Vec::new()
        }
        other => vec![other],
    });
    items.map(Arc::new).collect()
}

fn earlier_call(call: McpCall, inventory: &Inventory, servers: &[Server]) -> Vec<Item> {
    let place = servers
        .iter()
        .position(|s| s.tool.server_label == call.server_label);
    let known = place.and_then(|place| inventory.wire_name(place, &call.name));
    let name = known.map_or_else(|| legal_name(&call), str::to_owned);
    let output = call
        .output
        .unwrap_or_else(|| call.error.map_or_else(String::new, |e| e.to_string()));
    pair(name, call.id, call.arguments, output)
}

/// A function call and its answer.
fn pair(name: String, call_id: String, arguments: String, output: String) -> Vec<Item> {
    let asked = FunctionCall {
        name,
        call_id: call_id.clone(),
        arguments: sound(arguments),
        ..FunctionCall::default()
    };
    vec![Item::FunctionCall(asked), answer(call_id, output)]
}

/// The answer to a function call, for the model.
pub(crate) fn answer(call_id: String, output: String) -> Item {
    let output = Content::Text(output);
    Item::FunctionCallOutput(FunctionCallOutput {
        call_id,
        output,
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
fn legal_name(call: &McpCall) -> String {
    let name = format!("{}__{}", call.server_label, call.name);
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
        let got = translate(vec![list, call], &Inventory::new(), &[]);
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
        let body = check(&[request], false).unwrap_err().body();
        assert_eq!(
            body.message,
            "The following MCP approval requests do not have an approval: mcpr_1"
        );
        let other = item(json!({"type":"web_search_call","id":"ws_1"}));
        assert!(check(std::slice::from_ref(&other), true).is_ok());
        assert!(check(&[other], false).is_err());
    }

    #[test]
    fn broken_arguments_go_back_empty() {
        assert_eq!(sound("{\"a\"".to_owned()), "{}");
        assert_eq!(sound("{\"a\":1}".to_owned()), "{\"a\":1}");
    }
}
