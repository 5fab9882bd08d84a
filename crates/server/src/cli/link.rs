//! How a command reaches the admin API: the gateway that works on the data folder, through its
//! socket; else one that answers on the address; else the same API built for the moment on the
//! data folder.

use super::out::Out;
use super::serve::announce;
use super::{Global, environment};
use crate::app::{App, Shared};
use crate::settings::Settings;
use crate::{first_start, local, router};
use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use portunus_egress::{AllowList, Client, Limits, SendError, Zone};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tower::ServiceExt;

/// How long the question whether a gateway runs may take.
const PROBE: Duration = Duration::from_secs(2);
/// Longest answer of the admin API that a command reads.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// The way to the admin API.
pub(super) struct Link {
    token: SecretString,
    to: To,
}

enum To {
    Socket { data_dir: PathBuf },
    Address { client: Client, base: String },
    Here { app: Shared, router: Router },
}

/// An answer without end, piece by piece.
pub(super) enum Pieces {
    Socket(local::Answer),
    Address(portunus_egress::Body),
}

impl Pieces {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the gateway goes away.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Address(body) => Ok(body.chunk().await?),
            Self::Socket(answer) => match answer.response.frame().await.transpose()? {
                // Trailers are no piece of the answer.
                Some(frame) => Ok(Some(frame.into_data().unwrap_or_default())),
                None => Ok(None),
            },
        }
    }
}

impl Link {
    /// Does a command's work and ends what was built for it.
    ///
    /// # Errors
    /// As [`Link::open`], and those of the work.
    pub(super) async fn through(
        global: &Global,
        work: impl AsyncFnOnce(&Self, Out) -> Result<()>,
    ) -> Result<ExitCode> {
        let link = Self::open(global).await?;
        let outcome = work(&link, global.out()).await;
        if let To::Here { app, .. } = link.to {
            app.close().await;
        }
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// As [`Link::through`], but only with a gateway that runs.
    ///
    /// # Errors
    /// As there, and when none runs.
    pub(super) async fn to_running(
        global: &Global,
        work: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let settings = global.settings()?;
        match Self::running(&settings).await? {
            Some(link) => work(&link).await,
            None => bail!(
                "no gateway runs on {} or {}",
                settings.data_dir.display(),
                settings.listen
            ),
        }
    }

    /// Finds the gateway that the options name.
    ///
    /// # Errors
    /// When the settings are no good, when something else listens there, when the data folder
    /// cannot be opened.
    async fn open(global: &Global) -> Result<Self> {
        let settings = global.settings()?;
        if let Some(link) = Self::running(&settings).await? {
            return Ok(link);
        }
        let data_dir = settings.data_dir.clone();
        let app = App::build(settings, &environment).await?;
        announce(&app.made);
        let token = first_start::admin_token(&data_dir, &environment)?.secret;
        let router = router::api(&app);
        Ok(Self {
            token,
            to: To::Here { app, router },
        })
    }

    /// The way to the gateway that runs, if one does.
    async fn running(settings: &Settings) -> Result<Option<Self>> {
        let tls = settings.tls_files().is_some();
        let Some(to) = running(settings.listen, tls, &settings.data_dir).await? else {
            return Ok(None);
        };
        let token = first_start::existing_admin_token(&settings.data_dir, &environment)?;
        let token = token.with_context(|| {
            format!(
                "a gateway runs on {}, but {} holds no admin token: pass its --data-dir, \
                 or set PORTUNUS_ADMIN_TOKEN",
                settings.listen,
                settings.data_dir.display()
            )
        })?;
        Ok(Some(Self { token, to }))
    }

    /// One call; the answer's JSON.
    ///
    /// # Errors
    /// With the API's own message when it refuses.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let (status, value) = self.exchange(method, path, body).await?;
        Self::good(status, value)
    }

    /// One call; the answer's status and JSON.
    ///
    /// # Errors
    /// When the gateway goes away, and when its answer is no JSON.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let (status, bytes) = match &self.to {
            To::Socket { data_dir } => {
                let request = self.request(method, path, body)?;
                let answer = over_socket(data_dir, request).await?;
                let status = answer.response.status();
                (status, answer.whole(ANSWER_MAX_BYTES).await?)
            }
            To::Address { client, base } => {
                let request = self.request(method, &format!("{base}{path}"), body)?;
                let answer = client
                    .send(Zone::Provider, request, Limits::default())
                    .await?;
                (answer.status, answer.body.bytes().await?)
            }
            To::Here { router, .. } => {
                let request = self.request(method, path, body)?.map(Body::from);
                let answer = router.clone().oneshot(request).await?;
                let status = answer.status();
                (
                    status,
                    local::whole(answer.into_body(), ANSWER_MAX_BYTES).await?,
                )
            }
        };
        let value: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{status}: the answer is no JSON"))?;
        Ok((status, value))
    }

    /// The answer of a call that must succeed.
    ///
    /// # Errors
    /// With the API's own message when it refused.
    pub(super) fn good(status: StatusCode, value: Value) -> Result<Value> {
        if status.is_success() {
            return Ok(value);
        }
        let message = value["error"]["message"].as_str().unwrap_or("no message");
        if status == StatusCode::UNAUTHORIZED {
            bail!(
                "the gateway refused the admin token: it runs on another data folder; pass its \
                 --data-dir, or set PORTUNUS_ADMIN_TOKEN"
            );
        }
        bail!("{message}")
    }

    /// An endless answer; only a running gateway has one.
    ///
    /// # Errors
    /// When no gateway runs, and when it refuses.
    pub(super) async fn stream(&self, path: &str) -> Result<Pieces> {
        let (status, pieces) = match &self.to {
            To::Socket { data_dir } => {
                let request = self.request(Method::GET, path, None)?;
                let answer = over_socket(data_dir, request).await?;
                (answer.response.status(), Pieces::Socket(answer))
            }
            To::Address { client, base } => {
                let request = self.request(Method::GET, &format!("{base}{path}"), None)?;
                let limits = Limits {
                    max_body_bytes: Some(usize::MAX),
                    ..Limits::default()
                };
                let answer = client.send(Zone::Provider, request, limits).await?;
                (answer.status, Pieces::Address(answer.body))
            }
            To::Here { .. } => {
                bail!("no gateway runs that could be followed: start one with `portunus`")
            }
        };
        if !status.is_success() {
            bail!("the gateway answered {status}");
        }
        Ok(pieces)
    }

    fn request(&self, method: Method, uri: &str, body: Option<Value>) -> Result<Request<Bytes>> {
        let builder = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "localhost")
            .header("x-portkey-api-key", self.token.expose_secret());
        let request = match body {
            Some(value) => builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(Bytes::from(value.to_string())),
            None => builder.body(Bytes::new()),
        };
        Ok(request?)
    }
}

/// The gateway that runs, if one does. Which certificate one with TLS has is not known here: it
/// is reached through its socket alone.
async fn running(listen: SocketAddr, tls: bool, data_dir: &Path) -> Result<Option<To>> {
    if local::connect(data_dir).await?.is_some() {
        let data_dir = data_dir.to_owned();
        return Ok(Some(To::Socket { data_dir }));
    }
    if tls || listen.port() == 0 {
        return Ok(None);
    }
    let base = format!("http://{}", reachable(listen));
    let client = client(listen)?;
    let found = runs(&client, &base).await?;
    Ok(found.then_some(To::Address { client, base }))
}

async fn over_socket(data_dir: &Path, request: Request<Bytes>) -> Result<local::Answer> {
    let stream = local::connect(data_dir).await?;
    let stream = stream.context("the gateway has just ended")?;
    local::send(stream, request.map(Full::new)).await
}

/// A client that reaches the gateway's own address and nothing else that is not public.
fn client(listen: SocketAddr) -> Result<Client> {
    let settings = portunus_egress::Settings {
        provider_allow: AllowList::parse([reachable(listen).to_string()])?,
        connect_timeout: PROBE,
        max_body_bytes: ANSWER_MAX_BYTES,
        ..portunus_egress::Settings::default()
    };
    Ok(Client::new(settings)?)
}

/// The address by which this machine reaches a listener: `0.0.0.0` is no destination.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether a gateway of ours answers there.
async fn runs(client: &Client, base: &str) -> Result<bool> {
    let request = Request::get(format!("{base}/livez")).body(Bytes::new())?;
    let limits = Limits {
        total: Some(PROBE),
        ..Limits::default()
    };
    let answer = match client.send(Zone::Provider, request, limits).await {
        Ok(answer) => answer,
        Err(SendError::Connect { .. }) => return Ok(false),
        Err(error) => bail!("something listens on {base}, but does not answer: {error}"),
    };
    let body = answer.body.bytes().await.unwrap_or_default();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if value["product"] == "portunus" {
        return Ok(true);
    }
    bail!("something else than a gateway listens on {base}: pass --listen")
}
