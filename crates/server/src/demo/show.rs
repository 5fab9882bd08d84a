//! Prints the events of a streamed response as they come, the way a curious client would.

use crate::cli::out::{Out, cell, cut, inert};
use serde_json::Value;
use std::time::Instant;

/// Most lines of a tool's result.
const RESULT_LINES: usize = 4;
/// Widest line.
const WIDTH: usize = 100;

/// The state of the show: when it began, whether a text is being written.
#[derive(Debug)]
pub(super) struct Show {
    out: Out,
    began: Instant,
    writing: bool,
    /// The response id, once known.
    pub(super) response_id: Option<String>,
    /// The last status that an event gave.
    pub(super) status: Option<String>,
}

impl Show {
    pub(super) fn new(out: Out) -> Self {
        Self {
            out,
            began: Instant::now(),
            writing: false,
            response_id: None,
            status: None,
        }
    }

    /// Takes one event.
    pub(super) fn event(&mut self, event: &Value) {
        if self.out.is_json() {
            return self.item_alone(event);
        }
        match event["type"].as_str().unwrap_or_default() {
            "response.created" => {
                self.response_id = event["response"]["id"].as_str().map(str::to_owned);
                self.head("✓", "response.created", &cell(&event["response"]["id"]));
            }
            "response.output_text.delta" => self.write(event["delta"].as_str().unwrap_or_default()),
            "response.output_item.done" => self.item(&event["item"]),
            "response.completed" | "response.incomplete" | "response.failed" => self.end(event),
            "error" => self.head("✗", "error", &error_text(&event["error"])),
            _ => {}
        }
    }

    /// For a program: the items as they end, each on a line.
    fn item_alone(&mut self, event: &Value) {
        if event["type"] == "response.output_item.done" {
            self.out.json_line(&event["item"]);
        } else if let Some(status) = event["response"]["status"].as_str() {
            self.status = Some(status.to_owned());
        }
    }

    /// A line: sign, time since the request, what, the rest.
    fn head(&mut self, sign: &str, what: &str, rest: &str) {
        self.stop_writing();
        let sign = if sign == "✗" {
            self.out.red(sign)
        } else {
            self.out.green(sign)
        };
        let time = self
            .out
            .dim(&format!("{:>5} ms", self.began.elapsed().as_millis()));
        let what = self.out.bold(&format!("{what:18}"));
        self.out.line(&format!("  {sign} {time}  {what} {rest}"));
    }

    fn write(&mut self, text: &str) {
        if !self.writing {
            self.head("✓", "message", "");
            self.out.part("      ");
            self.writing = true;
        }
        let lines: Vec<String> = text.split('\n').map(inert).collect();
        self.out.part(&lines.join("\n      "));
    }

    fn stop_writing(&mut self) {
        if std::mem::take(&mut self.writing) {
            self.out.line("");
        }
    }

    fn item(&mut self, item: &Value) {
        match item["type"].as_str().unwrap_or_default() {
            "mcp_list_tools" => self.listed(item),
            "mcp_call" => self.called(item),
            "message" => self.stop_writing(),
            other => self.head("✓", other, ""),
        }
    }

    fn listed(&mut self, item: &Value) {
        let tools = item["tools"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let names: Vec<String> = tools.iter().map(|tool| cell(&tool["name"])).collect();
        let label = self.out.cyan(&cell(&item["server_label"]));
        match item["error"].is_null() {
            true => self.head(
                "✓",
                "mcp_list_tools",
                &format!("{label}: {}", names.join(", ")),
            ),
            false => self.head(
                "✗",
                "mcp_list_tools",
                &format!("{label}: {}", error_text(&item["error"])),
            ),
        }
    }

    fn called(&mut self, item: &Value) {
        let name = format!("{}.{}", cell(&item["server_label"]), cell(&item["name"]));
        let rest = format!("{} {}", self.out.cyan(&name), cell(&item["arguments"]));
        if !item["error"].is_null() {
            self.head("✗", "mcp_call", &rest);
            return self.out.line(&format!(
                "      {}",
                self.out.red(&error_text(&item["error"]))
            ));
        }
        self.head("✓", "mcp_call", &rest);
        let output = item["output"].as_str().unwrap_or_default();
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        for line in lines.iter().take(RESULT_LINES) {
            self.out.line(
                &self
                    .out
                    .dim(&format!("      │ {}", cut(&inert(line), WIDTH))),
            );
        }
        if let Some(more @ 1..) = lines.len().checked_sub(RESULT_LINES) {
            self.out
                .line(&self.out.dim(&format!("      │ … {more} more lines")));
        }
    }

    fn end(&mut self, event: &Value) {
        let response = &event["response"];
        self.status = response["status"].as_str().map(str::to_owned);
        let usage = &response["usage"];
        let tokens = format!(
            "{} in, {} out tokens",
            cell(&usage["input_tokens"]),
            cell(&usage["output_tokens"])
        );
        let sign = if self.status.as_deref() == Some("completed") {
            "✓"
        } else {
            "✗"
        };
        let rest = if response["error"].is_null() {
            tokens
        } else {
            error_text(&response["error"])
        };
        self.head(sign, event["type"].as_str().unwrap_or_default(), &rest);
    }
}

fn error_text(error: &Value) -> String {
    error["message"].as_str().map_or_else(|| cell(error), inert)
}
