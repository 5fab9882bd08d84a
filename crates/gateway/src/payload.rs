//! What of a request may be kept: the one redaction.
//!
//! At every level the values of `headers` and `authorization` of a tool are cut out and its
//! `server_url` is shortened. Below `full`, words that look like secrets are blanked too.

use crate::policy::PayloadLevel;
use portunus_protocol::request::{Head, REDACTED, ServerUrlEcho, shown_url};
use serde_json::{Map, Value};

/// What is kept of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its body, cut at the bound.
    pub(crate) body: Option<String>,
    /// The first characters of the input, for the list.
    pub(crate) preview: Option<String>,
}

/// The request as it may be kept, its body at most `max_bytes` long; `None` below `redacted`.
pub(crate) fn request(head: &Head<'_>, level: PayloadLevel, max_bytes: usize) -> Option<Kept> {
    if level < PayloadLevel::Redacted {
        return None;
    }
    let mut out = Map::new();
    for key in head.shallow.keys() {
        let raw = head.shallow.get(key)?.get();
        let value = match key {
            "tools" => head
                .tools
                .iter()
                .map(|tool| tool.echo(ServerUrlEcho::Origin))
                .collect(),
            // A body that is longer than the bound is cut there anyway.
            _ => serde_json::from_str(raw).unwrap_or(Value::Null),
        };
        out.insert(key.to_owned(), value);
    }
    let mut out = Value::Object(out);
    scrub(&mut out);
    Some(Kept {
        body: keep(&out.to_string(), level, max_bytes),
        preview: preview(&out["input"], level),
    })
}

/// Cuts the secrets of an MCP server out of any object, wherever it stands and however its keys
/// are capitalised: a request that is refused for a slip keeps its secrets as well.
pub(crate) fn scrub(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => {
            for (key, value) in fields {
                scrub_field(&key.to_ascii_lowercase(), value);
            }
        }
        _ => {}
    }
}

fn scrub_field(key: &str, value: &mut Value) {
    match (key, &mut *value) {
        ("authorization", Value::String(text)) => REDACTED.clone_into(text),
        ("server_url", Value::String(url)) => *url = shown_url(url, ServerUrlEcho::Origin),
        ("headers", Value::Object(headers)) => {
            for header in headers.values_mut() {
                *header = REDACTED.into();
            }
        }
        _ => scrub(value),
    }
}

/// A text as it may be kept; `None` below `redacted`.
pub(crate) fn keep(text: &str, level: PayloadLevel, max_bytes: usize) -> Option<String> {
    match level {
        PayloadLevel::None | PayloadLevel::Metadata => None,
        PayloadLevel::Redacted => Some(blank(&cut(text, max_bytes))),
        PayloadLevel::Full => Some(cut(text, max_bytes)),
    }
}

/// The first characters of what the user said last, as they may be kept.
pub(crate) fn preview(input: &Value, level: PayloadLevel) -> Option<String> {
    let text = last_text(input)?;
    let line: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(80)
        .collect();
    keep(&line, level, 1024)
}

/// The text of the last message of the user.
fn last_text(input: &Value) -> Option<&str> {
    match input {
        Value::String(text) => Some(text),
        Value::Array(items) => items
            .iter()
            .rev()
            .find_map(|item| match item.get("content")? {
                Value::String(text) => Some(text.as_str()),
                Value::Array(parts) => parts.iter().find_map(|part| part.get("text")?.as_str()),
                _ => None,
            }),
        _ => None,
    }
}

fn cut(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes);
    format!("{}… [{} bytes in all]", &text[..end], text.len())
}

/// Blanks words that look like keys and tokens. A word is what may be part of one, so that the
/// rest of the text keeps its form.
pub(crate) fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut after_bearer) = (0, false);
    let mut rest = text.as_bytes();
    while let Some(start) = rest.iter().position(|byte| IS_WORD[usize::from(*byte)]) {
        let length = rest[start..]
            .iter()
            .position(|byte| !IS_WORD[usize::from(*byte)]);
        let length = length.unwrap_or(rest.len() - start);
        let at = text.len() - rest.len() + start;
        let word = &text[at..at + length];
        if looks_secret(word) || (after_bearer && word.len() >= 8) {
            out.push_str(&text[copied..at]);
            out.push_str(REDACTED);
            copied = at + length;
        }
        after_bearer = word.eq_ignore_ascii_case("bearer");
        rest = &rest[start + length..];
    }
    out.push_str(&text[copied..]);
    out
}

/// Which bytes may be part of a key. All are ASCII, so that a word is whole characters.
const IS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(
            byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' | b'+' | b'='
        );
        byte += 1;
    }
    table
};

/// Prefixes of well-known kinds of keys, and JSON web tokens.
fn looks_secret(word: &str) -> bool {
    const PREFIXES: [&str; 16] = [
        "sk-",
        "pk-",
        "rk_",
        "sk_live",
        "sk_test",
        "rk_live",
        "rk_test",
        "ghp_",
        "gho_",
        "github_pat_",
        "xoxb-",
        "xoxp-",
        "AIza",
        "AKIA",
        "glpat-",
        "eyJ",
    ];
    word.len() >= 16 && PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_blanked_and_the_rest_stays() {
        let text =
            r#"{"a":"use sk-proj-abcdefghijkl, ok","h":"Bearer abcdef0123","n":"bearer of news"}"#;
        let expected = r#"{"a":"use <redacted>, ok","h":"Bearer <redacted>","n":"bearer of news"}"#;
        assert_eq!(blank(text), expected);
    }

    #[test]
    fn tools_lose_their_secrets_at_the_full_level() {
        let body = br#"{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example/canary1?canary2","headers":{"X":"canary3"},"authorization":"canary4"}]}"#;
        let head = Head::parse(body).unwrap();
        let text = request(&head, PayloadLevel::Full, 9999)
            .unwrap()
            .body
            .unwrap();
        assert!(
            !text.contains("canary") && text.contains("https://a.example/<redacted>"),
            "{text}"
        );
        assert_eq!(request(&head, PayloadLevel::Metadata, 9999), None);
    }

    #[test]
    fn a_slip_keeps_its_secrets() {
        let body = br#"{"model":"m","tool":[{"server_url":"https://a.example/canary","Authorization":"canary","headers":{"k":"canary"}}],
            "reasoning":{"x":[{"server_url":"https://a.example/canary","authorization":"canary"}]},
            "input":[{"type":"x","tools":[{"headers":{"k":{"z":"canary"}},"SERVER_URL":"canary"}]}]}"#;
        let head = Head::parse(body).unwrap();
        let text = request(&head, PayloadLevel::Full, 9999)
            .unwrap()
            .body
            .unwrap();
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_cut_keeps_whole_characters() {
        assert_eq!(cut("aéé", 2), "a… [5 bytes in all]");
    }
}
