//! Reads the dependency lines of a Cargo.toml. No TOML parser: our manifests are plain.

/// The table in which a dependency stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// One dependency and the line (from 1) that names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

/// The package's name.
pub(crate) fn package_name(text: &str) -> Option<&str> {
    let package = text.split("[package]").nth(1)?;
    let line = package.lines().find(|line| key_of(line) == Some("name"))?;
    line.split('"').nth(1)
}

/// All dependencies of all tables, `[target.….dependencies]` and `[dependencies.x]` included.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let (mut found, mut table) = (Vec::new(), None);
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        if let Some(header) = header_of(line) {
            let (kind, single) = table_of(header);
            table = if single.is_some() { None } else { kind };
            if let (Some(kind), Some(name)) = (kind, single) {
                found.push(Dependency {
                    name: name.to_owned(),
                    kind,
                    line: line_number,
                });
            }
        } else if let (Some(kind), Some(key)) = (table, key_of(line)) {
            let name = renamed(line).unwrap_or(key).to_owned();
            found.push(Dependency {
                name,
                kind,
                line: line_number,
            });
        }
    }
    found
}

/// `[a.b]` → `a.b`.
fn header_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split(']').next()
}

/// What a header opens: a dependency table, or one dependency of it by name.
fn table_of(header: &str) -> (Option<Kind>, Option<&str>) {
    let last = header.rsplit('.').next().unwrap_or(header);
    let parent = header
        .strip_suffix(last)
        .unwrap_or("")
        .trim_end_matches('.');
    match (
        kind_of(last),
        kind_of(parent.rsplit('.').next().unwrap_or(parent)),
    ) {
        (Some(kind), _) => (Some(kind), None),
        (None, Some(kind)) => (Some(kind), Some(last)),
        (None, None) => (None, None),
    }
}

fn kind_of(table: &str) -> Option<Kind> {
    match table {
        "dependencies" => Some(Kind::Normal),
        "build-dependencies" => Some(Kind::Build),
        "dev-dependencies" => Some(Kind::Dev),
        _ => None,
    }
}

/// `serde.workspace = true` → `serde`.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') || !line.contains('=') {
        return None;
    }
    let key = line.split(['=', '.']).next()?.trim().trim_matches('"');
    (!key.is_empty()).then_some(key)
}

/// `x = { package = "y" }` → `y`: a rename does not hide a crate.
fn renamed(line: &str) -> Option<&str> {
    line.split("package").nth(1)?.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Kind, dependencies, package_name};

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Kind, usize)]) {
        let expected: Vec<Dependency> = expected
            .iter()
            .map(|&(name, kind, line)| Dependency {
                name: name.into(),
                kind,
                line,
            })
            .collect();
        assert_eq!(dependencies(text), expected);
    }

    #[test]
    fn tables_and_spellings() {
        check(
            "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\n# tokio = \"1\"\n\
             url = \"2\"\n\n[dev-dependencies]\n\"insta\" = { version = \"1\" }\n\
             [lints]\nworkspace = true\n",
            &[
                ("serde", Kind::Normal, 4),
                ("url", Kind::Normal, 6),
                ("insta", Kind::Dev, 9),
            ],
        );
    }

    #[test]
    fn target_tables_single_tables_and_renames() {
        check(
            "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n[dependencies.axum]\n\
             version = \"0.8\"\n[build-dependencies]\nweb = { package = \"reqwest\" }\n",
            &[
                ("libc", Kind::Normal, 2),
                ("axum", Kind::Normal, 3),
                ("reqwest", Kind::Build, 6),
            ],
        );
    }

    #[test]
    fn the_name_is_the_packages_own() {
        let text = "[package]\nversion = \"1\"\nname = \"portunus-mcp\"\n[[bin]]\nname = \"x\"\n";
        assert_eq!(package_name(text), Some("portunus-mcp"));
    }
}
