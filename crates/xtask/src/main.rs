//! Chores of the repository that need no other tool: `cargo xtask tidy`.
//!
//! No dependencies, so that the check builds in a second on a bare machine.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

mod manifest;
mod scan;
mod tidy;
mod tree;

const USAGE: &str = "usage: cargo xtask tidy

tidy    check the rules of ARCHITECTURE.md and STYLE.md that a compiler cannot check";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy_command(),
        _ => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}

fn tidy_command() -> ExitCode {
    let findings = match tree::Tree::read(&root()) {
        Ok(tree) => tidy::check(&tree),
        Err(error) => {
            say(&format!("cannot read the repository: {error}"));
            return ExitCode::from(2);
        }
    };
    for finding in &findings {
        say(&finding.to_string());
    }
    say(&format!("tidy: {} finding(s)", findings.len()));
    ExitCode::from(u8::from(!findings.is_empty()))
}

/// The repository: two levels above this crate's manifest, as cargo tells it at run time.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from);
    manifest.join("..").join("..")
}

/// One line to standard output; a reader that has gone away is no error of ours.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::{root, tidy, tree::Tree};

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(&root()).expect("the repository can be read");
        assert!(
            tree.file("Cargo.toml").is_some(),
            "this is not the repository's root"
        );
        let findings: Vec<String> = tidy::check(&tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }
}
