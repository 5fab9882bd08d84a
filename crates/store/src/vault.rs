//! Seals and opens secrets: AES-256-GCM under a data key of their own.
//!
//! Each secret gets a fresh data key, derived from a master key and a random salt. The associated
//! data binds the ciphertext to its row, its workspace, its version and the master key's id, so
//! that a ciphertext that is copied into another row, or put back after a change, does not open.
//! Sealing uses the first key of the ring, opening any of them: that is how a key is rotated.

mod ring;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

pub(crate) use ring::random;
pub use ring::{KeyError, KeyRing};

/// First byte of every ciphertext; another layout gets another number.
const LAYOUT: u8 = 1;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + SALT_LEN + NONCE_LEN;

/// What a ciphertext is bound to: it opens only with the same three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Id of the row that holds the ciphertext.
    pub row_id: &'a str,
    /// The row's owner.
    pub workspace_id: &'a str,
    /// Version of the secret; to be raised whenever the row gets a new ciphertext.
    pub version: i64,
}

/// A sealed secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Id of the master key that sealed it.
    pub key_id: String,
    /// Layout byte, salt, nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// The cipher refused to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret could not be sealed: the cipher refused")]
pub struct SealError;

/// Why a sealed secret does not open. Every text names the master key and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The ring does not hold the key.
    #[error(
        "{row_id} was sealed with master key '{key_id}', which is not among the keys given \
         ({known}): add it as a further entry '{key_id}:<base64>' of the master key"
    )]
    UnknownKey {
        /// The row.
        row_id: String,
        /// The key that is missing.
        key_id: String,
        /// Ids of the keys that are there.
        known: String,
    },
    /// The ciphertext was changed, cut short, moved from another row or version, or sealed with
    /// another key of the same id.
    #[error(
        "{row_id} does not open with master key '{key_id}': the stored value was changed, moved \
         or sealed with another key of that id; store the secret again"
    )]
    Damaged {
        /// The row.
        row_id: String,
        /// The key that was tried.
        key_id: String,
    },
}

/// The only thing that seals and opens secrets.
#[derive(Debug)]
pub struct Vault {
    ring: KeyRing,
}

impl Vault {
    /// A vault over these master keys.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self { ring }
    }

    /// Id of the key that seals.
    #[must_use]
    pub fn current_key_id(&self) -> &str {
        self.ring.current().id()
    }

    /// Seals `secret` for one row.
    ///
    /// # Errors
    /// [`SealError`] when the cipher refuses, which no input is known to cause.
    pub fn seal(&self, binding: Binding<'_>, secret: &SecretString) -> Result<Sealed, SealError> {
        let master = self.ring.current();
        let salt: [u8; SALT_LEN] = random();
        let cipher = cipher(&master.data_key(&salt)).ok_or(SealError)?;
        // Room for the tag from the start: a reallocation would leave the plain text behind.
        let plain = secret.expose_secret().as_bytes();
        let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_LEN));
        body.extend_from_slice(plain);
        let aad = Aad::from(associated(master.id(), binding));
        let nonce = cipher
            .seal_in_place_append_tag(aad, &mut *body)
            .map_err(|_unspecified| SealError)?;
        let bytes = [&[LAYOUT][..], &salt, nonce.as_ref(), &body].concat();
        Ok(Sealed {
            key_id: master.id().to_owned(),
            bytes,
        })
    }

    /// Opens what [`Vault::seal`] sealed with the same binding.
    ///
    /// # Errors
    /// [`OpenError`], naming the row and the key. Other rows are not affected.
    pub fn open(&self, binding: Binding<'_>, sealed: &Sealed) -> Result<SecretString, OpenError> {
        let master = self
            .ring
            .find(&sealed.key_id)
            .ok_or_else(|| OpenError::UnknownKey {
                row_id: binding.row_id.to_owned(),
                key_id: sealed.key_id.clone(),
                known: self.ring.ids().collect::<Vec<_>>().join(", "),
            })?;
        open_bytes(master, binding, &sealed.bytes).ok_or_else(|| OpenError::Damaged {
            row_id: binding.row_id.to_owned(),
            key_id: sealed.key_id.clone(),
        })
    }
}

fn open_bytes(
    master: &ring::MasterKey,
    binding: Binding<'_>,
    bytes: &[u8],
) -> Option<SecretString> {
    let (head, body) = bytes.split_at_checked(HEAD_LEN)?;
    let (layout, head) = head.split_first()?;
    if *layout != LAYOUT {
        return None;
    }
    let (salt, nonce) = head.split_at_checked(SALT_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let cipher = cipher(&master.data_key(salt))?;
    let aad = Aad::from(associated(master.id(), binding));
    let mut body = Zeroizing::new(body.to_vec());
    let plain = cipher.open_in_place(nonce, aad, &mut body).ok()?;
    // An exact copy, so that turning it into a boxed str does not reallocate.
    let text = std::str::from_utf8(plain).ok().map(str::to_owned);
    plain.zeroize();
    text.map(SecretString::from)
}

fn cipher(data_key: &[u8; 32]) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, data_key).ok()
}

/// Length before each text, so that no two bindings give the same bytes.
fn associated(key_id: &str, binding: Binding<'_>) -> Vec<u8> {
    let mut out = b"portunus vault".to_vec();
    for text in [key_id, binding.row_id, binding.workspace_id] {
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&binding.version.to_be_bytes());
    out
}

/// What may be shown of a secret: `…` and its last four characters, or nothing when it is so
/// short (under 16 characters) that this would help a guesser.
#[must_use]
pub fn mask(secret: &SecretString) -> String {
    let text = secret.expose_secret();
    let length = text.chars().count();
    if length < 16 {
        return String::new();
    }
    let tail: String = text.chars().skip(length - 4).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Binding<'_> = Binding {
        row_id: "vk-1",
        workspace_id: "ws-1",
        version: 1,
    };

    fn vault() -> (Vault, Sealed) {
        let vault = Vault::new(KeyRing::generate());
        let sealed = vault.seal(HERE, &"sk-plain-secret".into()).unwrap();
        (vault, sealed)
    }

    fn damaged(vault: &Vault, binding: Binding<'_>, sealed: &Sealed) -> String {
        let error = vault.open(binding, sealed).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn what_was_sealed_opens() {
        let (vault, sealed) = vault();
        assert_eq!(
            vault.open(HERE, &sealed).unwrap().expose_secret(),
            "sk-plain-secret"
        );
        let empty = vault.seal(HERE, &String::new().into()).unwrap();
        assert_eq!(vault.open(HERE, &empty).unwrap().expose_secret(), "");
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let (vault, sealed) = vault();
        let again = vault.seal(HERE, &"sk-plain-secret".into()).unwrap();
        assert_ne!(sealed.bytes, again.bytes);
        assert!(!sealed.bytes.windows(5).any(|window| window == b"plain"));
    }

    #[test]
    fn another_row_workspace_or_version_does_not_open() {
        let (vault, sealed) = vault();
        for other in [
            Binding {
                row_id: "vk-2",
                ..HERE
            },
            Binding {
                workspace_id: "ws-2",
                ..HERE
            },
            Binding { version: 2, ..HERE },
            // The same letters, split at another place.
            Binding {
                row_id: "vk-1w",
                workspace_id: "s-1",
                ..HERE
            },
        ] {
            let text = damaged(&vault, other, &sealed);
            assert!(
                text.contains(&sealed.key_id) && text.contains(other.row_id),
                "{text}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (vault, sealed) = vault();
        for at in 0..sealed.bytes.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed.bytes[at] ^= 1 << bit;
                damaged(&vault, HERE, &changed);
            }
            let cut = Sealed {
                bytes: sealed.bytes[..at].to_vec(),
                ..sealed.clone()
            };
            damaged(&vault, HERE, &cut);
        }
        assert!(vault.open(HERE, &sealed).is_ok());
    }

    #[test]
    fn rotation_opens_with_any_key_and_seals_with_the_first() {
        let old = KeyRing::generate();
        let new = KeyRing::generate();
        let sealed = Vault::new(old.clone()).seal(HERE, &"x".into()).unwrap();
        let both = format!(
            "{},{}",
            new.to_text().expose_secret(),
            old.to_text().expose_secret()
        );
        let vault = Vault::new(KeyRing::parse(&both.into()).unwrap());
        assert_eq!(vault.open(HERE, &sealed).unwrap().expose_secret(), "x");
        let again = vault.seal(HERE, &"x".into()).unwrap();
        assert_eq!(again.key_id, new.current().id());

        let error = Vault::new(new).open(HERE, &sealed).unwrap_err();
        assert!(matches!(error, OpenError::UnknownKey { .. }));
        let text = error.to_string();
        assert!(
            text.contains(&sealed.key_id) && text.contains("add it"),
            "{text}"
        );
    }

    #[test]
    fn the_key_id_is_bound_too() {
        let ring = KeyRing::generate();
        let text = ring.to_text().expose_secret().to_owned();
        let (_, key) = text.split_once(':').unwrap();
        let twin = KeyRing::parse(&format!("a:{key}, b:{key}").into()).unwrap();
        let vault = Vault::new(twin);
        let sealed = vault.seal(HERE, &"x".into()).unwrap();
        damaged(
            &vault,
            HERE,
            &Sealed {
                key_id: "b".to_owned(),
                ..sealed
            },
        );
    }

    #[test]
    fn debug_shows_neither_key_nor_ciphertext() {
        let (vault, sealed) = vault();
        let text = format!("{vault:?} {sealed:?}");
        let key = vault.ring.to_text().expose_secret().to_owned();
        assert!(!text.contains(key.split_once(':').unwrap().1));
        assert!(!text.contains(&format!("{:?}", sealed.bytes)), "{text}");
    }

    #[test]
    fn the_mask_shows_only_the_tail_of_a_long_secret() {
        assert_eq!(mask(&"sk-0123456789abcdefAb3d".into()), "…Ab3d");
        assert_eq!(mask(&"short-key-12345".into()), "");
        assert_eq!(mask(&"".into()), "");
    }
}
