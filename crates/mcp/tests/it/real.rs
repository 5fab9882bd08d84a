//! Real servers, when they are running: `PORTUNUS_TEST_MCP_STREAMABLE`, `…_SSE` (npm
//! server-everything), `…_PAGED` and `…_TOKEN` (fastmcp; the latter as `url token`). A test
//! whose variable is not set says so and passes.

use portunus_mcp::{ListErrorKind, ServerSpec, output};

use crate::common::{bounds, pool, raw, spec, text, tool};

fn target(name: &str) -> Option<String> {
    let url = std::env::var(name).ok();
    if url.is_none() {
        eprintln!("skipped: {name} is not set");
    }
    url
}

async fn everything(url: &str, protocol: &str) {
    let (pool, spec) = (pool(bounds()), spec(url));
    let listing = pool.list(&spec).await.unwrap();
    assert_eq!(listing.protocol, protocol);
    assert!(listing.tools.len() > 8, "{}", listing.tools.len());
    assert!(
        listing.dropped.iter().all(|why| why.contains("task")),
        "{:?}",
        listing.dropped
    );
    let find = |name: &str| listing.tools.iter().find(|tool| tool.name == name).unwrap();
    let outcome = pool
        .call(&spec, find("echo"), &raw(r#"{"message":"hi"}"#))
        .await;
    assert_eq!(text(&outcome), "Echo: hi");
    let image = pool
        .call(&spec, find("get-tiny-image"), &raw("{}"))
        .await
        .result
        .unwrap();
    let shown = output::of(&image, 1 << 20);
    assert!(shown.output.unwrap().contains("image/png") && !shown.truncated);
    let unknown = pool.call(&spec, &tool("no-such-tool"), &raw("{}")).await;
    assert!(unknown.result.is_err() || unknown.result.unwrap().is_error);
    eprintln!(
        "{url}: {} tools, left out: {:?}",
        listing.tools.len(),
        listing.dropped
    );
}

#[tokio::test]
async fn everything_over_streamable_http() {
    if let Some(url) = target("PORTUNUS_TEST_MCP_STREAMABLE") {
        everything(&url, "2025-11-25").await;
    }
}

#[tokio::test]
async fn everything_over_sse() {
    if let Some(url) = target("PORTUNUS_TEST_MCP_SSE") {
        everything(&url, "2024-11-05").await;
    }
}

#[tokio::test]
async fn a_paged_server() {
    let Some(url) = target("PORTUNUS_TEST_MCP_PAGED") else {
        return;
    };
    let (pool, spec) = (pool(bounds()), spec(&url));
    let listing = pool.list(&spec).await.unwrap();
    assert!(listing.tools.len() > 30, "{}", listing.tools.len());
    eprintln!(
        "{url}: {} tools, {}, {:?}",
        listing.tools.len(),
        listing.protocol,
        listing.timing
    );
    let find = |name: &str| listing.tools.iter().find(|tool| tool.name == name).unwrap();
    let sum = pool
        .call(&spec, find("add_3"), &raw(r#"{"a":1,"b":2}"#))
        .await;
    assert_eq!(text(&sum), "6");
    assert!(
        pool.call(&spec, find("boom"), &raw("{}"))
            .await
            .result
            .unwrap()
            .is_error
    );
    // Asks for input, which nobody gives: it must end, and soon.
    let asked = pool.call(&spec, find("ask"), &raw("{}")).await;
    eprintln!("{url}: ask: {:?}", asked.result);
}

#[tokio::test]
async fn a_server_that_wants_a_token() {
    let Some(value) = target("PORTUNUS_TEST_MCP_TOKEN") else {
        return;
    };
    let (url, token) = value.split_once(' ').unwrap();
    let pool = pool(bounds());
    let error = pool.list(&spec(url)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.http_status()),
        (ListErrorKind::Auth, 401)
    );
    let with = ServerSpec {
        authorization: Some(token.into()),
        ..spec(url)
    };
    let listing = pool.list(&with).await.unwrap();
    assert!(!listing.tools.is_empty());
    let wrong = ServerSpec {
        authorization: Some("wrong-token".into()),
        ..spec(url)
    };
    assert_eq!(pool.list(&wrong).await.unwrap_err().http_status(), 401);
}
