//! What was read from the database a moment ago, so that not each request reads it again.

use jiff::Timestamp;
use portunus_store::now;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a value is used again. A change made by another process counts after that; one made
/// by this process counts at once.
const KEEP: Duration = Duration::from_secs(2);
/// Most values of a kind.
const MOST: usize = 1_000;

/// Values by workspace and slug.
pub(crate) struct Kept<T>(Mutex<HashMap<Key, Entry<T>>>);

/// Workspace and slug.
pub(crate) type Key = (String, String);

/// A value, and how long it holds.
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    /// When the row was read.
    pub(crate) since: Instant,
    /// The store's count of changes before the row was read.
    pub(crate) changes: u64,
    pub(crate) expires_at: Option<Timestamp>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    /// The value, if it still holds.
    pub(crate) fn get(&self, key: &Key, changes: u64) -> Option<T> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key).filter(|entry| entry.changes == changes)?;
        let valid = entry.is_fresh() && entry.expires_at.is_none_or(|end| now() < end);
        valid.then(|| entry.value.clone())
    }

    /// Keeps a value, if there is room.
    pub(crate) fn put(&self, key: Key, entry: Entry<T>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.is_fresh());
        if entries.len() < MOST {
            entries.insert(key, entry);
        }
    }
}

impl<T> Entry<T> {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < KEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slug: &str) -> Key {
        ("ws".to_owned(), slug.to_owned())
    }

    fn entry(changes: u64, age: Duration, expires_at: Option<Timestamp>) -> Entry<()> {
        Entry {
            value: (),
            since: Instant::now().checked_sub(age).unwrap(),
            changes,
            expires_at,
        }
    }

    #[test]
    fn a_value_is_used_again_until_something_changes_or_ends() {
        let kept = Kept::default();
        let now = now();
        let hour = jiff::SignedDuration::from_hours(1);
        kept.put(key("good"), entry(7, Duration::ZERO, Some(now + hour)));
        kept.put(key("ended"), entry(7, Duration::ZERO, Some(now - hour)));
        kept.put(key("old"), entry(7, KEEP, None));
        assert!(kept.get(&key("good"), 7).is_some());
        assert!(
            kept.get(&key("good"), 8).is_none(),
            "a change counts at once"
        );
        assert!(kept.get(&key("ended"), 7).is_none());
        assert!(kept.get(&key("old"), 7).is_none());
        let elsewhere = ("other".to_owned(), "good".to_owned());
        assert!(kept.get(&elsewhere, 7).is_none());
    }

    #[test]
    fn there_is_a_bound_and_what_is_old_makes_room() {
        let kept = Kept::default();
        for number in 0..MOST {
            kept.put(key(&number.to_string()), entry(1, Duration::ZERO, None));
        }
        kept.put(key("more"), entry(1, Duration::ZERO, None));
        assert!(kept.get(&key("more"), 1).is_none());
        kept.0.lock().unwrap().values_mut().for_each(|entry| {
            entry.since = entry.since.checked_sub(KEEP).unwrap();
        });
        kept.put(key("more"), entry(1, Duration::ZERO, None));
        assert!(kept.get(&key("more"), 1).is_some());
        assert_eq!(kept.0.lock().unwrap().len(), 1);
    }
}
