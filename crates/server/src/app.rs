//! The composition root: settings in, the parts of a running gateway out.

use crate::admin::api_keys::{self, NewKey};
use crate::api::reply::Admission;
use crate::auth::Keys;
use crate::first_start::{self, Environment, Found};
use crate::in_use::{self, InUse};
use crate::metrics::Metrics;
use crate::settings::{self, Settings};
use anyhow::{Context, Result};
use portunus_egress::{AllowList, Client};
use portunus_gateway::{Bounds, EnvironmentKey, Gateway, Parts, PayloadLevel, Policy, Prices};
use portunus_mcp::Pool;
use portunus_protocol::request::ServerUrlEcho;
use portunus_store::log_writer::{LogSettings, LogWriter};
use portunus_store::vault::Vault;
use portunus_store::{ApiKeyDefaults, DEFAULT_WORKSPACE_ID, PEPPER, Page, Store};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// How long the end of the process waits for its background work.
const CLOSING_WAIT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);

/// The app as handlers share it.
pub type Shared = Arc<App>;

/// How far the process is in its life.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The end has begun: no new traffic, please.
    pub draining: CancellationToken,
    /// Grace is over: what still runs is cut.
    pub cut: CancellationToken,
    /// The last words have had their time: connections that are left are dropped.
    pub gone: CancellationToken,
}

/// The parts of a running gateway. Many may live in one process.
pub struct App {
    /// What the operator set.
    pub settings: Settings,
    /// The data path.
    pub gateway: Arc<Gateway>,
    /// Sessions with MCP servers.
    pub pool: Pool,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Seals and opens credentials.
    pub vault: Arc<Vault>,
    /// The request log.
    pub log: LogWriter,
    /// What opens the gateway.
    pub keys: Keys,
    /// The way out, for checks of addresses.
    pub client: Client,
    /// Judges the addresses that a tenant names: no allow-list opens anything in it.
    pub public_only: Client,
    /// Provider keys found in the environment.
    pub environment_keys: Vec<EnvironmentKey>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How many requests may be at work.
    pub admission: Admission,
    /// How far the process is in its life.
    pub life: Life,
    /// Background work that the end of the process waits for.
    pub tasks: TaskTracker,
    /// What this start made, for the person who started it.
    pub made: Made,
    _in_use: InUse,
}

/// What a start made because nobody had given it.
#[derive(Debug, Default)]
pub struct Made {
    /// The admin token.
    pub admin_token: Option<Found>,
    /// The master key.
    pub master_key: Option<Found>,
}

impl App {
    /// Builds the parts: data folder, database, keys, the way out, the gateway.
    ///
    /// # Errors
    /// In one sentence that says what to do: no data folder, no database, a master key that does
    /// not fit, a bad token.
    pub async fn build(settings: Settings, environment: Environment<'_>) -> Result<Shared> {
        first_start::data_dir(&settings.data_dir)?;
        let in_use = in_use::shared(&settings.data_dir)?;
        let url = settings.database_url();
        let store = portunus_store::open(&url)
            .await
            .with_context(|| format!("cannot open {}", portunus_store::shown(&url)))?;
        let (vault, keys, made) = secrets(&settings, environment, store.as_ref()).await?;
        let client = client(&settings)?;
        let tasks = TaskTracker::new();
        let log = LogWriter::start(Arc::clone(&store), log_settings(&settings), &tasks);
        let metrics = Arc::new(Metrics::default());
        let environment_keys = match settings.providers.environment_keys {
            true => environment_keys(environment),
            false => Vec::new(),
        };
        let life = Life::default();
        let pool = Pool::new(client.clone(), mcp_bounds(&settings));
        let gateway = Gateway::new(Parts {
            cut: life.cut.clone(),
            client: client.clone(),
            pool: pool.clone(),
            store: Arc::clone(&store),
            vault: Arc::clone(&vault),
            log: log.clone(),
            observer: Arc::clone(&metrics) as Arc<dyn portunus_gateway::Observer>,
            prices: Arc::new(Prices::bundled()?),
            bounds: bounds(&settings),
            policy: policy(&settings),
            environment_keys: environment_keys.clone(),
        });
        let admission = Admission::new(settings.limits.concurrency);
        Ok(Arc::new(Self {
            settings,
            gateway,
            pool,
            store,
            vault,
            log,
            keys,
            client,
            public_only: Client::new(portunus_egress::Settings::default())?,
            environment_keys,
            metrics,
            admission,
            life,
            tasks,
            made,
            _in_use: in_use,
        }))
    }

    /// Makes a first API key when the default workspace has none, so that the first request needs
    /// no second command. Its default virtual key is the environment's, when there is just one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_api_key(&self) -> Result<Option<SecretString>> {
        let one = Page {
            limit: 1,
            offset: 0,
        };
        if self
            .store
            .list_api_keys(DEFAULT_WORKSPACE_ID, one)
            .await?
            .total
            > 0
        {
            return Ok(None);
        }
        let virtual_key = only_provider(&self.environment_keys);
        let new = NewKey {
            workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
            name: "first".to_owned(),
            scopes: api_keys::DEFAULT_SCOPES.map(str::to_owned).to_vec(),
            defaults: ApiKeyDefaults {
                virtual_key,
                ..ApiKeyDefaults::default()
            },
            expires_at: None,
        };
        let (_, secret) = api_keys::mint(self, new).await?;
        Ok(Some(secret))
    }

    /// Ends what works beside the requests, each part before what it needs: MCP servers are told
    /// of canceled calls, the log is written out, then the database is closed. For the end, when
    /// no request is at work any more.
    pub async fn close(&self) {
        self.life.draining.cancel();
        self.tasks.close();
        let finished = async {
            self.log.flush().await;
            self.pool.close().await;
            self.log.close().await;
            self.tasks.wait().await;
            self.store.close().await;
        };
        if tokio::time::timeout(CLOSING_WAIT, finished).await.is_err() {
            tracing::error!("the request log could not be written out in time");
        }
    }
}

/// Master key and admin token, checked against the database.
async fn secrets(
    settings: &Settings,
    environment: Environment<'_>,
    store: &dyn Store,
) -> Result<(Arc<Vault>, Keys, Made)> {
    let sealed = store.vault_meta(PEPPER).await?.is_some();
    let (ring, master_key) = first_start::master_key(&settings.data_dir, environment, sealed)?;
    let unlocked = first_start::unlock(settings, store, ring).await?;
    let admin_token = first_start::admin_token(&settings.data_dir, environment)?;
    let keys = Keys::new(Zeroizing::new(*unlocked.pepper), admin_token.secret.clone());
    let made = Made {
        admin_token: admin_token.made.is_some().then_some(admin_token),
        master_key: master_key.made.is_some().then_some(master_key),
    };
    Ok((Arc::new(unlocked.vault), keys, made))
}

/// Keys of all known providers in their usual variables. Two providers may share a variable
/// (`openai` and `openai-chat`): both are offered.
fn environment_keys(environment: Environment<'_>) -> Vec<EnvironmentKey> {
    let key_of = |provider: &&dyn portunus_providers::Provider| {
        let variable = provider.env_key()?;
        let text = environment(variable)?;
        let secret = text.trim();
        (!secret.is_empty()).then(|| EnvironmentKey {
            provider: provider.name().to_owned(),
            variable: variable.to_owned(),
            secret: SecretString::from(secret.to_owned()),
        })
    };
    portunus_providers::all()
        .iter()
        .filter_map(key_of)
        .collect()
}

/// The provider that a first API key defaults to: the environment's, when it has a key of just
/// one (of two that share it, the one with the plain name).
fn only_provider(keys: &[EnvironmentKey]) -> Option<String> {
    let plain = keys.iter().min_by_key(|key| key.provider.len())?;
    let one = keys.iter().all(|key| key.variable == plain.variable);
    one.then(|| plain.provider.clone())
}

fn client(settings: &Settings) -> Result<Client> {
    let limits = portunus_egress::Settings {
        mcp_allow: AllowList::parse(&settings.mcp.allow)?,
        provider_allow: AllowList::parse(&settings.providers.allow)?,
        connect_timeout: ms(settings.limits.connect_timeout_ms),
        first_byte_timeout: ms(settings.providers.first_byte_timeout_ms),
        idle_timeout: ms(settings.providers.idle_timeout_ms),
        max_body_bytes: settings.providers.max_body_bytes,
    };
    Ok(Client::new(limits)?)
}

fn log_settings(settings: &Settings) -> LogSettings {
    LogSettings {
        queue: settings.log.queue,
        batch: settings.log.batch,
        flush: ms(settings.log.flush_ms),
    }
}

fn mcp_bounds(settings: &Settings) -> portunus_mcp::Bounds {
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

fn bounds(settings: &Settings) -> Bounds {
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

fn policy(settings: &Settings) -> Policy {
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

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}
