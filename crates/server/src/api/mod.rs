//! The data plane: what applications call. HTTP in, a [`portunus_gateway::Call`] out, and back.

pub mod models;
pub mod reply;
pub mod responses;
pub mod stored;
mod unserved;

use crate::auth::{Caller, without_credentials};
use crate::marks::Marks;
use bytes::Bytes;
use http::HeaderMap;
use portunus_gateway::Call;

/// Everything that the gateway gets to know of a request to `endpoint`.
fn call(
    endpoint: &'static str,
    marks: Marks,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Call {
    Call {
        endpoint,
        principal: caller.principal,
        headers: without_credentials(headers),
        body,
        received: marks.received,
        request_id: marks.request_id,
        trace_id: marks.trace_id,
        caller_credential: caller.credential,
    }
}
