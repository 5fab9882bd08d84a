//! Looks for `Content-Length` beside `Transfer-Encoding` in the heads that go by.

/// The head that is coming in.
#[derive(Debug)]
pub(super) struct Heads {
    /// The head's beginning, when it came in pieces; bounded by `limit`.
    begun: Vec<u8>,
    limit: usize,
    /// How many requests had been answered when the last head was whole.
    last: Option<u32>,
    /// The connection speaks HTTP/2, which has no such lengths, or the head is too large.
    deaf: bool,
}

/// What every connection of HTTP/2 begins with.
const H2: &[u8] = b"PRI * HTTP/2.0\r\n";

impl Heads {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            begun: Vec::new(),
            limit,
            last: None,
            deaf: false,
        }
    }

    /// Takes what came in while no request was at work. True when it completes a head, the first
    /// since `answered` changed, that gives two lengths.
    pub(super) fn push(&mut self, answered: u32, bytes: &[u8]) -> bool {
        if self.deaf || self.last == Some(answered) || bytes.is_empty() {
            return false;
        }
        if self.begun.is_empty()
            && let Some(head) = whole(bytes)
            && !head.starts_with(H2)
        {
            self.last = Some(answered);
            return has_two_lengths(head);
        }
        self.begun.extend_from_slice(bytes);
        self.deaf = self.begun.len() > self.limit || self.begun.starts_with(H2);
        let two = whole(&self.begun).map(has_two_lengths);
        if two.is_some() {
            self.last = Some(answered);
        }
        if two.is_some() || self.deaf {
            self.begun = Vec::new();
        }
        two.unwrap_or_default()
    }
}

/// Up to the empty line; lines may end in a bare LF, and empty lines may stand before.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let bytes = &bytes[start..];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&b| b == b'\n') {
        from += at + 1;
        if bytes[from..].starts_with(b"\n") || bytes[from..].starts_with(b"\r\n") {
            return Some(&bytes[..from]);
        }
    }
    None
}

fn has_two_lengths(head: &[u8]) -> bool {
    let has = |name: &[u8]| {
        head.split(|&b| b == b'\n').skip(1).any(|line| {
            line.len() > name.len()
                && line[name.len()] == b':'
                && line[..name.len()].eq_ignore_ascii_case(name)
        })
    };
    has(b"transfer-encoding") && has(b"content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n\r\n";

    fn check(text: &str, expected: bool) {
        let bytes = text.as_bytes();
        assert_eq!(Heads::new(1 << 16).push(0, bytes), expected, "{text:?}");
        for cut in 0..bytes.len() {
            let mut heads = Heads::new(1 << 16);
            let first = heads.push(0, &bytes[..cut]);
            let second = heads.push(0, &bytes[cut..]);
            assert_eq!(first || second, expected, "{text:?} cut at {cut}");
        }
    }

    #[test]
    fn both_lengths_are_seen_wherever_the_head_is_cut() {
        check(BOTH, true);
        check(&BOTH.replace("\r\n", "\n"), true);
        check(&format!("\r\n{BOTH}abc"), true);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\n\r\n",
            true,
        );
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", false);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\r\nTransfer-Encoding: a\r\n\r\n",
            false,
        );
        check(
            "GET /content-length:transfer-encoding: HTTP/1.1\r\nA: b\r\n\r\n",
            false,
        );
    }

    #[test]
    fn nothing_of_http_2_is_kept() {
        for cut in 1..24 {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            let mut heads = Heads::new(1 << 16);
            heads.push(0, &preface[..cut]);
            heads.push(0, &preface[cut..]);
            for answered in 0..9 {
                assert!(!heads.push(answered, &[0; 1000]));
            }
            assert!(heads.deaf && heads.begun.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn each_head_is_looked_at_once_and_none_without_bound() {
        let mut heads = Heads::new(100);
        assert!(!heads.push(0, b"GET / HTTP/1.1\r\na: b\r\n\r\n"));
        assert!(!heads.push(0, BOTH.as_bytes()), "still the first request");
        assert!(heads.push(1, BOTH.as_bytes()));
        let mut heads = Heads::new(100);
        for _ in 0..1000 {
            assert!(!heads.push(0, b"GET / HTTP/1.1 "));
        }
        assert!(heads.begun.len() <= 115);
    }
}
