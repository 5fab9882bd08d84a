//! A log row for a terminal: one line of facts, then where the time went, a bar for each tool
//! list, model turn and tool call on one axis.

use crate::cli::out::{Out, cell, cut, inert};
use serde_json::Value;

/// Width of the axis, in characters.
const AXIS: usize = 40;
/// Width of the names before it.
const NAMES: usize = 34;

/// A bar: from when to when, in milliseconds since the request came in.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    name: String,
    start_ms: u64,
    /// Waiting before the first byte or token; drawn lighter.
    wait_ms: u64,
    total_ms: u64,
    note: String,
    failed: bool,
}

/// Prints the answer of `GET /v1/logs/{id}`.
pub fn print(out: Out, log: &Value) {
    out.line(&out.bold(&cell(&log["id"])));
    out.line(&facts(log));
    if let Some(message) = log["error_message"].as_str() {
        out.line(&out.red(&format!(
            "{}: {}",
            cell(&log["error_source"]),
            inert(message)
        )));
    }
    out.line("");
    let whole_ms = number(&log["response_time"]).max(1);
    out.line(&out.dim(&format!(
        "{:NAMES$} 0 ms{:>width$}",
        "",
        format!("{whole_ms} ms"),
        width = AXIS - 4
    )));
    for bar in bars(log) {
        let drawn = drawn(&bar, whole_ms);
        let drawn = if bar.failed {
            out.red(&drawn)
        } else {
            out.cyan(&drawn)
        };
        let name = cut(&bar.name, NAMES);
        out.line(&format!("{name:NAMES$} {drawn} {}", out.dim(&bar.note)));
    }
    out.line("");
    out.line(&out.dim(&split(log)));
    for note in log["notes"].as_array().into_iter().flatten() {
        out.line(&out.dim(&format!("note: {}", cell(note))));
    }
}

fn facts(log: &Value) -> String {
    let cost = match log["cost"].as_f64() {
        Some(cents) => format!("{cents:.4} cents"),
        None => "no price known".to_owned(),
    };
    [
        format!(
            "{} {}",
            cell(&log["response_status_code"]),
            cell(&log["outcome"])
        ),
        format!("{} ({})", cell(&log["ai_model"]), cell(&log["ai_org"])),
        format!(
            "{} in, {} out tokens",
            cell(&log["req_units"]),
            cell(&log["res_units"])
        ),
        cost,
        format!("trace {}", cell(&log["trace_id"])),
    ]
    .join(" · ")
}

/// The sum of each part. Parts overlap when tools run at once, so they need not add up.
fn split(log: &Value) -> String {
    let ms = |name: &str| cell(&log[name]);
    format!(
        "{} ms in all: {} ms model, {} ms tools, {} ms gateway; first token after {} ms",
        ms("response_time"),
        ms("upstream_response_time"),
        ms("tools_time"),
        ms("gateway_processing_time"),
        ms("first_token_ms")
    )
}

/// Everything with a time, in the order of its start.
fn bars(log: &Value) -> Vec<Bar> {
    let rows = |name: &str| log[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut bars: Vec<Bar> = rows("tool_lists").iter().map(list_bar).collect();
    bars.extend(rows("turns").iter().map(turn_bar));
    bars.extend(rows("tool_calls").iter().map(call_bar));
    bars.sort_by_key(|bar| bar.start_ms);
    bars
}

fn list_bar(row: &Value) -> Bar {
    let tools = format!(
        "{} tools{}",
        row["tools"],
        if row["cached"] == true {
            ", cached"
        } else {
            ""
        }
    );
    Bar {
        name: format!("list {}", cell(&row["server_label"])),
        note: tools,
        ..bar(row)
    }
}

fn turn_bar(row: &Value) -> Bar {
    let index = number(&row["index"]) + 1;
    Bar {
        name: format!("turn {index}: {}", cell(&row["model"])),
        note: cell(&row["finish"]),
        ..bar(row)
    }
}

fn call_bar(row: &Value) -> Bar {
    let name = format!("call {}.{}", cell(&row["server_label"]), cell(&row["tool"]));
    let sizes = format!(
        "{} B in, {} B out",
        cell(&row["argument_bytes"]),
        cell(&row["result_bytes"])
    );
    let note = match row["outcome"].as_str() {
        Some("completed") => sizes,
        _ => format!("{}, {sizes}", cell(&row["outcome"])),
    };
    Bar {
        name,
        note,
        ..bar(row)
    }
}

fn bar(row: &Value) -> Bar {
    let good = row["outcome"].is_null() || row["outcome"] == "completed";
    Bar {
        name: String::new(),
        start_ms: number(&row["started_offset_ms"]),
        wait_ms: number(&row["connect_ms"]) + number(&row["wait_ms"]),
        total_ms: number(&row["total_ms"]),
        note: String::new(),
        failed: !good,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The bar on an axis of [`AXIS`] characters; at least one is drawn.
fn drawn(bar: &Bar, whole_ms: u64) -> String {
    let place = |ms: u64| (ms.min(whole_ms) as usize * AXIS).div_euclid(whole_ms as usize);
    let start = place(bar.start_ms).min(AXIS - 1);
    let end = place(bar.start_ms + bar.total_ms).clamp(start + 1, AXIS);
    let waited = place(bar.start_ms + bar.wait_ms.min(bar.total_ms)).clamp(start, end);
    let waited = if bar.wait_ms == 0 { start } else { waited };
    let part = |sign: &str, from: usize, to: usize| sign.repeat(to - from);
    [
        part(" ", 0, start),
        part("░", start, waited),
        part("█", waited, end),
        part(" ", end, AXIS),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bars_lie_where_the_time_went() {
        let row = json!({"started_offset_ms": 50, "wait_ms": 25, "total_ms": 50});
        let text = drawn(&bar(&row), 100);
        assert_eq!(
            text,
            [" ".repeat(20), "░".repeat(10), "█".repeat(10)].concat()
        );
    }

    #[test]
    fn the_shortest_is_still_seen_and_the_longest_stays_inside() {
        let at = |start: u64, total: u64| {
            drawn(
                &bar(&json!({"started_offset_ms": start, "total_ms": total})),
                10,
            )
        };
        for text in [at(0, 0), at(10, 0), at(10, 99), at(99, 1)] {
            assert_eq!(text.chars().count(), AXIS);
            assert!(text.contains('█'), "{text:?}");
        }
    }

    #[test]
    fn rows_come_in_the_order_of_their_start() {
        let log = json!({
            "turns": [{"index": 0, "started_offset_ms": 5, "total_ms": 1},
                      {"index": 1, "started_offset_ms": 9, "total_ms": 1}],
            "tool_lists": [{"server_label": "docs", "started_offset_ms": 1, "total_ms": 3, "tools": 3}],
            "tool_calls": [{"server_label": "docs", "tool": "search", "started_offset_ms": 7,
                            "total_ms": 1, "outcome": "timeout"}],
        });
        let bars = bars(&log);
        let names: Vec<&str> = bars.iter().map(|bar| bar.name.as_str()).collect();
        assert_eq!(
            names,
            ["list docs", "turn 1: -", "call docs.search", "turn 2: -"]
        );
        assert!(bars[2].failed && !bars[3].failed);
    }
}
