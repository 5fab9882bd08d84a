//! `mcp` tools as a provider that runs them itself shows them: lists, calls, approval requests.
//!
//! No server is contacted; every server has the same two tools.

use serde_json::{Map, Value, json};

use crate::ask::{Ask, Decision, ToolView};
use crate::fault::Fault;
use crate::responses::Events;
use crate::script::{Planned, Script};

/// The provider's whole run: every server listed, one call (or an approval request), the answer.
pub(crate) fn run(events: &mut Events, body: &Value, ask: &Ask) {
    let servers: Vec<&Value> = body["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|t| t["type"] == "mcp")
        .collect();
    let lists: Vec<Vec<ToolView>> = servers.iter().map(|s| list(events, s)).collect();
    let Some((server, call)) = choice(ask, &servers, &lists) else {
        return events.message(&format!("You said: {}", ask.prompt));
    };
    let label = server["server_label"].as_str().unwrap_or_default();
    if server["require_approval"] != "never" {
        return approval(events, label, &call);
    }
    let output = format!("{} was asked about {}", call.name, call.arguments);
    let fails = ask.fault() == Fault::BadArguments;
    mcp_call(
        events,
        label,
        &call,
        if fails { None } else { Some(&output) },
    );
    events.message(&format!("The tool said: {output}"));
}

fn choice<'a>(
    ask: &Ask,
    servers: &[&'a Value],
    lists: &[Vec<ToolView>],
) -> Option<(&'a Value, Planned)> {
    if ask.tools_off || Script::parse(&ask.prompt).no_tool {
        return None;
    }
    let at = lists.iter().position(|l| !l.is_empty())?;
    match (Ask {
        tools: lists[at].clone(),
        ..ask.clone()
    })
    .decide()
    {
        Decision::Calls(calls) => Some((servers[at], calls.into_iter().next()?)),
        Decision::Text(_) => None,
    }
}

fn list(events: &mut Events, server: &Value) -> Vec<ToolView> {
    let tools: Vec<ToolView> = offered()
        .into_iter()
        .filter(|t| allowed(&server["allowed_tools"], &t.name))
        .collect();
    let id = events.new_id("mcpl");
    let item = |tools: Value| json!({"id": id, "type": "mcp_list_tools", "server_label": server["server_label"], "tools": tools});
    let index = events.added(item(json!([])));
    for word in ["in_progress", "completed"] {
        let kind = format!("response.mcp_list_tools.{word}");
        events.push(&kind, json!({"output_index": index, "item_id": id}));
    }
    let shown = tools.iter().map(|t| {
        json!({"annotations": {"read_only": false}, "description": t.description,
            "input_schema": t.schema, "name": t.name})
    });
    events.done(index, item(shown.collect()));
    tools
}

fn mcp_call(events: &mut Events, label: &str, call: &Planned, output: Option<&str>) {
    let (id, arguments) = (events.new_id("mcp"), call.arguments.to_string());
    let mut item = json!({"id": id, "type": "mcp_call", "status": "in_progress", "approval_request_id": null,
        "arguments": "", "error": null, "name": call.name, "output": null, "server_label": label});
    let index = events.added(item.clone());
    let place = json!({"output_index": index, "item_id": id});
    events.push("response.mcp_call.in_progress", place.clone());
    let delta =
        json!({"output_index": index, "item_id": id, "delta": arguments, "obfuscation": "x"});
    events.push("response.mcp_call_arguments.delta", delta);
    let done = json!({"output_index": index, "item_id": id, "arguments": arguments});
    events.push("response.mcp_call_arguments.done", done);
    let status = if output.is_some() {
        "completed"
    } else {
        "failed"
    };
    events.push(&format!("response.mcp_call.{status}"), place);
    item["status"] = json!(status);
    item["arguments"] = json!(arguments);
    item["output"] = json!(output);
    if output.is_none() {
        item["error"] = json!({"type": "http_error", "code": 424, "message": "424: "});
    }
    events.done(index, item);
}

fn approval(events: &mut Events, label: &str, call: &Planned) {
    let item = json!({"id": events.new_id("mcpr"), "type": "mcp_approval_request",
        "arguments": call.arguments.to_string(), "name": call.name, "server_label": label});
    let index = events.added(item.clone());
    events.done(index, item);
}

fn offered() -> Vec<ToolView> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let ask = json!({"type": "object", "properties": {"repoName": text("Repository as owner/name"),
        "question": text("What to find out")}, "required": ["repoName", "question"]});
    let read = json!({"type": "object", "properties": {"repoName": text("Repository as owner/name")},
        "required": ["repoName"]});
    [
        ("ask_question", "Answers a question about a repository", ask),
        (
            "read_wiki_structure",
            "Lists the topics documented for a repository",
            read,
        ),
    ]
    .map(|(name, about, schema)| ToolView {
        name: name.to_owned(),
        description: about.to_owned(),
        schema,
    })
    .into()
}

fn allowed(filter: &Value, name: &str) -> bool {
    let names = filter
        .as_array()
        .or_else(|| filter["tool_names"].as_array());
    names.is_none_or(|names| names.iter().any(|n| n == name))
}

/// The `tools` of a response object: secrets masked, defaults written out.
pub(crate) fn echo(tools: &Value) -> Value {
    tools
        .as_array()
        .into_iter()
        .flatten()
        .map(echo_one)
        .collect()
}

fn echo_one(tool: &Value) -> Value {
    if tool["type"] != "mcp" {
        return tool.clone();
    }
    let masked = |headers: &Map<String, Value>| -> Value {
        headers
            .keys()
            .map(|k| (k.clone(), json!("<redacted>")))
            .collect::<Map<_, _>>()
            .into()
    };
    let mut shown = json!({"type": "mcp", "allowed_tools": tool["allowed_tools"]});
    if tool["authorization"].is_string() {
        shown["authorization"] = json!("<redacted>");
    }
    shown["headers"] = tool["headers"].as_object().map_or(Value::Null, masked);
    shown["require_approval"] = tool
        .get("require_approval")
        .cloned()
        .unwrap_or(json!("always"));
    shown["server_description"] = tool["server_description"].clone();
    shown["server_label"] = tool["server_label"].clone();
    shown["server_url"] = tool["server_url"].clone();
    shown
}
