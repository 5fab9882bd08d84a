//! A stream that is cut anywhere decodes to the events of the whole one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_protocol::sse::{Decoder, Frame};

const LIMIT: usize = 512;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new(LIMIT);
    let mut frames = Vec::new();
    for piece in pieces {
        match decoder.push(piece) {
            Ok(found) => frames.extend(found),
            Err(_) => return (frames, true),
        }
    }
    frames.extend(decoder.finish());
    (frames, false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let (whole, failed) = decode(std::iter::once(bytes));
    let size = usize::from(size % 32) + 1;
    for size in [1, size] {
        let (split, split_failed) = decode(bytes.chunks(size));
        assert_eq!(
            split_failed, failed,
            "the bound does not depend on the cuts"
        );
        // The events of a push that fails are lost; cut ones may have come before.
        assert!(if failed {
            split.starts_with(&whole)
        } else {
            split == whole
        });
    }
    for frame in &whole {
        assert!(
            frame.data.len() <= LIMIT * 3,
            "invalid bytes become three each"
        );
        let event = frame.event.as_deref().unwrap_or_default();
        assert!(!event.contains(['\n', '\r']) && !frame.data.contains('\r'));
    }
});
