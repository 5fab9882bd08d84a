//! Every route is in the OpenAPI document.

use super::Finding;
use crate::scan::{code_only, line_of, without_tests};
use crate::tree::{File, Tree};

/// Routes that the document leaves out on purpose: probes, and the document itself.
const UNDOCUMENTED: &[&str] = &["/livez", "/readyz", "/metrics", "/openapi.json"];

/// Calls that add a route which utoipa-axum does not see.
const PLAIN_CALLS: &[&str] = &[".route(", ".route_service(", ".nest_service("];

/// Rule: routes of the server are registered with `.routes(routes!(…))`, which adds them to the
/// router and to the OpenAPI document in one step; a plain `.route(` would miss the document.
pub(super) fn in_the_document(tree: &Tree) -> Vec<Finding> {
    let server = tree
        .rust()
        .filter(|file| file.path.starts_with("crates/server/src/"));
    server.flat_map(plain_routes).collect()
}

fn plain_routes(file: &File) -> Vec<Finding> {
    let masked = code_only(&file.text);
    let code = without_tests(&masked);
    let calls = PLAIN_CALLS.iter().flat_map(|call| code.match_indices(call));
    let routes = calls.filter_map(|(offset, call)| {
        let offset = code[..offset].chars().count() + call.len();
        let path = literal_at(&file.text, offset);
        let documented = path.is_some_and(|path| UNDOCUMENTED.contains(&path));
        let message = format!(
            "{} is missing in the OpenAPI document: register it with `.routes(routes!(…))`",
            path.unwrap_or("this route")
        );
        (!documented).then(|| Finding::new(&file.path, line_of(code, offset), message))
    });
    routes.collect()
}

/// The string literal that begins after this many characters and blanks.
fn literal_at(text: &str, offset: usize) -> Option<&str> {
    let start = text.char_indices().nth(offset)?.0;
    text[start..]
        .trim_start()
        .strip_prefix('"')?
        .split('"')
        .next()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::in_the_document;
    use crate::tree::tree_of;

    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let tree = tree_of(&[("crates/server/src/router.rs", source)]);
        assert_eq!(lines(in_the_document(&tree)), expected);
    }

    #[test]
    fn routes_of_the_document_and_probes_pass() {
        check(
            "r.routes(routes!(create)).route(\"/livez\", get(livez))",
            &[],
        );
        check(
            "// é .route(\"/x\")\nr.route(\n    \"/metrics\", get(m))",
            &[],
        );
    }

    #[test]
    fn a_route_beside_the_document_is_found() {
        check(
            "// é\nr.route(\"/v1/secret\", get(secret))",
            &[
                "crates/server/src/router.rs:2: /v1/secret is missing in the OpenAPI document: \
             register it with `.routes(routes!(…))`",
            ],
        );
        check(
            "r.route(PATH, get(secret))",
            &[
                "crates/server/src/router.rs:1: this route is missing in the OpenAPI document: \
             register it with `.routes(routes!(…))`",
            ],
        );
    }
}
