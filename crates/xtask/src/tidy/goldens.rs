//! Every provider is judged by the golden corpus.

use super::Finding;
use crate::scan::{code_only, line_of};
use crate::tree::Tree;

const DIALECTS: &str = "crates/providers/src/provider.rs";
const GOLDEN: &str = "crates/providers/tests/golden/";

/// Rule: each dialect that a provider of `registry.rs` can speak has golden files. Vendors of one
/// dialect share them; what differs between vendors is a row of a table.
pub(super) fn for_each_dialect(tree: &Tree) -> Vec<Finding> {
    let Some(source) = tree.file(DIALECTS) else {
        return vec![Finding::new(DIALECTS, 1, "the list of dialects is gone")];
    };
    let code = code_only(&source.text);
    let missing = variants(&code).into_iter().filter_map(|(offset, variant)| {
        let folder = format!("{GOLDEN}{}/", variant.to_lowercase());
        let message = format!("dialect {variant} has no golden files in {folder}");
        let line = line_of(&code, code[..offset].chars().count());
        (!tree.has_folder(&folder)).then(|| Finding::new(DIALECTS, line, message))
    });
    missing.collect()
}

/// The variants of `enum Dialect` with their byte offsets.
fn variants(code: &str) -> Vec<(usize, &str)> {
    const OPENING: &str = "enum Dialect {";
    let Some(start) = code.find(OPENING).map(|at| at + OPENING.len()) else {
        return Vec::new();
    };
    let body = code[start..].split('}').next().unwrap_or_default();
    let mut at = start;
    let mut found = Vec::new();
    for part in body.split_inclusive(',') {
        let name = part.trim().trim_end_matches(',');
        if !name.is_empty() {
            found.push((at + part.find(name).unwrap_or(0), name));
        }
        at += part.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{DIALECTS, for_each_dialect};
    use crate::tree::tree_of;

    #[test]
    fn a_dialect_without_golden_files_is_found() {
        let source =
            "/// Dialects.\npub enum Dialect {\n    /// A.\n    Responses,\n    Chat,\n}\n";
        let golden = "crates/providers/tests/golden/responses/plain.json";
        let tree = tree_of(&[(DIALECTS, source), (golden, "{}")]);
        assert_eq!(
            lines(for_each_dialect(&tree)),
            [
                "crates/providers/src/provider.rs:5: dialect Chat has no golden files in \
              crates/providers/tests/golden/chat/"
            ]
        );
    }
}
