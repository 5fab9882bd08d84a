//! Which crate may depend on which: the table of ARCHITECTURE.md, section "Who may import what".

use super::{Finding, crate_folder};
use crate::manifest::{self, Dependency, Kind};
use crate::tree::{File, Tree};

/// Crate folder, and the crates of ours that it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("egress", &[]),
    ("store", &[]),
    ("console", &[]),
    ("providers", &["protocol"]),
    ("mcp", &["protocol", "egress"]),
    (
        "gateway",
        &["protocol", "providers", "mcp", "egress", "store"],
    ),
    (
        "server",
        &[
            "protocol",
            "providers",
            "mcp",
            "egress",
            "store",
            "gateway",
            "console",
        ],
    ),
    (
        "testkit",
        &[
            "protocol",
            "providers",
            "mcp",
            "egress",
            "store",
            "gateway",
            "console",
        ],
    ),
    ("xtask", &[]),
];

/// Where a crate that does a dangerous or heavy thing may be used.
struct Owned {
    names: &'static [&'static str],
    /// Crates that may depend on it.
    by: &'static [&'static str],
    /// May any crate use it in tests?
    in_tests: bool,
    why: &'static str,
}

const OWNED: &[Owned] = &[
    Owned {
        names: &[
            "reqwest",
            "ureq",
            "isahc",
            "hyper-rustls",
            "hyper-tls",
            "tokio-tungstenite",
        ],
        by: &["egress"],
        in_tests: true,
        why: "only egress opens outbound connections",
    },
    Owned {
        names: &["sqlx", "rusqlite"],
        by: &["store"],
        in_tests: false,
        why: "only store knows SQL",
    },
    Owned {
        names: &["aws-lc-rs"],
        by: &["store", "mcp"], // mcp: SHA-256 of tool definitions and credentials
        in_tests: false,
        why: "only store seals secrets",
    },
    Owned {
        names: &["ring", "sha2", "aes-gcm", "openssl"],
        by: &[],
        in_tests: false,
        why: "one cryptographic library: aws-lc-rs",
    },
    Owned {
        names: &[
            "axum",
            "hyper",
            "hyper-util",
            "clap",
            "prometheus-client",
            "utoipa",
        ],
        by: &["server", "testkit"],
        in_tests: true,
        why: "only server is a web server and a command line",
    },
    Owned {
        names: &["rmcp"],
        by: &["testkit"],
        in_tests: true,
        why: "rmcp is a test peer; the MCP client is our own",
    },
    Owned {
        names: &["anyhow"],
        by: &["server", "testkit", "xtask"],
        in_tests: true,
        why: "leaves return typed errors",
    },
    Owned {
        names: &["tempfile"],
        by: &["testkit"],
        in_tests: true,
        why: "temporary files belong to tests",
    },
];

/// A crate that one of ours must do without.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "protocol",
        &["tokio", "tokio-util", "futures-util"],
        "protocol does no IO and never awaits",
    ),
    (
        "providers",
        &["tokio", "tokio-util", "futures-util"],
        "a provider is a pure translator",
    ),
    (
        "egress",
        &["serde", "serde_json"],
        "egress carries bytes and knows no JSON",
    ),
];

/// Rule: an edge between our crates is in the table, and nobody ships the testkit.
pub(super) fn edges(tree: &Tree) -> Vec<Finding> {
    each_dependency(tree, |folder, dependency| {
        let target = our_folder(&dependency.name)?;
        if target == "testkit" {
            let shipped = dependency.kind != Kind::Dev;
            return shipped.then(|| "testkit may only be a dev-dependency".to_owned());
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == folder) else {
            return Some(format!(
                "crate {folder} is not in the table of ARCHITECTURE.md"
            ));
        };
        let forbidden = !allowed.contains(&target);
        forbidden.then(|| format!("{folder} may not depend on {target} (ARCHITECTURE.md)"))
    })
}

/// Rule: package and folder have one name, else the table could be dodged.
pub(super) fn names(tree: &Tree) -> Vec<Finding> {
    let misnamed = |file: &&File| {
        let package = manifest::package_name(&file.text).and_then(our_folder);
        package != crate_folder(&file.path)
    };
    let finding = |file: &File| Finding::new(&file.path, 1, "name the package after its folder");
    tree.manifests().filter(misnamed).map(finding).collect()
}

/// Rule: a crate that has an owner is used by its owner only.
pub(super) fn owned_crates(tree: &Tree) -> Vec<Finding> {
    each_dependency(tree, |folder, dependency| {
        let name = dependency.name.as_str();
        let in_test = dependency.kind == Kind::Dev;
        let foreign = |owned: &&Owned| {
            owned.names.contains(&name)
                && !owned.by.contains(&folder)
                && !(in_test && owned.in_tests)
        };
        if let Some(owned) = OWNED.iter().find(foreign) {
            return Some(format!("{folder} may not use {name}: {}", owned.why));
        }
        let banned = |entry: &&(&str, &[&str], &str)| entry.0 == folder && entry.1.contains(&name);
        let (_, _, why) = BANNED.iter().filter(|_| !in_test).find(banned)?;
        Some(format!("{folder} may not use {name}: {why}"))
    })
}

fn each_dependency(
    tree: &Tree,
    judge: impl Fn(&str, &Dependency) -> Option<String>,
) -> Vec<Finding> {
    let judge_file = |file: &File| -> Vec<Finding> {
        let folder = crate_folder(&file.path).unwrap_or_default();
        let dependencies = manifest::dependencies(&file.text);
        let found = dependencies.iter().filter_map(|dependency| {
            Some(Finding::new(
                &file.path,
                dependency.line,
                judge(folder, dependency)?,
            ))
        });
        found.collect()
    };
    tree.manifests().flat_map(judge_file).collect()
}

/// `portunus-mcp` → `mcp`; the package `portunus` is the server.
fn our_folder(package: &str) -> Option<&str> {
    match package {
        "portunus" => Some("server"),
        "xtask" => Some("xtask"),
        _ => package.strip_prefix("portunus-"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{edges, names, owned_crates};
    use crate::tree::{Tree, tree_of};

    fn manifest(folder: &str, dependencies: &str) -> Tree {
        tree_of(&[(&format!("crates/{folder}/Cargo.toml"), dependencies)])
    }

    #[track_caller]
    fn check_edges(folder: &str, dependencies: &str, expected: &[&str]) {
        assert_eq!(lines(edges(&manifest(folder, dependencies))), expected);
    }

    #[track_caller]
    fn check_owned(folder: &str, dependencies: &str, expected: &[&str]) {
        assert_eq!(
            lines(owned_crates(&manifest(folder, dependencies))),
            expected
        );
    }

    #[test]
    fn an_edge_upwards_is_found() {
        check_edges(
            "mcp",
            "[dependencies]\nportunus-egress.workspace = true\n",
            &[],
        );
        check_edges(
            "mcp",
            "[dependencies]\nportunus-store.workspace = true\n",
            &["crates/mcp/Cargo.toml:2: mcp may not depend on store (ARCHITECTURE.md)"],
        );
        check_edges(
            "gateway",
            "[dependencies]\nportunus = \"1\"\n",
            &["crates/gateway/Cargo.toml:2: gateway may not depend on server (ARCHITECTURE.md)"],
        );
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        check_edges(
            "cache",
            "[dependencies]\nportunus-protocol = \"1\"\n",
            &["crates/cache/Cargo.toml:2: crate cache is not in the table of ARCHITECTURE.md"],
        );
    }

    #[test]
    fn the_testkit_is_for_tests() {
        check_edges(
            "store",
            "[dev-dependencies]\nportunus-testkit = \"1\"\n",
            &[],
        );
        check_edges(
            "store",
            "[dependencies]\nportunus-testkit = \"1\"\n",
            &["crates/store/Cargo.toml:2: testkit may only be a dev-dependency"],
        );
    }

    #[test]
    fn an_owned_crate_stays_with_its_owner() {
        check_owned("egress", "[dependencies]\nreqwest = \"0.13\"\n", &[]);
        check_owned("mcp", "[dev-dependencies]\nrmcp = \"3\"\n", &[]);
        check_owned(
            "mcp",
            "[dependencies]\nreqwest = \"0.13\"\n",
            &["crates/mcp/Cargo.toml:2: mcp may not use reqwest: \
             only egress opens outbound connections"],
        );
        check_owned(
            "gateway",
            "[dev-dependencies]\nsqlx = \"0.9\"\n",
            &["crates/gateway/Cargo.toml:2: gateway may not use sqlx: \
             only store knows SQL"],
        );
    }

    #[test]
    fn pure_crates_stay_pure() {
        check_owned("providers", "[dev-dependencies]\ntokio = \"1\"\n", &[]);
        check_owned(
            "providers",
            "[dependencies]\ntokio = \"1\"\n",
            &[
                "crates/providers/Cargo.toml:2: providers may not use tokio: \
             a provider is a pure translator",
            ],
        );
        check_owned(
            "egress",
            "[dependencies]\nserde_json = \"1\"\n",
            &[
                "crates/egress/Cargo.toml:2: egress may not use serde_json: \
             egress carries bytes and knows no JSON",
            ],
        );
    }

    #[test]
    fn packages_are_named_after_their_folders() {
        let text = "[package]\nname = \"portunus-mcp\"\n";
        assert_eq!(lines(names(&manifest("mcp", text))), [""; 0]);
        let expected = ["crates/store/Cargo.toml:1: name the package after its folder"];
        assert_eq!(lines(names(&manifest("store", text))), expected);
    }
}
