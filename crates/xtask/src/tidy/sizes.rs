//! Bounds on what a reader has to hold in mind at once.

use super::Finding;
use crate::scan::{Function, code_only, functions};
use crate::tree::{File, Tree};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

const SOURCE_ENDINGS: &[&str] = &[
    ".rs", ".py", ".sh", ".js", ".mjs", ".ts", ".svelte", ".css", ".sql",
];

/// Functions that may be longer: path, name, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/protocol/src/request/tests.rs",
        "the_table_of_refusals",
        TABLE,
    ),
    (
        "crates/providers/src/classify/tests.rs",
        "faults_of_the_request",
        TABLE,
    ),
    (
        "crates/providers/src/classify/tests.rs",
        "faults_of_the_credential_are_not_the_callers",
        TABLE,
    ),
    (
        "crates/providers/src/classify/tests.rs",
        "faults_of_the_provider",
        TABLE,
    ),
];

const TABLE: &str = "one row per case and nothing else: cut in two, a missing row would not show";

/// Rule: no source file is over 600 lines.
pub(super) fn file_lengths(tree: &Tree) -> Vec<Finding> {
    tree.files
        .iter()
        .filter(|file| is_source(file))
        .filter_map(too_long_file)
        .collect()
}

fn is_source(file: &File) -> bool {
    let known = SOURCE_ENDINGS
        .iter()
        .any(|ending| file.path.ends_with(ending));
    known || file.text.starts_with("#!")
}

fn too_long_file(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let message = || format!("{lines} lines, at most {FILE_LINES_MAX}: split it by topic");
    (lines > FILE_LINES_MAX).then(|| Finding::new(&file.path, FILE_LINES_MAX + 1, message()))
}

/// Rule: no Rust function is over 70 lines, from `fn` to its closing brace.
pub(super) fn function_lengths(tree: &Tree) -> Vec<Finding> {
    let long_ones = |file: &File| -> Vec<Finding> {
        let found = functions(&code_only(&file.text));
        found
            .iter()
            .filter_map(|function| too_long_function(&file.path, function))
            .collect()
    };
    tree.rust().flat_map(long_ones).collect()
}

fn too_long_function(path: &str, function: &Function) -> Option<Finding> {
    let Function { name, line, lines } = function;
    let excused = LONG_FUNCTIONS
        .iter()
        .any(|(file, long, _)| *file == path && long == name);
    let message = || format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
    (*lines > FUNCTION_LINES_MAX && !excused).then(|| Finding::new(path, *line, message()))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{
        FILE_LINES_MAX, FUNCTION_LINES_MAX, LONG_FUNCTIONS, file_lengths, function_lengths,
    };
    use crate::tree::tree_of;

    #[test]
    fn a_file_may_have_600_lines_and_no_more() {
        let (fits, long) = (
            "x\n".repeat(FILE_LINES_MAX),
            "x\n".repeat(FILE_LINES_MAX + 1),
        );
        let tree = tree_of(&[("a.rs", &fits), ("b.py", &long), ("c.json", &long)]);
        let expected = ["b.py:601: 601 lines, at most 600: split it by topic"];
        assert_eq!(lines(file_lengths(&tree)), expected);
    }

    #[test]
    fn scripts_without_an_ending_count_too() {
        let script = format!("#!/bin/sh\n{}", ":\n".repeat(FILE_LINES_MAX));
        assert_eq!(file_lengths(&tree_of(&[("run", &script)])).len(), 1);
    }

    #[test]
    fn a_function_may_have_70_lines_and_no_more() {
        let of_lines = |count: usize| format!("fn f() {{\n{}}}\n", "    x;\n".repeat(count - 2));
        let (fits, long) = (
            of_lines(FUNCTION_LINES_MAX),
            of_lines(FUNCTION_LINES_MAX + 1),
        );
        assert_eq!(
            lines(function_lengths(&tree_of(&[("a.rs", &fits)]))),
            [""; 0]
        );
        let expected = ["a.rs:1: fn f has 71 lines, at most 70"];
        assert_eq!(
            lines(function_lengths(&tree_of(&[("a.rs", &long)]))),
            expected
        );
    }

    #[test]
    fn every_excuse_has_a_reason_and_a_function() {
        let tree = crate::tree::Tree::read(&crate::root()).expect("the repository can be read");
        for (path, name, reason) in LONG_FUNCTIONS {
            assert!(reason.len() > 20, "{path}: {name}: say why");
            let text = &tree.file(path).expect("the excused file exists").text;
            assert!(
                text.contains(&format!("fn {name}")),
                "{path}: {name} is gone"
            );
        }
    }
}
