//! The text files of the repository, read once.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// A file with its path from the root, written with forward slashes.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files that are tracked, or would be once added.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the files that git lists; in an export without git, all but the usual build folders.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut paths = listed_by_git(root).map_or_else(|| walked(root), Ok)?;
        paths.sort();
        let files = paths
            .into_iter()
            .filter_map(|path| read_text(root, path))
            .collect();
        Ok(Self { files })
    }

    /// The file at this path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// True when any file lies under this folder (given with its closing slash).
    pub(crate) fn has_folder(&self, folder: &str) -> bool {
        self.files.iter().any(|file| file.path.starts_with(folder))
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The crates' manifests.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml"))
    }
}

/// None when there is no git or no repository.
fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let list = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let output = Command::new("git")
        .args(list)
        .current_dir(root)
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Some(
        text.split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn walked(root: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut pending) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            match entry.file_type()?.is_dir() {
                true if is_build_folder(&name) => {}
                true => pending.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
}

fn is_build_folder(name: &str) -> bool {
    ["target", "node_modules", ".git", "__pycache__", ".cache"].contains(&name)
        || name.starts_with(".venv")
}

/// None for binary files and for files that git lists but that are gone.
fn read_text(root: &Path, path: String) -> Option<File> {
    let text = String::from_utf8(fs::read(root.join(&path)).ok()?).ok()?;
    (!text.contains('\0')).then_some(File { path, text })
}

#[cfg(test)]
pub(crate) fn tree_of(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| File {
        path: (*path).into(),
        text: (*text).into(),
    };
    Tree {
        files: files.iter().map(file).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{listed_by_git, walked};

    #[test]
    fn a_walk_finds_sources_and_no_build_folders() {
        let paths = walked(&crate::root()).expect("the repository can be read");
        assert!(paths.iter().any(|path| path == "crates/xtask/src/tree.rs"));
        let built = |path: &&String| path.contains("target/") || path.contains("node_modules/");
        assert_eq!(paths.iter().find(built), None);
    }

    #[test]
    fn a_folder_outside_of_a_repository_is_not_listed() {
        assert_eq!(
            listed_by_git(&std::env::temp_dir().join("no-such-folder")),
            None
        );
    }
}
