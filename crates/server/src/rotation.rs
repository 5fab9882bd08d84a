//! A new master key: what the old one has sealed is sealed anew.
//!
//! It may be killed at any moment and run again. The key's file holds both keys, the new one
//! first, before the first row is changed, and the old one leaves the file only when nothing is
//! sealed with it: at every moment the file opens every row.

use crate::first_start::{self, Environment};
use crate::in_use;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use portunus_store::vault::{KeyRing, OpenError, Vault};
use portunus_store::{PEPPER, Store, reseal, sealed_by};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A database, its master keys and where they are kept.
struct Opened {
    store: Arc<dyn Store>,
    ring: KeyRing,
    /// The file of the keys; `None` when they are in a variable.
    file: Option<PathBuf>,
}

/// What sealed what.
#[derive(Debug)]
pub struct Status {
    /// Ids of the master keys that are given, the one that seals first.
    pub keys: Vec<String>,
    /// Where they are kept; `None` for a variable.
    pub file: Option<PathBuf>,
    /// How many values each key has sealed, by its id; keys that are not given too.
    pub sealed: BTreeMap<String, u64>,
}

impl Status {
    /// How many values are not sealed with the current key.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let current = self.keys.first();
        let older = self.sealed.iter().filter(|(id, _)| Some(*id) != current);
        older.map(|(_, count)| count).sum()
    }
}

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// How it is now.
    pub status: Status,
    /// Values that were sealed anew.
    pub resealed: u64,
    /// Virtual keys that do not open. They stay as they are, and so do the older keys.
    pub failed: Vec<OpenError>,
}

/// Which keys there are and what each has sealed.
///
/// # Errors
/// When there is no database that holds anything, or no key that fits it.
pub async fn status(settings: &Settings, environment: Environment<'_>) -> Result<Status> {
    let opened = Opened::new(settings, environment).await?;
    opened.status(&opened.ring).await
}

/// What [`rotate`] would find; nothing is changed.
///
/// # Errors
/// As [`rotate`].
pub async fn rehearse(
    settings: &Settings,
    environment: Environment<'_>,
    new_key_file: Option<&Path>,
) -> Result<Status> {
    let opened = Opened::new(settings, environment).await?;
    let ring = opened.next_ring(new_key_file)?;
    opened.status(&ring).await
}

/// Brings in a new master key, or goes on with a rotation that broke off. The new key is the one
/// in `new_key_file`, else a fresh one; a ring of several keys is only finished.
///
/// # Errors
/// When a gateway runs, when no given key fits the database, when the key's file cannot be
/// changed (then nothing else is), when the database fails.
pub async fn rotate(
    settings: &Settings,
    environment: Environment<'_>,
    new_key_file: Option<&Path>,
) -> Result<Rotated> {
    if !settings.data_dir.is_dir() {
        bail!("there is no data folder {}", settings.data_dir.display());
    }
    let _alone = in_use::alone(&settings.data_dir)?;
    let opened = Opened::new(settings, environment).await?;
    let ring = opened.next_ring(new_key_file)?;
    opened.keep(&ring)?;
    let report = reseal(opened.store.as_ref(), &Vault::new(ring.clone())).await?;
    let mut status = opened.status(&ring).await?;
    if status.behind() == 0 && report.failed.is_empty() && opened.file.is_some() {
        let current = ring.current_only();
        opened.keep(&current)?;
        status.keys.truncate(1);
    }
    opened.store.close().await;
    Ok(Rotated {
        status,
        resealed: report.resealed,
        failed: report.failed,
    })
}

impl Opened {
    async fn new(settings: &Settings, environment: Environment<'_>) -> Result<Self> {
        let data_dir = &settings.data_dir;
        if !data_dir.is_dir() {
            bail!("there is no data folder {}", data_dir.display());
        }
        let url = settings.database_url();
        let store = portunus_store::open(&url)
            .await
            .with_context(|| format!("cannot open {}", portunus_store::shown(&url)))?;
        if store.vault_meta(PEPPER).await?.is_none() {
            bail!("{} holds no sealed value yet", portunus_store::shown(&url));
        }
        let (ring, _) = first_start::master_key(data_dir, environment, true)?;
        first_start::unlock(settings, store.as_ref(), ring.clone()).await?;
        let file = first_start::master_key_file(data_dir, environment);
        Ok(Self { store, ring, file })
    }

    async fn status(&self, ring: &KeyRing) -> Result<Status> {
        Ok(Status {
            keys: ring.ids().map(str::to_owned).collect(),
            file: self.file.clone(),
            sealed: sealed_by(self.store.as_ref()).await?,
        })
    }

    /// The keys with which everything is to be sealed anew, the new one first.
    fn next_ring(&self, new_key_file: Option<&Path>) -> Result<KeyRing> {
        let unfinished = self.ring.ids().count() > 1;
        if self.file.is_none() {
            if unfinished && new_key_file.is_none() {
                return Ok(self.ring.clone());
            }
            bail!(
                "the master key comes from PORTUNUS_MASTER_KEY, which no command can change: set \
                 it to `new:BASE64,old:BASE64` and run this again without a new key"
            );
        }
        let new = match new_key_file {
            Some(path) => {
                let text = first_start::read(path)?
                    .with_context(|| format!("there is no file {}", path.display()))?;
                KeyRing::parse(&text).context("the new master key cannot be used")?
            }
            None if unfinished => return Ok(self.ring.clone()),
            None => KeyRing::generate(),
        };
        if new.ids().count() > 1 {
            bail!("the file of the new master key holds more than one key");
        }
        Ok(self.ring.with_current(&new)?)
    }

    /// Writes the keys down, unless they are there already.
    fn keep(&self, ring: &KeyRing) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        first_start::replace(file, &ring.to_text())
    }
}
