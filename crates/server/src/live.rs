//! What the settings decide, in one immutable piece: a reload makes another and puts it in the
//! place of this one. A request reads it once and keeps what it began with.

use crate::settings::{self, Settings};
use anyhow::Result;
use portunus_egress::{AllowList, Client, Own};
use portunus_gateway::{Bounds, EnvironmentKey, Gateway, Parts, PayloadLevel, Policy};
use portunus_protocol::request::ServerUrlEcho;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

const HOUR: Duration = Duration::from_secs(3_600);

/// Settings, and the parts that are made from them.
#[derive(Clone)]
pub struct Live {
    /// What the operator set.
    pub settings: Settings,
    /// The data path.
    pub gateway: Arc<Gateway>,
    /// TLS of the API listener; made when that is bound.
    pub tls: Option<TlsAcceptor>,
}

impl Live {
    /// The way out, for checks of addresses.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.gateway.parts().client
    }

    /// Judges the addresses that a tenant names: no allow-list opens anything in it.
    #[must_use]
    pub fn public_only(&self) -> &Client {
        &self.gateway.parts().public_only
    }

    /// Provider keys found in the environment.
    #[must_use]
    pub fn environment_keys(&self) -> &[EnvironmentKey] {
        &self.gateway.parts().environment_keys
    }

    /// The same process under other settings. Sessions with MCP servers stay, and so do the
    /// connections out unless their own settings have changed.
    ///
    /// # Errors
    /// When the way out cannot be built.
    pub fn with(
        &self,
        settings: Settings,
        environment_keys: Vec<EnvironmentKey>,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self> {
        let before = self.gateway.parts();
        let own = before.client.settings().own.clone();
        let public_only = public_only(&settings, own.clone());
        let client = client(&before.client, egress(&settings, own)?)?;
        let parts = Parts {
            pool: before.pool.with(client.clone(), mcp_bounds(&settings)),
            client,
            public_only: self::client(&before.public_only, public_only)?,
            bounds: bounds(&settings),
            policy: policy(&settings),
            environment_keys,
            ..before.clone()
        };
        Ok(Self {
            gateway: self.gateway.with(parts),
            settings,
            tls,
        })
    }
}

/// A way out by these settings: the one that there is, if it is by the same.
fn client(before: &Client, settings: portunus_egress::Settings) -> Result<Client> {
    match *before.settings() == settings {
        true => Ok(before.clone()),
        false => Ok(Client::new(settings)?),
    }
}

/// As [`egress`], for addresses that a config or a caller names: nothing is on the lists.
#[must_use]
pub fn public_only(settings: &Settings, own: Own) -> portunus_egress::Settings {
    portunus_egress::Settings {
        connect_timeout: ms(settings.limits.connect_timeout_ms),
        first_byte_timeout: ms(settings.providers.first_byte_timeout_ms),
        idle_timeout: ms(settings.providers.idle_timeout_ms),
        max_body_bytes: settings.providers.max_body_bytes,
        own,
        ..portunus_egress::Settings::default()
    }
}

/// What the way out is built from; `own` is where the process listens.
///
/// # Errors
/// When an allow-list cannot be read.
pub fn egress(settings: &Settings, own: Own) -> Result<portunus_egress::Settings> {
    Ok(portunus_egress::Settings {
        mcp_allow: AllowList::parse(&settings.mcp.allow)?,
        provider_allow: AllowList::parse(&settings.providers.allow)?,
        ..public_only(settings, own)
    })
}

/// Limits of the MCP client.
#[must_use]
pub fn mcp_bounds(settings: &Settings) -> portunus_mcp::Bounds {
    portunus_mcp::Bounds {
        list_timeout: ms(settings.mcp.list_timeout_ms),
        call_timeout: ms(settings.mcp.call_timeout_ms),
        max_pages: settings.mcp.max_pages,
        max_tools: settings.mcp.max_tools,
        max_list_bytes: settings.mcp.max_list_bytes,
        max_result_bytes: settings.mcp.max_result_bytes,
        max_sessions: settings.mcp.max_sessions,
        tool_list_ttl: Duration::from_secs(settings.mcp.tool_list_ttl_seconds),
        session_idle: Duration::from_secs(settings.mcp.session_idle_seconds),
        ..portunus_mcp::Bounds::default()
    }
}

/// Limits of the data path.
#[must_use]
pub fn bounds(settings: &Settings) -> Bounds {
    Bounds {
        max_turns: settings.limits.turns,
        wall_clock: ms(settings.limits.request_timeout_ms),
        max_turn_bytes: settings.limits.turn_bytes,
        max_tool_output_bytes: settings.limits.tool_output_bytes,
        max_tool_calls: settings.limits.tool_calls.into(),
        max_parallel_calls: settings.limits.parallel_tool_calls,
        max_servers: settings.limits.mcp_servers,
        provider_first_byte: ms(settings.providers.first_byte_timeout_ms),
        provider_idle: ms(settings.providers.idle_timeout_ms),
        response_life: HOUR * 24 * settings.state.response_days,
        approval_life: HOUR * settings.state.approval_hours,
        ..Bounds::default()
    }
}

/// What the operator decided.
#[must_use]
pub fn policy(settings: &Settings) -> Policy {
    Policy {
        payload: match settings.log.payload {
            settings::PayloadLevel::None => PayloadLevel::None,
            settings::PayloadLevel::Metadata => PayloadLevel::Metadata,
            settings::PayloadLevel::Redacted => PayloadLevel::Redacted,
            settings::PayloadLevel::Full => PayloadLevel::Full,
        },
        payload_max_bytes: settings.log.payload_max_bytes,
        store_responses: settings.state.store,
        server_url: match settings.response.server_url {
            settings::ServerUrl::Origin => ServerUrlEcho::Origin,
            settings::ServerUrl::Full => ServerUrlEcho::Full,
        },
        mcp_execution: match settings.mcp.execution {
            settings::Execution::Auto => portunus_gateway::McpExecution::Auto,
            settings::Execution::Provider => portunus_gateway::McpExecution::Provider,
            settings::Execution::Gateway => portunus_gateway::McpExecution::Gateway,
        },
    }
}

/// A number of milliseconds.
#[must_use]
pub fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}
