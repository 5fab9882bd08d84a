//! Virtual keys that are open at the moment, so that not each request reads a row, with two
//! switches of threads, and unseals a credential.

use crate::Gateway;
use crate::error::Error;
use crate::route;
use jiff::Timestamp;
use portunus_providers::{Endpoint, Provider};
use portunus_store::now;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an open key is used again. A change made by another process counts after that; one
/// made by this process counts at once.
const KEEP: Duration = Duration::from_secs(2);
/// Most keys that are open.
const MOST: usize = 1_000;

/// A virtual key with its credential, which is wiped with the last copy of the [`Arc`].
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) provider: &'static dyn Provider,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The open keys, by workspace and slug.
#[derive(Default)]
pub(crate) struct OpenedKeys(Mutex<HashMap<(String, String), Kept>>);

struct Kept {
    opened: Opened,
    since: Instant,
    /// State of the store's virtual keys before the row was read.
    changes: u64,
    expires_at: Option<Timestamp>,
}

impl OpenedKeys {
    fn get(&self, key: &(String, String), changes: u64) -> Option<Opened> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = keys.get(key).filter(|kept| kept.changes == changes)?;
        let valid = kept.is_fresh() && kept.expires_at.is_none_or(|end| now() < end);
        valid.then(|| kept.opened.clone())
    }

    fn put(&self, key: (String, String), kept: Kept) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, kept| kept.is_fresh());
        if keys.len() < MOST {
            keys.insert(key, kept);
        }
    }
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < KEEP
    }
}

impl Gateway {
    /// The stored virtual key of that slug, open; `None` when there is none.
    pub(crate) async fn opened(
        &self,
        workspace_id: &str,
        slug: &str,
    ) -> Result<Option<Opened>, Error> {
        let key = (workspace_id.to_owned(), slug.to_owned());
        let changes = self.parts.store.virtual_key_changes();
        if let Some(opened) = self.opened.get(&key, changes) {
            return Ok(Some(opened));
        }
        let since = Instant::now();
        let row = self.parts.store.virtual_key_by_slug(workspace_id, slug);
        let Some(row) = row.await? else {
            return Ok(None);
        };
        let credential = self.open(&row)?;
        let provider = route::find(&row.provider)?;
        let host = row.custom_host.as_deref();
        let endpoint = route::endpoint(provider, host, credential, row.settings)?;
        let opened = Opened { provider, endpoint };
        let kept = Kept {
            opened: opened.clone(),
            since,
            changes,
            expires_at: row.expires_at,
        };
        self.opened.put(key, kept);
        Ok(Some(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn key(slug: &str) -> (String, String) {
        ("ws".to_owned(), slug.to_owned())
    }

    fn kept(changes: u64, age: Duration, expires_at: Option<Timestamp>) -> Kept {
        let provider = route::find("demo").unwrap();
        let endpoint = route::endpoint(provider, None, None, Value::Null).unwrap();
        Kept {
            opened: Opened { provider, endpoint },
            since: Instant::now().checked_sub(age).unwrap(),
            changes,
            expires_at,
        }
    }

    #[test]
    fn a_key_is_used_again_until_something_changes_or_ends() {
        let keys = OpenedKeys::default();
        let now = now();
        let hour = jiff::SignedDuration::from_hours(1);
        keys.put(key("good"), kept(7, Duration::ZERO, Some(now + hour)));
        keys.put(key("ended"), kept(7, Duration::ZERO, Some(now - hour)));
        keys.put(key("old"), kept(7, KEEP, None));
        assert!(keys.get(&key("good"), 7).is_some());
        assert!(
            keys.get(&key("good"), 8).is_none(),
            "a change counts at once"
        );
        assert!(keys.get(&key("ended"), 7).is_none());
        assert!(keys.get(&key("old"), 7).is_none());
        let elsewhere = ("other".to_owned(), "good".to_owned());
        assert!(keys.get(&elsewhere, 7).is_none());
    }

    #[test]
    fn there_is_a_bound_and_what_is_old_makes_room() {
        let keys = OpenedKeys::default();
        for number in 0..MOST {
            keys.put(key(&number.to_string()), kept(1, Duration::ZERO, None));
        }
        keys.put(key("more"), kept(1, Duration::ZERO, None));
        assert!(keys.get(&key("more"), 1).is_none());
        keys.0.lock().unwrap().values_mut().for_each(|kept| {
            kept.since = kept.since.checked_sub(KEEP).unwrap();
        });
        keys.put(key("more"), kept(1, Duration::ZERO, None));
        assert!(keys.get(&key("more"), 1).is_some());
        assert_eq!(keys.0.lock().unwrap().len(), 1);
    }
}
