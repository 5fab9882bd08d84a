//! Writes exports of the request log: one row of the log after the other into a file of the data
//! folder, by a task that the end of the process waits for. A run that dies leaves its unfinished
//! file behind, by which the next process of this folder knows that it failed.

use crate::admin::log_shape;
use crate::app::{App, Shared};
use portunus_store::{
    EXPORT_DONE, EXPORT_FAILED, EXPORT_RUNNING, ExportRow, LogFilter, LogSummary, Store, StoreError,
};
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::fs;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most rows of an export, as at Portkey.
pub const ROWS_MAX: u64 = 50_000;
/// How long an export and its file are kept, from when it was made or last started.
pub const LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Most bytes of a file.
const BYTES_MAX: i64 = 4 << 30;
/// Exports that are written at a time.
const RUNS: usize = 2;
/// Rows that are asked for at a time; bodies are read one by one.
const PAGE: u32 = 200;
/// An export of which nothing was heard for so long is not being written any more.
pub const SILENCE_MS: i64 = 120_000;

/// What a process says of an export that it did not end itself.
pub const BROKEN_OFF: &str = "The gateway that wrote it ended before it was whole. Start it again.";
const SHUT_DOWN: &str = "The gateway was shut down before it was whole. Start it again.";

/// Fields of a row that only its detail has.
const IN_DETAIL: [&str; 6] = [
    "request",
    "response",
    "turns",
    "tool_lists",
    "tool_calls",
    "attempts",
];

/// The files of exports, and room for those that are written now.
pub struct Exports {
    folder: PathBuf,
    room: Arc<Semaphore>,
}

impl Exports {
    /// Those of a data folder.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("exports"),
            room: Arc::new(Semaphore::new(RUNS)),
        }
    }

    /// The whole file of a run.
    #[must_use]
    pub fn file(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.jsonl"))
    }

    fn part(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.part"))
    }

    /// Room for one more run; `None` when as many are at work as may be.
    #[must_use]
    pub fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Makes the unfinished file of a run, for its owner alone. It is there before the database
    /// says that the run is at work, so that no death in between goes unseen.
    async fn begin(&self, run: &str) -> std::io::Result<fs::File> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.folder).await?;
        let mut new = fs::OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        new.open(self.part(run)).await
    }

    /// Removes the files that are older than any export.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn prune(&self) -> std::io::Result<()> {
        let over = SystemTime::now().checked_sub(LIFE);
        for (path, _) in self.files().await? {
            let changed = fs::metadata(&path).await?.modified()?;
            if over.is_some_and(|over| changed < over) {
                fs::remove_file(&path).await?;
            }
        }
        Ok(())
    }

    /// What runs of a dead process have left: their exports have failed, their files go.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn recover(&self, store: &dyn Store) -> std::io::Result<()> {
        for (path, run) in self.files().await? {
            if path.extension().is_none_or(|end| end != "part") {
                continue;
            }
            let now_ms = portunus_store::now().as_millisecond();
            if let Err(error) = store.break_off_export(&run, now_ms, BROKEN_OFF).await {
                tracing::warn!(%error, run, "an export that broke off could not be marked");
                continue;
            }
            fs::remove_file(&path).await?;
        }
        Ok(())
    }

    /// All files, and the run that each belongs to.
    async fn files(&self) -> std::io::Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        let mut entries = match fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if let Some(run) = path.file_stem().and_then(|name| name.to_str()) {
                let run = run.to_owned();
                found.push((path, run));
            }
        }
        Ok(found)
    }
}

/// Which rows, and what of them.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Which rows.
    pub filter: LogFilter,
    /// Names of fields, in the order in which a line has them.
    pub fields: Vec<String>,
    /// Rows to pass over.
    pub skip: u64,
    /// Most rows to write.
    pub take: u64,
}

/// Why a run is over before its end, or does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Somebody has stopped it, and the row says so already.
    #[error("stopped")]
    Stopped,
    /// The process ends.
    #[error("{SHUT_DOWN}")]
    ShutDown,
    /// More bytes than a file may have.
    #[error("The file would be over {} GiB. Narrow the filters, or leave out 'request' and 'response'.", BYTES_MAX >> 30)]
    TooLarge,
    /// The database failed.
    #[error("The request log could not be read.")]
    Store(#[from] StoreError),
    /// The file failed.
    #[error("The file could not be written: {}.", .0.kind())]
    File(#[from] std::io::Error),
}

/// Starts a run: `row` is the export as it is to be from now on, `before` its state and run until
/// now. False when somebody else has changed it meanwhile.
///
/// # Errors
/// When the file cannot be made or the database fails.
pub async fn start(
    app: &Shared,
    before: (&str, &str),
    row: ExportRow,
    plan: Plan,
    room: OwnedSemaphorePermit,
) -> Result<bool, Broken> {
    let file = app.exports.begin(&row.run).await?;
    let begun = app.store.update_export(before.0, before.1, &row).await;
    if !matches!(begun, Ok(true)) {
        let _ = fs::remove_file(app.exports.part(&row.run)).await;
        return Ok(begun?);
    }
    let run = Run {
        app: Arc::clone(app),
        row,
        plan,
        _room: room,
    };
    app.tasks.spawn(run.work(file));
    Ok(true)
}

struct Run {
    app: Shared,
    row: ExportRow,
    plan: Plan,
    _room: OwnedSemaphorePermit,
}

impl Run {
    async fn work(mut self, file: fs::File) {
        let ending = self.app.life.draining.clone();
        let written = tokio::select! {
            biased;
            () = ending.cancelled() => Err(Broken::ShutDown),
            written = self.write(file) => written,
        };
        let part = self.app.exports.part(&self.row.run);
        let whole = self.app.exports.file(&self.row.run);
        let written = match written {
            Ok(()) => fs::rename(&part, &whole).await.map_err(Broken::from),
            Err(broken) => Err(broken),
        };
        if !self.end(written).await {
            for path in [&part, &whole] {
                let _ = fs::remove_file(path).await;
            }
        }
    }

    /// Says how it ended; true when the file is to stay.
    async fn end(&mut self, written: Result<(), Broken>) -> bool {
        let state = match &written {
            Ok(()) => EXPORT_DONE,
            Err(Broken::Stopped) => return false,
            Err(broken) => {
                tracing::warn!(error = ?broken, export = self.row.id, "an export broke off");
                self.row.error = Some(broken.to_string());
                EXPORT_FAILED
            }
        };
        state.clone_into(&mut self.row.state);
        let said = self.say().await;
        if let Err(error) = &said {
            tracing::warn!(%error, export = self.row.id, "the end of an export could not be noted");
        }
        state == EXPORT_DONE && matches!(said, Ok(true))
    }

    /// Writes the row; false when the run was stopped.
    async fn say(&mut self) -> Result<bool, StoreError> {
        self.row.updated_at_ms = portunus_store::now().as_millisecond();
        let store = &self.app.store;
        store
            .update_export(EXPORT_RUNNING, &self.row.run, &self.row)
            .await
    }

    async fn write(&mut self, file: fs::File) -> Result<(), Broken> {
        let mut out = BufWriter::new(file);
        let mut after: Option<String> = None;
        while let Some((rows, more)) = self.page(after.as_deref()).await? {
            for row in &rows {
                if self.plan.skip > 0 {
                    self.plan.skip -= 1;
                } else if !self.is_full() {
                    self.write_row(&mut out, row).await?;
                }
            }
            if !self.say().await? {
                return Err(Broken::Stopped);
            }
            after = rows.last().map(|row| row.request.id.clone());
            if !more || self.is_full() {
                break;
            }
        }
        out.flush().await?;
        out.get_ref().sync_all().await?;
        Ok(())
    }

    fn is_full(&self) -> bool {
        u64::try_from(self.row.exported).is_ok_and(|rows| rows >= self.plan.take)
    }

    /// The next rows, newest first, and whether there are more; `None` when the row that came
    /// last is gone: it was the oldest, so that those after it are gone as well.
    async fn page(&self, after: Option<&str>) -> Result<Option<(Vec<LogSummary>, bool)>, Broken> {
        let owner = &self.row.workspace_id;
        let store = &self.app.store;
        match store.list_logs(owner, &self.plan.filter, PAGE, after).await {
            Ok(page) => Ok(Some(page)),
            Err(StoreError::UnknownCursor) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write_row(
        &mut self,
        out: &mut BufWriter<fs::File>,
        row: &LogSummary,
    ) -> Result<(), Broken> {
        let shown = if self
            .plan
            .fields
            .iter()
            .any(|name| IN_DETAIL.contains(&name.as_str()))
        {
            let store = &self.app.store;
            let found = store.log(&self.row.workspace_id, &row.request.id).await?;
            // Removed since it was listed.
            let Some(log) = found else { return Ok(()) };
            log_shape::detail(&log)
        } else {
            log_shape::summary(row)
        };
        let line = line(&shown, &self.plan.fields);
        out.write_all(line.as_bytes()).await?;
        self.row.exported += 1;
        self.row.bytes += i64::try_from(line.len()).unwrap_or(i64::MAX);
        if self.row.bytes > BYTES_MAX {
            return Err(Broken::TooLarge);
        }
        Ok(())
    }
}

/// One line of JSON: these fields, and nothing that a terminal, an editor or a reader of lines
/// takes for more than text.
fn line(shown: &Value, fields: &[String]) -> String {
    let picked: Map<String, Value> = fields
        .iter()
        .map(|name| (name.clone(), shown[name.as_str()].clone()))
        .collect();
    let mut out = inert(&Value::Object(picked).to_string());
    out.push('\n');
    out
}

/// JSON without raw control characters, ends of lines and marks of direction beyond ASCII. In
/// JSON they stand in strings alone, where an escape means the same.
fn inert(json: &str) -> String {
    let is_odd = |c: char| {
        matches!(c,
            '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_odd(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks what is not being written any more, and removes what is over.
///
/// # Errors
/// When the database fails.
pub async fn tidy_up(app: &App) -> Result<(), StoreError> {
    let now_ms = portunus_store::now().as_millisecond();
    let store = app.store.as_ref();
    let silent = store
        .sweep_exports(now_ms - SILENCE_MS, now_ms, BROKEN_OFF)
        .await?;
    if silent > 0 {
        tracing::warn!(
            exports = silent,
            "exports have failed: nobody writes them any more"
        );
    }
    while store.prune_exports(now_ms, PAGE).await? >= u64::from(PAGE) {}
    if let Err(error) = app.exports.prune().await {
        tracing::warn!(%error, "files of exports could not be removed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_is_one_line_and_the_same_text() {
        let nasty =
            "=HYPERLINK(\"x\")\r\n\u{1b}[31m\u{2028}\u{2029}\u{85}\u{202e}\u{7f}\t{\"a\":1}";
        let shown = json!({"a": nasty, "b": {nasty: 1}, "c": 2});
        let fields = ["b", "a", "none"].map(str::to_owned);
        let line = line(&shown, &fields);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n') && line.starts_with("{\"b\":"));
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        for c in ['\u{2028}', '\u{2029}', '\u{202e}'] {
            assert!(!line.contains(c));
        }
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back, json!({"b": {nasty: 1}, "a": nasty, "none": null}));
    }
}
