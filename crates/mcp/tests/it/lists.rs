//! Pages, bounds and broken tools.

use std::time::Duration;

use portunus_mcp::{Bounds, Inventory, ListErrorKind, Listing, ServerTools};
use serde_json::{Value, json};

use crate::common::{bounds, pool, raw, spec};
use crate::server::{
    ERAS, Era, Server, Step, error, event, json_answer, legacy, result, stream_head, with,
};

/// A server whose list answers depend on the cursor.
async fn paged(era: Era, page: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Server {
    Server::start(with(era, "tools/list", move |seen| {
        json_answer(&result(seen, &page(&seen.body["params"]["cursor"])))
    }))
    .await
}

fn names(listing: &Listing) -> Vec<&str> {
    listing
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect()
}

fn tools(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))
        .collect()
}

#[tokio::test]
async fn all_pages_are_read_and_the_empty_cursor_is_one() {
    for era in ERAS {
        let server = paged(era, |cursor| match cursor.as_str() {
            None => json!({"tools": tools(&["a"]), "nextCursor": ""}),
            Some("") => json!({"tools": tools(&["b"]), "nextCursor": "3"}),
            Some(_) => json!({"tools": tools(&["c"]), "nextCursor": null}),
        })
        .await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        assert_eq!(names(&listing), ["a", "b", "c"]);
        assert!(listing.dropped.is_empty() && listing.digest.len() == 64 && listing.bytes > 0);
        let asked = server.seen();
        let first = asked.iter().find(|seen| seen.method() == "tools/list");
        let params = &first.unwrap().body["params"];
        assert!(params.is_object() && params.get("cursor").is_none());
    }
}

#[tokio::test]
async fn a_cursor_that_comes_again_ends_the_walk() {
    for (era, cursor) in ERAS.into_iter().flat_map(|era| [(era, "x"), (era, "")]) {
        let server = paged(era, move |at| {
            let name = at.as_str().map_or("a", |_| "b");
            json!({"tools": tools(&[name]), "nextCursor": cursor})
        })
        .await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        assert_eq!(
            (names(&listing), server.count("tools/list")),
            (vec!["a", "b"], 2)
        );
        assert!(listing.dropped[0].contains("repeats a page"));
    }
}

#[tokio::test]
async fn endless_pages_and_huge_lists_are_cut() {
    for era in ERAS {
        let server = paged(era, |cursor| {
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

        let server = paged(era, |_| {
            let names: Vec<String> = (0..5000).map(|n| format!("t{n}")).collect();
            json!({"tools": tools(&names.iter().map(String::as_str).collect::<Vec<_>>())})
        })
        .await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        assert_eq!(listing.tools.len(), bounds().max_tools);
        assert!(listing.dropped[0].contains("cut at 2000 tools"));
    }
}

/// Each page takes its time: the whole list has one deadline, not each page.
#[tokio::test]
async fn pages_that_drip_in_end_with_the_lists_time() {
    for era in ERAS {
        let server = Server::start(with(era, "tools/list", |seen| {
            let page = result(
                seen,
                &json!({"tools": [], "nextCursor": seen.body["id"].to_string()}),
            );
            let drop = b"data: {\"method\":\"notifications/progress\"}\n\n".repeat(1000);
            vec![stream_head(), Step::Write(drop), event(&page)]
        }))
        .await;
        let short = Bounds {
            list_timeout: Duration::from_millis(500),
            max_pages: usize::MAX,
            ..bounds()
        };
        let error = pool(short).list(&spec(&server.url)).await.unwrap_err();
        assert_eq!(error.kind, ListErrorKind::Timeout);
    }
}

#[tokio::test]
async fn a_page_beyond_all_bounds_fails_the_list() {
    let server = paged(
        legacy,
        |_| json!({"tools": [{"name": "a", "description": "x".repeat(300_000)}]}),
    )
    .await;
    let small = Bounds {
        max_list_bytes: 100_000,
        ..bounds()
    };
    let error = pool(small).list(&spec(&server.url)).await.unwrap_err();
    assert_eq!(error.kind, ListErrorKind::TooLarge);
}

/// Ten tools that are broken each in its own way, and two of one name.
fn a_broken_lot() -> Value {
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
}

#[tokio::test]
async fn one_broken_tool_does_not_spoil_the_list() {
    for era in ERAS {
        let server = paged(era, |_| a_broken_lot()).await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        let usable = [
            "good",
            "no schema",
            "null schema",
            "string hint",
            "bad icons",
            "maybe task",
        ];
        assert_eq!(names(&listing), usable);
        let read_only: Vec<bool> = listing.tools.iter().map(|tool| tool.read_only).collect();
        assert_eq!(read_only, [true, false, false, false, false, false]);
        assert_eq!(listing.dropped.len(), 6, "{:?}", listing.dropped);
    }
}

#[tokio::test]
async fn names_that_no_model_may_use_reach_the_server_as_they_are() {
    let odd = [
        "files.read",
        "files/read",
        "größe 🙂",
        "exec",
        "",
        &"x".repeat(100),
    ];
    for era in ERAS {
        let list = json!({"tools": tools(&odd)});
        let server = paged(era, move |_| list.clone()).await;
        let (pool, spec) = (pool(bounds()), spec(&server.url));
        let listing = pool.list(&spec).await.unwrap();
        assert_eq!(listing.tools.len(), 5, "the one without a name is left out");
        let server_tools = ServerTools {
            label: "label".to_owned(),
            tools: listing.tools,
            allowed: None,
        };
        // A function of the caller has the name of a tool.
        let inventory = Inventory::build(vec![server_tools], &["exec"]);
        let wires: Vec<String> = inventory
            .functions()
            .map(|f| f.wire_name.to_owned())
            .collect();
        for wire in &wires {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            assert!(
                wire.len() <= 64 && wire.chars().all(legal) && wire != "exec",
                "{wire}"
            );
            pool.call(&spec, inventory.find(wire).unwrap().tool, &raw("{}"))
                .await;
        }
        let called: Vec<String> = server
            .seen()
            .iter()
            .filter(|seen| seen.method() == "tools/call")
            .map(|seen| seen.body["params"]["name"].as_str().unwrap().to_owned())
            .collect();
        let sent: Vec<&str> = odd
            .iter()
            .copied()
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(called, sent);
    }
}

#[tokio::test]
async fn a_failing_page_fails_the_list() {
    for era in ERAS {
        let server = Server::start(with(era, "tools/list", |seen| {
            match seen.body["params"]["cursor"].as_str() {
                None => json_answer(&result(seen, &json!({"tools": [], "nextCursor": "x"}))),
                Some(_) => json_answer(&error(seen, -32602, "Invalid cursor")),
            }
        }))
        .await;
        let error = pool(bounds()).list(&spec(&server.url)).await.unwrap_err();
        assert_eq!((error.kind, error.http_status()), (ListErrorKind::Rpc, 424));
    }
}

#[tokio::test]
async fn the_digest_follows_the_definitions() {
    let digest = |description: &'static str| async move {
        let server = paged(
            legacy,
            move |_| json!({"tools": [{"name": "a", "description": description}]}),
        )
        .await;
        let listing = pool(bounds()).list(&spec(&server.url)).await.unwrap();
        (listing.digest.clone(), listing.tools[0].digest())
    };
    let (one, again, other) = (digest("x").await, digest("x").await, digest("y").await);
    assert_eq!(one, again);
    assert!(one.0 != other.0 && one.1 != other.1);
}
