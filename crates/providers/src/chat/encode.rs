//! One turn as the body of a chat completion.

use super::content::reject;
use super::history::history;
use crate::compat::{ChoiceStyle, Effort, Row};
use crate::provider::EncodeError;
use crate::schema;
use crate::turn::{Choice, ToolDef, TurnRequest};
use bytes::Bytes;
use portunus_protocol::error::code;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Asks for the log probabilities of the text.
const LOGPROBS: &str = "message.output_text.logprobs";

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Value>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// The body and the notes about what was changed.
pub(super) fn encode(row: &Row, turn: &TurnRequest) -> Result<(Bytes, Vec<String>), EncodeError> {
    let format = super::format::format(row, turn)?;
    let history = history(row, turn, format.words)?;
    let mut fields = Fields {
        row,
        turn,
        out: Map::new(),
        notes: history.notes,
    };
    fields.stream();
    let tools = fields.tools()?;
    fields.limits()?;
    fields.reasoning();
    if let Some(note) = format.note {
        fields.note(note);
    }
    if let Some(format) = format.field {
        fields.set("response_format", format);
    }
    fields.extras();
    let request = Request {
        model: &turn.model,
        messages: history.messages,
        stream: turn.stream,
        tools,
        rest: fields.out,
    };
    let body = serde_json::to_vec(&request).map_err(|error| EncodeError {
        param: None,
        code: code::JSON,
        message: format!("The request for '{}' has no JSON form: {error}.", row.name),
    })?;
    Ok((body.into(), fields.notes))
}

/// Gathers the fields beside model, messages and tools. No field is sent empty or with its
/// default: some vendor refuses each of those.
struct Fields<'a> {
    row: &'a Row,
    turn: &'a TurnRequest,
    out: Map<String, Value>,
    notes: Vec<String>,
}

impl<'a> Fields<'a> {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.out.insert(key.to_owned(), value.into());
    }

    fn note(&mut self, what: &str) {
        self.notes
            .push(format!("{what} (provider '{}')", self.row.name));
    }

    fn stream(&mut self) {
        if self.turn.stream && self.row.quirks.include_usage {
            self.set("stream_options", json!({"include_usage": true}));
        }
    }

    fn tools(&mut self) -> Result<Vec<Tool<'a>>, EncodeError> {
        let turn = self.turn;
        if !turn.hosted_tools.is_empty() {
            return Err(reject(self.row, "tools", "a tool that OpenAI itself runs"));
        }
        let wanted = self.wanted_tools();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if !self.row.quirks.tools {
            return Err(reject(self.row, "tools", "a tool"));
        }
        self.parallel();
        Ok(wanted.into_iter().map(|tool| self.tool(tool)).collect())
    }

    fn parallel(&mut self) {
        match self.turn.parallel_tool_calls {
            Some(wanted) if self.row.quirks.parallel => self.set("parallel_tool_calls", wanted),
            Some(false) => self.note("parallel_tool_calls: cannot be turned off"),
            _ => {}
        }
    }

    /// Sets `tool_choice` and returns the tools that go with it.
    fn wanted_tools(&mut self) -> Vec<&'a ToolDef> {
        let turn = self.turn;
        let all: Vec<_> = turn.tools.iter().collect();
        if all.is_empty() {
            return all;
        }
        let style = self.row.quirks.choice;
        match &turn.tool_choice {
            Choice::Auto => all,
            Choice::None if style == ChoiceStyle::AutoOnly => Vec::new(),
            Choice::None => {
                self.set("tool_choice", "none");
                all
            }
            Choice::Required => {
                self.required(style);
                all
            }
            Choice::Function(name) if style == ChoiceStyle::Full => {
                self.set(
                    "tool_choice",
                    json!({"type": "function", "function": {"name": name}}),
                );
                all
            }
            Choice::Function(name) => {
                self.required(style);
                all.into_iter().filter(|tool| tool.name == *name).collect()
            }
        }
    }

    fn required(&mut self, style: ChoiceStyle) {
        match style {
            ChoiceStyle::Full | ChoiceStyle::Unnamed => self.set("tool_choice", "required"),
            ChoiceStyle::Any => self.set("tool_choice", "any"),
            ChoiceStyle::AutoOnly => self.note("tool_choice: sent as auto"),
        }
    }

    fn tool(&self, tool: &'a ToolDef) -> Tool<'a> {
        let parameters = if tool.custom {
            Cow::Owned(schema::one_input())
        } else {
            schema::object(&tool.parameters)
        };
        Tool {
            r#type: "function",
            function: Function {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters,
                strict: tool
                    .strict
                    .filter(|_| self.row.quirks.strict && !tool.custom),
            },
        }
    }

    fn limits(&mut self) -> Result<(), EncodeError> {
        let turn = self.turn;
        if let Some(limit) = turn.max_output_tokens {
            let key = if self.row.quirks.completion_limit {
                "max_completion_tokens"
            } else {
                "max_tokens"
            };
            self.set(key, limit);
        }
        if let Some(temperature) = turn.options.temperature {
            self.set("temperature", temperature);
        }
        if let Some(top_p) = turn.options.top_p {
            self.set("top_p", top_p);
        }
        self.logprobs()
    }

    fn logprobs(&mut self) -> Result<(), EncodeError> {
        let options = &self.turn.options;
        let top = options.top_logprobs.filter(|count| *count > 0);
        let place = options.include.iter().position(|word| word == LOGPROBS);
        let param = match (top, place) {
            (Some(_), _) => "top_logprobs".to_owned(),
            (None, Some(index)) => format!("include[{index}]"),
            (None, None) => return Ok(()),
        };
        if !self.row.quirks.logprobs {
            return Err(reject(self.row, &param, "a wish for log probabilities"));
        }
        self.set("logprobs", true);
        if let Some(top) = top {
            self.set("top_logprobs", top);
        }
        Ok(())
    }

    fn reasoning(&mut self) {
        let options = self.turn.options.reasoning.as_ref();
        let effort = options
            .and_then(|fields| fields.get("effort"))
            .and_then(Value::as_str);
        let Some(effort) = effort else {
            return;
        };
        let thinks = effort != "none";
        match self.row.quirks.effort {
            Effort::Word => self.set("reasoning_effort", effort),
            Effort::Object => self.set("reasoning", json!({ "effort": effort })),
            Effort::Thinking => {
                let word = if thinks { "enabled" } else { "disabled" };
                self.set("thinking", json!({ "type": word }));
            }
            Effort::Enable => self.set("enable_thinking", thinks),
            Effort::Ignored => self.note("reasoning.effort: not available"),
        }
    }

    fn extras(&mut self) {
        let options = &self.turn.options;
        let known = [
            ("user", &options.user),
            ("safety_identifier", &options.safety_identifier),
            ("prompt_cache_key", &options.prompt_cache_key),
            ("prompt_cache_retention", &options.prompt_cache_retention),
            ("service_tier", &options.service_tier),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                self.extra(key, value.as_str().into());
            }
        }
        let text = options.text.as_ref();
        let verbosity = text.and_then(|text| text.get("verbosity"));
        if let Some(verbosity) = verbosity.filter(|value| !value.is_null()) {
            self.extra("verbosity", verbosity.clone());
        }
        if options.truncation.as_deref() == Some("auto") {
            self.note("truncation: not available");
        }
        for key in options.native.keys() {
            self.note(&format!("{key}: not available"));
        }
    }

    /// A field that goes by OpenAI's name to those who know it, and is left out elsewhere.
    fn extra(&mut self, key: &str, value: Value) {
        if self.row.quirks.extras.contains(&key) {
            self.out.insert(key.to_owned(), value);
        } else {
            self.note(&format!("{key}: not available"));
        }
    }
}
