//! What users read names every field that users meet.

use super::Finding;
use crate::scan::{code_only, without_tests};
use crate::tree::Tree;

/// A source whose public fields are documented, and the document.
struct Pair {
    source: &'static str,
    /// Where the documented part of the source ends.
    up_to: &'static str,
    document: &'static str,
}

const PAIRS: &[Pair] = &[
    Pair {
        source: "crates/server/src/settings/mod.rs",
        up_to: "#[cfg(test)]",
        document: "docs/CONFIG.md",
    },
    Pair {
        source: "crates/store/src/model/log.rs",
        up_to: "pub struct LogFilter",
        document: "docs/LOGGING.md",
    },
];

/// Rule: public fields of settings and log rows are named in their document.
pub(super) fn name_every_field(tree: &Tree) -> Vec<Finding> {
    PAIRS.iter().flat_map(|pair| unnamed(tree, pair)).collect()
}

/// Rule: every route is in docs/API.md and every metric in docs/OPERATING.md.
pub(super) fn name_routes_and_metrics(tree: &Tree) -> Vec<Finding> {
    let routes = literals(tree, ", path = \"", |text| {
        text.starts_with('/').then(|| text.to_owned())
    });
    let metrics = literals(tree, ".register(\"", |text| {
        Some(format!("portunus_{text}"))
    });
    let mut findings = absent(tree, "docs/API.md", routes);
    findings.extend(absent(tree, "docs/OPERATING.md", metrics));
    findings
}

/// A word that a document must hold, and where it comes from.
struct Word {
    path: String,
    line: usize,
    text: String,
}

/// The string literals of the server's sources that follow on `opening`.
fn literals(tree: &Tree, opening: &str, word: impl Fn(&str) -> Option<String>) -> Vec<Word> {
    let server = tree
        .rust()
        .filter(|file| file.path.starts_with("crates/server/src/"));
    let lines = server.flat_map(|file| file.text.lines().enumerate().map(move |line| (file, line)));
    let found = lines.filter_map(|(file, (index, line))| {
        let literal = line.split(opening).nth(1)?.split('"').next()?;
        Some(Word {
            path: file.path.clone(),
            line: index + 1,
            text: word(literal)?,
        })
    });
    found.collect()
}

fn absent(tree: &Tree, document: &str, words: Vec<Word>) -> Vec<Finding> {
    let text = tree.file(document).map_or("", |file| file.text.as_str());
    let missing = words.into_iter().filter(|word| !text.contains(&word.text));
    missing
        .map(|word| {
            let message = format!("`{}` is missing in {document}", word.text);
            Finding::new(&word.path, word.line, message)
        })
        .collect()
}

fn unnamed(tree: &Tree, pair: &Pair) -> Vec<Finding> {
    let (Some(source), Some(document)) = (tree.file(pair.source), tree.file(pair.document)) else {
        return vec![Finding::new(
            pair.document,
            1,
            format!("it or {} is gone", pair.source),
        )];
    };
    let masked = code_only(&source.text);
    let code = without_tests(&masked)
        .split(pair.up_to)
        .next()
        .unwrap_or_default();
    let fields = code.lines().enumerate().filter_map(|(index, line)| {
        let field = field_of(line).filter(|field| !is_named(&document.text, field))?;
        let message = format!("`{field}` is missing in {}", pair.document);
        Some(Finding::new(pair.source, index + 1, message))
    });
    fields.collect()
}

/// `    pub listen: SocketAddr,` → `listen`.
fn field_of(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
    name.chars()
        .all(|c| c.is_alphanumeric() || c == '_')
        .then_some(name)
}

/// A field stands in code marks, alone, after its section, or as a section.
fn is_named(document: &str, field: &str) -> bool {
    let spellings = [
        format!("`{field}`"),
        format!(".{field}`"),
        format!("[{field}]`"),
    ];
    spellings.iter().any(|spelling| document.contains(spelling))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::{Pair, name_routes_and_metrics, unnamed};
    use crate::tree::tree_of;

    const PAIR: Pair = Pair {
        source: "a.rs",
        up_to: "pub struct End",
        document: "a.md",
    };

    #[track_caller]
    fn check(document: &str, expected: &[&str]) {
        let source = "pub struct S {\n    pub listen: A,\n    pub tls: Tls,\n}\n\
                      impl S {\n    pub fn url(&self) {}\n}\npub struct End {\n    pub x: u8,\n}\n";
        let tree = tree_of(&[("a.rs", source), ("a.md", document)]);
        assert_eq!(lines(unnamed(&tree, &PAIR)), expected);
    }

    #[test]
    fn a_field_may_stand_alone_or_after_its_section() {
        check("| `listen` | `[tls]` |", &[]);
        check("| `server.listen` | ### `[tls]`", &[]);
    }

    #[test]
    fn a_field_that_is_missing_is_found() {
        check("listen, `tls`", &["a.rs:2: `listen` is missing in a.md"]);
    }

    #[test]
    fn a_missing_file_is_found() {
        let tree = tree_of(&[("a.rs", "")]);
        assert_eq!(lines(unnamed(&tree, &PAIR)), ["a.md:1: it or a.rs is gone"]);
    }

    #[test]
    fn routes_and_metrics_are_looked_for_in_their_documents() {
        let source = "#[utoipa::path(get, path = \"/v1/logs\")]\n#[path = \"x.rs\"]\n\
                      r.register(\"requests\", \"Help\", x);\n";
        let tree = tree_of(&[
            ("crates/server/src/a.rs", source),
            ("docs/API.md", "`GET /v1/virtual-keys`"),
            ("docs/OPERATING.md", "`portunus_requests_total`"),
        ]);
        assert_eq!(
            lines(name_routes_and_metrics(&tree)),
            ["crates/server/src/a.rs:1: `/v1/logs` is missing in docs/API.md"]
        );
    }
}
