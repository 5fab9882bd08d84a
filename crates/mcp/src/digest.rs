//! SHA-256 over length-prefixed parts, so that no two lists of parts look the same.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};

/// A running digest.
pub(crate) struct Digest(Context);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// The digest of `parts`.
pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut digest = Digest::new();
    for part in parts {
        digest.part(part);
    }
    digest.finish()
}

/// SHA-256 (hex) of a text, such as the URL of a server, to tell later whether it is the same.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    hex(&of([text.as_bytes()]))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
