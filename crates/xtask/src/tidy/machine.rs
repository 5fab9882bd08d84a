//! Nothing in the repository depends on the machine where it was written.

use super::Finding;
use crate::tree::{File, Tree};

/// Folders of one machine. Spelt in two parts, so that this file passes its own rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Settings that point a package manager at a private registry.
const REGISTRY_SETTINGS: &[&str] = &[
    concat!("index", "-url"),
    concat!("index", "_url"),
    concat!("replace", "-with"),
    concat!("npm_config", "_registry"),
    concat!("--regi", "stry"),
    concat!("GOP", "ROXY"),
];

/// Hosts that a lock file may name.
const PUBLIC_REGISTRIES: &[&str] = &[
    "github.com/rust-lang/crates.io-index",
    "registry.npmjs.org/",
    "files.pythonhosted.org/",
    "pypi.org/",
];

const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json", "uv.lock", "poetry.lock"];

/// Rule: no absolute path of a developer's machine.
pub(super) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    let paths = |line: &str| {
        let found = MACHINE_PATHS
            .iter()
            .find(|path| begins_a_path(line, path))?;
        Some(format!(
            "`{found}` is a folder of one machine: use a relative path or a setting"
        ))
    };
    each_line(tree.files.iter(), paths)
}

/// True when the text stands at the start of a path, not inside a longer one or a URL.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-/}".contains(c))
    })
}

/// Rule: packages come from the public registries, whatever mirror a machine uses.
pub(super) fn no_private_registries(tree: &Tree) -> Vec<Finding> {
    let settings = |line: &str| {
        let found = REGISTRY_SETTINGS
            .iter()
            .find(|setting| line.contains(**setting))?;
        Some(format!(
            "`{found}` ties the repository to a registry: leave it to the machine"
        ))
    };
    let (locks, others): (Vec<&File>, Vec<&File>) = tree
        .files
        .iter()
        .partition(|file| LOCK_FILES.contains(&file_name(&file.path)));
    let mut findings = each_line(locks.into_iter(), foreign_source);
    findings.extend(each_line(others.into_iter(), settings));
    findings
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A line of a lock file that says where a package comes from, if that is no public registry.
fn foreign_source(line: &str) -> Option<String> {
    let keys = ["source = ", "\"resolved\"", "url = ", "registry = "];
    let names_a_source = keys.iter().any(|key| line.trim_start().starts_with(key));
    let address = line.split("://").nth(1).filter(|_| names_a_source)?;
    let public = PUBLIC_REGISTRIES
        .iter()
        .any(|host| address.starts_with(host));
    (!public).then(|| "a lock file may name public registries only".to_owned())
}

fn each_line<'a>(
    files: impl Iterator<Item = &'a File>,
    judge: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let in_file = |file: &File| -> Vec<Finding> {
        let lines = file.text.lines().enumerate();
        lines
            .filter_map(|(index, line)| Some(Finding::new(&file.path, index + 1, judge(line)?)))
            .collect()
    };
    files.flat_map(in_file).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{no_machine_paths, no_private_registries};
    use crate::tree::tree_of;

    #[track_caller]
    fn check_path(line: &str, found: bool) {
        let findings = lines(no_machine_paths(&tree_of(&[(
            "a.md",
            &format!("x\n{line}\n"),
        )])));
        assert_eq!(findings.len(), usize::from(found), "{line}: {findings:?}");
        assert!(
            findings
                .iter()
                .all(|finding| finding.starts_with("a.md:2: "))
        );
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        check_path(concat!("cd /wo", "rk/main"), true);
        check_path(concat!("\"/ro", "ot/.cargo\""), true);
        check_path(concat!("see file:/ho", "me/me/x"), true);
    }

    #[test]
    fn parts_of_longer_paths_are_not() {
        check_path(concat!("https://example.com/ho", "me/x"), false);
        check_path(concat!("target/wo", "rk/x"), false);
        check_path(concat!("${HERE}/wo", "rk/x"), false);
    }

    #[track_caller]
    fn check_registry(path: &str, line: &str, found: usize) {
        assert_eq!(
            no_private_registries(&tree_of(&[(path, line)])).len(),
            found,
            "{path}: {line}"
        );
    }

    #[test]
    fn lock_files_name_public_registries_only() {
        let cargo = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        check_registry("Cargo.lock", cargo, 0);
        check_registry(
            "Cargo.lock",
            "source = \"registry+https://mirror.example/index\"",
            1,
        );
        let npm = "  \"resolved\": \"https://registry.npmjs.org/a/-/a-1.tgz\",";
        check_registry("web/package-lock.json", npm, 0);
        check_registry(
            "web/package-lock.json",
            "\"resolved\": \"http://10.0.0.1/a.tgz\"",
            1,
        );
        check_registry(
            "web/package-lock.json",
            "\"homepage\": \"https://example.com\"",
            0,
        );
    }

    #[test]
    fn no_file_sets_a_registry() {
        check_registry(
            "pip.conf",
            concat!("index", "-url = https://mirror.example"),
            1,
        );
        check_registry("README.md", "pip install openai", 0);
    }
}
