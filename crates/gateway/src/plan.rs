//! Pass through or loop, decided once, without IO.

use crate::error::Error;
use crate::policy::McpExecution;
use crate::route::Target;
use crate::servers::Server;
use portunus_protocol::error::{ErrorBody, code};
use portunus_protocol::request::Head;
use portunus_providers::Dialect;

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The provider speaks the client's dialect and nothing is for us to run: bytes untouched.
    PassThrough,
    /// The gateway runs the turns and the tools.
    ToolLoop,
}

/// Decides for one request. Where one of its targets needs the loop, the loop serves all.
pub(crate) fn decide<'a>(
    targets: impl Iterator<Item = &'a Target>,
    head: &Head<'_>,
    servers: &[Server],
    execution: McpExecution,
    names_ours: bool,
) -> Result<Plan, Error> {
    let needs_loop = |target: &Target| {
        let native = target.dialect() == Dialect::Responses;
        let runs_mcp = native && target.provider.runs_mcp();
        choose(native, runs_mcp, servers, execution) == Plan::ToolLoop
    };
    let mut targets = targets;
    let plan = match names_ours || targets.any(needs_loop) {
        true => Plan::ToolLoop,
        false => Plan::PassThrough,
    };
    if plan == Plan::ToolLoop {
        refuse_native_only(head)?;
    }
    if plan == Plan::PassThrough && execution == McpExecution::Provider {
        refuse_inside(servers)?;
    }
    Ok(plan)
}

fn choose(native: bool, runs_mcp: bool, servers: &[Server], execution: McpExecution) -> Plan {
    let gateway_runs = match execution {
        _ if servers.is_empty() => false,
        _ if !runs_mcp => true,
        McpExecution::Provider => false,
        McpExecution::Gateway => true,
        McpExecution::Auto => servers.iter().any(|server| server.inside),
    };
    if native && !gateway_runs {
        Plan::PassThrough
    } else {
        Plan::ToolLoop
    }
}

/// Connectors, tunnels and the fields around them exist at OpenAI only.
fn refuse_native_only(head: &Head<'_>) -> Result<(), Error> {
    for (index, tool) in head.mcp_tools() {
        let field = match (
            &tool.connector_id,
            &tool.tunnel_id,
            tool.native_only.keys().next(),
        ) {
            (Some(_), _, _) => "connector_id",
            (_, Some(_), _) => "tunnel_id",
            (_, _, Some(key)) if !is_default(tool.native_only.get(key)) => key.as_str(),
            _ => continue,
        };
        let at = format!("tools[{index}].{field}");
        let message = format!(
            "Unsupported parameter: '{at}': only OpenAI serves it, and here the gateway runs the tools. \
             Name the server by 'server_url'."
        );
        return Err(ErrorBody::invalid(at, code::UNSUPPORTED, message).into());
    }
    Ok(())
}

fn is_default(value: Option<&serde_json::Value>) -> bool {
    value.is_none_or(|value| *value == serde_json::Value::Bool(false))
}

fn refuse_inside(servers: &[Server]) -> Result<(), Error> {
    let Some(server) = servers.iter().find(|server| server.inside) else {
        return Ok(());
    };
    let at = format!("tools[{}].server_url", server.index);
    let message = format!(
        "Invalid '{at}': this server can only be reached by the gateway, but the config says \
         mcp_execution 'provider'. Use 'auto' or 'gateway'."
    );
    Err(ErrorBody::invalid(at, code::VALUE, message).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_protocol::request::McpTool;

    fn server(inside: bool) -> Server {
        Server {
            index: 0,
            tool: McpTool::default(),
            spec: None,
            inside,
        }
    }

    #[test]
    fn who_runs_what() {
        use McpExecution::{Auto, Gateway, Provider};
        use Plan::{PassThrough, ToolLoop};
        let (public, inside) = (vec![server(false)], vec![server(true)]);
        for (native, runs_mcp, servers, execution, expected) in [
            (true, true, &vec![], Gateway, PassThrough),
            (true, true, &public, Auto, PassThrough),
            (true, true, &inside, Auto, ToolLoop),
            (true, true, &public, Gateway, ToolLoop),
            (true, true, &public, Provider, PassThrough),
            (true, false, &public, Auto, ToolLoop),
            (true, false, &public, Provider, ToolLoop),
            (false, false, &public, Auto, ToolLoop),
            (false, false, &vec![], Auto, ToolLoop),
        ] {
            let got = choose(native, runs_mcp, servers, execution);
            assert_eq!(
                got,
                expected,
                "{native} {runs_mcp} {execution:?} {}",
                servers.len()
            );
        }
    }
}
