//! What the fake provider saw: every request, and every answer that was not read to its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, Uri};
use serde::Serialize;
use serde_json::{Map, Value};

/// Requests kept; older ones are forgotten.
const KEPT: usize = 10_000;

/// One request as it arrived.
#[derive(Clone, Serialize, Debug)]
pub struct Recorded {
    /// Counts up from 1.
    pub id: u64,
    /// Arrival, Unix time in milliseconds.
    pub at_ms: u64,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header names in lower case; values of a repeated name are joined by `, `.
    pub headers: Map<String, Value>,
    /// The body as JSON, or as a string when it is none.
    pub body: Value,
    /// The body as it was sent.
    pub raw: String,
}

/// An answer whose reader went away first.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Disconnect {
    /// Id of the request.
    pub id: u64,
    /// When it was noticed, Unix time in milliseconds.
    pub at_ms: u64,
}

#[derive(Default, Debug)]
struct Kept {
    last_id: u64,
    requests: VecDeque<Recorded>,
    disconnects: VecDeque<Disconnect>,
}

/// Shared by all handlers of one provider; cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Journal(Arc<Mutex<Kept>>);

impl Journal {
    /// Writes a request down and returns the guard that notices if its answer is cut short.
    pub(crate) fn request(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Watch {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last_id += 1;
        let recorded = Recorded {
            id: kept.last_id,
            at_ms: now_ms(),
            method: method.to_string(),
            path: uri.to_string(),
            headers: header_map(headers),
            body: json_or_text(body),
            raw: String::from_utf8_lossy(body).into_owned(),
        };
        push(&mut kept.requests, recorded);
        Watch {
            journal: self.clone(),
            id: kept.last_id,
            finished: false,
        }
    }

    /// Everything that arrived since the start or the last [`Journal::clear`].
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .requests
            .iter()
            .cloned()
            .collect()
    }

    /// Every answer that was cut short by its reader.
    #[must_use]
    pub fn disconnects(&self) -> Vec<Disconnect> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .disconnects
            .iter()
            .copied()
            .collect()
    }

    /// Forgets all; ids go on counting.
    pub fn clear(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.requests.clear();
        kept.disconnects.clear();
    }

    fn gone(&self, id: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        push(
            &mut kept.disconnects,
            Disconnect {
                id,
                at_ms: now_ms(),
            },
        );
    }
}

/// Lives as long as the answer; dropped unfinished it files a [`Disconnect`].
#[derive(Debug)]
pub(crate) struct Watch {
    journal: Journal,
    id: u64,
    finished: bool,
}

impl Watch {
    /// Number of the request, for ids that must differ between answers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The answer was given whole.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.finished {
            self.journal.gone(self.id);
        }
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn push<T>(queue: &mut VecDeque<T>, entry: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(entry);
}

fn header_map(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        map.insert(name.to_string(), Value::String(values.join(", ")));
    }
    map
}

fn json_or_text(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}
