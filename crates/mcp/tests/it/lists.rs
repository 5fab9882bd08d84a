//! Pages, bounds and broken tools.

use portunus_mcp::{Bounds, ListErrorKind};
use serde_json::{Value, json};

use crate::common::{bounds, pool, spec};
use crate::server::{Seen, Server, Step, error, json_answer, legacy, result};

/// A legacy server whose list answers depend on the cursor.
async fn paged(page: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Server {
    Server::start(move |seen: &Seen| match seen.method() {
        "tools/list" => json_answer(&result(seen, &page(&seen.body["params"]["cursor"]))),
        _ => legacy(seen),
    })
    .await
}

fn tools(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))
        .collect()
}

#[tokio::test]
async fn all_pages_are_read_and_the_empty_cursor_is_one() {
    let server = paged(|cursor| match cursor.as_str() {
        None => json!({"tools": tools(&["a"]), "nextCursor": ""}),
        Some("") => json!({"tools": tools(&["b"]), "nextCursor": "3"}),
        Some(_) => json!({"tools": tools(&["c"]), "nextCursor": null}),
    })
    .await;
    let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
    let names: Vec<&str> = listing
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(listing.dropped.is_empty() && listing.digest.len() == 64 && listing.bytes > 0);
    let first = &server.seen()[3].body["params"];
    assert_eq!(first, &json!({}), "a first page has no cursor");
}

#[tokio::test]
async fn a_cursor_that_comes_again_ends_the_walk() {
    let server = paged(
        |cursor| json!({"tools": tools(&[cursor.as_str().unwrap_or("a")]), "nextCursor": "x"}),
    )
    .await;
    let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
    assert_eq!((listing.tools.len(), server.count("tools/list")), (2, 2));
    assert!(listing.dropped[0].contains("repeats a page"));
}

#[tokio::test]
async fn endless_pages_and_huge_lists_are_cut() {
    let server = paged(|cursor| {
        let n = cursor
            .as_str()
            .map_or(0, |text| text.parse::<u64>().unwrap());
        json!({"tools": tools(&[&format!("t{n}")]), "nextCursor": (n + 1).to_string()})
    })
    .await;
    let few = Bounds {
        max_pages: 5,
        ..bounds()
    };
    let listing = pool(few).list(&spec(&server.url)).await.unwrap();
    assert_eq!((listing.tools.len(), server.count("tools/list")), (5, 5));
    assert!(listing.dropped[0].contains("cut at 5 pages"));

    let server = paged(|_| {
        let names: Vec<String> = (0..5000).map(|n| format!("t{n}")).collect();
        json!({"tools": tools(&names.iter().map(String::as_str).collect::<Vec<_>>())})
    })
    .await;
    let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
    assert_eq!(listing.tools.len(), bounds().max_tools);
    assert!(listing.dropped[0].contains("cut at 2000 tools"));
}

#[tokio::test]
async fn a_page_beyond_all_bounds_fails_the_list() {
    let server =
        paged(|_| json!({"tools": [{"name": "a", "description": "x".repeat(300_000)}]})).await;
    let small = Bounds {
        max_list_bytes: 100_000,
        ..bounds()
    };
    let error = pool(small).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(error.kind, ListErrorKind::TooLarge);
}

#[tokio::test]
async fn one_broken_tool_does_not_spoil_the_list() {
    let server = paged(|_| {
        json!({"tools": [
            {"name": "good", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            null, 7, {"description": "nameless"},
            {"name": "no schema"},
            {"name": "null schema", "inputSchema": null},
            {"name": "string hint", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": "true"}},
            {"name": "bad icons", "inputSchema": {"type": "object"}, "icons": "x", "annotations": []},
            {"name": "false schema", "inputSchema": false},
            {"name": "task", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}},
            {"name": "maybe task", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}},
            {"name": "good", "inputSchema": {"type": "object"}},
        ]})
    })
    .await;
    let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
    let names: Vec<&str> = listing
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "good",
            "no schema",
            "null schema",
            "string hint",
            "bad icons",
            "maybe task"
        ]
    );
    let read_only: Vec<bool> = listing.tools.iter().map(|tool| tool.read_only).collect();
    assert_eq!(read_only, [true, false, false, false, false, false]);
    assert_eq!(listing.dropped.len(), 6, "{:?}", listing.dropped);
}

#[tokio::test]
async fn a_failing_page_fails_the_list() {
    let server = Server::start(|seen: &Seen| -> Vec<Step> {
        match (seen.method(), seen.body["params"]["cursor"].as_str()) {
            ("tools/list", None) => {
                json_answer(&result(seen, &json!({"tools": [], "nextCursor": "x"})))
            }
            ("tools/list", _) => json_answer(&error(seen, -32602, "Invalid cursor")),
            _ => legacy(seen),
        }
    })
    .await;
    let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!((error.kind, error.http_status()), (ListErrorKind::Rpc, 424));
}

#[tokio::test]
async fn the_digest_follows_the_definitions() {
    let digest = |description: &'static str| async move {
        let server =
            paged(move |_| json!({"tools": [{"name": "a", "description": description}]})).await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        (listing.digest.clone(), listing.tools[0].digest())
    };
    let (one, again, other) = (digest("x").await, digest("x").await, digest("y").await);
    assert_eq!(one, again);
    assert!(one.0 != other.0 && one.1 != other.1);
}
