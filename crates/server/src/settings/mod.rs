//! Process settings: where to listen, what to keep, every bound of the process.
//!
//! They come from `portunus.toml`, the environment (`PORTUNUS_SECTION__FIELD`, a top-level
//! field without a section) and the command line, the later over the earlier. Nothing here
//! is a secret. Routing of requests is not a matter of settings.

mod check;
mod load;

pub use load::{Given, Problem, Problems, Sources, load};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where both Portkey SDKs look when no gateway key is set.
pub const DEFAULT_PORT: u16 = 8787;

/// All settings of the process. Every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port of the API. An address that is not loopback needs `[tls]` or
    /// `insecure_bind`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Folder of the database, the master key and the admin token; made with mode 0700.
    pub data_dir: PathBuf,
    /// URL of the database, such as `sqlite:///var/lib/portunus/portunus.db` or
    /// `postgres://portunus@db.example/portunus`. Default: `portunus.db` in `data_dir`.
    pub database: Option<String>,
    /// Allows a bind without TLS on an address that is not loopback: for a network where
    /// somebody else ends TLS in front of the gateway.
    pub insecure_bind: bool,
    /// Lets the system write a core dump of the process. A dump holds keys in clear.
    pub core_dumps: bool,
    /// Remote MCP servers.
    pub mcp: Mcp,
    /// Model providers.
    pub providers: Providers,
    /// The request log and the process's own log.
    pub log: Log,
    /// Bounds of what is taken in, and of one request's work.
    pub limits: Limits,
    /// What outlives a request: responses and requests for approval.
    pub state: State,
    /// What answers show.
    pub response: Answers,
    /// Metrics.
    pub metrics: Metrics,
    /// TLS of the API listener.
    pub tls: Tls,
    /// How the process ends.
    pub shutdown: Shutdown,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            data_dir: default_data_dir(),
            database: None,
            insecure_bind: false,
            core_dumps: false,
            mcp: Mcp::default(),
            providers: Providers::default(),
            log: Log::default(),
            limits: Limits::default(),
            state: State::default(),
            response: Answers::default(),
            metrics: Metrics::default(),
            tls: Tls::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Settings {
    /// URL of the database, the default filled in.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database.clone().unwrap_or_else(|| {
            let path = self.data_dir.join("portunus.db").display().to_string();
            // What would end the path in a URL, and what would be taken for an escape.
            let path = path
                .replace('%', "%25")
                .replace('?', "%3F")
                .replace('#', "%23");
            format!("sqlite://{path}")
        })
    }

    /// The certificate and key files when TLS is on.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.tls.cert.as_ref().zip(self.tls.key.as_ref())
    }
}

/// `$XDG_DATA_HOME/portunus`, else `~/.local/share/portunus`, else `portunus-data` here.
fn default_data_dir() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(
            || PathBuf::from("portunus-data"),
            |base| base.join("portunus"),
        )
}

/// Who runs MCP servers for a provider that could run them itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// The provider runs public servers, the gateway those that only it can reach.
    Auto,
    /// Always the provider.
    Provider,
    /// Always the gateway.
    Gateway,
}

/// Remote MCP servers: which inside addresses may be reached, and every bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// Addresses that are reached though they are not public, and without TLS when the URL
    /// says so: networks (`127.0.0.0/8`), hosts (`tools.corp.example`), hosts with a port
    /// (`tools.corp.example:8443`).
    pub allow: Vec<String>,
    /// Who runs the servers of a request for a provider that could do so itself.
    pub execution: Execution,
    /// Longest time to list the tools of one server, all pages, in milliseconds.
    pub list_timeout_ms: u64,
    /// Longest time of one tool call, in milliseconds.
    pub call_timeout_ms: u64,
    /// Most pages of one tool list.
    pub max_pages: usize,
    /// Most tools of one server.
    pub max_tools: usize,
    /// Largest tool list of one server, in bytes.
    pub max_list_bytes: usize,
    /// Largest result of one tool call, in bytes.
    pub max_result_bytes: usize,
    /// Most sessions kept warm.
    pub max_sessions: usize,
    /// How long a tool list is used again, in seconds.
    pub tool_list_ttl_seconds: u64,
    /// How long an unused session is kept, in seconds.
    pub session_idle_seconds: u64,
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            execution: Execution::Auto,
            list_timeout_ms: 20_000,
            call_timeout_ms: 60_000,
            max_pages: 50,
            max_tools: 2_000,
            max_list_bytes: 8 << 20,
            max_result_bytes: 16 << 20,
            max_sessions: 1_024,
            tool_list_ttl_seconds: 300,
            session_idle_seconds: 600,
        }
    }
}

/// Model providers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Providers {
    /// Addresses that are reached though the guard for providers forbids them (loopback and
    /// private addresses need no entry). Same spelling as `mcp.allow`.
    pub allow: Vec<String>,
    /// Offer a provider key found in its usual environment variable (`OPENAI_API_KEY`, …) as
    /// a virtual key of the provider's name. Such a key is never written to disk.
    pub environment_keys: bool,
    /// Longest wait for the head of an answer, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// Longest silence within an answer, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Largest answer after decompression, in bytes.
    pub max_body_bytes: usize,
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            environment_keys: true,
            first_byte_timeout_ms: 600_000,
            idle_timeout_ms: 120_000,
            max_body_bytes: 64 << 20,
        }
    }
}

/// How much of the bodies a log row keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayloadLevel {
    /// Counts, times and outcomes alone.
    None,
    /// Also the caller's metadata.
    Metadata,
    /// Also bodies, arguments and results, with everything that looks like a secret blanked.
    Redacted,
    /// Bodies, arguments and results as they were. Values of `headers` and `authorization` and the
    /// path of a `server_url` are kept at no level.
    Full,
}

/// The form of the process's own log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The request log (in the database) and the process's own log (on standard error).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How much of the bodies a row keeps.
    pub payload: PayloadLevel,
    /// Largest body kept in a row, in bytes.
    pub payload_max_bytes: usize,
    /// Rows that may wait for the database. When it is full, bodies are dropped first, then
    /// rows; both are counted.
    pub queue: usize,
    /// Most rows of one transaction.
    pub batch: usize,
    /// Longest wait of a row before it is written, in milliseconds.
    pub flush_ms: u64,
    /// How long a row is kept, in days; 0 keeps it for ever.
    pub retention_days: u32,
    /// Form of the process's own log.
    pub format: LogFormat,
    /// What the process's own log says: a level, or directives such as
    /// `info,portunus_mcp=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            payload: PayloadLevel::Redacted,
            payload_max_bytes: 64 << 10,
            queue: 4_096,
            batch: 256,
            flush_ms: 200,
            retention_days: 30,
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// Bounds of what is taken in, and of one request's work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Longest time for a request body to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// Longest time for a request head to arrive, in milliseconds.
    pub header_timeout_ms: u64,
    /// Longest time that a client may leave its answer unread, in milliseconds.
    pub write_timeout_ms: u64,
    /// Most header fields of a request.
    pub headers: usize,
    /// Largest request head, in bytes.
    pub header_bytes: usize,
    /// Most connections open at a time.
    pub connections: usize,
    /// Most model requests at work at a time; one more is answered 503.
    pub concurrency: usize,
    /// Longest wait for a connection to a provider or an MCP server, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Most model turns of one request.
    pub turns: u32,
    /// Longest run of one tool loop, in milliseconds.
    pub request_timeout_ms: u64,
    /// Most bytes that one model turn may give.
    pub turn_bytes: usize,
    /// Most calls of MCP tools in one response, however many `max_tool_calls` asks for.
    pub tool_calls: u32,
    /// Most tool calls at work at a time within one request.
    pub parallel_tool_calls: usize,
    /// Most bytes of one tool result that the model and the answer get.
    pub tool_output_bytes: usize,
    /// Most MCP servers of one request.
    pub mcp_servers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            body_timeout_ms: 60_000,
            header_timeout_ms: 10_000,
            write_timeout_ms: 60_000,
            headers: 100,
            header_bytes: 64 << 10,
            connections: 8_192,
            concurrency: 4_096,
            connect_timeout_ms: 5_000,
            turns: 32,
            request_timeout_ms: 900_000,
            turn_bytes: 32 << 20,
            tool_calls: 256,
            parallel_tool_calls: 8,
            tool_output_bytes: 1 << 20,
            mcp_servers: 32,
        }
    }
}

/// What outlives a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// Whether responses are stored at all. `false` treats every request as `store: false`.
    pub store: bool,
    /// How long a response is kept for `previous_response_id` and `GET /v1/responses/{id}`, in
    /// days. A request with `store: false` is not kept at all.
    pub response_days: u32,
    /// How long a request for approval can be answered, in hours.
    pub approval_hours: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            store: true,
            response_days: 30,
            approval_hours: 24,
        }
    }
}

/// How the URL of an MCP server is shown to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerUrl {
    /// Origin plus `/<redacted>`.
    Origin,
    /// As the caller sent it, without query and userinfo. Stored rows never hold it.
    Full,
}

/// What answers show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// How `server_url` is echoed.
    pub server_url: ServerUrl,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            server_url: ServerUrl::Origin,
        }
    }
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// A listener of their own for `/metrics`, `/livez` and `/readyz`, without login: keep it
    /// inside. Without it `/metrics` is on the API listener (open on loopback, else for the
    /// admin alone).
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
}

/// TLS of the API listener; both files or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// The private key, PEM.
    pub key: Option<PathBuf>,
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long running requests may go on after the first signal, in milliseconds.
    pub grace_ms: u64,
    /// How long new connections are still taken while `/readyz` already says 503, so that a
    /// load balancer sees it, in milliseconds.
    pub delay_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace_ms: 30_000,
            delay_ms: 250,
        }
    }
}
