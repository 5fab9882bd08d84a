//! What a crate's own sources may not contain, and what they must begin with.

use super::{Finding, crate_folder};
use crate::scan::{code_only, line_of, without_tests};
use crate::tree::{File, Tree};

/// Words that must not occur in the code (tests apart) of a crate.
struct Forbidden {
    in_crates: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        in_crates: &["protocol", "providers"],
        words: &[
            "async fn",
            ".await",
            "std::env",
            "std::net",
            "SystemTime",
            "Instant::now",
        ],
        why: "protocol and providers do no IO, never await and read no clock or environment",
    },
    Forbidden {
        in_crates: &["mcp", "gateway", "store"],
        words: &["TcpStream", "TcpListener", "UdpSocket"],
        why: "only egress opens outbound connections",
    },
    Forbidden {
        in_crates: &["mcp", "gateway", "server"],
        words: &["aead::", "RandomizedNonceKey"],
        why: "only store seals and opens secrets",
    },
    Forbidden {
        in_crates: &["egress", "mcp", "gateway", "store"],
        words: &["std::env"],
        why: "the environment is read in server/settings.rs, once",
    },
];

/// Rule: the sources of a crate keep to its part.
pub(super) fn forbidden_words(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| is_source(&file.path))
        .flat_map(words_in)
        .collect()
}

/// `crates/x/src/…` but for files of tests.
fn is_source(path: &str) -> bool {
    let mut parts = path.split('/').skip(2);
    parts.next() == Some("src") && !path.ends_with("/tests.rs") && !path.contains("/tests/")
}

fn words_in(file: &File) -> Vec<Finding> {
    let folder = crate_folder(&file.path).unwrap_or_default();
    let masked = code_only(&file.text);
    let code = without_tests(&masked);
    let rules = FORBIDDEN
        .iter()
        .filter(|rule| rule.in_crates.contains(&folder));
    rules
        .flat_map(|rule| {
            rule.words
                .iter()
                .filter_map(|word| word_at(file, code, word, rule.why))
        })
        .collect()
}

fn word_at(file: &File, code: &str, word: &str, why: &str) -> Option<Finding> {
    let offset = code.find(word)?;
    let line = line_of(code, code[..offset].chars().count());
    Some(Finding::new(
        &file.path,
        line,
        format!("`{word}` does not belong here: {why}"),
    ))
}

/// Rule: every crate says at the top of its root file what it is for.
pub(super) fn crate_docs(tree: &Tree) -> Vec<Finding> {
    let is_root = |file: &&File| {
        let name = file.path.rsplit("/src/").next();
        file.path.starts_with("crates/") && matches!(name, Some("lib.rs" | "main.rs"))
    };
    let bare = |file: &&File| !file.text.trim_start().starts_with("//!");
    let finding =
        |file: &File| Finding::new(&file.path, 1, "a crate's root begins with `//!` docs");
    tree.rust()
        .filter(is_root)
        .filter(bare)
        .map(finding)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{crate_docs, forbidden_words};
    use crate::tree::tree_of;

    #[track_caller]
    fn check_words(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(lines(forbidden_words(&tree_of(&[(path, text)]))), expected);
    }

    #[test]
    fn a_pure_crate_may_not_await() {
        check_words(
            "crates/providers/src/chat.rs",
            "//! x\n\nasync fn f() {}\n",
            &[
                "crates/providers/src/chat.rs:3: `async fn` does not belong here: \
             protocol and providers do no IO, never await and read no clock or environment",
            ],
        );
        check_words("crates/gateway/src/lib.rs", "async fn f() {}", &[]);
    }

    #[test]
    fn comments_strings_and_tests_may_speak_of_it() {
        check_words(
            "crates/protocol/src/a.rs",
            "// std::env\nf(\"std::env\")",
            &[],
        );
        check_words(
            "crates/protocol/src/a.rs",
            "#[cfg(test)]\nmod t { use std::env; }",
            &[],
        );
        check_words("crates/protocol/tests/it/main.rs", "use std::env;", &[]);
        check_words(
            "crates/mcp/src/pool/tests.rs",
            "use std::net::TcpListener;",
            &[],
        );
    }

    #[test]
    fn only_egress_may_open_sockets() {
        check_words(
            "crates/mcp/src/a.rs",
            "use tokio::net::TcpStream;",
            &["crates/mcp/src/a.rs:1: `TcpStream` does not belong here: \
             only egress opens outbound connections"],
        );
    }

    #[test]
    fn a_crate_root_has_docs() {
        let tree = tree_of(&[
            ("crates/a/src/lib.rs", "//! Docs.\n"),
            ("crates/b/src/lib.rs", "pub mod c;\n"),
            ("crates/b/src/c/lib.rs.txt", ""),
            ("crates/b/src/c.rs", "fn f() {}"),
        ]);
        let expected = ["crates/b/src/lib.rs:1: a crate's root begins with `//!` docs"];
        assert_eq!(lines(crate_docs(&tree)), expected);
    }
}
