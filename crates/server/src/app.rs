//! The composition root: settings in, the parts of a running gateway out.

use crate::admin::api_keys::{self, NewKey};
use crate::api::reply::Admission;
use crate::auth::Keys;
use crate::exporting::Exports;
use crate::first_start::{self, Environment, Found};
use crate::in_use::{self, InUse};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reload::Origin;
use crate::settings::{Problems, Settings};
use crate::{examine, live};
use anyhow::{Context, Result};
use portunus_egress::{Client, Own};
use portunus_gateway::{EnvironmentKey, Gateway, Parts, Prices};
use portunus_mcp::Pool;
use portunus_store::log_writer::{LogSettings, LogWriter};
use portunus_store::vault::Vault;
use portunus_store::{ApiKeyDefaults, DEFAULT_WORKSPACE_ID, PEPPER, Page, Store};
use secrecy::SecretString;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// How long the end of the process waits for requests that it has cut.
const FILING_WAIT: Duration = Duration::from_secs(1);
/// How long the end of the process waits for its background work.
const CLOSING_WAIT: Duration = Duration::from_secs(10);

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
    live: RwLock<Arc<Live>>,
    /// Reads the settings anew, when the process was started from a source of them.
    pub origin: Option<Origin>,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Seals and opens credentials.
    pub vault: Arc<Vault>,
    /// The request log.
    pub log: LogWriter,
    /// What opens the gateway.
    pub keys: Keys,
    /// Exports of the request log.
    pub exports: Exports,
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
    /// What the master key was known by at the start.
    pub master_key: String,
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
        Self::assemble(settings, environment, None).await
    }

    /// As [`App::build`], from a source that a reload reads again.
    ///
    /// # Errors
    /// As there, and when the settings have problems.
    pub async fn from_origin(settings: Settings, origin: Origin) -> Result<Shared> {
        let environment = Arc::clone(&origin.environment);
        Self::assemble(settings, &|name| environment(name), Some(origin)).await
    }

    async fn assemble(
        settings: Settings,
        environment: Environment<'_>,
        origin: Option<Origin>,
    ) -> Result<Shared> {
        first_start::data_dir(&settings.data_dir)?;
        let in_use = in_use::shared(&settings.data_dir)?;
        let url = settings.database_url();
        let environment_keys =
            examine::environment_keys(&settings, environment).map_err(Problems)?;
        let store = portunus_store::open(&url)
            .await
            .with_context(|| format!("cannot open {}", portunus_store::shown(&url)))?;
        let secrets = secrets(&settings, environment, store.as_ref()).await?;
        let client = Client::new(live::egress(&settings, Own::default())?)?;
        let own = client.settings().own.clone();
        let tasks = TaskTracker::new();
        let log = LogWriter::start(Arc::clone(&store), log_settings(&settings), &tasks);
        let metrics = Arc::new(Metrics::default());
        let life = Life::default();
        let gateway = Gateway::new(Parts {
            cut: life.cut.clone(),
            pool: Pool::new(client.clone(), live::mcp_bounds(&settings)),
            client,
            public_only: Client::new(live::public_only(&settings, own))?,
            store: Arc::clone(&store),
            vault: Arc::clone(&secrets.vault),
            log: log.clone(),
            observer: Arc::clone(&metrics) as Arc<dyn portunus_gateway::Observer>,
            prices: Arc::new(Prices::bundled()?),
            bounds: live::bounds(&settings),
            policy: live::policy(&settings),
            environment_keys,
        });
        let admission = Admission::new(settings.limits.concurrency);
        let exports = Exports::new(&settings.data_dir);
        let live = Live {
            settings,
            gateway,
            tls: None,
        };
        Ok(Arc::new(Self {
            live: RwLock::new(Arc::new(live)),
            origin,
            store,
            vault: secrets.vault,
            log,
            keys: secrets.keys,
            exports,
            metrics,
            admission,
            life,
            tasks,
            made: secrets.made,
            master_key: secrets.master_key,
            _in_use: in_use,
        }))
    }

    /// The settings as they are now, with what is made from them. Read it once per request.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in the place of those that are live.
    pub fn go_live(&self, live: Live) {
        self.admission.allow(live.settings.limits.concurrency);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
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
        let virtual_key = only_provider(self.live().environment_keys());
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
        let filed = tokio::time::timeout(FILING_WAIT, self.live().gateway.filed()).await;
        if filed.is_err() {
            tracing::error!("a request did not end: its log row is lost");
        }
        let finished = async {
            self.log.flush().await;
            self.live().gateway.parts().pool.close().await;
            self.log.close().await;
            self.tasks.wait().await;
            self.store.close().await;
        };
        if tokio::time::timeout(CLOSING_WAIT, finished).await.is_err() {
            tracing::error!("the request log could not be written out in time");
        }
    }
}

/// What keys open.
struct Secrets {
    vault: Arc<Vault>,
    keys: Keys,
    made: Made,
    master_key: String,
}

/// Master key and admin token, checked against the database.
async fn secrets(
    settings: &Settings,
    environment: Environment<'_>,
    store: &dyn Store,
) -> Result<Secrets> {
    let sealed = store.vault_meta(PEPPER).await?.is_some();
    let (ring, master_key) = first_start::master_key(&settings.data_dir, environment, sealed)?;
    let known_by = ring.check_value();
    let unlocked = first_start::unlock(settings, store, ring).await?;
    let admin_token = first_start::admin_token(&settings.data_dir, environment)?;
    let keys = Keys::new(Zeroizing::new(*unlocked.pepper), admin_token.secret.clone());
    let made = Made {
        admin_token: admin_token.made.is_some().then_some(admin_token),
        master_key: master_key.made.is_some().then_some(master_key),
    };
    Ok(Secrets {
        vault: Arc::new(unlocked.vault),
        keys,
        made,
        master_key: known_by,
    })
}

/// The provider that a first API key defaults to: the environment's, when it has a key of just
/// one (of two that share it, the one with the plain name).
fn only_provider(keys: &[EnvironmentKey]) -> Option<String> {
    let plain = keys.iter().min_by_key(|key| key.provider.len())?;
    let one = keys.iter().all(|key| key.variable == plain.variable);
    one.then(|| plain.provider.clone())
}

fn log_settings(settings: &Settings) -> LogSettings {
    LogSettings {
        queue: settings.log.queue,
        batch: settings.log.batch,
        flush: live::ms(settings.log.flush_ms),
    }
}
