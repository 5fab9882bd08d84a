//! The chat-completions dialect.

use axum::response::Response;
use serde_json::{Value, json};

use crate::ask::{Ask, Decision, ToolView};
use crate::fault::Fault;
use crate::journal::{Watch, now_ms};
use crate::script::Planned;
use crate::wire::{self, pieces, tokens};

/// Answers one `POST /v1/chat/completions`.
pub(crate) async fn answer(body: &Value, mut watch: Watch) -> Response {
    let ask = ask(body);
    if let Some(why) = broken_history(body) {
        watch.finish();
        return wire::bad_request(&why);
    }
    let fault = ask.fault();
    if let Some(refusal) = wire::refusal(fault, &ask.model, &mut watch).await {
        return refusal;
    }
    let turn = Turn::new(body, &ask, watch.id());
    if body["stream"] == true && fault != Fault::Whole {
        return wire::stream_answer(turn.frames(), fault, watch);
    }
    wire::json_answer(&turn.whole(), fault, watch).await
}

fn ask(body: &Value) -> Ask {
    let messages: Vec<&Value> = body["messages"].as_array().into_iter().flatten().collect();
    let last_user = (0..messages.len()).rfind(|at| is_question(&messages, *at));
    let since = &messages[last_user.map_or(0, |at| at + 1)..];
    Ask {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        prompt: last_user
            .map(|at| text_of(&messages[at]["content"]))
            .unwrap_or_default(),
        tools: body["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|t| tool(&t["function"]))
            .collect(),
        results: since
            .iter()
            .filter(|m| m["role"] == "tool")
            .map(|m| text_of(&m["content"]))
            .collect(),
        rounds: since.iter().filter(|m| m["tool_calls"].is_array()).count(),
        tools_off: body["tool_choice"] == "none",
        one_call: body["parallel_tool_calls"] == false,
        among: among(&body["tool_choice"]),
    }
}

/// A user's message, but for one that only brings what a tool message cannot hold.
fn is_question(messages: &[&Value], at: usize) -> bool {
    let is = |at: usize, role: &str| messages[at]["role"] == role;
    let after_tool = at > 0 && is(at - 1, "tool") && messages[at]["content"].is_array();
    is(at, "user") && !after_tool
}

/// `{"type":"function","function":{"name"}}` or `{"type":"allowed_tools","allowed_tools":{"tools"}}`.
fn among(choice: &Value) -> Option<Vec<String>> {
    let name = |of: &Value| of["function"]["name"].as_str().map(str::to_owned);
    match choice["allowed_tools"]["tools"].as_array() {
        Some(tools) => Some(tools.iter().filter_map(name).collect()),
        None => name(choice).map(|name| vec![name]),
    }
}

fn tool(function: &Value) -> ToolView {
    ToolView {
        name: function["name"].as_str().unwrap_or_default().to_owned(),
        description: function["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        schema: function["parameters"].clone(),
    }
}

/// A string, or the texts of content parts.
pub(crate) fn text_of(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array().into_iter().flatten();
    parts
        .filter_map(|p| p["text"].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

/// OpenAI refuses a history in which calls and results do not pair up, and names it does not like.
fn broken_history(body: &Value) -> Option<String> {
    let mut open: Vec<String> = Vec::new();
    for message in body["messages"].as_array()? {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(at) = open.iter().position(|o| o == id) else {
                return Some("Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.".to_owned());
            };
            open.remove(at);
        } else if open.is_empty() {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            open = calls
                .map(|c| c["id"].as_str().unwrap_or_default().to_owned())
                .collect();
        } else {
            break;
        }
    }
    if !open.is_empty() {
        return Some(format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        ));
    }
    let functions = body["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| &t["function"]["name"]);
    wire::bad_name(functions)
}

struct Turn {
    head: Value,
    thought: Option<String>,
    decision: Decision,
    fault: Fault,
    with_usage: bool,
    id: u64,
    usage: Value,
}

impl Turn {
    fn new(body: &Value, ask: &Ask, id: u64) -> Self {
        let decision = ask.decide();
        let answered = match &decision {
            Decision::Text(text) => tokens(text),
            Decision::Calls(calls) => calls
                .iter()
                .map(|c| tokens(&c.arguments.to_string()) + 8)
                .sum(),
        };
        Self {
            head: json!({"id": format!("chatcmpl-fake{id:08}"), "object": "", "created": now_ms() / 1000,
                "model": format!("{}-2025-04-14", ask.model), "service_tier": "default",
                "system_fingerprint": "fp_fake"}),
            thought: ask.thought(),
            decision,
            fault: ask.fault(),
            with_usage: body["stream_options"]["include_usage"] == true,
            id,
            usage: usage(
                tokens(&body["messages"].to_string()) + tokens(&body["tools"].to_string()),
                answered,
            ),
        }
    }

    fn finish_reason(&self) -> &'static str {
        match (self.fault, &self.decision) {
            (Fault::Length, _) => "length",
            (_, Decision::Calls(_)) => "tool_calls",
            (_, Decision::Text(_)) => "stop",
        }
    }

    fn whole(&self) -> Value {
        let mut message =
            json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
        if let Some(thought) = &self.thought {
            message["reasoning_content"] = json!(thought);
            message["reasoning_details"] = details(thought);
        }
        match &self.decision {
            Decision::Text(text) => message["content"] = json!(text),
            Decision::Calls(calls) => {
                let calls = calls.iter().enumerate().map(|(n, c)| {
                    json!({"id": self.call_id(n), "type": "function",
                        "function": {"name": c.name, "arguments": self.arguments(c)}})
                });
                message["tool_calls"] = calls.collect();
            }
        }
        let mut whole = self.head.clone();
        whole["object"] = json!("chat.completion");
        whole["choices"] = json!([{"index": 0, "message": message, "logprobs": null,
            "finish_reason": self.finish_reason()}]);
        whole["usage"] = self.usage.clone();
        whole
    }

    fn frames(&self) -> Vec<String> {
        let mut frames =
            vec![self.chunk(&json!({"role": "assistant", "content": null, "refusal": null}))];
        if let Some(thought) = &self.thought {
            frames.push(self.chunk(
                &json!({"reasoning_content": thought, "reasoning_details": details(thought)}),
            ));
        }
        match &self.decision {
            Decision::Text(text) => {
                frames.extend(
                    pieces(text)
                        .into_iter()
                        .map(|p| self.chunk(&json!({"content": p}))),
                );
            }
            Decision::Calls(calls) => {
                frames.extend(
                    calls
                        .iter()
                        .enumerate()
                        .flat_map(|(n, c)| self.call_frames(n, c)),
                );
            }
        }
        match self.fault {
            Fault::Truncated => return frames,
            Fault::ErrorInStream => {
                frames.push(data(&json!({"error": {"message": "The model broke off.",
                    "type": "server_error", "param": null, "code": null}})));
                return frames;
            }
            _ => {}
        }
        frames.push(self.frame(
            json!([{"index": 0, "delta": {}, "logprobs": null,
            "finish_reason": self.finish_reason()}]),
            Value::Null,
        ));
        if self.with_usage {
            frames.push(self.frame(json!([]), self.usage.clone()));
        }
        frames.push("data: [DONE]\n\n".to_owned());
        frames
    }

    fn call_frames(&self, index: usize, call: &Planned) -> Vec<String> {
        let delta = |entry: Value| self.chunk(&json!({"tool_calls": [entry]}));
        let mut frames = vec![delta(
            json!({"index": index, "id": self.call_id(index), "type": "function",
            "function": {"name": call.name, "arguments": ""}}),
        )];
        let arguments = self.arguments(call);
        let letters: Vec<char> = arguments.chars().collect();
        frames.extend(letters.chunks(5).map(|piece| {
            let piece: String = piece.iter().collect();
            delta(json!({"index": index, "function": {"arguments": piece}}))
        }));
        frames
    }

    fn arguments(&self, call: &Planned) -> String {
        let text = call.arguments.to_string();
        if self.fault == Fault::BadArguments {
            return text.chars().take(text.chars().count() / 2).collect();
        }
        text
    }

    fn call_id(&self, index: usize) -> String {
        format!("call_fake{:06}x{index}", self.id)
    }

    fn chunk(&self, delta: &Value) -> String {
        self.frame(
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]),
            Value::Null,
        )
    }

    fn frame(&self, choices: Value, usage: Value) -> String {
        let mut chunk = self.head.clone();
        chunk["object"] = json!("chat.completion.chunk");
        chunk["choices"] = choices;
        if self.with_usage {
            chunk["usage"] = usage;
        }
        data(&chunk)
    }
}

/// Thoughts as OpenRouter gives them.
fn details(thought: &str) -> Value {
    json!([{"type": "reasoning.text", "text": thought, "signature": format!("of {thought}"), "index": 0}])
}

fn data(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

fn usage(prompt: usize, completion: usize) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
}
