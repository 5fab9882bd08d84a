//! The log row of a request that is refused before the gateway gets it: too large, too slow, no
//! JSON, no scope, no place. Only a caller that is known has a log to write it into.

use crate::answer::Refusal;
use crate::app::App;
use crate::marks::Marks;
use jiff::Timestamp;
use portunus_gateway::{Observer, Principal};
use portunus_store::{LogRecord, RequestRow, new_id};
use serde_json::json;

/// Files the row.
pub(super) fn file(
    app: &App,
    endpoint: &str,
    marks: &Marks,
    principal: &Principal,
    refusal: &Refusal,
) {
    let total_ms = i64::try_from(marks.received.elapsed().as_millis()).unwrap_or(i64::MAX);
    let request = RequestRow {
        id: new_id("log-"),
        workspace_id: principal.workspace_id.clone(),
        created_at_ms: Timestamp::now().as_millisecond() - total_ms,
        trace_id: marks.trace_id.clone(),
        request_id: marks.request_id.clone(),
        endpoint: endpoint.to_owned(),
        method: "POST".to_owned(),
        status_code: refusal.status.as_u16(),
        outcome: "refused".to_owned(),
        error_source: Some(refusal.source().to_owned()),
        error_code: refusal.body.code.as_deref().map(str::to_owned),
        error_message: Some(refusal.body.message.clone()),
        api_key_id: principal.api_key_id.clone(),
        api_key_name: principal.api_key_name.clone(),
        total_ms,
        gateway_ms: Some(total_ms),
        cache_status: "DISABLED".to_owned(),
        payload_level: "none".to_owned(),
        client: json!({}),
        metadata: json!({}),
        ..RequestRow::default()
    };
    let record = LogRecord {
        request,
        ..LogRecord::default()
    };
    app.metrics.finished(&record);
    app.log.submit(record);
}
