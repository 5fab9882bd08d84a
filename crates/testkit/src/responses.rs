//! The Responses dialect: a model that calls functions, or runs `mcp` tools itself.

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::ask::{Ask, Decision, ToolView};
use crate::chat::text_of;
use crate::fault::Fault;
use crate::journal::{Watch, now_ms};
use crate::native;
use crate::wire::{self, pieces, tokens};

/// Answers one `POST /v1/responses`.
pub(crate) async fn answer(body: &Value, mut watch: Watch) -> Response {
    let ask = ask(body);
    if let Some(why) = broken_input(body) {
        watch.finish();
        return wire::bad_request(&why);
    }
    let fault = ask.fault();
    if let Some(refusal) = wire::refusal(fault, &ask.model, &mut watch).await {
        return refusal;
    }
    let mut events = Events::new(body, &ask.model, watch.id());
    let reason = if body["tools"]
        .as_array()
        .is_some_and(|t| t.iter().any(|t| t["type"] == "mcp"))
    {
        native::run(&mut events, body, &ask);
        None
    } else {
        if let Some(thought) = ask.thought() {
            events.reasoning(&thought, &body["include"]);
        }
        play(&mut events, &ask);
        (fault == Fault::Length).then_some("max_output_tokens")
    };
    events.end(fault, reason);
    if body["stream"] == true && fault != Fault::Whole {
        return wire::stream_answer(events.frames(), fault, watch);
    }
    wire::json_answer(events.last_response(), fault, watch).await
}

/// Answers one `POST /v1/responses/input_tokens`.
pub(crate) async fn count(body: &Value, mut watch: Watch) -> Response {
    let ask = ask(body);
    if let Some(refusal) = wire::refusal(ask.fault(), &ask.model, &mut watch).await {
        return refusal;
    }
    let count = tokens(&body["input"].to_string()) + tokens(&body["tools"].to_string());
    let answer = json!({"object": "response.input_tokens", "input_tokens": count});
    wire::json_answer(&answer, ask.fault(), watch).await
}

fn play(events: &mut Events, ask: &Ask) {
    match ask.decide() {
        Decision::Text(text) => events.message(&text),
        Decision::Calls(calls) => {
            for call in calls {
                let text = call.arguments.to_string();
                let cut = if ask.fault() == Fault::BadArguments {
                    text.len() / 2
                } else {
                    text.len()
                };
                events.function_call(&call.name, &text[..cut]);
            }
        }
    }
}

fn ask(body: &Value) -> Ask {
    let (prompt, since) = match &body["input"] {
        Value::String(text) => (text.clone(), &[][..]),
        input => {
            let items = input.as_array().map_or(&[][..], Vec::as_slice);
            let last_user = items.iter().rposition(|i| i["role"] == "user");
            let prompt = last_user
                .map(|at| text_of(&items[at]["content"]))
                .unwrap_or_default();
            (prompt, &items[last_user.map_or(0, |at| at + 1)..])
        }
    };
    let outputs: Vec<&Value> = since
        .iter()
        .filter(|i| i["type"] == "function_call_output")
        .collect();
    let functions = body["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|t| t["type"] == "function");
    Ask {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        prompt,
        tools: functions.map(tool).collect(),
        results: outputs.iter().map(|o| text_of(&o["output"])).collect(),
        rounds: rounds(since),
        tools_off: body["tool_choice"] == "none",
        one_call: body["parallel_tool_calls"] == false,
        among: among(&body["tool_choice"]),
    }
}

/// `{"type":"function","name"}` or `{"type":"allowed_tools","tools"}`.
fn among(choice: &Value) -> Option<Vec<String>> {
    let name = |of: &Value| of["name"].as_str().map(str::to_owned);
    match choice["tools"].as_array() {
        Some(tools) => Some(tools.iter().filter_map(name).collect()),
        None => name(choice).map(|name| vec![name]),
    }
}

/// A round ends where an output is followed by anything else.
fn rounds(items: &[Value]) -> usize {
    let is_output = |i: &Value| i["type"] == "function_call_output";
    let ends = items
        .windows(2)
        .filter(|w| is_output(&w[0]) && !is_output(&w[1]))
        .count();
    ends + usize::from(items.last().is_some_and(is_output))
}

fn tool(tool: &Value) -> ToolView {
    ToolView {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        description: tool["description"].as_str().unwrap_or_default().to_owned(),
        schema: tool["parameters"].clone(),
    }
}

fn broken_input(body: &Value) -> Option<String> {
    let tools = body["tools"].as_array().into_iter().flatten();
    let names = tools
        .filter(|t| t["type"] == "function")
        .map(|t| &t["name"]);
    if let Some(why) = wire::bad_name(names) {
        return Some(why);
    }
    let items = body["input"].as_array().map_or(&[][..], Vec::as_slice);
    let ids = |kind: &str| -> Vec<&str> {
        items
            .iter()
            .filter(|i| i["type"] == kind)
            .filter_map(|i| i["call_id"].as_str())
            .collect()
    };
    let (calls, outputs) = (ids("function_call"), ids("function_call_output"));
    if let Some(id) = calls.iter().find(|id| !outputs.contains(id)) {
        return Some(format!("No tool output found for function call {id}."));
    }
    let lone = outputs.iter().find(|id| !calls.contains(id))?;
    let chained = body["previous_response_id"].is_string();
    (!chained).then(|| format!("No tool call found for function call output with call_id {lone}."))
}

/// Builds the events of one response and, along with them, its output.
pub(crate) struct Events {
    response: Value,
    list: Vec<Value>,
    output: Vec<Value>,
    id: u64,
    input_tokens: usize,
    output_tokens: usize,
}

impl Events {
    fn new(body: &Value, model: &str, id: u64) -> Self {
        let response = response_object(body, model, id);
        let input_tokens = tokens(&body["input"].to_string()) + tokens(&body["tools"].to_string());
        let mut events = Self {
            response,
            list: Vec::new(),
            output: Vec::new(),
            id,
            input_tokens,
            output_tokens: 0,
        };
        for kind in ["response.created", "response.in_progress"] {
            events.push(kind, json!({"response": events.response.clone()}));
        }
        events
    }

    /// An id that is unique in the process: prefix and 48 hexadecimal digits.
    pub(crate) fn new_id(&self, prefix: &str) -> String {
        format!("{prefix}_{:08x}{:040x}", self.id, self.list.len())
    }

    /// Appends an event of `kind`; `fields` is an object.
    pub(crate) fn push(&mut self, kind: &str, fields: Value) {
        let mut event = Map::new();
        event.insert("type".to_owned(), json!(kind));
        event.insert("sequence_number".to_owned(), json!(self.list.len()));
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        self.list.push(Value::Object(event));
    }

    /// `output_item.added`; returns the item's `output_index`.
    pub(crate) fn added(&mut self, item: Value) -> usize {
        let index = self.output.len();
        self.push(
            "response.output_item.added",
            json!({"output_index": index, "item": item}),
        );
        self.output.push(item);
        index
    }

    /// `output_item.done` with the item's last form.
    pub(crate) fn done(&mut self, index: usize, item: Value) {
        self.push(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        );
        self.output_tokens +=
            tokens(&item["arguments"].to_string()) + tokens(&item["content"].to_string());
        self.output[index] = item;
    }

    /// A whole message, streamed in pieces.
    pub(crate) fn message(&mut self, text: &str) {
        let id = self.new_id("msg");
        let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
        let mut item = json!({"id": id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"});
        let index = self.added(item.clone());
        let at = |more: Value| {
            let mut fields = json!({"item_id": id, "output_index": index, "content_index": 0});
            if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
                fields.extend(more);
            }
            fields
        };
        self.push("response.content_part.added", at(json!({"part": part("")})));
        for piece in pieces(text) {
            let delta = json!({"delta": piece, "logprobs": [], "obfuscation": "aB3x"});
            self.push("response.output_text.delta", at(delta));
        }
        self.push(
            "response.output_text.done",
            at(json!({"text": text, "logprobs": []})),
        );
        self.push(
            "response.content_part.done",
            at(json!({"part": part(text)})),
        );
        item["status"] = json!("completed");
        item["content"] = json!([part(text)]);
        self.done(index, item);
    }

    /// Thoughts, their state sealed if it is asked for.
    fn reasoning(&mut self, thought: &str, include: &Value) {
        let mut item = json!({"id": self.new_id("rs"), "type": "reasoning", "summary": []});
        let wanted = include.as_array().into_iter().flatten();
        if wanted
            .into_iter()
            .any(|word| word == "reasoning.encrypted_content")
        {
            item["encrypted_content"] = json!(format!("sealed: {thought}"));
        }
        let index = self.added(item.clone());
        self.done(index, item);
    }

    fn function_call(&mut self, name: &str, arguments: &str) {
        let (id, call_id) = (self.new_id("fc"), self.new_id("call"));
        let mut item = json!({"id": id, "type": "function_call", "status": "in_progress", "arguments": "",
            "call_id": call_id, "name": name});
        let index = self.added(item.clone());
        for piece in pieces(arguments) {
            let delta =
                json!({"item_id": id, "output_index": index, "delta": piece, "obfuscation": "q"});
            self.push("response.function_call_arguments.delta", delta);
        }
        let done = json!({"item_id": id, "output_index": index, "arguments": arguments});
        self.push("response.function_call_arguments.done", done);
        item["status"] = json!("completed");
        item["arguments"] = json!(arguments);
        self.done(index, item);
    }

    /// The terminal event: `completed`, or `incomplete` for `reason`, or what the fault leaves.
    fn end(&mut self, fault: Fault, reason: Option<&str>) {
        if fault == Fault::ErrorInStream {
            return self.fail();
        }
        self.response["output"] = json!(self.output);
        self.response["service_tier"] = json!("default");
        self.response["usage"] = json!({"input_tokens": self.input_tokens,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": self.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + self.output_tokens});
        let status = if reason.is_some() {
            "incomplete"
        } else {
            "completed"
        };
        self.response["status"] = json!(status);
        match reason {
            Some(reason) => self.response["incomplete_details"] = json!({"reason": reason}),
            None => self.response["completed_at"] = json!(now_ms() / 1000),
        }
        if fault != Fault::Truncated {
            self.push(
                &format!("response.{status}"),
                json!({"response": self.response.clone()}),
            );
        }
    }

    fn fail(&mut self) {
        let error = wire::quota();
        self.response["status"] = json!("failed");
        self.response["error"] = json!({"code": error["code"], "message": error["message"]});
        self.push(
            "error",
            json!({"error": {"type": error["type"], "code": error["code"],
            "message": error["message"], "param": null}}),
        );
        self.push(
            "response.failed",
            json!({"response": self.response.clone()}),
        );
    }

    fn last_response(&self) -> &Value {
        &self.response
    }

    fn frames(&self) -> Vec<String> {
        let frame = |e: &Value| {
            format!(
                "event: {}\ndata: {e}\n\n",
                e["type"].as_str().unwrap_or_default()
            )
        };
        self.list.iter().map(frame).collect()
    }
}

fn response_object(body: &Value, model: &str, id: u64) -> Value {
    let or = |field: &str, default: Value| body.get(field).cloned().unwrap_or(default);
    json!({"id": format!("resp_{id:048x}"), "object": "response", "created_at": now_ms() / 1000,
        "status": "in_progress", "background": false, "completed_at": null, "error": null,
        "frequency_penalty": 0.0, "incomplete_details": null, "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "max_tool_calls": or("max_tool_calls", Value::Null), "model": format!("{model}-2025-04-14"),
        "moderation": null, "output": [], "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "presence_penalty": 0.0, "previous_response_id": or("previous_response_id", Value::Null),
        "prompt_cache_key": null, "prompt_cache_retention": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "auto",
        "store": or("store", json!(true)), "temperature": or("temperature", json!(1.0)),
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": or("tool_choice", json!("auto")),
        "tools": native::echo(&body["tools"]), "top_logprobs": 0, "top_p": or("top_p", json!(1.0)),
        "truncation": "disabled", "usage": null, "user": null, "metadata": or("metadata", json!({}))})
}
