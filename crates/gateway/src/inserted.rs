//! Rows of the request log about calls that did not go through this gateway: redacted and priced
//! as its own are.

use crate::Gateway;
use crate::payload;
use crate::policy::PayloadLevel;
use crate::record::{bounded, tokens};
use crate::secrets::Secrets;
use portunus_protocol::request::{ServerUrlEcho, shown_url};
use portunus_protocol::response::{InputDetails, OutputDetails, Usage};
use portunus_store::{LogRecord, RequestRow, new_id, now};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

/// Longest name of a model, in characters.
const MODEL_CHARS: usize = 256;
/// Headers whose values are credentials.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-portkey-api-key"];

/// A call as somebody else made it.
#[derive(Debug, Default)]
pub struct Inserted {
    /// The owner of the row.
    pub workspace_id: String,
    /// Id and name of the API key that inserts it; none for the admin token.
    pub api_key: Option<(String, String)>,
    /// Trace, span, parent span and name of the span.
    pub trace_id: String,
    /// Span, if there is one.
    pub span_id: Option<String>,
    /// Parent span, if there is one.
    pub parent_span_id: Option<String>,
    /// Name of the span, if there is one.
    pub span_name: Option<String>,
    /// The caller's metadata: a map of strings.
    pub metadata: Map<String, Value>,
    /// The provider, where it was named; else the URL tells, if it can.
    pub provider: Option<String>,
    /// Absolute URL that was called. User info and query are not kept.
    pub url: String,
    /// HTTP method.
    pub method: String,
    /// Header fields of the request. None is kept, and no text that is repeats a credential.
    pub request_headers: Map<String, Value>,
    /// Body of the request.
    pub request_body: Value,
    /// HTTP status of the answer.
    pub status: u16,
    /// Body of the answer.
    pub response_body: Value,
    /// How long the call took.
    pub response_time_ms: i64,
}

impl Gateway {
    /// The row of such a call, by the payload level of this gateway. `source` says `inserted`.
    #[must_use]
    pub fn inserted(&self, call: Inserted) -> LogRecord {
        let level = self.parts.policy.payload;
        let mut request = RequestRow {
            id: new_id("log-"),
            created_at_ms: now().as_millisecond(),
            status_code: call.status,
            outcome: match call.status {
                200..300 => "completed".to_owned(),
                _ => "failed".to_owned(),
            },
            stream: call.request_body["stream"] == true,
            total_ms: call.response_time_ms,
            cache_status: "DISABLED".to_owned(),
            payload_level: level.as_str().to_owned(),
            client: json!({"source": "inserted"}),
            provider: provider_of(&call),
            model_asked: model(&call.request_body),
            model_served: model(&call.response_body),
            ..RequestRow::default()
        };
        self.count(&mut request, usage(&call.response_body["usage"]));
        self.say(&mut request, call, level);
        LogRecord {
            request,
            ..LogRecord::default()
        }
    }

    /// What it used, and what that costs.
    fn count(&self, row: &mut RequestRow, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        row.input_tokens = Some(tokens(usage.input_tokens));
        row.cached_input_tokens = Some(tokens(usage.input_tokens_details.cached_tokens));
        row.cache_write_tokens = Some(tokens(usage.input_tokens_details.cache_write_tokens));
        row.output_tokens = Some(tokens(usage.output_tokens));
        row.reasoning_tokens = Some(tokens(usage.output_tokens_details.reasoning_tokens));
        row.total_tokens = Some(tokens(usage.total_tokens));
        let named = row.model_served.as_ref().or(row.model_asked.as_ref());
        if let (Some(provider), Some(model)) = (&row.provider, named) {
            row.cost_picodollars = self.parts.prices.cost(provider, model, &usage);
            row.price_source = row.cost_picodollars.map(|_| self.parts.prices.source());
        }
    }

    /// The texts of the call, as they may be kept.
    fn say(&self, row: &mut RequestRow, mut call: Inserted, level: PayloadLevel) {
        let secrets = secrets_of(&call);
        let keep = |text: &str| {
            let kept = payload::keep(text, level, self.parts.policy.payload_max_bytes)?;
            Some(secrets.blank(&kept))
        };
        payload::scrub(&mut call.request_body);
        payload::scrub(&mut call.response_body);
        let said = ["input", "messages"]
            .into_iter()
            .find_map(|name| payload::preview(&call.request_body[name], level));
        row.preview = said.map(|text| secrets.blank(&text));
        row.request_body = keep(&call.request_body.to_string());
        row.response_body = keep(&call.response_body.to_string());
        row.endpoint = payload::blank(&secrets.blank(&shown_url(&call.url, ServerUrlEcho::Full)));
        if level >= PayloadLevel::Metadata {
            row.metadata = Value::Object(call.metadata);
        } else {
            row.metadata = json!({});
        }
        row.workspace_id = call.workspace_id;
        (row.api_key_id, row.api_key_name) = call.api_key.unzip();
        row.trace_id = call.trace_id;
        row.span_id = call.span_id;
        row.parent_span_id = call.parent_span_id;
        row.span_name = call.span_name;
        row.method = call.method;
    }
}

/// What is cut out of the request must not stand in the answer either.
fn secrets_of(call: &Inserted) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in &call.request_headers {
        if CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()) {
            add(&mut secrets, value);
        }
    }
    collect(&call.request_body, &mut secrets);
    secrets
}

/// The fields that [`payload::scrub`] cuts out.
fn collect(value: &Value, secrets: &mut Secrets) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, secrets)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.to_ascii_lowercase().as_str(), value) {
                    ("authorization", text) => add(secrets, text),
                    ("server_url", Value::String(url)) => {
                        secrets.add_url(url, &shown_url(url, ServerUrlEcho::Origin));
                    }
                    ("headers", Value::Object(headers)) => {
                        headers.values().for_each(|value| add(secrets, value));
                    }
                    _ => collect(value, secrets),
                }
            }
        }
        _ => {}
    }
}

/// A credential, and its second part when it begins with a scheme.
fn add(secrets: &mut Secrets, value: &Value) {
    let Value::String(text) = value else { return };
    secrets.add_secret(&SecretString::from(text.as_str()));
    if let Some((_, token)) = text.split_once(' ') {
        secrets.add_secret(&SecretString::from(token));
    }
}

fn provider_of(call: &Inserted) -> Option<String> {
    if let Some(name) = &call.provider {
        return Some(name.clone());
    }
    let host = |url: &str| Some(url::Url::parse(url).ok()?.host_str()?.to_owned());
    let called = host(&call.url)?;
    let is_there = |base: &str| host(base).as_ref() == Some(&called);
    let fits = portunus_providers::all()
        .iter()
        .filter(|provider| provider.default_base_url().is_some_and(is_there));
    // Of two names for one address the plain one, as `openai` beside `openai-chat`.
    let plain = fits.min_by_key(|provider| provider.name().len())?;
    Some(plain.name().to_owned())
}

fn model(body: &Value) -> Option<String> {
    let name = body["model"].as_str().filter(|name| !name.is_empty())?;
    Some(bounded(name, MODEL_CHARS))
}

/// Usage as Responses, chat completions and Anthropic's messages tell it; `None` for none.
fn usage(usage: &Value) -> Option<Usage> {
    let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    let of = |pointer: &str| number(pointer).unwrap_or(0);
    let chat = number("/prompt_tokens");
    let (read, written) = (
        of("/cache_read_input_tokens"),
        of("/cache_creation_input_tokens"),
    );
    // Anthropic counts what it read from or wrote to its cache beside the input.
    let input = match chat {
        Some(tokens) => tokens,
        None => number("/input_tokens")?
            .saturating_add(read)
            .saturating_add(written),
    };
    let output = of("/completion_tokens").saturating_add(of("/output_tokens"));
    let cached = of("/prompt_tokens_details/cached_tokens")
        .max(of("/input_tokens_details/cached_tokens"))
        .max(read);
    let written = written.max(of("/input_tokens_details/cache_write_tokens"));
    let reasoning = of("/completion_tokens_details/reasoning_tokens")
        .max(of("/output_tokens_details/reasoning_tokens"));
    Some(Usage {
        input_tokens: input,
        input_tokens_details: InputDetails {
            cached_tokens: cached,
            cache_write_tokens: written,
        },
        output_tokens: output,
        output_tokens_details: OutputDetails {
            reasoning_tokens: reasoning,
        },
        total_tokens: input.saturating_add(output),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told: &Value, input: u64, cached: u64, output: u64) {
        let got = usage(told).unwrap();
        assert_eq!(
            (
                got.input_tokens,
                got.input_tokens_details.cached_tokens,
                got.output_tokens,
                got.total_tokens
            ),
            (input, cached, output, input + output),
            "{told}"
        );
    }

    #[test]
    fn usage_in_three_dialects() {
        check(
            &json!({"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}),
            9,
            4,
            2,
        );
        check(
            &json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}),
            9,
            4,
            2,
        );
        check(
            &json!({"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 4}),
            9,
            4,
            2,
        );
        for none in [
            json!(null),
            json!({}),
            json!({"output_tokens": 3}),
            json!({"input_tokens": "9"}),
        ] {
            assert!(usage(&none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_address_tells_the_provider() {
        let of = |url: &str| {
            provider_of(&Inserted {
                url: url.to_owned(),
                ..Inserted::default()
            })
        };
        assert_eq!(of("https://api.openai.com/v1/x").as_deref(), Some("openai"));
        assert_eq!(of("https://models.example/v1"), None);
    }
}
