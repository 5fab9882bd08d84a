//! Short stable names for long ones.

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Nine letters or digits that always are the same for the same text (FNV-1a, 64 bits; ids
/// are compared inside one request only).
pub(crate) fn short(text: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut out = String::with_capacity(9);
    for _ in 0..9 {
        out.push(char::from(LETTERS[(hash % 62) as usize]));
        hash /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn is_nine_alphanumerics_and_stable() {
        assert_eq!(short("call_1"), short("call_1"));
        assert_ne!(short("call_1"), short("call_2"));
        assert_eq!(short("").len(), 9);
        assert!(
            short("mcp_x")
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
    }
}
