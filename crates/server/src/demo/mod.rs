//! `portunus demo`: the whole way on one screen, without a key and without a network. A gateway
//! on an empty data folder, a real MCP server beside it, the request that an ordinary client
//! would send, its items as they come, the log row that it left.

mod mcp_server;
mod pages;
mod show;
pub mod waterfall;

use crate::app::{App, Shared};
use crate::cli::out::Out;
use crate::first_start::Environment;
use crate::server::{self, Server};
use crate::settings::{DEFAULT_PORT, Settings};
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use portunus_egress::{Client, Limits, Zone};
use portunus_protocol::sse::Decoder;
use portunus_store::{DEFAULT_WORKSPACE_ID, LogSummary};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use show::Show;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the demo asks when nothing else is said.
pub const QUESTION: &str = "What happens to the authorization of an MCP tool?";
/// Longest event that is read.
const EVENT_MAX_BYTES: usize = 4 << 20;
/// How long the log row may take after the answer.
const ROW_WAIT: Duration = Duration::from_secs(20);

/// What the demo is to show, and where.
#[derive(Debug)]
pub struct Stage {
    /// Where data goes; a temporary folder when `None`, removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Where the gateway listens; the usual port or a free one when `None`.
    pub listen: Option<SocketAddr>,
    /// What is asked.
    pub question: String,
    /// End after the show.
    pub once: bool,
}

/// A gateway and an MCP server that run for the demo.
struct Running {
    app: Shared,
    base: String,
    mcp_url: String,
    key: SecretString,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// When a part cannot start, or the request fails: then the demo has nothing to show.
pub async fn run(stage: Stage, out: Out, environment: Environment<'_>) -> Result<()> {
    let folder = match &stage.data_dir {
        Some(path) => Folder {
            path: path.clone(),
            temporary: false,
        },
        None => Folder::temporary(),
    };
    let mut signals = Signals::new()?;
    let mut running = start(&stage, &folder, environment).await?;
    introduce(out, &running, &folder);
    let outcome = tokio::select! {
        outcome = perform(out, &running, &stage.question) => outcome.map(|()| !stage.once),
        () = signals.next() => Ok(false),
    };
    if matches!(outcome, Ok(true)) {
        if out.is_json() {
            signals.next().await;
        } else {
            try_next(out, &running);
            signals.next().await;
            out.line("");
        }
    }
    running.stop.cancel();
    while running.tasks.join_next().await.is_some() {}
    outcome.map(drop)
}

/// A data folder; a temporary one is removed when dropped.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn temporary() -> Self {
        let name = format!("portunus-demo-{}", uuid::Uuid::now_v7().simple());
        Self {
            path: std::env::temp_dir().join(name),
            temporary: true,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _may_be_gone = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Starts the MCP server, then a gateway that may reach it.
async fn start(stage: &Stage, folder: &Folder, environment: Environment<'_>) -> Result<Running> {
    let mut tasks = JoinSet::new();
    let docs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let docs_address = docs.local_addr()?;
    let stop = CancellationToken::new();
    let (app, server) = gateway(stage, folder, docs_address, environment).await?;
    tasks.spawn(server::beside(&app, mcp_server::router(), docs, &stop));
    let key = app
        .first_api_key()
        .await?
        .context("this data folder holds API keys already: the demo wants an empty one")?;
    let base = server.base_url()?;
    tasks.spawn(server.run(stop.clone(), CancellationToken::new()));
    let mcp_url = format!("http://{docs_address}{}", mcp_server::PATH);
    Ok(Running {
        app,
        base,
        mcp_url,
        key,
        stop,
        tasks,
    })
}

/// A gateway on the usual port, or on a free one when that is taken.
async fn gateway(
    stage: &Stage,
    folder: &Folder,
    docs: SocketAddr,
    environment: Environment<'_>,
) -> Result<(Shared, Server)> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    let mut settings = Settings {
        listen: stage.listen.unwrap_or(usual),
        data_dir: folder.path.clone(),
        ..Settings::default()
    };
    settings.mcp.allow = vec![docs.to_string()];
    settings.shutdown.delay_ms = 0;
    settings.shutdown.grace_ms = 1_000;
    // The demo is its own operator: keys of providers count, everything of a real set-up does not.
    let environment = |name: &str| {
        if name.starts_with("PORTUNUS_") {
            None
        } else {
            environment(name)
        }
    };
    if stage.listen.is_none() && TcpListener::bind(usual).await.is_err() {
        settings.listen.set_port(0);
    }
    let app = App::build(settings, &environment).await?;
    let server = Server::bind(app.clone()).await?;
    Ok((app, server))
}

fn introduce(out: Out, running: &Running, folder: &Folder) {
    if out.is_json() {
        return;
    }
    let end = if folder.temporary {
        ", removed at the end"
    } else {
        ""
    };
    out.line(&out.bold("Portunus demo"));
    out.line("A model uses the tools of a remote MCP server through one request.\n");
    out.line(&format!("  gateway      {}", out.cyan(&running.base)));
    out.line(&format!(
        "  MCP server   {}  {}",
        out.cyan(&running.mcp_url),
        out.dim("(its tools read this project's own documentation)")
    ));
    out.line(&format!(
        "  data         {}{}\n",
        folder.path.display(),
        out.dim(end)
    ));
}

/// The request, the answer, the log row.
async fn perform(out: Out, running: &Running, question: &str) -> Result<()> {
    let say = |text: &str| {
        if !out.is_json() {
            out.line(text);
        }
    };
    let body = request_body("demo", "portunus", &running.mcp_url, question);
    say(&out.bold("Request"));
    say(&curl(&running.base, "demo", &body));
    say(&out.bold("Answer, as it streams"));
    let mut stored = running.app.log.subscribe();
    let request_id = ask(out, running, &body).await?;
    say("");
    say(&out.bold("The row that it left in the log"));
    let row = tokio::time::timeout(ROW_WAIT, filed(&mut stored, &request_id)).await;
    let row = row.context("the request left no log row")??;
    let log = detail(&running.app, &row.request.id).await?;
    if out.is_json() {
        out.json_line(&log);
    } else {
        waterfall::print(out, &log);
    }
    say("");
    Ok(())
}

/// The row of a request, once it is stored.
async fn filed(
    stored: &mut Receiver<Arc<LogSummary>>,
    request_id: &str,
) -> Result<Arc<LogSummary>> {
    loop {
        match stored.recv().await {
            Ok(row) if row.request.request_id == request_id => return Ok(row),
            // Somebody else's request, or a crowd of them.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => bail!("the request log has ended"),
        }
    }
}

/// The request of the issue, to the demo model.
fn request_body(model: &str, label: &str, mcp_url: &str, question: &str) -> Value {
    json!({
        "model": model, "stream": true,
        "tools": [{
            "type": "mcp", "server_label": label, "server_url": mcp_url,
            "require_approval": "never",
        }],
        "input": question,
    })
}

fn curl(base: &str, virtual_key: &str, body: &Value) -> String {
    // Inside quotes of a shell an apostrophe ends them; JSON has another spelling of it.
    let body = body.to_string().replace('\'', "\\u0027");
    format!(
        "  curl -N {base}/v1/responses -H 'Content-Type: application/json' \\\n    \
         -H \"x-portkey-api-key: $PORTKEY_API_KEY\" -H 'x-portkey-virtual-key: {virtual_key}' \\\n    \
         -d '{body}'\n"
    )
}

/// Sends the request as any HTTP client would and shows what comes; the request's id.
async fn ask(out: Out, running: &Running, body: &Value) -> Result<String> {
    let client = Client::new(portunus_egress::Settings::default())?;
    let request = Request::post(format!("{}/v1/responses", running.base))
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-portkey-api-key", running.key.expose_secret())
        .header("x-portkey-virtual-key", "demo")
        .body(Bytes::from(body.to_string()))?;
    let mut show = Show::new(out);
    let mut answer = client
        .send(Zone::Provider, request, Limits::default())
        .await?;
    let id = answer
        .headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    if answer.status != StatusCode::OK {
        let text = answer.body.bytes().await.unwrap_or_default();
        bail!(
            "the gateway answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&text)
        );
    }
    let mut decoder = Decoder::new(EVENT_MAX_BYTES);
    while let Some(bytes) = answer.body.chunk().await? {
        for frame in decoder.push(&bytes)? {
            show.event(&serde_json::from_str(&frame.data).unwrap_or_default());
        }
    }
    if show.status.as_deref() != Some("completed") {
        bail!(
            "the response ended as {:?}",
            show.status.unwrap_or_default()
        );
    }
    id.context("the answer has no request id")
}

/// A log row with everything in it, in the shape of the admin API.
async fn detail(app: &App, id: &str) -> Result<Value> {
    let log = app.store.log(DEFAULT_WORKSPACE_ID, id).await?;
    let log = log.context("the log row is gone")?;
    Ok(crate::admin::log_shape::detail(&log))
}

/// What to try with a real model.
fn try_next(out: Out, running: &Running) {
    let live = running.app.live();
    let data_dir = live.settings.data_dir.display();
    let listen = running.base.trim_start_matches("http://");
    let with = format!("--data-dir {data_dir} --listen {listen}");
    let program = program();
    out.line(&out.bold("Try next, in another terminal (this one stays up until Ctrl-C)"));
    out.line(&format!(
        "  export PORTKEY_API_KEY={}\n",
        running.key.expose_secret()
    ));

    out.line(&out.dim("  # a real provider"));
    let found = live
        .environment_keys()
        .iter()
        .any(|key| key.provider == "openai");
    if !found {
        out.line(&format!(
            "  echo \"$OPENAI_API_KEY\" | {program} virtual-key create --provider openai {with}"
        ));
    }
    let question =
        "What transport protocols are supported in the 2025-03-26 version of the MCP spec?";
    let body = request_body(
        "gpt-4.1",
        "deepwiki",
        "https://mcp.deepwiki.com/mcp",
        question,
    );
    out.line(&curl(&running.base, "openai", &body));

    out.line(&out.dim("  # a model on this machine, with the tools of this demo"));
    out.line(&format!(
        "  {program} virtual-key create --provider ollama --no-key {with}"
    ));
    let body = request_body("qwen3:4b", "portunus", &running.mcp_url, QUESTION);
    out.line(&curl(&running.base, "ollama", &body));

    out.line(&out.dim("  # what it does"));
    out.line(&format!("  {program} logs -f {with}"));
}

/// How this program was called.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.is_empty() || !Path::new(&called).exists() {
        "portunus".to_owned()
    } else {
        called
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apostrophe_does_not_end_the_shells_quotes() {
        let body = json!({"input": "it's"});
        let text = curl("http://x", "demo", &body);
        let (_, quoted) = text.split_once("-d '").unwrap();
        let (json, _) = quoted.split_once('\'').unwrap();
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), body);
    }
}
