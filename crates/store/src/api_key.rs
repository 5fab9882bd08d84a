//! Secrets of API keys: `pk-<12 public characters>-<43 random><6 check characters>`.
//!
//! All characters after `pk-` are base62. The public part finds the row; the secret is kept only
//! as HMAC-SHA-256 under a pepper (256 random bits need no slow hash). The check characters let a
//! scanner tell a key from random text without asking us: they are the first four bytes of
//! SHA-256 over everything before them, as a base62 number.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

use crate::model::ApiKeyRow;
use crate::vault::random;

/// What every key begins with.
pub const PREFIX: &str = "pk-";

const LOOKUP_LEN: usize = 12;
/// 43 characters of base62 hold 256 bits.
const RANDOM_LEN: usize = 43;
const CHECK_LEN: usize = 6;
const DASH: usize = PREFIX.len() + LOOKUP_LEN;
const LENGTH: usize = DASH + 1 + RANDOM_LEN + CHECK_LEN;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key. The secret is shown once and not kept.
#[derive(Debug)]
pub struct Minted {
    /// The whole key.
    pub secret: SecretString,
    /// Its public part.
    pub lookup: String,
    /// What is stored of it.
    pub hash: Vec<u8>,
}

/// A text that has the form of a key; whether it is one of ours says [`verify`].
pub struct Parsed {
    /// The public part.
    pub lookup: String,
    secret: SecretString,
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("lookup", &self.lookup)
            .finish_non_exhaustive()
    }
}

/// Makes a key.
#[must_use]
pub fn mint(pepper: &[u8; 32]) -> Minted {
    let lookup = base62(LOOKUP_LEN);
    let mut secret = String::with_capacity(LENGTH);
    let mut random = base62(RANDOM_LEN);
    for part in [PREFIX, &lookup, "-", &random] {
        secret.push_str(part);
    }
    random.zeroize();
    let check = check_characters(&secret);
    secret.push_str(&check);
    let hash = hmac::sign(&key(pepper), secret.as_bytes())
        .as_ref()
        .to_vec();
    Minted {
        secret: SecretString::from(secret),
        lookup,
        hash,
    }
}

/// Reads a key; `None` when the text does not have the form of one, check characters included.
#[must_use]
pub fn parse(text: &str) -> Option<Parsed> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric();
    if text.len() != LENGTH || !text.is_ascii() || !text.starts_with(PREFIX) {
        return None;
    }
    let (lookup, random) = text[PREFIX.len()..].split_at(LOOKUP_LEN);
    let random = random.strip_prefix('-')?;
    if !lookup.bytes().chain(random.bytes()).all(legal) {
        return None;
    }
    let (body, check) = text.split_at(LENGTH - CHECK_LEN);
    (check_characters(body) == check).then(|| Parsed {
        lookup: lookup.to_owned(),
        secret: SecretString::from(text.to_owned()),
    })
}

/// True when `hash` is what is stored of this key; takes the same time for any `hash`.
#[must_use]
pub fn verify(pepper: &[u8; 32], parsed: &Parsed, hash: &[u8]) -> bool {
    hmac::verify(&key(pepper), parsed.secret.expose_secret().as_bytes(), hash).is_ok()
}

/// True when the row that was found by the public part (if any) accepts this key at `now`: the
/// current secret, or the one before the last rotation within its grace, of a usable row. An
/// unknown key costs the same hash as a known one, so that time does not tell them apart.
#[must_use]
pub fn verify_row(
    pepper: &[u8; 32],
    parsed: &Parsed,
    row: Option<&ApiKeyRow>,
    now: Timestamp,
) -> bool {
    let stored = row.and_then(|row| stored_hash(row, &parsed.lookup, now));
    let equal = verify(pepper, parsed, stored.unwrap_or(&[0; 32]));
    equal && stored.is_some() && row.is_some_and(|row| row.is_usable(now))
}

fn stored_hash<'a>(row: &'a ApiKeyRow, lookup: &str, now: Timestamp) -> Option<&'a [u8]> {
    if row.lookup == lookup {
        return Some(&row.hash);
    }
    let former = row.rotated.as_ref()?;
    (former.lookup == lookup && now < former.grace_until).then_some(&former.hash)
}

fn key(pepper: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, pepper)
}

/// Signs words under the pepper, in hex: what comes back with them was written here. `purpose`
/// parts one kind of text from another, and all of them from keys.
#[must_use]
pub fn sign(pepper: &[u8; 32], purpose: &str, words: &[&str]) -> String {
    let tag = hmac::sign(&key(pepper), &spelled(purpose, words));
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// True when `signature` is what [`sign`] makes of these words; takes the same time for any
/// signature of its length.
#[must_use]
pub fn is_signed(pepper: &[u8; 32], purpose: &str, words: &[&str], signature: &str) -> bool {
    let ours = sign(pepper, purpose, words);
    let pairs = ours.bytes().zip(signature.bytes());
    let differ = pairs.fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differ) == 0 && ours.len() == signature.len()
}

/// Each word with its length, so that no two lists spell the same.
fn spelled(purpose: &str, words: &[&str]) -> Vec<u8> {
    let mut out = format!("signed:{}:{purpose}", purpose.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!(":{}:{word}", word.len()).as_bytes());
    }
    out
}

fn check_characters(body: &str) -> String {
    let digest = digest::digest(&digest::SHA256, body.as_bytes());
    let number = digest
        .as_ref()
        .iter()
        .take(4)
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let digits = (0..CHECK_LEN).rev().map(|place| {
        let digit = number / 62_u64.pow(place as u32) % 62;
        char::from(BASE62[digit as usize])
    });
    digits.collect()
}

/// Random characters, each of the 62 equally likely.
fn base62(length: usize) -> String {
    let mut out = String::with_capacity(length);
    while out.len() < length {
        let mut bytes: [u8; 64] = random();
        // 248 is the greatest multiple of 62 in a byte; greater values would favour some.
        let fair = bytes.iter().filter(|&&byte| byte < 248);
        out.extend(
            fair.take(length - out.len())
                .map(|byte| char::from(BASE62[usize::from(byte % 62)])),
        );
        bytes.zeroize();
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::{ApiKeyDefaults, Rotated, STATUS_ACTIVE, now};

    const PEPPER: [u8; 32] = [7; 32];

    fn row(minted: &Minted) -> ApiKeyRow {
        ApiKeyRow {
            id: "key-1".to_owned(),
            workspace_id: "ws-1".to_owned(),
            name: "test".to_owned(),
            lookup: minted.lookup.clone(),
            hash: minted.hash.clone(),
            scopes: Vec::new(),
            defaults: ApiKeyDefaults::default(),
            rate_limits: serde_json::Value::Null,
            usage_limits: serde_json::Value::Null,
            status: STATUS_ACTIVE.to_owned(),
            created_at: now(),
            expires_at: None,
            last_used_at: None,
            rotated: None,
        }
    }

    fn parsed(minted: &Minted) -> Parsed {
        parse(minted.secret.expose_secret()).unwrap()
    }

    #[test]
    fn a_minted_key_parses_and_verifies() {
        let minted = mint(&PEPPER);
        let secret = minted.secret.expose_secret();
        assert_eq!(secret.len(), LENGTH);
        assert!(secret.starts_with(&format!("pk-{}-", minted.lookup)));
        let parsed = parsed(&minted);
        assert_eq!(parsed.lookup, minted.lookup);
        assert!(verify(&PEPPER, &parsed, &minted.hash));
        assert!(!verify(&[8; 32], &parsed, &minted.hash));
        assert!(!verify(&PEPPER, &parsed, &mint(&PEPPER).hash));
        assert!(!verify(&PEPPER, &parsed, &minted.hash[..31]));
        assert!(!verify(&PEPPER, &parsed, &[]));
    }

    #[test]
    fn any_changed_character_is_no_key() {
        let minted = mint(&PEPPER);
        let secret = minted.secret.expose_secret();
        for at in 0..secret.len() {
            let mut bytes = secret.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(parse(&text).is_none(), "{at}");
        }
        let long = format!("{secret}0");
        for text in [
            "",
            "pk-",
            "sk-proj-abc",
            &secret[..secret.len() - 1],
            &long,
            &"é".repeat(33),
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_format_is_fixed() {
        // Scanners rely on it: changing this makes their rules void.
        let body = format!("pk-{}-{}", "A".repeat(12), "b".repeat(43));
        assert_eq!(check_characters(&body), "1vxeb8");
        assert!(parse(&format!("{body}1vxeb8")).is_some());
        assert_eq!(check_characters(""), "4AWNmc");
    }

    #[test]
    fn keys_do_not_repeat_and_use_all_characters() {
        let minted: Vec<_> = (0..200).map(|_| mint(&PEPPER)).collect();
        let lookups: HashSet<_> = minted.iter().map(|one| one.lookup.clone()).collect();
        assert_eq!(lookups.len(), 200);
        let all: String = minted
            .iter()
            .map(|one| one.secret.expose_secret()[16..].to_owned())
            .collect();
        assert_eq!(all.chars().collect::<HashSet<_>>().len(), 62);
    }

    #[test]
    fn a_row_accepts_its_secret_while_it_is_usable() {
        let minted = mint(&PEPPER);
        let parsed = parsed(&minted);
        let (row, now) = (row(&minted), now());
        let hour = jiff::SignedDuration::from_hours(1);
        let check = |row: &ApiKeyRow| verify_row(&PEPPER, &parsed, Some(row), now);
        assert!(check(&row));
        assert!(!verify_row(&PEPPER, &parsed, None, now));
        assert!(!check(&ApiKeyRow {
            status: "revoked".to_owned(),
            ..row.clone()
        }));
        assert!(!check(&ApiKeyRow {
            expires_at: Some(now),
            ..row.clone()
        }));
        assert!(check(&ApiKeyRow {
            expires_at: Some(now + hour),
            ..row.clone()
        }));
        assert!(!check(&ApiKeyRow {
            hash: mint(&PEPPER).hash,
            ..row
        }));
    }

    #[test]
    fn a_rotated_secret_works_until_its_grace_ends() {
        let (old, new) = (mint(&PEPPER), mint(&PEPPER));
        let hour = jiff::SignedDuration::from_hours(1);
        let (now, end) = (now(), now() + hour);
        let rotated = Rotated {
            lookup: old.lookup.clone(),
            hash: old.hash.clone(),
            grace_until: end,
        };
        let row = ApiKeyRow {
            rotated: Some(rotated),
            ..row(&new)
        };
        assert!(verify_row(&PEPPER, &parsed(&new), Some(&row), end + hour));
        assert!(verify_row(&PEPPER, &parsed(&old), Some(&row), now));
        assert!(!verify_row(&PEPPER, &parsed(&old), Some(&row), end));
    }

    #[test]
    fn debug_shows_no_secret() {
        let minted = mint(&PEPPER);
        let row = row(&minted);
        let text = format!(
            "{:?} {row:?} {}",
            parsed(&minted),
            serde_json::to_string(&row).unwrap()
        );
        assert!(text.contains(&minted.lookup));
        assert!(!text.contains(&minted.secret.expose_secret()[16..]));
        assert!(!text.contains(&format!("{:?}", minted.hash)));
        assert!(!text.contains(&serde_json::to_string(&minted.hash).unwrap()));
    }

    #[test]
    fn a_signature_is_of_its_words_alone() {
        let pepper = [7; 32];
        let signature = sign(&pepper, "export", &["ws", "exp-1"]);
        assert!(is_signed(&pepper, "export", &["ws", "exp-1"], &signature));
        for (purpose, words) in [
            ("export", ["ws", "exp-2"]),
            ("export", ["wse", "xp-1"]),
            ("other", ["ws", "exp-1"]),
        ] {
            assert!(!is_signed(&pepper, purpose, &words, &signature));
        }
        assert!(!is_signed(&[8; 32], "export", &["ws", "exp-1"], &signature));
        for cut in ["", &signature[1..], &format!("{signature}0")] {
            assert!(!is_signed(&pepper, "export", &["ws", "exp-1"], cut));
        }
    }
}
