//! What the pool keeps of one server, and how much it keeps of all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::bounds::Bounds;
use crate::era;
use crate::error::Meter;
use crate::fault::Fault;
use crate::peer::Peer;
use crate::session::Session;
use crate::spec::Key;
use crate::tool::Listing;

/// The outcome of the last listing.
pub(crate) struct Kept {
    outcome: Result<Listing, Arc<Fault>>,
    finished: Instant,
    fresh_until: Instant,
}

impl Kept {
    pub(crate) fn new(outcome: Result<Listing, Arc<Fault>>, ttl: Duration) -> Self {
        let finished = Instant::now();
        Self {
            outcome,
            finished,
            fresh_until: finished + ttl,
        }
    }

    /// The outcome for a caller who came at `begun`: a list that is still fresh, or whatever
    /// came of the request that was under way at that time.
    pub(crate) fn usable(&self, begun: Instant) -> Option<Result<Listing, Arc<Fault>>> {
        let shared = self.finished > begun;
        let fresh = self.outcome.is_ok() && Instant::now() < self.fresh_until;
        (shared || fresh).then(|| {
            self.outcome.clone().map(|listing| Listing {
                cached: true,
                ..listing
            })
        })
    }
}

/// One server under one credential.
pub(crate) struct Entry {
    /// Held while the list is made: that is what makes it a single flight.
    pub(crate) list: AsyncMutex<Option<Kept>>,
    session: AsyncMutex<Option<Arc<Session>>>,
    used: Mutex<Instant>,
    bytes: AtomicUsize,
}

impl Entry {
    fn new() -> Self {
        Self {
            list: AsyncMutex::new(None),
            session: AsyncMutex::new(None),
            used: Mutex::new(Instant::now()),
            bytes: AtomicUsize::new(0),
        }
    }

    /// The open session, or a new one; true when it is new.
    pub(crate) async fn session(
        &self,
        peer: &Peer,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<(Arc<Session>, bool), Fault> {
        let mut slot = self.session.lock().await;
        let session = match slot.take() {
            Some(session) if !session.is_stale(peer) => {
                *slot = Some(Arc::clone(&session));
                return Ok((session, false));
            }
            Some(stale) => again(&stale, peer, deadline, meter).await?,
            None => era::detect(peer, deadline, meter).await?,
        };
        let session = Arc::new(session);
        *slot = Some(Arc::clone(&session));
        Ok((session, true))
    }

    /// A session in the place of `old`, which failed with `fault`. Of several that failed with
    /// the same one, the first opens and the others take what it opened.
    pub(crate) async fn replace(
        &self,
        old: &Arc<Session>,
        fault: &Fault,
        peer: &Peer,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Result<Arc<Session>, Fault> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !Arc::ptr_eq(session, old)) {
            return Ok(Arc::clone(session));
        }
        *slot = None;
        let session = if fault.is_session_loss() && !old.is_modern() {
            again(old, peer, deadline, meter).await?
        } else {
            era::detect(peer, deadline, meter).await?
        };
        let session = Arc::new(session);
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Forgets `session`, unless another has taken its place or is about to.
    pub(crate) fn drop_session(&self, session: &Arc<Session>) {
        let Ok(mut slot) = self.session.try_lock() else {
            return;
        };
        if slot.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, session)) {
            *slot = None;
        }
    }

    fn used(&self) -> Instant {
        *lock(&self.used)
    }
}

/// A session of the same kind as before; when that fails, the question is asked anew.
async fn again(
    old: &Session,
    peer: &Peer,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Session, Fault> {
    match old.renew(peer, deadline, meter).await {
        Err(fault) if !fault.is_auth() && !fault.is_timeout() && !fault.is_unsent() => {
            era::detect(peer, deadline, meter).await
        }
        other => other,
    }
}

/// All entries, bounded in number and in bytes; the one that was used longest ago goes first.
#[derive(Default)]
pub(crate) struct Entries {
    map: Mutex<HashMap<Key, Arc<Entry>>>,
}

impl Entries {
    pub(crate) fn get(&self, key: Key, bounds: &Bounds) -> Arc<Entry> {
        // An entry that was not used for so long holds nothing of use.
        let life = bounds.session_idle.max(bounds.tool_list_ttl);
        let mut map = lock(&self.map);
        if let Some(entry) = map.get(&key) {
            *lock(&entry.used) = Instant::now();
            return Arc::clone(entry);
        }
        map.retain(|_, entry| entry.used().elapsed() < life);
        while map.len() >= bounds.max_sessions.max(1) && drop_oldest(&mut map) {}
        let entry = Arc::new(Entry::new());
        map.insert(key, Arc::clone(&entry));
        entry
    }

    /// Notes the size of an entry's list and makes room if all lists together are too large.
    pub(crate) fn weigh(&self, entry: &Entry, bytes: usize, bounds: &Bounds) {
        entry.bytes.store(bytes, Ordering::Relaxed);
        let mut map = lock(&self.map);
        let sum = |map: &HashMap<Key, Arc<Entry>>| -> usize {
            map.values()
                .map(|entry| entry.bytes.load(Ordering::Relaxed))
                .sum()
        };
        while sum(&map) > bounds.max_cached_bytes && drop_oldest(&mut map) {}
    }

    /// Removes `entry`, unless another has taken its place.
    pub(crate) fn forget(&self, key: Key, entry: &Arc<Entry>) {
        let mut map = lock(&self.map);
        if map.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, entry)) {
            map.remove(&key);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.map).len()
    }
}

fn drop_oldest(map: &mut HashMap<Key, Arc<Entry>>) -> bool {
    let oldest = map
        .iter()
        .min_by_key(|(_, entry)| entry.used())
        .map(|(key, _)| *key);
    oldest.and_then(|key| map.remove(&key)).is_some()
}

/// No code panics while it holds one of these locks, and what they hold is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_are_bounded_and_the_oldest_goes_first() {
        let bounds = Bounds {
            max_sessions: 2,
            max_cached_bytes: 100,
            ..Bounds::default()
        };
        let entries = Entries::default();
        let step = || tokio::time::advance(Duration::from_secs(1));
        let first = entries.get([1; 32], &bounds);
        step().await;
        entries.get([2; 32], &bounds);
        step().await;
        assert!(Arc::ptr_eq(&first, &entries.get([1; 32], &bounds)));
        step().await;
        let third = entries.get([3; 32], &bounds);
        assert_eq!(entries.len(), 2);
        assert!(
            Arc::ptr_eq(&first, &entries.get([1; 32], &bounds)),
            "the second was older"
        );
        step().await;
        entries.weigh(&first, 60, &bounds);
        entries.weigh(&third, 60, &bounds);
        assert_eq!(entries.len(), 1);
        tokio::time::advance(bounds.session_idle).await;
        entries.get([4; 32], &bounds);
        assert_eq!(entries.len(), 1, "what lay idle is gone");
    }
}
