//! What the gateway is made of and what bounds it.

use crate::price::Prices;
use crate::record::Observer;
use portunus_protocol::request::ServerUrlEcho;
use portunus_store::Store;
use portunus_store::log_writer::LogWriter;
use portunus_store::vault::Vault;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The parts of a [`crate::Gateway`].
#[derive(Clone)]
pub struct Parts {
    /// The only way out.
    pub client: portunus_egress::Client,
    /// The way out to addresses that a config or a caller names: no allow-list opens anything.
    pub public_only: portunus_egress::Client,
    /// Sessions and tool lists of MCP servers.
    pub pool: portunus_mcp::Pool,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Opens stored credentials.
    pub vault: Arc<Vault>,
    /// Takes finished records.
    pub log: LogWriter,
    /// Cut when the process ends and takes its requests with it.
    pub cut: CancellationToken,
    /// Sees each finished record, for metrics.
    pub observer: Arc<dyn Observer>,
    /// What tokens cost.
    pub prices: Arc<Prices>,
    /// Every limit.
    pub bounds: Bounds,
    /// What the operator decided.
    pub policy: Policy,
    /// Provider keys found in the environment.
    pub environment_keys: Vec<EnvironmentKey>,
}

/// Every limit of the data path. `Default` is what is documented.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Turns of one response. Default 32.
    pub max_turns: u32,
    /// Longest run of one tool loop. Default 15 minutes.
    pub wall_clock: Duration,
    /// Most bytes that a provider may send in one turn. Default 32 MiB.
    pub max_turn_bytes: usize,
    /// Most bytes of one tool result that go to the model and into the item. Default 1 MiB.
    pub max_tool_output_bytes: usize,
    /// MCP calls of one response. Default 256.
    pub max_tool_calls: u64,
    /// Tool calls that run at once. Default 8.
    pub max_parallel_calls: usize,
    /// MCP servers in one request. Default 32.
    pub max_servers: usize,
    /// Responses before one that is continued or listed. Default 256.
    pub max_chain: usize,
    /// Input items that name something of an earlier response. Default 256.
    pub max_references: usize,
    /// Targets that one request may try. Default 100.
    pub max_targets: usize,
    /// Most bytes that are read of a provider's error. Default 1 MiB.
    pub max_error_bytes: usize,
    /// Most bytes of a provider's list of models. Default 4 MiB.
    pub max_models_bytes: usize,
    /// Longest event of a relayed stream that the log looks into. Default 8 MiB.
    pub max_tapped_event_bytes: usize,
    /// Longest answer that is kept for its idempotency key. Default 8 MiB.
    pub max_repeated_bytes: usize,
    /// How long an idempotency key is kept. Default 24 hours.
    pub idempotency_life: Duration,
    /// Longest wait for a provider's list of models. Default 5 s.
    pub models_wait: Duration,
    /// Longest wait for the rest of a stream whose turn is over, so that its connection can be
    /// used again. Default 50 ms.
    pub drain: Duration,
    /// Events that wait for a slow client; then the loop waits, and the provider behind it.
    /// Default 32.
    pub event_queue: usize,
    /// Longest wait for a provider's head; an answer that is not streamed has none before it is
    /// whole. Default 600 s.
    pub provider_first_byte: Duration,
    /// Longest pause in a provider's stream. Default 120 s.
    pub provider_idle: Duration,
    /// How long a stored response is kept. Default 30 days.
    pub response_life: Duration,
    /// How long a request for approval may be answered. Default 24 hours.
    pub approval_life: Duration,
    /// Pause after which a stream to the client gets a comment line. Default 15 s.
    pub keep_alive: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_turns: 32,
            wall_clock: Duration::from_secs(15 * 60),
            max_turn_bytes: 32 << 20,
            max_tool_output_bytes: 1 << 20,
            max_tool_calls: 256,
            max_parallel_calls: 8,
            max_servers: 32,
            max_chain: 256,
            max_references: 256,
            max_targets: 100,
            max_error_bytes: 1 << 20,
            max_models_bytes: 4 << 20,
            max_tapped_event_bytes: 8 << 20,
            max_repeated_bytes: 8 << 20,
            idempotency_life: Duration::from_secs(24 * 3600),
            models_wait: Duration::from_secs(5),
            drain: Duration::from_millis(50),
            event_queue: 32,
            provider_first_byte: Duration::from_secs(600),
            provider_idle: Duration::from_secs(120),
            response_life: Duration::from_secs(30 * 24 * 3600),
            approval_life: Duration::from_secs(24 * 3600),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What the operator decided.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How much of a request is kept in the log.
    pub payload: PayloadLevel,
    /// Most bytes of one body in the log. Default 64 KiB.
    pub payload_max_bytes: usize,
    /// Whether responses are stored at all.
    pub store_responses: bool,
    /// How `server_url` is shown to its caller.
    pub server_url: ServerUrlEcho,
    /// Who runs MCP servers for a provider that could.
    pub mcp_execution: McpExecution,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            payload: PayloadLevel::default(),
            payload_max_bytes: 64 << 10,
            store_responses: true,
            server_url: ServerUrlEcho::default(),
            mcp_execution: McpExecution::default(),
        }
    }
}

/// How much of a request is kept in the log. Values of `headers` and `authorization` of a
/// tool, and the path of its `server_url`, are kept at no level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PayloadLevel {
    /// Counts and times only.
    None,
    /// Also the caller's metadata.
    Metadata,
    /// Also bodies, arguments and results, with everything that looks like a secret blanked.
    #[default]
    Redacted,
    /// Bodies, arguments and results as they were.
    Full,
}

impl PayloadLevel {
    /// The word in settings and log rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }
}

/// Who runs MCP servers for a provider that could run them itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum McpExecution {
    /// The provider, unless a server is one that only the gateway can reach.
    #[default]
    Auto,
    /// Always the provider.
    Provider,
    /// Always the gateway.
    Gateway,
}

impl McpExecution {
    /// Reads the word of settings and configs.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "provider" => Some(Self::Provider),
            "gateway" => Some(Self::Gateway),
            _ => None,
        }
    }
}

/// A provider key from the environment: a virtual key of the provider's name in the default
/// workspace, kept in memory only.
#[derive(Clone, Debug)]
pub struct EnvironmentKey {
    /// The provider, and the slug.
    pub provider: String,
    /// The variable it was found in.
    pub variable: String,
    /// The key.
    pub secret: SecretString,
}
