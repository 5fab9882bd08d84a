//! JSON-RPC 2.0, read with tolerance. Payloads stay raw: one odd field inside a result is
//! never a reason to lose the result.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// One message from a server.
#[derive(Debug)]
pub(crate) enum Message {
    /// The answer to a request.
    Answer(Answer),
    /// A request that the server makes of us.
    Request { id: Box<RawValue>, method: String },
    /// A notification, or something that is none of the three.
    Notice,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) outcome: Result<Box<RawValue>, RpcError>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    /// Bounded by [`MAX_MESSAGE_CHARS`].
    pub(crate) message: String,
    pub(crate) data: Option<Box<RawValue>>,
}

/// Longest error text that is kept.
const MAX_MESSAGE_CHARS: usize = 2000;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Reads one message or a batch. `None` when the text is no JSON-RPC at all.
pub(crate) fn parse(text: &str) -> Option<Vec<Message>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    read(text).or_else(|| read(&without_nan(text)?))
}

fn read(text: &str) -> Option<Vec<Message>> {
    if text.starts_with('[') {
        let batch: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        return Some(batch.iter().filter_map(|raw| one(raw.get())).collect());
    }
    one(text).map(|message| vec![message])
}

/// `text` with null for the numbers that Python writes and JSON does not have; `None` when it
/// is no object or array, or has none of them.
fn without_nan(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let bytes = text.as_bytes();
    let (mut out, mut from, mut at, mut in_string) = (String::new(), 0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'N' | b'-' | b'I' if !in_string => {
                if let Some(word) = WORDS.iter().find(|w| bytes[at..].starts_with(w.as_bytes())) {
                    out.push_str(&text[from..at]);
                    out.push_str("null");
                    from = at + word.len();
                    at = from - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (from > 0).then(|| out + &text[from..])
}

fn one(text: &str) -> Option<Message> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    let outcome = match (envelope.error, envelope.result) {
        (Some(error), _) => Err(rpc_error(error)),
        (None, Some(result)) => Ok(result.to_owned()),
        (None, None) => return envelope.method.map(|method| incoming(envelope.id, method)),
    };
    Some(Message::Answer(Answer {
        id: envelope.id.map(ToOwned::to_owned),
        outcome,
    }))
}

fn incoming(id: Option<&RawValue>, method: &RawValue) -> Message {
    match (id, string(method)) {
        (Some(id), Some(method)) => Message::Request {
            id: id.to_owned(),
            method,
        },
        _ => Message::Notice,
    }
}

fn rpc_error(raw: &RawValue) -> RpcError {
    let Ok(fields) = serde_json::from_str::<ErrorFields<'_>>(raw.get()) else {
        // Some servers put a plain string where the object belongs.
        let message = string(raw).unwrap_or_else(|| raw.get().to_owned());
        return RpcError {
            code: -32603,
            message: cut(&message),
            data: None,
        };
    };
    let code = fields
        .code
        .and_then(|raw| raw.get().trim_matches('"').parse().ok());
    let message = fields
        .message
        .map(|raw| string(raw).unwrap_or_else(|| raw.get().to_owned()));
    RpcError {
        code: code.unwrap_or(-32603),
        message: cut(&message.unwrap_or_default()),
        data: fields.data.map(ToOwned::to_owned),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// The string that `raw` is; a lone surrogate becomes U+FFFD. `None` for other kinds.
pub(crate) fn string(raw: &RawValue) -> Option<String> {
    let text = raw.get();
    if !text.starts_with('"') {
        return None;
    }
    serde_json::from_str(text)
        .ok()
        .or_else(|| serde_json::from_str(&without_surrogates(text)).ok())
}

/// Replaces `\ud800`…`\udfff` escapes that are not a pair. Only called when decoding failed.
fn without_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, length) = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(high), Some(low)) if high < 0xdc00 && low >= 0xdc00 => (&rest[..12], 12),
            (Some(_), _) => ("\\ufffd", 6),
            // Any other escape: the backslash and the character after it stay together.
            (None, _) => {
                let length = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                (&rest[..length], length)
            }
        };
        out.push_str(escape);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

fn surrogate(text: &str) -> Option<u16> {
    let unit = u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    (0xd800..0xe000).contains(&unit).then_some(unit)
}

/// How an answer's id relates to our request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It is ours, perhaps written as a string or a float.
    Ours,
    /// Null or absent, as many servers answer a request that they could not read.
    Nobody,
    /// Another one.
    Other,
}

/// Compares loosely: there is one request in flight per answer stream.
pub(crate) fn match_id(id: Option<&RawValue>, ours: u64) -> Match {
    let Some(id) = id.map(|raw| raw.get().trim_matches('"')) else {
        return Match::Nobody;
    };
    if id == "null" {
        return Match::Nobody;
    }
    let digits = id.strip_suffix(".0").unwrap_or(id);
    if digits.parse() == Ok(ours) {
        Match::Ours
    } else {
        Match::Other
    }
}

/// Parameters of every request that this client makes.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Params<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<&'a RawValue>,
    #[serde(rename = "inputResponses", skip_serializing_if = "Option::is_none")]
    pub(crate) input_responses: Option<&'a RawValue>,
    #[serde(rename = "requestState", skip_serializing_if = "Option::is_none")]
    pub(crate) request_state: Option<&'a RawValue>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Outgoing<'a, P> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    params: P,
}

/// A request.
pub(crate) fn request(id: u64, method: &str, params: impl Serialize) -> Bytes {
    encode(&Outgoing {
        jsonrpc: "2.0",
        id: Some(id),
        method,
        params,
    })
}

/// A notification.
pub(crate) fn notification(method: &str, params: impl Serialize) -> Bytes {
    encode(&Outgoing {
        jsonrpc: "2.0",
        id: None,
        method,
        params,
    })
}

/// Our answer to a server's request: `{}` to a ping, no to a question to a person, "not
/// offered" to everything else. This client declares neither sampling nor roots nor
/// elicitation; servers that ask all the same wait for an answer.
pub(crate) fn reply(id: &RawValue, method: &str) -> Bytes {
    #[derive(Serialize)]
    struct Reply<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Value>,
    }
    let (result, error) = match method {
        "ping" => (Some(json!({})), None),
        "elicitation/create" => (Some(json!({"action": "decline"})), None),
        _ => (
            None,
            Some(json!({"code": -32601, "message": "Method not found"})),
        ),
    };
    encode(&Reply {
        jsonrpc: "2.0",
        id,
        result,
        error,
    })
}

fn encode(message: &impl Serialize) -> Bytes {
    // These types have string keys only and no failing serializer: this cannot fail.
    serde_json::to_vec(message)
        .map(Bytes::from)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        match parse(text).unwrap().pop().unwrap() {
            Message::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_are_read_with_tolerance() {
        assert_eq!(
            answer(r#"{"id":1,"result":{"a":1e2}}"#)
                .outcome
                .unwrap()
                .get(),
            r#"{"a":1e2}"#
        );
        assert!(
            answer(r#"{"id":1,"result":{},"error":null}"#)
                .outcome
                .is_ok()
        );
        assert!(
            answer("\u{feff} [{\"id\":1,\"result\":{}}]")
                .outcome
                .is_ok()
        );
        let error = answer(r#"{"error":{"code":"-32000","message":7}}"#)
            .outcome
            .unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (-32000, "7"));
        assert_eq!(
            answer(r#"{"error":"boom"}"#).outcome.unwrap_err().message,
            "boom"
        );
        assert_eq!(
            answer(r#"{"id":1,"result":{"a":[NaN,-Infinity,1],"b":"NaN \"NaN","c":Infinity}}"#)
                .outcome
                .unwrap()
                .get(),
            r#"{"a":[null,null,1],"b":"NaN \"NaN","c":null}"#
        );
        assert!(parse("{NaN").is_none());
        assert!(parse("<html>").is_none());
        assert!(parse(r#"{"ok":true}"#).is_none());
    }

    #[test]
    fn deep_nesting_and_lone_surrogates_stay_raw() {
        let deep = format!(
            r#"{{"id":1,"result":{}{}}}"#,
            "[".repeat(4000),
            "]".repeat(4000)
        );
        assert!(answer(&deep).outcome.is_ok());
        let raw = answer(r#"{"id":1,"result":"a\ud800b\ud83d\ude00\\ud800\n"}"#)
            .outcome
            .unwrap();
        assert_eq!(string(&raw).unwrap(), "a\u{fffd}b\u{1f600}\\ud800\n");
    }

    #[test]
    fn server_requests_and_notices() {
        let messages =
            parse(r#"[{"id":"a","method":"ping"},{"method":"notifications/progress"}]"#).unwrap();
        assert!(matches!(&messages[0], Message::Request { method, .. } if method == "ping"));
        assert!(matches!(messages[1], Message::Notice));
        let id: Box<RawValue> = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(
            &reply(&id, "ping")[..],
            br#"{"jsonrpc":"2.0","id":"a","result":{}}"#
        );
        let no = String::from_utf8(reply(&id, "elicitation/create").to_vec()).unwrap();
        assert!(no.contains(r#""result":{"action":"decline"}"#), "{no}");
        let refusal = String::from_utf8(reply(&id, "roots/list").to_vec()).unwrap();
        assert!(refusal.contains("-32601"), "{refusal}");
    }

    #[test]
    fn ids_match_loosely() {
        let check = |text: &str, expected| {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            assert_eq!(match_id(Some(&raw), 7), expected, "{text}");
        };
        check("7", Match::Ours);
        check("\"7\"", Match::Ours);
        check("7.0", Match::Ours);
        check("null", Match::Nobody);
        check("8", Match::Other);
        check("\"server-error\"", Match::Other);
        assert_eq!(match_id(None, 7), Match::Nobody);
    }
}
