//! `GET /v1/portunus/logs/stream`: finished requests as server-sent events, for `logs -f`.

use super::{Ask, log_shape};
use crate::answer::Refusal;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use portunus_store::LogSummary;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follows the log of a workspace: an event `log` for each finished request, an event `lagged`
/// when the reader was too slow and rows were passed over.
///
/// # Errors
/// 403 without the scope.
#[utoipa::path(
    get, path = "/v1/portunus/logs/stream", tag = "admin plane",
    params(("workspace_id" = Option<String>, Query, description = "Id or slug")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream"),
        (status = 403, description = "The key lacks the scope `logs.list`"),
    )
)]
pub async fn follow(
    ask: Ask,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let workspace_id = ask.allowed("logs.list").await?;
    let Ask { app, query, .. } = ask;
    query.only(&["workspace_id"])?;
    let feed = Feed {
        rows: app.log.subscribe(),
        workspace_id,
        // The end of the process ends the stream at once: it is no work that must finish.
        ending: app.life.draining.clone(),
    };
    let events = futures_util::stream::unfold(feed, |mut feed| async move {
        feed.next().await.map(|event| (Ok(event), feed))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Feed {
    rows: Receiver<Arc<LogSummary>>,
    workspace_id: String,
    ending: CancellationToken,
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let received = tokio::select! {
                () = self.ending.cancelled() => return None,
                received = self.rows.recv() => received,
            };
            let event = match received {
                Ok(row) if row.request.workspace_id != self.workspace_id => continue,
                Ok(row) => Event::default()
                    .event("log")
                    .json_data(log_shape::summary(&row)),
                Err(RecvError::Lagged(rows)) => Event::default()
                    .event("lagged")
                    .json_data(json!({"rows": rows})),
                Err(RecvError::Closed) => return None,
            };
            match event {
                Ok(event) => return Some(event),
                Err(error) => tracing::warn!(%error, "a log row is no JSON"),
            }
        }
    }
}
