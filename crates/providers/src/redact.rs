//! Cuts out of a provider's message what looks like a key: some repeat the one they refuse.

/// How keys begin.
const PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk-",
    "rk-",
    "gsk_",
    "xai-",
    "hf_",
    "r8_",
    "ghp_",
    "gho_",
    "github_pat_",
    "csk-",
    "nvapi-",
    "pplx-",
    "tgp_",
    "fw_",
    "AIza",
    "ya29.",
    "eyJ",
    "AKIA",
    "ASIA",
    "key-",
];

/// What stands in the place of a key.
const CUT: &str = "[redacted]";

/// `text` without the words in it that look like keys.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_bearer = false;
    while let Some(start) = rest.find(is_key_char) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_key_char(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(if is_key(word, after_bearer) {
            CUT
        } else {
            word
        });
        after_bearer = word.eq_ignore_ascii_case("bearer");
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Stars and dots belong to it: providers show a key in part, such as `sk-abc***xyz`.
fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.')
}

fn is_key(word: &str, after_bearer: bool) -> bool {
    let bare = word.trim_end_matches('.');
    let known = PREFIXES
        .iter()
        .any(|prefix| bare.starts_with(prefix) && bare.len() >= prefix.len() + 8);
    known || (after_bearer && bare.len() >= 8) || is_random(bare)
}

/// Long, with digits, small and capital letters all mixed: no word, no model, no uuid.
fn is_random(word: &str) -> bool {
    word.len() >= 32
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_lowercase())
        && word.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn keys_go_and_words_stay() {
        for (input, output) in [
            (
                "Incorrect API key provided: sk-proj-abcDEF123456. You can",
                "Incorrect API key provided: [redacted] You can",
            ),
            ("key sk-ab******wxyz refused", "key [redacted] refused"),
            (
                "Authorization: Bearer abcdefgh12",
                "Authorization: Bearer [redacted]",
            ),
            ("(gsk_0123456789)", "([redacted])"),
            (
                "model `gpt-5.2-proo` of org-example not found, see https://a.b/c",
                "model `gpt-5.2-proo` of org-example not found, see https://a.b/c",
            ),
            (
                "a task-specific risk-free sk-word",
                "a task-specific risk-free sk-word",
            ),
            (
                "id 550e8400-e29b-41d4-a716-446655440000",
                "id 550e8400-e29b-41d4-a716-446655440000",
            ),
            ("AAAAbbbb1111CCCCdddd2222EEEEffff3333", "[redacted]"),
            ("caf\u{e9} \u{1F600} ok", "caf\u{e9} \u{1F600} ok"),
        ] {
            assert_eq!(redact(input), output);
        }
    }
}
