//! The client's side of the Responses dialect: what is not served yet, and the response
//! object that echoes the request.

use crate::error::Error;
use jiff::Timestamp;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::request::{Body, Head, Options, ServerUrlEcho};
use portunus_protocol::response::{Response, Status};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Refuses by name what this version does not serve, on every path: the answer would live at
/// the provider under an id that belongs to nobody here.
pub(crate) fn refuse_unbuilt(head: &Head<'_>, input: &[Peek]) -> Result<(), Error> {
    if head.is_set("previous_response_id") && head.is_set("conversation") {
        let message = "Mutually exclusive parameters. Ensure you are only providing one of: \
                       'previous_response_id' or 'conversation'.";
        return Err(ErrorBody::new(kind::INVALID_REQUEST, message)
            .code(code::EXCLUSIVE)
            .into());
    }
    let unbuilt = [
        (
            "background",
            "send the request without it, streamed if it is long",
        ),
        ("conversation", "send the earlier items in 'input'"),
    ];
    for (key, instead) in unbuilt {
        if head.is_set(key) {
            let message = format!(
                "Unsupported parameter: '{key}': this version of the gateway does not serve it; {instead}."
            );
            return Err(ErrorBody::invalid(key, code::UNSUPPORTED, message).into());
        }
    }
    refuse_tools_in_input(input)
}

/// Refuses a request of the loop that has nothing to say.
pub(crate) fn require_input(head: &Head<'_>) -> Result<(), Error> {
    if head.is_set("input") {
        return Ok(());
    }
    let message = "Missing required parameter: 'input'.";
    Err(ErrorBody::invalid("input", code::MISSING, message).into())
}

/// The little of an input item that decides where a request may go.
#[derive(Deserialize)]
pub(crate) struct Peek {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    role: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    approval_request_id: Option<String>,
}

impl Peek {
    /// The id of something earlier that the item names, and the field that names it.
    pub(crate) fn named(&self) -> Option<(&str, &'static str)> {
        match self.kind.as_deref() {
            Some("mcp_approval_response") => {
                Some((self.approval_request_id.as_deref()?, "approval_request_id"))
            }
            Some("item_reference") => Some((self.id.as_deref()?, "id")),
            None if self.role.is_none() => Some((self.id.as_deref()?, "id")),
            _ => None,
        }
    }
}

/// Peeks at the items of the input. What is no list of objects is refused, in better words, by
/// whoever reads it whole.
pub(crate) fn peek(head: &Head<'_>) -> Vec<Peek> {
    let input = head.shallow.get("input").map(RawValue::get);
    input
        .and_then(|input| serde_json::from_str(input).ok())
        .unwrap_or_default()
}

/// Refuses items that bring tools along: they could name MCP servers that nobody here has
/// judged.
fn refuse_tools_in_input(input: &[Peek]) -> Result<(), Error> {
    let found = input
        .iter()
        .position(|item| item.kind.as_deref() == Some("additional_tools"));
    let Some(index) = found else { return Ok(()) };
    let at = format!("input[{index}]");
    let message = format!(
        "Unsupported value: '{at}': this version of the gateway does not serve tools inside of \
         'input'. Name them in 'tools'."
    );
    Err(ErrorBody::invalid(at, code::UNSUPPORTED, message).into())
}

/// The response as it begins, everything echoed and no secret in it.
pub(crate) fn response(head: &Head<'_>, body: &Body, model: &str, url: ServerUrlEcho) -> Response {
    let options = &body.options;
    Response {
        id: id::make(Kind::Response),
        object: "response".to_owned(),
        created_at: Timestamp::now().as_second(),
        status: Status::InProgress,
        instructions: body.instructions.clone().into(),
        max_output_tokens: body.max_output_tokens,
        max_tool_calls: body.max_tool_calls,
        model: model.to_owned(),
        parallel_tool_calls: body.parallel_tool_calls.unwrap_or(true),
        prompt_cache_key: options.prompt_cache_key.clone().into(),
        prompt_cache_retention: options.prompt_cache_retention.clone().into(),
        reasoning: reasoning(options),
        safety_identifier: options.safety_identifier.clone().into(),
        service_tier: options.service_tier.as_deref().unwrap_or("auto").into(),
        previous_response_id: head.string("previous_response_id"),
        temperature: options.temperature.unwrap_or(1.0).into(),
        text: text(options),
        tool_choice: body.tool_choice_echo.clone(),
        tools: head.tools.iter().map(|tool| tool.echo(url)).collect(),
        top_logprobs: options.top_logprobs.unwrap_or(0).into(),
        top_p: options.top_p.unwrap_or(1.0).into(),
        truncation: options.truncation.as_deref().unwrap_or("disabled").into(),
        user: options.user.clone().into(),
        metadata: body.metadata.clone(),
        ..Response::default()
    }
}

fn reasoning(options: &Options) -> Value {
    let mut out = options.reasoning.clone().unwrap_or_default();
    out.entry("effort").or_insert(Value::Null);
    out.entry("summary").or_insert(Value::Null);
    Value::Object(out)
}

fn text(options: &Options) -> Value {
    let mut out: Map<String, Value> = options.text.clone().unwrap_or_default();
    out.entry("format")
        .or_insert_with(|| json!({"type": "text"}));
    out.entry("verbosity").or_insert_with(|| "medium".into());
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(input: &Value) -> Option<String> {
        let body = json!({"model": "m", "input": input}).to_string();
        let head = Head::parse(body.as_bytes()).unwrap();
        refuse_unbuilt(&head, &peek(&head))
            .err()
            .and_then(|error| error.body().param)
    }

    #[test]
    fn tools_inside_of_the_input_are_refused() {
        let message = json!({"role": "user", "content": "hi"});
        let tools = json!({"type": "additional_tools", "tools": []});
        assert_eq!(
            refused(&json!([message, tools])).as_deref(),
            Some("input[1]")
        );
        assert_eq!(refused(&json!([message, {"type": "new", "id": "x"}])), None);
        assert_eq!(refused(&json!("hi")), None);
    }
}
