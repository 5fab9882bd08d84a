//! What a finished MCP call of the history says to the model.

use crate::json::{list, text};
use portunus_protocol::item::McpCall;
use serde_json::Value;

/// The output, or the error in words; `None` when the call never ran.
pub(crate) fn of_mcp_call(call: &McpCall) -> Option<String> {
    if let Some(output) = &call.output {
        return Some(output.clone());
    }
    let error = call.error.as_ref().filter(|error| !error.is_null())?;
    let said = error.as_str().map(str::to_owned);
    let blocks: Vec<_> = list(error, "content")
        .iter()
        .filter_map(|block| text(block, "text"))
        .collect();
    let words = said
        .or_else(|| (!blocks.is_empty()).then(|| blocks.join("\n")))
        .or_else(|| text(error, "message").map(str::to_owned))
        .unwrap_or_else(|| Value::to_string(error));
    Some(format!("Error: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn output_wins_and_every_form_of_error_has_words() {
        let call = |output: Option<&str>, error: Value| McpCall {
            output: output.map(str::to_owned),
            error: Some(error),
            ..McpCall::default()
        };
        for (call, said) in [
            (call(Some("x"), Value::Null), Some("x")),
            (call(None, Value::Null), None),
            (call(None, json!("old form")), Some("Error: old form")),
            (
                call(
                    None,
                    json!({"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "no"}]}),
                ),
                Some("Error: no"),
            ),
            (
                call(
                    None,
                    json!({"type": "http_error", "code": 424, "message": "424: "}),
                ),
                Some("Error: 424: "),
            ),
        ] {
            assert_eq!(of_mcp_call(&call).as_deref(), said);
        }
    }
}
