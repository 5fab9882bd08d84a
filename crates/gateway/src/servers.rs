//! The MCP servers of a request: addresses judged, headers checked, before anything is sent.

use crate::Gateway;
use crate::error::Error;
use portunus_egress::{Forbidden, Zone};
use portunus_mcp::ServerSpec;
use portunus_protocol::error::{ErrorBody, code};
use portunus_protocol::request::{Head, McpTool};
use secrecy::ExposeSecret;

/// One MCP server of a request.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its index in `tools`.
    pub(crate) index: usize,
    /// As the request names it.
    pub(crate) tool: McpTool,
    /// How it is reached; `None` for a connector or tunnel, which OpenAI alone can reach.
    pub(crate) spec: Option<ServerSpec>,
    /// Whether the operator's allow-list names it: only the gateway can reach it.
    pub(crate) inside: bool,
}

/// Refuses more servers than are served, before anything is made of each.
pub(crate) fn refuse_many(head: &Head<'_>, max: usize) -> Result<(), Error> {
    if head.mcp_tools().count() <= max {
        return Ok(());
    }
    let message = format!("Too many MCP servers in 'tools': at most {max} are served.");
    Err(ErrorBody::invalid("tools", code::VALUE, message).into())
}

/// The servers of `head`, in order.
pub(crate) fn of(
    head: &Head<'_>,
    workspace_id: &str,
    gateway: &Gateway,
) -> Result<Vec<Server>, Error> {
    head.mcp_tools()
        .map(|(index, tool)| server(index, tool, workspace_id, gateway))
        .collect()
}

fn server(
    index: usize,
    tool: &McpTool,
    workspace_id: &str,
    gateway: &Gateway,
) -> Result<Server, Error> {
    let Some(raw) = &tool.server_url else {
        return Ok(Server {
            index,
            tool: tool.clone(),
            spec: None,
            inside: false,
        });
    };
    let at = format!("tools[{index}].server_url");
    let refuse = |verdict: &Forbidden| forbidden(&at, verdict);
    let url = portunus_egress::parse_url(raw).map_err(|verdict| refuse(&verdict))?;
    let client = &gateway.parts.client;
    client
        .check(Zone::Mcp, &url)
        .map_err(|verdict| refuse(&verdict))?;
    let inside = client.is_allow_listed(Zone::Mcp, &url);
    let spec = ServerSpec {
        workspace: workspace_id.to_owned(),
        label: tool.server_label.clone(),
        url,
        headers: headers(index, tool)?,
        authorization: tool.authorization.clone(),
    };
    Ok(Server {
        index,
        tool: tool.clone(),
        spec: Some(spec),
        inside,
    })
}

/// The refusal of an address, for its caller.
pub(crate) fn forbidden(at: &str, verdict: &Forbidden) -> Error {
    ErrorBody::invalid(at, code::VALUE, format!("Invalid '{at}': {verdict}")).into()
}

fn headers(
    index: usize,
    tool: &McpTool,
) -> Result<Vec<(http::HeaderName, http::HeaderValue)>, Error> {
    let bad = |at: String, why: String| {
        Error::from(ErrorBody::invalid(
            at.clone(),
            code::VALUE,
            format!("Invalid '{at}': {why}"),
        ))
    };
    if let Some(token) = &tool.authorization {
        let at = format!("tools[{index}].authorization");
        portunus_egress::check_header("authorization", token.expose_secret())
            .map_err(|error| bad(at, error.to_string()))?;
    }
    let named = tool.headers.iter().flatten();
    named
        .map(|(name, value)| {
            let at = format!("tools[{index}].headers.{name}");
            if RESERVED
                .iter()
                .any(|reserved| name.eq_ignore_ascii_case(reserved))
            {
                return Err(bad(
                    at,
                    "the MCP transport writes this header itself.".to_owned(),
                ));
            }
            portunus_egress::check_header(name, value.expose_secret())
                .map_err(|error| bad(at, error.to_string()))
        })
        .collect()
}

/// Headers that the transport needs for itself, beside those that egress refuses.
const RESERVED: [&str; 3] = ["accept", "accept-encoding", "content-type"];
