//! `POST /v1/logs`: calls that did not go through this gateway, told to its log by somebody who
//! saw them.

use super::{Answer, Ask, missing};
use crate::answer::Refusal;
use crate::app::App;
use crate::body;
use axum::Json;
use axum::extract::Request;
use http::{Method, StatusCode};
use portunus_gateway::Inserted;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_store::{LogRecord, new_id};
use serde_json::{Map, Value, json};

/// Most entries of one call.
const ENTRIES_MAX: usize = 200;
/// Most fields of an entry's metadata, and the longest value in characters (as of requests).
const METADATA_MAX: (usize, usize) = (64, 128);
/// Longest id of a trace or span, and longest URL, in bytes.
const TEXT_MAX: usize = 2_048;

/// Inserts one call or a list of calls. All are stored or none.
///
/// # Errors
/// 400 that names the field by its path, `[3].request.url` in a list.
#[utoipa::path(
    post, path = "/v1/logs", tag = "admin plane", request_body = Value,
    params(("workspace_id" = Option<String>, Query, description = "Id or slug")),
    responses(
        (status = 200, description = "`{success: true, data: {ids: [log id]}}`: they are stored"),
        (status = 400, description = "A field is wrong; none is stored"),
        (status = 403, description = "The key lacks the scope `logs.write`"),
    )
)]
pub async fn insert(ask: Ask, request: Request) -> Answer {
    let workspace_id = ask.allowed("logs.write").await?;
    let app = &ask.app;
    let (parts, body) = request.into_parts();
    let live = app.live();
    let bytes = body::json_bytes(&parts.headers, body, &live.settings.limits).await?;
    let records: Vec<LogRecord> = entries(&bytes)?
        .into_iter()
        .map(|entry| {
            live.gateway.inserted(Inserted {
                workspace_id: workspace_id.clone(),
                api_key: ask.admin.api_key(),
                ..entry
            })
        })
        .collect();
    store(app, &records).await?;
    let ids: Vec<&str> = records.iter().map(|row| row.request.id.as_str()).collect();
    Ok(Json(json!({"success": true, "data": {"ids": ids}})))
}

/// Past the queue of the log: whoever inserts waits until it is stored.
async fn store(app: &App, records: &[LogRecord]) -> Result<(), Refusal> {
    app.store.write_logs(records).await?;
    Ok(())
}

fn entries(bytes: &[u8]) -> Result<Vec<Inserted>, Refusal> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| {
        let message = format!("The request body is no JSON: {e}.");
        let body = ErrorBody::new(kind::INVALID_REQUEST, message).code(code::JSON);
        Refusal::new(StatusCode::BAD_REQUEST, body)
    })?;
    match value {
        Value::Array(list) if list.is_empty() || list.len() > ENTRIES_MAX => {
            let message = format!("Invalid body: expected 1 to {ENTRIES_MAX} entries.");
            Err(Refusal::field("", code::VALUE, message))
        }
        Value::Array(list) => list
            .into_iter()
            .enumerate()
            .map(|(index, value)| entry(Fields::of(&format!("[{index}]"), Some(value))?))
            .collect(),
        value => Ok(vec![entry(Fields::of("", Some(value))?)?]),
    }
}

fn entry(mut fields: Fields) -> Result<Inserted, Refusal> {
    let mut call = Inserted {
        trace_id: new_id(""),
        ..Inserted::default()
    };
    let request = fields.take("request");
    requested(&mut call, Fields::of(&fields.path_of("request"), request)?)?;
    let response = fields.take("response");
    answered(
        &mut call,
        Fields::of(&fields.path_of("response"), response)?,
    )?;
    if let Some(metadata) = fields.take("metadata") {
        marked(
            &mut call,
            Fields::of(&fields.path_of("metadata"), Some(metadata))?,
        )?;
    }
    fields.end()?;
    Ok(call)
}

fn requested(call: &mut Inserted, mut fields: Fields) -> Result<(), Refusal> {
    call.url = fields
        .text("url")?
        .ok_or_else(|| missing(&fields.path_of("url")))?;
    let absolute = url::Url::parse(&call.url).is_ok_and(|url| url.has_host());
    if !absolute {
        return Err(fields.wrong("url", "expected an absolute URL"));
    }
    let method = fields.text("method")?.unwrap_or_else(|| "POST".to_owned());
    let known = method.to_ascii_uppercase().parse::<Method>();
    call.method = match known {
        Ok(method) if method.as_str().len() <= 16 => method.as_str().to_owned(),
        _ => return Err(fields.wrong("method", "expected an HTTP method")),
    };
    call.provider = fields.text("provider")?;
    let known = |name: &String| portunus_providers::find(name).is_some();
    if !call.provider.as_ref().is_none_or(known) {
        return Err(fields.wrong("provider", "there is no such provider"));
    }
    call.request_headers = fields.object("headers")?.unwrap_or_default();
    call.request_body = fields.body()?;
    fields.end()
}

fn answered(call: &mut Inserted, mut fields: Fields) -> Result<(), Refusal> {
    let status = fields.whole("status", 999)?.unwrap_or(200);
    call.status = match u16::try_from(status) {
        Ok(status) if status >= 100 => status,
        _ => return Err(fields.wrong("status", "expected an HTTP status")),
    };
    fields.object("headers")?;
    let took = fields.whole("response_time", i64::MAX)?;
    let took = match took {
        Some(ms) => Some(ms),
        None => fields.whole("responseTime", i64::MAX)?,
    };
    call.response_time_ms = took.unwrap_or(0);
    call.response_body = fields.body()?;
    fields.end()
}

/// The names of the trace, in both spellings; the rest is the caller's metadata.
fn marked(call: &mut Inserted, mut fields: Fields) -> Result<(), Refusal> {
    if let Some(id) = fields.either("trace_id", "traceId")? {
        call.trace_id = id;
    }
    call.span_id = fields.either("span_id", "spanId")?;
    call.parent_span_id = fields.either("parent_span_id", "parentSpanId")?;
    call.span_name = fields.either("span_name", "spanName")?;
    if fields.left.len() > METADATA_MAX.0 {
        let message = format!("Invalid '{}': over {} fields.", fields.path, METADATA_MAX.0);
        return Err(Refusal::field(&fields.path, code::VALUE, message));
    }
    for (name, value) in &fields.left {
        let fits = |text: &str| text.chars().count() <= METADATA_MAX.1;
        if !value.as_str().is_some_and(fits) {
            let what = format!("expected a string of at most {} characters", METADATA_MAX.1);
            return Err(fields.wrong(&format!("{name:.80}"), &what));
        }
    }
    call.metadata = fields.left;
    Ok(())
}

/// The fields of an object that nobody has taken yet, and where it stands in the body.
struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    fn of(path: &str, value: Option<Value>) -> Result<Self, Refusal> {
        match value {
            Some(Value::Object(left)) => Ok(Self {
                path: path.to_owned(),
                left,
            }),
            None | Some(Value::Null) => Err(missing(path)),
            Some(_) => {
                let message = format!("Invalid type for '{path}': expected an object.");
                Err(Refusal::field(path, code::TYPE, message))
            }
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn wrong(&self, name: &str, what: &str) -> Refusal {
        let path = self.path_of(name);
        Refusal::field(&path, code::VALUE, format!("Invalid '{path}': {what}."))
    }

    /// Null counts as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.left
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= TEXT_MAX => Ok(Some(text)),
            Some(Value::String(_)) => {
                Err(self.wrong(name, &format!("it is over {TEXT_MAX} bytes long")))
            }
            Some(_) => Err(self.wrong(name, "expected a string")),
        }
    }

    fn either(&mut self, name: &str, other: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(name)?.or(self.text(other)?))
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(name, "expected an object")),
        }
    }

    fn whole(&mut self, name: &str, most: i64) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_i64().filter(|n| (0..=most).contains(n));
        let wrong = || self.wrong(name, "expected a whole number that is not negative");
        number.map(Some).ok_or_else(wrong)
    }

    fn body(&mut self) -> Result<Value, Refusal> {
        let body = self.object("body")?;
        body.map(Value::Object)
            .ok_or_else(|| missing(&self.path_of("body")))
    }

    /// Refuses what is left.
    fn end(self) -> Result<(), Refusal> {
        let prefix = self.path_of("");
        super::refuse_unknown(&prefix, &self.left, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &Value, param: &str) {
        let refusal = entries(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.body.param.as_deref(), Some(param), "{body}");
    }

    fn good() -> Value {
        json!({
            "request": {"url": "https://api.openai.com/v1/responses", "body": {"model": "gpt-4.1"}},
            "response": {"body": {}},
        })
    }

    #[test]
    fn defaults() {
        let call = entries(good().to_string().as_bytes()).unwrap().remove(0);
        assert_eq!((call.method.as_str(), call.status), ("POST", 200));
        assert!(!call.trace_id.is_empty());
    }

    #[test]
    fn refusals_name_the_path() {
        for (pointer, value, param) in [
            ("/request", json!(null), "request"),
            ("/request/url", json!(null), "request.url"),
            ("/request/url", json!("/v1/responses"), "request.url"),
            ("/request/url", json!(7), "request.url"),
            ("/request/body", json!("text"), "request.body"),
            ("/response/body", json!(null), "response.body"),
        ] {
            let mut body = good();
            *body.pointer_mut(pointer).unwrap() = value;
            refused(&body, param);
            refused(&json!([good(), body]), &format!("[1].{param}"));
        }
        for (of, name, value, param) in [
            ("request", "method", json!("GET /"), "request.method"),
            ("request", "provider", json!("none"), "request.provider"),
            ("request", "headers", json!([]), "request.headers"),
            ("request", "cookies", json!({}), "request.cookies"),
            ("response", "status", json!(42), "response.status"),
            ("response", "status", json!("200"), "response.status"),
            (
                "response",
                "response_time",
                json!(-1),
                "response.response_time",
            ),
            (
                "response",
                "responseTime",
                json!(1.5),
                "response.responseTime",
            ),
        ] {
            let mut body = good();
            body[of][name] = value;
            refused(&body, param);
        }
        let mut body = good();
        body["metadata"] = json!({"trace_id": "t", "team": 7});
        refused(&body, "metadata.team");
        body["metadata"] = json!({"team": "x".repeat(129)});
        refused(&body, "metadata.team");
        let mut body = good();
        body["tenant_id"] = json!("x");
        refused(&body, "tenant_id");
        refused(&json!([]), "");
        refused(&json!([7]), "[0]");
    }
}
