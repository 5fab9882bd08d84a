//! What callers share, and what they never do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::common::{bounds, pool, raw, spec, tool};
use crate::server::{Seen, Server, Step, http, legacy};

/// A server that answers a list only when `gate` opens.
async fn gated(gate: Arc<Notify>, answer: fn(&Seen) -> Vec<Step>) -> Server {
    Server::start(move |seen: &Seen| match seen.method() {
        "tools/list" => {
            let mut steps = vec![Step::Wait(Arc::clone(&gate))];
            steps.extend(answer(seen));
            steps
        }
        _ => legacy(seen),
    })
    .await
}

#[tokio::test]
async fn lists_at_the_same_time_are_one_request() {
    let gate = Arc::new(Notify::new());
    let server = gated(Arc::clone(&gate), legacy).await;
    let (pool, spec) = (pool(bounds()), spec(&server.url));
    let lists = join_all((0..10).map(|_| pool.list(&spec)));
    let open = async {
        server.wait_for("tools/list", 1).await;
        gate.notify_one();
    };
    let (listings, ()) = tokio::join!(lists, open);
    let fresh = listings
        .iter()
        .filter(|listing| !listing.as_ref().unwrap().cached)
        .count();
    assert_eq!(
        (
            fresh,
            server.count("tools/list"),
            server.count("initialize")
        ),
        (1, 1, 1)
    );
    assert!(pool.list(&spec).await.unwrap().cached);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_waited_and_not_kept() {
    let gate = Arc::new(Notify::new());
    let server = gated(Arc::clone(&gate), |_| {
        http("429 Too Many Requests", "", "slow down")
    })
    .await;
    let pool = pool(bounds());
    let (mut one, mut two) = (spec(&server.url), spec(&server.url));
    one.label = "one".to_owned();
    two.label = "two".to_owned();
    let open = async {
        server.wait_for("tools/list", 1).await;
        gate.notify_one();
    };
    let (first, second, ()) = tokio::join!(pool.list(&one), pool.list(&two), open);
    assert!(
        first
            .unwrap_err()
            .to_string()
            .contains("'one'. Http status code: 429")
    );
    assert!(
        second
            .unwrap_err()
            .to_string()
            .contains("'two'. Http status code: 429")
    );
    assert_eq!(server.count("tools/list"), 1);
    gate.notify_one();
    pool.list(&one).await.unwrap_err();
    assert_eq!(server.count("tools/list"), 2);
}

#[tokio::test]
async fn a_list_that_is_given_up_does_not_hold_the_others() {
    let gate = Arc::new(Notify::new());
    let server = gated(Arc::clone(&gate), legacy).await;
    let (pool, spec) = (pool(bounds()), spec(&server.url));
    let mut first = Box::pin(pool.list(&spec));
    tokio::select! {
        _ = &mut first => panic!("the gate is shut"),
        () = server.wait_for("tools/list", 1) => {}
    }
    let open = async {
        drop(first);
        server.wait_for("tools/list", 2).await;
        // The permit may go to the dead request first.
        gate.notify_one();
        gate.notify_waiters();
        gate.notify_one();
    };
    let (second, ()) = tokio::join!(pool.list(&spec), open);
    assert!(!second.unwrap().cached);
}

#[tokio::test]
async fn workspaces_and_credentials_share_nothing() {
    let server = Server::start(legacy).await;
    let pool = pool(bounds());
    let plain = spec(&server.url);
    let mut foreign = plain.clone();
    foreign.workspace = "v".to_owned();
    let mut token = plain.clone();
    token.authorization = Some("tok-1".into());
    let mut header = plain.clone();
    header.headers = vec![("x-tenant".parse().unwrap(), "a".parse().unwrap())];
    for spec in [&plain, &foreign, &token, &header] {
        assert!(!pool.list(spec).await.unwrap().cached);
        assert!(pool.list(spec).await.unwrap().cached);
    }
    assert_eq!(server.count("initialize"), 4);
    let authorizations: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| seen.method() == "tools/list")
        .map(|seen| seen.header("authorization").to_owned())
        .collect();
    assert_eq!(authorizations, ["", "", "Bearer tok-1", ""]);
}

#[tokio::test]
async fn a_401_forgets_the_list() {
    let revoked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&revoked);
    let server = Server::start(move |seen: &Seen| {
        if flag.load(Ordering::Relaxed) {
            return http("401 Unauthorized", "www-authenticate: Bearer\r\n", "");
        }
        legacy(seen)
    })
    .await;
    let (pool, spec) = (pool(bounds()), spec(&server.url));
    pool.list(&spec).await.unwrap();
    revoked.store(true, Ordering::Relaxed);
    let outcome = pool.call(&spec, &tool("echo"), &raw("{}")).await;
    assert!(!outcome.outcome_unknown);
    assert_eq!(outcome.result.unwrap_err().item_error()["code"], 401);
    let error = pool.list(&spec).await.unwrap_err();
    assert_eq!(error.http_status(), 401, "the kept list is gone");
}

#[tokio::test]
async fn calls_run_side_by_side_on_one_session() {
    let gate = Arc::new(Notify::new());
    let opener = Arc::clone(&gate);
    let server = Server::start(crate::server::legacy_call(move |seen| {
        let mut steps = vec![Step::Wait(Arc::clone(&gate))];
        steps.extend(legacy(seen));
        steps
    }))
    .await;
    let (pool, spec, echo, arguments) =
        (pool(bounds()), spec(&server.url), tool("echo"), raw("{}"));
    let calls = join_all((0..3).map(|_| pool.call(&spec, &echo, &arguments)));
    let open = async {
        server.wait_for("tools/call", 3).await;
        for _ in 0..3 {
            opener.notify_one();
            tokio::task::yield_now().await;
            opener.notify_waiters();
        }
    };
    let (outcomes, ()) = tokio::join!(calls, open);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(server.count("initialize"), 1);
    let ids: std::collections::HashSet<String> = server
        .seen()
        .iter()
        .map(|seen| seen.body["id"].to_string())
        .collect();
    assert_eq!(ids.len(), server.seen().len(), "ids are never used twice");
}
