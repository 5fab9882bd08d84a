//! Which protocol a server speaks. Source: specification 2026-07-28, "Backward
//! Compatibility", and what stricter clients stumbled over: a legacy server may answer the
//! first question with nearly anything.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::error::Meter;
use crate::fault::Fault;
use crate::legacy_sse::{self, Stock};
use crate::modern;
use crate::peer::Peer;
use crate::session::{Session, Transport};
use crate::streamable;

/// JSON-RPC errors that only a server of 2026-07-28 or later gives.
const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;

/// What the answer to `server/discover` says.
#[derive(Debug)]
enum Verdict {
    Modern,
    Legacy,
    /// Another question would get the same answer.
    Stop(Fault),
}

/// Finds out how to speak to a server and opens what has to be opened.
pub(crate) async fn detect(
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Session, Fault> {
    let probe = deadline.min(Instant::now() + peer.bounds().probe_timeout);
    let answer = discover(peer, probe, meter).await;
    let slow = matches!(&answer, Err(fault) if fault.is_timeout());
    match judge(answer) {
        Verdict::Modern => return Ok(Session::new(Transport::Modern)),
        Verdict::Stop(fault) => return Err(fault),
        Verdict::Legacy => {}
    }
    match legacy(peer, deadline, meter).await {
        // A modern server that had to start up first.
        Err(fault) if slow && is_modern(&fault) => {
            match judge(discover(peer, deadline, meter).await) {
                Verdict::Modern => Ok(Session::new(Transport::Modern)),
                Verdict::Legacy => Err(fault),
                Verdict::Stop(fault) => Err(fault),
            }
        }
        other => other,
    }
}

async fn discover(
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Box<RawValue>, Fault> {
    timeout_at(deadline, modern::discover(peer, deadline, meter))
        .await
        .unwrap_or(Err(Fault::Deadline))
}

async fn legacy(peer: &Peer, deadline: Instant, meter: &mut Meter) -> Result<Session, Fault> {
    let fault = match streamable::open(peer, deadline, meter).await {
        Ok(session) => return Ok(Session::new(Transport::Streamable(session))),
        Err(fault) => fault,
    };
    if !may_be_event_stream(&fault) {
        return Err(fault);
    }
    match legacy_sse::open(peer, deadline, meter).await {
        Ok(stream) => Ok(Session::new(Transport::EventStream(Stock::with(stream)))),
        Err(second) if second.is_auth() => Err(second),
        // The answer to the POST tells more than that to the GET.
        Err(_) => Err(fault),
    }
}

fn judge(answer: Result<Box<RawValue>, Fault>) -> Verdict {
    let fault = match answer {
        Ok(result) if supports(&result) => return Verdict::Modern,
        Ok(_) => return Verdict::Legacy,
        Err(fault) => fault,
    };
    if is_final(&fault) {
        return Verdict::Stop(fault);
    }
    match &fault {
        Fault::Rpc { error, .. } => match error.code {
            HEADER_MISMATCH | MISSING_CAPABILITY => Verdict::Modern,
            UNSUPPORTED_VERSION if error.data.as_ref().is_some_and(|data| supports(data)) => {
                Verdict::Modern
            }
            _ => Verdict::Legacy,
        },
        _ => Verdict::Legacy,
    }
}

/// True when a legacy handshake would fail the same way.
fn is_final(fault: &Fault) -> bool {
    match fault.status() {
        Some(StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) => true,
        Some(StatusCode::FORBIDDEN) => matches!(
            fault,
            Fault::Refused {
                challenge: true,
                ..
            }
        ),
        Some(status) => status.is_redirection(),
        None => fault.is_unsent(),
    }
}

fn is_modern(fault: &Fault) -> bool {
    matches!(
        fault.rpc_code(),
        Some(UNSUPPORTED_VERSION | HEADER_MISMATCH | -32601 | -32602)
    )
}

/// A server of the oldest revision has no POST at the URL of its stream.
fn may_be_event_stream(fault: &Fault) -> bool {
    let gone = matches!(
        fault.status().map(|s| s.as_u16()),
        Some(400 | 404 | 405 | 406 | 410 | 415 | 501)
    );
    gone && !matches!(
        fault.rpc_code(),
        Some(UNSUPPORTED_VERSION | HEADER_MISMATCH | MISSING_CAPABILITY)
    )
}

/// Whether a `supportedVersions` or `supported` list names our revision.
fn supports(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Versions {
        #[serde(rename = "supportedVersions", alias = "supported")]
        versions: Vec<String>,
    }
    serde_json::from_str::<Versions>(raw.get()).is_ok_and(|fields| {
        fields
            .versions
            .iter()
            .any(|version| version == modern::VERSION)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RpcError;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn rpc(status: u16, code: i64, data: Option<&str>) -> Fault {
        let error = RpcError {
            code,
            message: String::new(),
            data: data.map(raw),
        };
        Fault::Rpc {
            error,
            status: StatusCode::from_u16(status).unwrap(),
        }
    }

    fn refused(status: u16, challenge: bool) -> Fault {
        let status = StatusCode::from_u16(status).unwrap();
        Fault::Refused {
            status,
            text: String::new(),
            challenge,
        }
    }

    fn check(answer: Result<Box<RawValue>, Fault>, expected: &str) {
        let verdict = match judge(answer) {
            Verdict::Modern => "modern",
            Verdict::Legacy => "legacy",
            Verdict::Stop(_) => "stop",
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn verdicts() {
        check(
            Ok(raw(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#)),
            "modern",
        );
        check(Ok(raw(r#"{"supportedVersions":["2025-11-25"]}"#)), "legacy");
        check(Ok(raw("{}")), "legacy");
        check(Err(rpc(400, -32020, None)), "modern");
        check(Err(rpc(400, -32021, None)), "modern");
        check(
            Err(rpc(400, -32022, Some(r#"{"supported":["2026-07-28"]}"#))),
            "modern",
        );
        check(
            Err(rpc(400, -32022, Some(r#"{"supported":["2025-11-25"]}"#))),
            "legacy",
        );
        check(Err(rpc(404, -32601, None)), "legacy");
        check(Err(rpc(200, -32601, None)), "legacy");
        check(Err(rpc(400, -32600, None)), "legacy");
        check(Err(refused(404, false)), "legacy");
        check(Err(refused(500, false)), "legacy");
        check(Err(Fault::Odd("html".to_owned())), "legacy");
        check(Err(Fault::Deadline), "legacy");
        check(Err(refused(401, false)), "stop");
        check(Err(refused(403, true)), "stop");
        check(Err(refused(403, false)), "legacy");
        check(Err(refused(307, false)), "stop");
        check(Err(rpc(401, -32000, None)), "stop");
    }
}
