//! `tool_choice`.

use super::check::{self, Checked};
use super::tool::Tool;
use crate::error::{ErrorBody, kind};
use serde_json::{Map, Value};

/// What the model may or must do with its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    #[default]
    Auto,
    /// It may call none.
    None,
    /// It must call one. Holds for the first turn only, else a loop never ends.
    Required,
    /// It must call one of these.
    Force(Vec<ToolRef>),
    /// It may use only these, and must call one in the first turn.
    ForceAmong(Vec<ToolRef>),
    /// It decides among these.
    Among(Vec<ToolRef>),
}

/// Names tools inside a `tool_choice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolRef {
    /// A function or custom tool of the client.
    Function(String),
    /// Tools of MCP servers: all, of one label, or one tool of it.
    Mcp {
        /// `None` = every server.
        server_label: Option<String>,
        /// `None` = every tool of it.
        name: Option<String>,
    },
}

const PATH: &str = "tool_choice";

impl ToolChoice {
    pub(super) fn parse(value: Option<Value>, tools: &[Tool]) -> Checked<Self> {
        match value {
            None => Ok(Self::Auto),
            Some(Value::String(word)) => Self::word(&word, tools),
            Some(Value::Object(fields)) => Self::object(&fields, tools),
            Some(other) => Err(check::wrong_type(PATH, "a string or an object", &other)),
        }
    }

    fn word(word: &str, tools: &[Tool]) -> Checked<Self> {
        match word {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            "required" if tools.is_empty() => Err(ErrorBody::new(
                kind::INVALID_REQUEST,
                "Tool choice 'required' must be specified with 'tools' parameter.",
            )
            .param(PATH)),
            "required" => Ok(Self::Required),
            _ => Err(check::bad_value(PATH, word, &["none", "auto", "required"])),
        }
    }

    fn object(fields: &Map<String, Value>, tools: &[Tool]) -> Checked<Self> {
        if text(fields, "type") != Some("allowed_tools") {
            return Ok(Self::Force(vec![reference(fields, tools)?]));
        }
        let path = "tool_choice.tools";
        let list = match fields.get("tools") {
            Some(list) => check::into_array(path, list.clone())?,
            None => return Err(check::missing(path)),
        };
        let refs = list
            .into_iter()
            .map(|entry| reference(&check::into_object(path, entry)?, tools))
            .collect::<Checked<Vec<_>>>()?;
        match text(fields, "mode") {
            Some("required") => Ok(Self::ForceAmong(refs)),
            None | Some("auto") => Ok(Self::Among(refs)),
            Some(other) => Err(check::bad_value(
                "tool_choice.mode",
                other,
                &["auto", "required"],
            )),
        }
    }
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

fn reference(fields: &Map<String, Value>, tools: &[Tool]) -> Checked<ToolRef> {
    let name = text(fields, "name").map(str::to_owned);
    match (text(fields, "type"), name) {
        (Some("mcp"), name) => {
            let label = text(fields, "server_label").map(str::to_owned);
            let known = tools.iter().any(|tool| match tool {
                Tool::Mcp(mcp) => label
                    .as_ref()
                    .is_none_or(|label| *label == mcp.server_label),
                _ => false,
            });
            let missing = label.clone().unwrap_or_else(|| "mcp".to_owned());
            let found = ToolRef::Mcp {
                server_label: label,
                name,
            };
            known.then_some(found).ok_or_else(|| not_found(&missing))
        }
        (Some("function" | "custom"), Some(name)) => {
            let known = tools.iter().any(|tool| client_name(tool) == Some(&name));
            if known {
                Ok(ToolRef::Function(name))
            } else {
                Err(not_found(&name))
            }
        }
        (Some("function" | "custom"), None) => Err(check::missing("tool_choice.name")),
        (Some(other), _) => Err(not_found(other)),
        (None, _) => Err(check::missing("tool_choice.type")),
    }
}

fn client_name(tool: &Tool) -> Option<&str> {
    match tool {
        Tool::Function(function) => Some(&function.name),
        Tool::Custom(value) => value.get("name").and_then(Value::as_str),
        Tool::Mcp(_) | Tool::Hosted(..) => None,
    }
}

fn not_found(what: &str) -> ErrorBody {
    let what: String = what.chars().take(64).collect();
    let message = format!("Tool choice '{what}' not found in 'tools' parameter.");
    ErrorBody::new(kind::INVALID_REQUEST, message).param(PATH)
}
