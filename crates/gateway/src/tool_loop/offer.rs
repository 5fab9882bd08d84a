//! The tools that the model is offered: the client's own, and those of the servers.

use crate::error::Error;
use portunus_protocol::error::{ErrorBody, kind};
use portunus_protocol::request::{Tool, ToolRef};
use portunus_providers::ToolDef;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A tool that is offered to the model, with what a `tool_choice` may name it by.
pub(super) struct Offered {
    pub(super) label: Option<String>,
    pub(super) name: String,
    pub(super) def: ToolDef,
}

impl Offered {
    pub(super) fn is_among(&self, refs: &[ToolRef]) -> bool {
        refs.iter().any(|reference| match (reference, &self.label) {
            (ToolRef::Function(name), None) => *name == self.name,
            (ToolRef::Mcp { server_label, name }, Some(label)) => {
                server_label.as_ref().is_none_or(|wanted| wanted == label)
                    && name.as_ref().is_none_or(|wanted| *wanted == self.name)
            }
            _ => false,
        })
    }
}

pub(super) fn client_tool_name(tool: &Tool) -> Option<&str> {
    match tool {
        Tool::Function(function) => Some(&function.name),
        Tool::Custom(value) => value.get("name").and_then(serde_json::Value::as_str),
        Tool::Mcp(_) | Tool::Hosted(..) => None,
    }
}

pub(super) fn client_tool(tool: &Tool) -> Option<Result<Offered, serde_json::Error>> {
    let name = client_tool_name(tool)?.to_owned();
    let def = match tool {
        Tool::Function(function) => Ok(ToolDef {
            name: name.clone(),
            description: function.description.clone(),
            parameters: match &function.parameters {
                Some(schema) => Arc::from(schema.clone()),
                None => Arc::from(RawValue::NULL.to_owned()),
            },
            strict: function.strict,
            custom: false,
        }),
        Tool::Custom(value) => {
            serde_json::value::to_raw_value(&value["format"]).map(|format| ToolDef {
                name: name.clone(),
                description: value["description"].as_str().map(str::to_owned),
                parameters: Arc::from(format),
                strict: None,
                custom: true,
            })
        }
        Tool::Mcp(_) | Tool::Hosted(..) => return None,
    };
    Some(def.map(|def| Offered {
        label: None,
        name,
        def,
    }))
}

pub(super) fn hosted(tool: &Tool) -> Option<serde_json::Value> {
    match tool {
        Tool::Hosted(_, value) => Some(value.clone()),
        _ => None,
    }
}

/// The server's description goes with each of its tools: the model sees no servers.
pub(super) fn described(
    own: Option<&str>,
    server: &portunus_protocol::request::McpTool,
) -> Option<String> {
    let Some(about) = &server.server_description else {
        return own.map(str::to_owned);
    };
    let about = format!("Server '{}': {about}", server.server_label);
    Some(own.map_or_else(|| about.clone(), |own| format!("{own}\n\n{about}")))
}

pub(super) fn nothing_to_choose() -> Error {
    let message = "The tools that 'tool_choice' names are not there: no server lists one of that name, \
                   or 'allowed_tools' leaves them out.";
    ErrorBody::new(kind::INVALID_REQUEST, message)
        .param("tool_choice")
        .into()
}
