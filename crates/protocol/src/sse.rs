//! Server-sent events: a bounded decoder that takes bytes cut anywhere, and an encoder.
//!
//! Source: WHATWG HTML, section 9.2 "Server-sent events".

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

/// One event as it was dispatched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The `event:` field; `None` when there was none.
    pub event: Option<String>,
    /// The `data:` lines joined by a newline.
    pub data: String,
    /// The `id:` field.
    pub id: Option<String>,
    /// The `retry:` field, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// An event was longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {limit_bytes} bytes")]
pub struct TooLarge {
    /// The bound that was met.
    pub limit_bytes: usize,
}

/// Decodes a stream of bytes into [`Frame`]s. Lines end in CR, LF or CRLF; a byte order
/// mark and comments are skipped; invalid UTF-8 becomes U+FFFD. An event without `data:`
/// is not dispatched unless it carries an `id:` (a server uses those to prime a resume).
#[derive(Debug)]
pub struct Decoder {
    limit_bytes: usize,
    line: Vec<u8>,
    open: Frame,
    has_data: bool,
    size: usize,
    after_cr: bool,
    at_start: bool,
}

impl Decoder {
    /// A decoder that refuses an event (or a single line) of more than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            line: Vec::new(),
            open: Frame::default(),
            has_data: false,
            size: 0,
            after_cr: false,
            at_start: true,
        }
    }

    /// Takes the next bytes and returns the events that they complete.
    ///
    /// # Errors
    /// [`TooLarge`] when one event grows over the bound.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        if self.after_cr && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        if !bytes.is_empty() {
            self.after_cr = false;
        }
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.grow(&rest[..end])?;
            let was_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if was_cr && rest.is_empty() {
                self.after_cr = true;
            } else if was_cr && rest[0] == b'\n' {
                rest = &rest[1..];
            }
            frames.extend(self.end_line());
        }
        self.grow(rest)?;
        Ok(frames)
    }

    /// The stream has ended: the event that was still open, if it has data. The standard
    /// drops it; real servers forget the last blank line.
    pub fn finish(&mut self) -> Option<Frame> {
        let last = if self.line.is_empty() {
            None
        } else {
            self.end_line()
        };
        last.or_else(|| self.dispatch())
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.size += bytes.len();
        if self.size > self.limit_bytes {
            return Err(TooLarge {
                limit_bytes: self.limit_bytes,
            });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Frame> {
        let line = std::mem::take(&mut self.line);
        let mut text = String::from_utf8_lossy(&line);
        if std::mem::take(&mut self.at_start)
            && let Some(rest) = text.strip_prefix('\u{feff}')
        {
            text = rest.to_owned().into();
        }
        if text.is_empty() {
            return self.dispatch();
        }
        self.field(&text);
        None
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => self.data(value),
            "event" => self.open.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.open.id = Some(value.to_owned()),
            "retry" => self.open.retry_ms = value.parse().ok(),
            // A comment (empty name) or an unknown field keeps no bytes.
            _ => self.size = self.size.saturating_sub(line.len()),
        }
    }

    fn data(&mut self, value: &str) {
        if std::mem::replace(&mut self.has_data, true) {
            self.open.data.push('\n');
        }
        self.open.data.push_str(value);
    }

    fn dispatch(&mut self) -> Option<Frame> {
        self.size = 0;
        let frame = std::mem::take(&mut self.open);
        let has_data = std::mem::replace(&mut self.has_data, false);
        (has_data || frame.id.is_some()).then_some(frame)
    }
}

/// A comment line that keeps an idle connection open; no client takes it for an event.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// One event as OpenAI writes it: `event:`, one line of JSON in `data:`, a blank line.
///
/// # Errors
/// Only if `data` cannot be serialised, which its type decides.
pub fn encode<T: Serialize>(event: &str, data: &T) -> Result<Bytes, serde_json::Error> {
    let mut out = BytesMut::with_capacity(256);
    out.put_slice(b"event: ");
    out.put_slice(event.as_bytes());
    out.put_slice(b"\ndata: ");
    let mut writer = out.writer();
    serde_json::to_writer(&mut writer, data)?;
    let mut out = writer.into_inner();
    out.put_slice(b"\n\n");
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: &[u8], expected: &[(Option<&str>, &str)]) {
        let mut decoder = Decoder::new(1 << 20);
        let mut frames = decoder.push(input).unwrap();
        frames.extend(decoder.finish());
        let got: Vec<_> = frames
            .iter()
            .map(|f| (f.event.as_deref(), f.data.as_str()))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn framing() {
        check(b"data: a\n\n", &[(None, "a")]);
        check(
            b"event: x\r\ndata:a\r\ndata: b\r\n\r\n",
            &[(Some("x"), "a\nb")],
        );
        check(b"data: a\r\rdata: b\r\r", &[(None, "a"), (None, "b")]);
        check(b"\xef\xbb\xbfdata: a\n\n", &[(None, "a")]);
        check(b": hi\n\ndata: a\n\n: bye\n\n", &[(None, "a")]);
        check(b"data: no blank line", &[(None, "no blank line")]);
        check(b"event: x\n\n", &[]);
        check(b"data\n\n", &[(None, "")]);
    }

    #[test]
    fn bound_holds_for_a_line_and_for_many_lines() {
        assert!(Decoder::new(8).push(b"data: 123456789").is_err());
        assert!(
            Decoder::new(20)
                .push(b"data: 1234\ndata: 1234\ndata: 1\n")
                .is_err()
        );
        assert!(
            Decoder::new(20)
                .push(b"data: 1234\n\ndata: 1234\n\ndata: 1\n\n")
                .is_ok()
        );
    }

    #[test]
    fn comments_do_not_count() {
        let mut decoder = Decoder::new(32);
        for _ in 0..100 {
            assert!(decoder.push(b": keep-alive\n").unwrap().is_empty());
        }
    }

    proptest! {
        #[test]
        fn cut_anywhere_is_the_same(text in "(data: [a-zé\u{1F600}]{0,9}|event: [a-z]{1,4}|: c|id: 1|)(\r\n|\n|\r){1,2}((data: [a-z]{0,9}|: c)(\r\n|\n|\r){1,2}){0,6}", cuts in proptest::collection::vec(0usize..120, 0..6)) {
            let bytes = text.as_bytes();
            let mut whole = Decoder::new(1 << 16);
            let mut expected = whole.push(bytes).unwrap();
            expected.extend(whole.finish());
            let mut places: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            places.push(0);
            places.push(bytes.len());
            places.sort_unstable();
            let mut split = Decoder::new(1 << 16);
            let mut got = Vec::new();
            for pair in places.windows(2) {
                got.extend(split.push(&bytes[pair[0]..pair[1]]).unwrap());
            }
            got.extend(split.finish());
            prop_assert_eq!(got, expected);
        }
    }
}
