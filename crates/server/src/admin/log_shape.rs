//! Log rows as Portkey names their fields, and ours beside them.

use super::log_filter::PICODOLLARS_PER_CENT;
use jiff::Timestamp;
use portunus_store::{LogDetail, LogSummary, RequestRow};
use serde_json::{Map, Value, json};

/// Portkey's rows have an organisation; a gateway has one.
pub const ORGANISATION: &str = "org-default";

/// A row of the list.
#[must_use]
pub fn summary(row: &LogSummary) -> Value {
    let mut fields = flat(&row.request);
    fields.insert("object".into(), "log".into());
    fields.insert("tool_lists".into(), row.tool_lists.into());
    fields.insert("turns".into(), row.request.turns.into());
    fields.insert("tool_calls".into(), row.request.tool_calls.into());
    fields.insert("attempts".into(), row.request.attempts.into());
    Value::Object(fields)
}

/// One log with everything that happened in it.
#[must_use]
pub fn detail(log: &LogDetail) -> Value {
    let row = &log.request;
    let mut fields = flat(row);
    fields.insert("object".into(), "log".into());
    fields.insert("_id".into(), row.id.clone().into());
    fields.insert("request".into(), request(row));
    fields.insert("response".into(), response(row));
    fields.insert("metrics".into(), Value::Object(flat(row)));
    let lists = json!({
        "turns": log.turns, "tool_lists": log.tool_lists, "tool_calls": log.tool_calls,
        "attempts": log.attempts,
    });
    if let Value::Object(lists) = lists {
        fields.extend(lists);
    }
    Value::Object(fields)
}

/// The fields that list and detail share.
fn flat(row: &RequestRow) -> Map<String, Value> {
    let mut fields = Map::new();
    for group in [
        identity(row),
        model(row),
        units(row),
        times(row),
        state(row),
    ] {
        if let Value::Object(group) = group {
            fields.extend(group);
        }
    }
    fields
}

fn identity(row: &RequestRow) -> Value {
    json!({
        "id": row.id, "created_at": time(row.created_at_ms), "organisation_id": ORGANISATION,
        "workspace_id": row.workspace_id, "trace_id": row.trace_id, "span_id": row.span_id,
        "parent_span_id": row.parent_span_id, "span_name": row.span_name,
        "request_id": row.request_id, "response_id": row.response_id,
        "api_key_id": row.api_key_id, "api_key_name": row.api_key_name,
        "virtual_key": row.virtual_key, "config": row.config, "config_id": row.config_id,
        "config_version_id": row.config_version_id,
        "prompt_slug": null,
        "metadata": row.metadata, "source": row.client["source"], "client": row.client,
        "runtime": row.client["runtime"], "runtime_version": row.client["runtime_version"],
        "sdk_version": row.client["sdk_version"],
    })
}

fn model(row: &RequestRow) -> Value {
    json!({
        "ai_org": row.provider, "ai_model": row.model_served.as_ref().or(row.model_asked.as_ref()),
        "model_asked": row.model_asked, "model_served": row.model_served,
        "request_url": row.endpoint, "request_method": row.method,
        "is_proxy_call": row.execution.as_deref() == Some("pass_through"),
        "stream_mode": i32::from(row.stream), "execution": row.execution,
        "mcp_execution": row.mcp_execution,
    })
}

fn units(row: &RequestRow) -> Value {
    json!({
        "req_units": row.input_tokens, "res_units": row.output_tokens,
        "total_units": row.total_tokens, "cached_input_tokens": row.cached_input_tokens,
        "cache_write_tokens": row.cache_write_tokens, "reasoning_tokens": row.reasoning_tokens,
        // In cents, as in Portkey's exports; null for a model without a price.
        "cost": row.cost_picodollars.map(|cost| cost as f64 / PICODOLLARS_PER_CENT),
        "cost_currency": "USD", "cost_picodollars": row.cost_picodollars,
        "price_source": row.price_source,
    })
}

fn times(row: &RequestRow) -> Value {
    json!({
        "response_time": row.total_ms, "first_token_ms": row.first_token_ms,
        "gateway_processing_time": row.gateway_ms, "upstream_response_time": row.provider_ms,
        "tools_time": row.tools_ms,
    })
}

fn state(row: &RequestRow) -> Value {
    json!({
        "is_success": (200..300).contains(&row.status_code), "response_status_code": row.status_code,
        "outcome": row.outcome, "error_source": row.error_source, "error_code": row.error_code,
        "error_message": row.error_message, "mode": row.mode.as_deref().unwrap_or("single"),
        "last_used_option_index": option(row), "cache_status": row.cache_status,
        "retry_success_count": row.retry_count, "tool_errors": row.tool_errors,
        "preview": row.preview, "payload_level": row.payload_level, "notes": row.notes,
    })
}

fn request(row: &RequestRow) -> Value {
    json!({
        "url": row.endpoint, "method": row.method, "headers": {},
        "portkeyHeaders": {"x-portkey-trace-id": row.trace_id},
        "body": row.request_body.as_deref().map(body),
    })
}

fn response(row: &RequestRow) -> Value {
    json!({
        "status": row.status_code, "headers": {"x-request-id": row.request_id},
        "body": row.response_body.as_deref().map(body), "responseTime": row.total_ms,
        "lastUsedOptionJsonPath": option(row),
    })
}

/// Where in the config the target stood that was used last.
fn option(row: &RequestRow) -> &str {
    row.last_used_option.as_deref().unwrap_or("config")
}

/// A stored body as JSON where it is whole, else as text.
fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// RFC 3339 with milliseconds.
pub(super) fn time(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms)
        .ok()
        .map(|at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_store::ToolCallRow;

    fn row() -> RequestRow {
        RequestRow {
            id: "log-1".into(),
            created_at_ms: 1_780_148_039_000,
            status_code: 200,
            model_asked: Some("gpt-4.1".into()),
            cost_picodollars: Some(2_236_000_000),
            request_body: Some(r#"{"model":"gpt-4.1"}"#.into()),
            response_body: Some("cut off {".into()),
            tool_calls: 1,
            ..RequestRow::default()
        }
    }

    #[test]
    fn list_rows_have_counts_and_cents() {
        let got = summary(&LogSummary {
            request: row(),
            tool_lists: 2,
        });
        assert_eq!(got["cost"], 0.2236);
        assert_eq!(got["ai_model"], "gpt-4.1");
        assert_eq!(got["tool_calls"], 1);
        assert_eq!(got["created_at"], "2026-05-30T13:33:59.000Z");
        assert!(got.get("request").is_none());
    }

    #[test]
    fn a_detail_has_the_rows_and_portkeys_objects() {
        let call = ToolCallRow {
            tool: "ask_question".into(),
            ..ToolCallRow::default()
        };
        let got = detail(&LogDetail {
            request: row(),
            tool_calls: vec![call],
            ..LogDetail::default()
        });
        assert_eq!(got["tool_calls"][0]["tool"], "ask_question");
        assert_eq!(got["request"]["body"]["model"], "gpt-4.1");
        assert_eq!(got["response"]["body"], "cut off {");
        assert_eq!(got["metrics"]["response_status_code"], 200);
    }

    #[test]
    fn an_unknown_price_is_null() {
        let request = RequestRow {
            cost_picodollars: None,
            ..row()
        };
        assert!(
            summary(&LogSummary {
                request,
                tool_lists: 0
            })["cost"]
                .is_null()
        );
    }
}
