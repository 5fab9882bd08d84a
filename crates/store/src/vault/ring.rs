//! The master keys: `id → 32 bytes`, first one current.

use std::fmt;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;

/// Fewest different bytes that a random key of 32 bytes has; about one key in 10^19 has fewer.
const DISTINCT_BYTES: usize = 16;

/// Why a text holds no usable master keys. Every text says what to do; none shows key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error(
        "the master key is empty: put 32 random bytes there, e.g. from `openssl rand -base64 32`"
    )]
    Empty,
    /// Neither base64 nor hexadecimal, or of another length.
    #[error(
        "master key {position} is not 32 bytes in base64 or hexadecimal: \
         make one with `openssl rand -base64 32`"
    )]
    Length {
        /// Which entry, from 1.
        position: usize,
    },
    /// Regular bytes: a placeholder, not a random key.
    #[error(
        "master key {position} is a placeholder, not a random key: \
         make one with `openssl rand -base64 32`"
    )]
    Weak {
        /// Which entry, from 1.
        position: usize,
    },
    /// The id has other characters than letters, digits, `.`, `_`, `-`, or is longer than 32.
    #[error(
        "the id of master key {position} must be 1 to 32 letters, digits, '.', '_' or '-' \
         before the ':'"
    )]
    Id {
        /// Which entry, from 1.
        position: usize,
    },
    /// Two keys with one id.
    #[error("two master keys have the id '{0}': give each key an id of its own")]
    Duplicate(String),
}

/// One master key.
#[derive(Clone)]
pub(crate) struct MasterKey {
    id: String,
    key: Zeroizing<[u8; KEY_LEN]>,
}

impl MasterKey {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The data key of one secret.
    pub(super) fn data_key(&self, salt: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(self.expand(b"data key", salt))
    }

    /// One block of HKDF-Expand (RFC 5869, 2.3): the key is random, so nothing need be extracted.
    fn expand(&self, label: &[u8], input: &[u8]) -> [u8; KEY_LEN] {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.key));
        for part in [b"portunus ", label, b"\0", input, b"\x01"] {
            mac.update(part);
        }
        let mut out = [0; KEY_LEN];
        out.copy_from_slice(mac.sign().as_ref());
        out
    }
}

/// Master keys by id; the first seals, all of them open.
#[derive(Clone)]
pub struct KeyRing {
    current: MasterKey,
    older: Vec<MasterKey>,
}

impl KeyRing {
    /// Reads `id:key[,id2:key2…]`, separated by commas or white space, first one current. A key
    /// is 32 bytes in base64 or hexadecimal; without `id:` the id is made from the key's digest.
    ///
    /// # Errors
    /// [`KeyError`] names the entry by its position and what to do.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let entries = text
            .expose_secret()
            .split(|c: char| c == ',' || c.is_whitespace());
        let mut keys = Vec::new();
        for entry in entries.filter(|entry| !entry.is_empty()) {
            let key = parse_entry(entry, keys.len() + 1)?;
            if keys.iter().any(|known: &MasterKey| known.id == key.id) {
                return Err(KeyError::Duplicate(key.id));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(KeyError::Empty)?;
        Ok(Self {
            current,
            older: keys.collect(),
        })
    }

    /// A ring of one fresh random key.
    #[must_use]
    pub fn generate() -> Self {
        let key = Zeroizing::new(random());
        Self {
            current: MasterKey {
                id: id_of(&key),
                key,
            },
            older: Vec::new(),
        }
    }

    /// The text that [`KeyRing::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let mut text = String::new();
        for key in self.keys() {
            let separator = if text.is_empty() { "" } else { "," };
            let encoded = Zeroizing::new(codec(false).encode(*key.key));
            text.push_str(&format!("{separator}{}:{}", key.id, &*encoded));
        }
        SecretString::from(text)
    }

    /// This ring with the current key of `new` in front: it seals from then on, the others
    /// still open.
    ///
    /// # Errors
    /// [`KeyError::Duplicate`] when another key of this ring has the new one's id.
    pub fn with_current(&self, new: &Self) -> Result<Self, KeyError> {
        let current = new.current.clone();
        let older: Vec<MasterKey> = self
            .keys()
            .filter(|key| key.id != current.id || key.key != current.key)
            .cloned()
            .collect();
        if older.iter().any(|key| key.id == current.id) {
            return Err(KeyError::Duplicate(current.id));
        }
        Ok(Self { current, older })
    }

    /// The current key alone.
    #[must_use]
    pub fn current_only(&self) -> Self {
        Self {
            current: self.current.clone(),
            older: Vec::new(),
        }
    }

    /// Ids of the keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(MasterKey::id)
    }

    /// A public value that tells whether two rings have the same current key: `id:digits`.
    #[must_use]
    pub fn check_value(&self) -> String {
        format!(
            "{}:{}",
            self.current.id,
            hex(&self.current.expand(b"check", b"")[..8])
        )
    }

    /// A key for another purpose, derived from the current master key. It changes when that key
    /// is rotated; what has to outlive a rotation (the pepper of API keys) comes from
    /// `unlock` instead.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; KEY_LEN] {
        self.current.expand(b"derive", purpose.as_bytes())
    }

    pub(crate) fn current(&self) -> &MasterKey {
        &self.current
    }

    pub(super) fn find(&self, id: &str) -> Option<&MasterKey> {
        self.keys().find(|key| key.id == id)
    }

    fn keys(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing")
            .field(&self.ids().collect::<Vec<_>>())
            .finish()
    }
}

fn parse_entry(entry: &str, position: usize) -> Result<MasterKey, KeyError> {
    let (id, text) = match entry.split_once(':') {
        Some((id, text)) => (Some(id), text),
        None => (None, entry),
    };
    let key = decode(text).ok_or(KeyError::Length { position })?;
    if distinct(&*key) < DISTINCT_BYTES {
        return Err(KeyError::Weak { position });
    }
    let id = id.map_or_else(|| id_of(&key), str::to_owned);
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > 32 || !id.chars().all(legal) {
        return Err(KeyError::Id { position });
    }
    Ok(MasterKey { id, key })
}

fn decode(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let bytes = Zeroizing::new(if text.len() == 2 * KEY_LEN {
        unhex(text)?
    } else {
        codec(text.contains(['-', '_'])).decode(text).ok()?
    });
    let mut key = Zeroizing::new([0; KEY_LEN]);
    if bytes.len() != KEY_LEN {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(key)
}

fn codec(url_safe: bool) -> GeneralPurpose {
    let alphabet = if url_safe { &URL_SAFE } else { &STANDARD };
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
    Some(
        digits?
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_of(key: &[u8; KEY_LEN]) -> String {
    let mut input = Zeroizing::new(b"portunus key id\0".to_vec());
    input.extend_from_slice(key);
    hex(&digest::digest(&digest::SHA256, &input).as_ref()[..4])
}

fn distinct(key: &[u8]) -> usize {
    let mut seen = key.to_vec();
    seen.sort_unstable();
    seen.dedup();
    let count = seen.len();
    zeroize::Zeroize::zeroize(&mut seen);
    count
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rand::fill(&mut bytes).is_err() {
        // Keys that can be guessed are worse than no process.
        tracing::error!("the system gives no random bytes");
        std::process::abort();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";

    fn parse(text: &str) -> Result<KeyRing, KeyError> {
        KeyRing::parse(&text.into())
    }

    #[test]
    fn every_spelling_of_a_key_is_the_same_key() {
        let bytes = unhex(HEX).unwrap();
        let plain = codec(false).encode(&bytes);
        let url_safe = codec(true).encode(&bytes);
        let expected = parse(HEX).unwrap().check_value();
        for text in [
            &plain,
            plain.trim_end_matches('='),
            &url_safe,
            &HEX.to_uppercase(),
        ] {
            assert_eq!(parse(text).unwrap().check_value(), expected, "{text}");
            assert_eq!(
                parse(&format!(" {text}\n")).unwrap().check_value(),
                expected
            );
        }
    }

    #[test]
    fn a_ring_is_read_back_from_its_text() {
        let one = KeyRing::generate().to_text().expose_secret().to_owned();
        let two = parse(&format!("{one},old:{HEX}")).unwrap();
        let text = two.to_text();
        let again = KeyRing::parse(&text).unwrap();
        assert_eq!(again.to_text().expose_secret(), text.expose_secret());
        assert_eq!(
            again.ids().collect::<Vec<_>>(),
            two.ids().collect::<Vec<_>>()
        );
        assert_eq!(
            again.find("old").unwrap().key,
            parse(HEX).unwrap().current.key
        );
    }

    #[test]
    fn a_new_key_goes_in_front_and_the_old_ones_can_be_left_out() {
        let old = parse(&format!("old:{HEX}")).unwrap();
        let new = KeyRing::generate();
        let both = old.with_current(&new).unwrap();
        let new_id = new.current.id.clone();
        assert_eq!(both.ids().collect::<Vec<_>>(), [new_id.as_str(), "old"]);
        assert_eq!(
            both.current_only().to_text().expose_secret(),
            new.to_text().expose_secret()
        );
        // Said twice, it is the same ring; an older key can come to the front again.
        let twice = both.with_current(&new).unwrap();
        assert_eq!(
            twice.to_text().expose_secret(),
            both.to_text().expose_secret()
        );
        let back = both.with_current(&old).unwrap();
        assert_eq!(back.ids().collect::<Vec<_>>(), ["old", new_id.as_str()]);
        let text = new.to_text().expose_secret().replace(&new_id, "old");
        let clash = old.with_current(&parse(&text).unwrap());
        assert_eq!(clash.unwrap_err(), KeyError::Duplicate("old".to_owned()));
    }

    #[test]
    fn unusable_keys_are_refused_with_the_way_out() {
        let zeros = "0".repeat(64);
        let repeated = "0123456789abcdef".repeat(4);
        let twice = format!("a:{HEX},a:{HEX}");
        let bad_id = format!("a b!:{HEX}");
        let long_id = format!("{}:{HEX}", "i".repeat(33));
        for (text, expected) in [
            ("", KeyError::Empty),
            (" , \n", KeyError::Empty),
            ("c2hvcnQ=", KeyError::Length { position: 1 }),
            (&HEX[..62], KeyError::Length { position: 1 }),
            ("changeme", KeyError::Length { position: 1 }),
            (&zeros, KeyError::Weak { position: 1 }),
            (&repeated, KeyError::Weak { position: 1 }),
            (&twice, KeyError::Duplicate("a".to_owned())),
            (&long_id, KeyError::Id { position: 1 }),
            (&format!(":{HEX}"), KeyError::Id { position: 1 }),
            (
                &format!("{HEX} {}", &HEX[2..]),
                KeyError::Length { position: 2 },
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains(&HEX[..16]));
        }
        assert!(parse(&bad_id).is_err());
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_key() {
        let ring = parse(HEX).unwrap();
        assert_eq!(ring.derive("a"), parse(HEX).unwrap().derive("a"));
        assert_ne!(ring.derive("a"), ring.derive("b"));
        assert_ne!(ring.derive("a"), KeyRing::generate().derive("a"));
        assert_ne!(ring.derive("a"), *ring.current.data_key(b"a"));
    }
}
