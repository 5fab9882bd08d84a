//! Revision 2026-07-28: stateless. Every request names its version, its method and its tool
//! in headers that mirror the body. Source: specification 2026-07-28, "Streamable HTTP".

use std::future::pending;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::error::Meter;
use crate::fault::Fault;
use crate::input::{self, MAX_ROUNDS, Round};
use crate::message::{self, Params, RpcError};
use crate::peer::{Ask, Limit, Peer};
use crate::reply::{self, Reply};

/// The revision.
pub(crate) const VERSION: &str = "2026-07-28";

pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// `_meta` of every request: no capability is ever declared, so that a server asks for
/// nothing that nobody here could answer.
static META: LazyLock<Box<RawValue>> = LazyLock::new(|| {
    let meta = serde_json::json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    });
    serde_json::value::to_raw_value(&meta).unwrap_or_else(|_| RawValue::NULL.to_owned())
});

/// How this client introduces itself in every revision.
pub(crate) fn client_info() -> serde_json::Value {
    serde_json::json!({"name": "portunus", "version": env!("CARGO_PKG_VERSION")})
}

/// Sends one request and reads its answer; a call whose tool asks for input goes on, declining.
pub(crate) async fn ask(
    peer: &Peer,
    ask: &Ask<'_>,
    meter: &mut Meter,
) -> Result<Box<RawValue>, Fault> {
    let mut round = Round::default();
    for _ in 0..=MAX_ROUNDS {
        let params = Params {
            meta: Some(&META),
            input_responses: round.responses.as_deref(),
            request_state: round.state.as_deref(),
            ..ask.params
        };
        let result = exchange(peer, ask, params, meter).await?;
        match kind(&result).as_deref() {
            None | Some("complete") => return Ok(result),
            Some("input_required") if ask.method == "tools/call" => {
                round = input::decline(&result).map_err(invalid)?;
            }
            Some("task") => {
                return Err(invalid(
                    "the tool runs as a task, which is not offered here",
                ));
            }
            Some(_) => {
                return Err(invalid(
                    "the server answered with an unknown kind of result",
                ));
            }
        }
    }
    Err(invalid("the tool asks for input again and again"))
}

async fn exchange(
    peer: &Peer,
    ask: &Ask<'_>,
    params: Params<'_>,
    meter: &mut Meter,
) -> Result<Box<RawValue>, Fault> {
    let id = peer.next_id();
    let body = message::request(id, ask.method, params);
    let limit = Limit::of(ask);
    let response = peer.post(&peer.url, &head(ask), body, limit, meter).await?;
    let answer = match reply::open(peer, response, ask.max_bytes, meter).await? {
        Reply::Whole(messages) => reply::pick(messages, id)?,
        Reply::Stream(mut frames) => {
            // A server of this revision makes no requests; what comes is left unanswered.
            let read = reply::await_answer(&mut frames, id, None, pending(), meter).await?;
            frames.release(peer);
            read.ok_or(Fault::Ended)?
        }
    };
    reply::result(peer, answer)
}

/// Asks which revisions the server speaks.
pub(crate) async fn discover(
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Box<RawValue>, Fault> {
    let request = Ask {
        method: "server/discover",
        params: Params::default(),
        mirrored: HeaderMap::new(),
        deadline,
        max_bytes: 1 << 20,
    };
    ask(peer, &request, meter).await
}

fn head(ask: &Ask<'_>) -> HeaderMap {
    let mut head = ask.mirrored.clone();
    head.insert(PROTOCOL_VERSION, HeaderValue::from_static(VERSION));
    head.insert(METHOD, HeaderValue::from_static(ask.method));
    if let Some(name) = ask.params.name {
        head.insert(NAME, header_text(name));
    }
    head
}

/// A text as a header value: as it is, or in the base64 form when it is not plain.
pub(crate) fn header_text(text: &str) -> HeaderValue {
    let visible = text.bytes().all(|b| matches!(b, 0x20..=0x7e | b'\t'));
    let padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let sentinel = text.starts_with("=?base64?") && text.ends_with("?=");
    let plain = if visible && !padded && !sentinel {
        HeaderValue::from_str(text).ok()
    } else {
        None
    };
    plain.unwrap_or_else(|| {
        let encoded = format!("=?base64?{}?=", STANDARD.encode(text));
        // Base64 is plain ASCII: this cannot fail.
        HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

/// The `resultType` of a result. Absent = complete.
fn kind(result: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, default, rename = "resultType")]
        kind: Option<&'a RawValue>,
    }
    let raw = serde_json::from_str::<Kind<'_>>(result.get()).ok()?.kind?;
    Some(message::string(raw).unwrap_or_else(|| raw.get().to_owned()))
}

/// A result that cannot be used. The specification: JSON-RPC -32603.
fn invalid(why: &str) -> Fault {
    let error = RpcError {
        code: -32603,
        message: why.to_owned(),
        data: None,
    };
    Fault::Rpc {
        error,
        status: http::StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_of_the_specification() {
        for (text, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_text(text), expected);
        }
    }

    #[test]
    fn kinds_of_results() {
        let check = |text: &str| kind(&RawValue::from_string(text.to_owned()).unwrap());
        for absent in ["{}", r#"{"resultType":null}"#, "[]"] {
            assert_eq!(check(absent), None);
        }
        assert_eq!(check(r#"{"resultType":"task"}"#).as_deref(), Some("task"));
        assert_eq!(check(r#"{"resultType":7}"#).as_deref(), Some("7"));
    }
}
