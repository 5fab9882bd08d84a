//! Brings a database and its master key together at start.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::error::StoreError;
use crate::model::{Page, VaultMetaRow, VirtualKeyRow};
use crate::store::Store;
use crate::vault::{Binding, KeyRing, OpenError, SealError, Sealed, Vault, random};

/// Name of the pepper among the values of the whole database: the first value that a master key
/// seals, and so what tells whether there is anything to open.
pub const PEPPER: &str = "pepper";

/// Hexadecimal digits of the pepper.
const PEPPER_DIGITS: usize = 64;

/// What a database and its master key give together.
#[derive(Debug)]
pub struct Unlocked {
    /// Opens and seals the virtual keys.
    pub vault: Vault,
    /// The key under which API keys are hashed. Random, sealed in the database, and so
    /// unaffected by a rotation of the master key.
    pub pepper: Pepper,
}

/// The key under which API keys are hashed.
#[derive(Clone)]
pub struct Pepper(Zeroizing<[u8; 32]>);

impl std::ops::Deref for Pepper {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// Why the master key and the database do not fit.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The key is not the one that sealed this database.
    #[error("the master key does not fit this database ({0}); start with the key it was made with")]
    WrongKey(#[source] OpenError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that the ring opens this database and returns the vault and the pepper. A database that
/// has no pepper yet gets one, sealed with the current key: from then on it is the key check.
///
/// # Errors
/// [`UnlockError::WrongKey`] names the key that is missing or does not fit.
pub async fn unlock(store: &dyn Store, ring: KeyRing) -> Result<Unlocked, UnlockError> {
    let vault = Vault::new(ring);
    let row = match store.vault_meta(PEPPER).await? {
        Some(row) => row,
        None => make_pepper(store, &vault).await?,
    };
    let pepper = open_pepper(&vault, &row)?;
    Ok(Unlocked { vault, pepper })
}

fn meta_binding(version: i64) -> Binding<'static> {
    Binding {
        row_id: PEPPER,
        workspace_id: "",
        version,
    }
}

async fn make_pepper(store: &dyn Store, vault: &Vault) -> Result<VaultMetaRow, UnlockError> {
    let mut bytes: [u8; PEPPER_DIGITS / 2] = random();
    let mut digits = String::with_capacity(PEPPER_DIGITS);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    bytes.zeroize();
    let row = seal_pepper(vault, 1, &SecretString::from(digits))?;
    if store.insert_vault_meta(&row).await? {
        return Ok(row);
    }
    // Another process was faster; its pepper counts.
    store
        .vault_meta(PEPPER)
        .await?
        .ok_or(UnlockError::Store(StoreError::Conflict("pepper")))
}

fn seal_pepper(
    vault: &Vault,
    version: i64,
    digits: &SecretString,
) -> Result<VaultMetaRow, SealError> {
    let sealed = vault.seal(meta_binding(version), digits)?;
    Ok(VaultMetaRow {
        name: PEPPER.to_owned(),
        sealed: sealed.bytes,
        key_id: sealed.key_id,
        version,
    })
}

fn open_meta(vault: &Vault, row: &VaultMetaRow) -> Result<SecretString, UnlockError> {
    let sealed = Sealed {
        key_id: row.key_id.clone(),
        bytes: row.sealed.clone(),
    };
    vault
        .open(meta_binding(row.version), &sealed)
        .map_err(UnlockError::WrongKey)
}

fn open_pepper(vault: &Vault, row: &VaultMetaRow) -> Result<Pepper, UnlockError> {
    let digits = open_meta(vault, row)?;
    let mut pepper = Zeroizing::new([0; PEPPER_DIGITS / 2]);
    let mut nibbles = digits
        .expose_secret()
        .chars()
        .map(|c| c.to_digit(16).unwrap_or(0) as u8);
    for byte in pepper.iter_mut() {
        *byte = nibbles.next().unwrap_or(0) << 4 | nibbles.next().unwrap_or(0);
    }
    Ok(Pepper(pepper))
}

/// What [`reseal`] did.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Values that were sealed anew with the current key.
    pub resealed: u64,
    /// Values that had the current key already, or none.
    pub kept: u64,
    /// Virtual keys that could not be opened; they stay as they are.
    pub failed: Vec<OpenError>,
}

/// Seals everything anew that was sealed with an older key of the ring. It may be broken off
/// and run again at any time: each row is changed in one step, and rows of both keys open as
/// long as the ring holds both.
///
/// # Errors
/// [`UnlockError`] when the database fails or the pepper does not open. A single virtual key that
/// does not open is in [`Resealed::failed`] instead.
pub async fn reseal(store: &dyn Store, vault: &Vault) -> Result<Resealed, UnlockError> {
    let mut report = Resealed::default();
    for row in virtual_keys(store).await? {
        reseal_row(store, vault, row, &mut report).await?;
    }
    reseal_pepper(store, vault, &mut report).await?;
    Ok(report)
}

/// How many values each master key has sealed, by the key's id.
///
/// # Errors
/// When the database fails.
pub async fn sealed_by(store: &dyn Store) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut counts = BTreeMap::new();
    let rows = virtual_keys(store).await?;
    let ids = rows.iter().filter_map(|row| Some(row.credential()?.key_id));
    let pepper = store.vault_meta(PEPPER).await?;
    for id in ids.chain(pepper.map(|row| row.key_id)) {
        *counts.entry(id).or_default() += 1;
    }
    Ok(counts)
}

/// The virtual keys of all workspaces.
async fn virtual_keys(store: &dyn Store) -> Result<Vec<VirtualKeyRow>, StoreError> {
    let mut rows = Vec::new();
    for workspace in store.list_workspaces().await? {
        let mut page = Page {
            limit: 200,
            offset: 0,
        };
        loop {
            let listed = store.list_virtual_keys(&workspace.id, page).await?.rows;
            if listed.is_empty() {
                break;
            }
            page.offset += page.limit;
            rows.extend(listed);
        }
    }
    Ok(rows)
}

async fn reseal_row(
    store: &dyn Store,
    vault: &Vault,
    mut row: VirtualKeyRow,
    report: &mut Resealed,
) -> Result<(), UnlockError> {
    let Some(sealed) = row
        .credential()
        .filter(|one| one.key_id != vault.current_key_id())
    else {
        report.kept += 1;
        return Ok(());
    };
    let secret = match vault.open(row.binding(), &sealed) {
        Ok(secret) => secret,
        Err(error) => {
            report.failed.push(error);
            return Ok(());
        }
    };
    row.version += 1;
    row.updated_at = Timestamp::now();
    let sealed = vault.seal(row.binding(), &secret)?;
    (row.key_id, row.sealed) = (sealed.key_id, sealed.bytes);
    match store.update_virtual_key(&row).await {
        // Gone or changed meanwhile: whoever changed it has sealed with a key of the ring.
        Ok(false) | Err(StoreError::Conflict(_)) => report.kept += 1,
        Ok(true) => report.resealed += 1,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn reseal_pepper(
    store: &dyn Store,
    vault: &Vault,
    report: &mut Resealed,
) -> Result<(), UnlockError> {
    let Some(row) = store.vault_meta(PEPPER).await? else {
        return Ok(());
    };
    if row.key_id == vault.current_key_id() {
        report.kept += 1;
        return Ok(());
    }
    let fresh = seal_pepper(vault, row.version + 1, &open_meta(vault, &row)?)?;
    if store.update_vault_meta(&fresh).await? {
        report.resealed += 1;
    }
    Ok(())
}
