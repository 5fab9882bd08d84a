//! The client's side of the Responses dialect: what is not served yet, and the response
//! object that echoes the request.

use crate::error::Error;
use jiff::Timestamp;
use portunus_protocol::error::{ErrorBody, code};
use portunus_protocol::id::{self, Kind};
use portunus_protocol::request::{Body, Head, Options, ServerUrlEcho};
use portunus_protocol::response::{Response, Status};
use serde_json::{Map, Value, json};

/// Refuses by name what this version does not serve, on every path: the answer would live at
/// the provider under an id that belongs to nobody here.
pub(crate) fn refuse_unbuilt(head: &Head<'_>) -> Result<(), Error> {
    let unbuilt = [
        (
            "background",
            "send the request without it, streamed if it is long",
        ),
        ("conversation", "send the earlier items in 'input'"),
        ("previous_response_id", "send the earlier items in 'input'"),
    ];
    for (key, instead) in unbuilt {
        if head.is_set(key) {
            let message = format!(
                "Unsupported parameter: '{key}': this version of the gateway does not serve it; {instead}."
            );
            return Err(ErrorBody::invalid(key, code::UNSUPPORTED, message).into());
        }
    }
    Ok(())
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
        // Nothing is stored, so an id cannot be asked for later: said as OpenAI says it to
        // accounts without retention.
        store: false,
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
