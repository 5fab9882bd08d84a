//! Sealed blobs: what was sealed opens, and nothing that was touched does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_store::vault::{Binding, KeyRing, Sealed, Vault};
use secrecy::{ExposeSecret, SecretString};
use std::sync::LazyLock;

static VAULT: LazyLock<Vault> = LazyLock::new(|| {
    let text = "k:9d1f4ba6c07e5238e1b94f6d20c87a35f3620b9ed84c17a5be09d36f71a2c48e";
    Vault::new(KeyRing::parse(&SecretString::from(text)).unwrap())
});

fn touched(secret: &str, at: usize, flip: u8, row: &str) {
    let binding = Binding {
        row_id: row,
        workspace_id: "w",
        version: 1,
    };
    let sealed = VAULT.seal(binding, &SecretString::from(secret)).unwrap();
    let opened = VAULT.open(binding, &sealed).unwrap();
    assert_eq!(opened.expose_secret(), secret);
    let elsewhere = Binding {
        row_id: "w",
        workspace_id: row,
        version: 1,
    };
    assert!(row == "w" || VAULT.open(elsewhere, &sealed).is_err());
    let mut bytes = sealed.bytes.clone();
    let at = at % bytes.len();
    bytes[at] ^= flip;
    let key_id = sealed.key_id.clone();
    assert!(
        flip == 0
            || VAULT
                .open(
                    binding,
                    &Sealed {
                        key_id: key_id.clone(),
                        bytes
                    }
                )
                .is_err()
    );
    let short = sealed.bytes[..at].to_vec();
    assert!(
        VAULT
            .open(
                binding,
                &Sealed {
                    key_id,
                    bytes: short
                }
            )
            .is_err()
    );
}

fuzz_target!(|input: (&str, usize, u8, &str, &[u8])| {
    let (text, at, flip, row, blob) = input;
    touched(text, at, flip, row);
    let binding = Binding {
        row_id: row,
        workspace_id: "w",
        version: 1,
    };
    for key_id in ["k", text] {
        let sealed = Sealed {
            key_id: key_id.to_owned(),
            bytes: blob.to_vec(),
        };
        assert!(
            VAULT.open(binding, &sealed).is_err(),
            "nobody forges a seal"
        );
    }
    if let Ok(ring) = KeyRing::parse(&SecretString::from(text)) {
        let again = KeyRing::parse(&ring.to_text()).unwrap();
        assert_eq!(again.check_value(), ring.check_value());
        assert!(again.ids().eq(ring.ids()));
    }
});
