//! The rules of ARCHITECTURE.md and STYLE.md that a compiler cannot check.

use std::fmt;

use crate::tree::Tree;

mod documents;
mod goldens;
mod imports;
mod layers;
mod machine;
mod routes;
mod sizes;

/// One broken rule, with the place to mend.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Every rule over the whole tree, in the order of paths and lines.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let rules = [
        layers::names,
        layers::edges,
        layers::owned_crates,
        imports::forbidden_words,
        imports::crate_docs,
        sizes::file_lengths,
        sizes::function_lengths,
        routes::in_the_document,
        documents::name_every_field,
        documents::name_routes_and_metrics,
        goldens::for_each_dialect,
        machine::no_machine_paths,
        machine::no_private_registries,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort();
    findings
}

/// `crates/mcp/src/lib.rs` → `mcp`.
fn crate_folder(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}

/// For tests: the findings as text.
#[cfg(test)]
fn lines(findings: Vec<Finding>) -> Vec<String> {
    findings
        .into_iter()
        .map(|finding| finding.to_string())
        .collect()
}
