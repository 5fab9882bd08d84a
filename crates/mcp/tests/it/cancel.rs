//! A caller who goes away.

use crate::common::{bounds, pool, raw, spec, tool};
use crate::server::{Server, Step, legacy_call, modern, stream_head};

/// Starts a call, waits until the server has it, and drops it.
async fn dropped(server: &Server) -> portunus_mcp::Pool {
    let pool = pool(bounds());
    let (spec, echo, arguments) = (spec(&server.url), tool("echo"), raw("{}"));
    let mut call = Box::pin(pool.call(&spec, &echo, &arguments));
    tokio::select! {
        _ = &mut call => panic!("the call has no answer"),
        () = server.wait_for("tools/call", 1) => {}
    }
    drop(call);
    drop(spec);
    pool
}

#[tokio::test]
async fn dropping_a_call_closes_its_stream() {
    let server = Server::start(|seen: &crate::server::Seen| match seen.method() {
        "tools/call" => vec![stream_head(), Step::Hang],
        _ => modern(seen),
    })
    .await;
    let pool = dropped(&server).await;
    server.wait_for_closed(1).await;
    pool.close().await;
    assert_eq!(
        server.methods(),
        ["server/discover", "tools/call"],
        "no word is needed"
    );
}

#[tokio::test]
async fn a_legacy_server_is_told_as_well() {
    let server = Server::start(legacy_call(|_| vec![Step::Hang])).await;
    let pool = dropped(&server).await;
    server.wait_for_closed(1).await;
    pool.close().await;
    let seen = server.seen();
    let notice = seen
        .iter()
        .find(|seen| seen.method() == "notifications/cancelled")
        .unwrap();
    let call = seen
        .iter()
        .find(|seen| seen.method() == "tools/call")
        .unwrap();
    assert_eq!(notice.body["params"]["requestId"], call.body["id"]);
    assert_eq!(notice.header("mcp-session-id"), "s1");
}
