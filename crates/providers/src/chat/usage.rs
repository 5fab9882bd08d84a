//! Token counts of chat completions, in the words of the Responses API.

use crate::json::count;
use portunus_protocol::response::{InputDetails, OutputDetails, Usage};
use serde_json::Value;

/// Reads a `usage` object. Output tokens contain the reasoning ones; where the provider
/// counts them outside (xAI), its own total gives it away.
pub(super) fn usage(value: &Value) -> Option<Usage> {
    let input = count(value, "prompt_tokens")?;
    let shown = count(value, "completion_tokens").unwrap_or(0);
    let details = value.get("prompt_tokens_details").unwrap_or(&Value::Null);
    let spent = value
        .get("completion_tokens_details")
        .unwrap_or(&Value::Null);
    let reasoning = count(spent, "reasoning_tokens")
        .or_else(|| count(value, "reasoning_tokens"))
        .unwrap_or(0);
    let cached = count(details, "cached_tokens")
        .or_else(|| count(value, "prompt_cache_hit_tokens"))
        .or_else(|| count(value, "cached_tokens"))
        .or_else(|| count(value, "num_cached_tokens"))
        .unwrap_or(0);
    let inside = input.saturating_add(shown);
    let outside =
        reasoning > 0 && count(value, "total_tokens") == Some(inside.saturating_add(reasoning));
    let output = if outside {
        shown.saturating_add(reasoning)
    } else {
        shown
    };
    Some(Usage {
        input_tokens: input,
        input_tokens_details: InputDetails {
            cache_write_tokens: count(details, "cache_write_tokens").unwrap_or(0),
            cached_tokens: cached,
        },
        output_tokens: output,
        output_tokens_details: OutputDetails {
            reasoning_tokens: reasoning,
        },
        total_tokens: input.saturating_add(output),
    })
}

/// The usage of a chunk, wherever it is: on top, on the choice, or in Groq's own object.
pub(super) fn of_chunk(chunk: &Value) -> Option<Usage> {
    let places = [
        chunk.get("usage"),
        chunk.pointer("/choices/0/usage"),
        chunk.pointer("/x_groq/usage"),
    ];
    places.into_iter().flatten().find_map(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// (input, cached, written, output, reasoning, total)
    fn numbers(value: &Value) -> (u64, u64, u64, u64, u64, u64) {
        let usage = usage(value).unwrap();
        (
            usage.input_tokens,
            usage.input_tokens_details.cached_tokens,
            usage.input_tokens_details.cache_write_tokens,
            usage.output_tokens,
            usage.output_tokens_details.reasoning_tokens,
            usage.total_tokens,
        )
    }

    #[test]
    fn every_vendor_counts_in_its_own_words() {
        for (value, expected) in [
            (
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                    "completion_tokens_details": {"reasoning_tokens": 2}}),
                (10, 4, 3, 5, 2, 15),
            ),
            // xAI: reasoning outside of completion_tokens.
            (
                json!({"prompt_tokens": 291, "completion_tokens": 26, "total_tokens": 513,
                    "completion_tokens_details": {"reasoning_tokens": 196}}),
                (291, 0, 0, 222, 196, 513),
            ),
            // DeepSeek.
            (
                json!({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}),
                (9, 8, 0, 1, 0, 10),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 7}),
                (9, 7, 0, 1, 0, 10),
            ),
            (
                json!({"prompt_tokens": 9.0, "completion_tokens": null, "num_cached_tokens": 6}),
                (9, 6, 0, 0, 0, 9),
            ),
            (
                json!({"prompt_tokens": u64::MAX, "completion_tokens": 2}),
                (u64::MAX, 0, 0, 2, 0, u64::MAX),
            ),
        ] {
            assert_eq!(numbers(&value), expected, "{value}");
        }
        assert_eq!(usage(&json!({"prompt_tokens": null})), None);
        assert_eq!(of_chunk(&json!({"usage": null, "choices": []})), None);
    }
}
