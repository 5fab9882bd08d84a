//! The client with a resolver of the test's own: what is asked, judged and dialled.

use std::net::{IpAddr, TcpListener};
use std::sync::Mutex;

use super::*;

/// Answers the first question with the first row, and so on; the last row repeats.
fn scripted(rows: &[&[&str]]) -> (Lookup, Arc<Mutex<Vec<String>>>) {
    let parse = |row: &&[&str]| row.iter().map(|a| a.parse().unwrap()).collect();
    let rows: Vec<Vec<IpAddr>> = rows.iter().map(parse).collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |name| {
        let mut log = log.lock().unwrap();
        let row = rows[log.len().min(rows.len() - 1)].clone();
        log.push(name);
        Box::pin(std::future::ready(Ok(row)))
    });
    (lookup, asked)
}

fn client(allow: &[&str], lookup: &Lookup) -> Client {
    let allow = AllowList::parse(allow).unwrap();
    let settings = Settings {
        mcp_allow: allow,
        ..Settings::default()
    };
    Client::with_lookup(settings, lookup).unwrap()
}

async fn get(client: &Client, zone: Zone, url: &str) -> Result<Response, SendError> {
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    let limits = Limits {
        first_byte: Some(Duration::from_secs(5)),
        ..Limits::default()
    };
    client.send(zone, request, limits).await
}

/// A listener that knows whether anybody knocked. The kernel queues a connection before the
/// connecting side learns of it, so that an empty queue is proof.
fn trap() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn untouched(listener: &TcpListener) -> bool {
    listener
        .accept()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[track_caller]
fn check_refused(result: Result<Response, SendError>, reason: &str) {
    let error = result.unwrap_err();
    assert!(!error.may_have_been_sent());
    match error {
        SendError::Forbidden(forbidden) => assert_eq!(forbidden.reason, reason),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_resolves_inside_is_refused_before_any_connection() {
    let (listener, port) = trap();
    for (answer, reason) in [
        (&["127.0.0.1"] as &[&str], "loopback"),
        (&["8.8.8.8", "127.0.0.1"], "loopback"),
        (&["127.0.0.1", "8.8.8.8"], "loopback"),
        (&["::ffff:127.0.0.1"], "ipv4_mapped"),
        (&["169.254.169.254"], "metadata"),
    ] {
        let (lookup, asked) = scripted(&[answer]);
        let url = format!("https://a.example:{port}/mcp");
        check_refused(get(&client(&[], &lookup), Zone::Mcp, &url).await, reason);
        assert_eq!(*asked.lock().unwrap(), ["a.example"]);
    }
    assert!(untouched(&listener));
}

#[tokio::test]
async fn plain_http_to_a_name_is_judged_by_its_addresses() {
    let (lookup, _) = scripted(&[&["8.8.8.8"]]);
    let url = "http://engine.example/v1";
    check_refused(
        get(&client(&[], &lookup), Zone::Provider, url).await,
        "plain_http",
    );
    check_refused(
        get(&client(&["10.0.0.0/8"], &lookup), Zone::Mcp, url).await,
        "plain_http",
    );
}

#[tokio::test]
async fn a_host_entry_opens_no_other_name_at_the_same_address() {
    let (listener, port) = trap();
    let (lookup, _) = scripted(&[&["127.0.0.1"]]);
    let client = client(
        &[&format!("tools.corp.example:{port}"), "127.0.0.1"],
        &lookup,
    );
    let evil = format!("https://evil.example:{port}/");
    check_refused(get(&client, Zone::Mcp, &evil).await, "loopback");
    assert!(untouched(&listener));
    let elsewhere = "https://tools.corp.example:1/";
    check_refused(get(&client, Zone::Mcp, elsewhere).await, "loopback");
}

#[tokio::test]
async fn the_checked_address_is_the_dialled_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The second answer would be another one: it must never be asked for.
    let (lookup, asked) = scripted(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = client(&[&format!("tools.corp.example:{port}")], &lookup);
    let url = format!("http://tools.corp.example:{port}/mcp");
    let call = get(&client, Zone::Mcp, &url);
    let answer = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let read = socket.read(&mut head).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8_lossy(&head[..read]).to_ascii_lowercase()
    };
    let (response, head) = tokio::join!(call, answer);
    assert_eq!(response.unwrap().status, 204);
    assert!(
        head.contains(&format!("host: tools.corp.example:{port}\r\n")),
        "{head}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_without_addresses_is_a_dns_error() {
    let (lookup, _) = scripted(&[&[]]);
    let error = get(&client(&[], &lookup), Zone::Mcp, "https://a.example/")
        .await
        .unwrap_err();
    assert_eq!(
        error,
        SendError::Dns {
            host: "a.example".to_owned()
        }
    );
    assert_eq!(
        error.to_string(),
        "The host 'a.example' could not be resolved."
    );
    assert!(!error.may_have_been_sent());
}

#[tokio::test]
async fn a_slow_resolver_is_a_connect_timeout() {
    let lookup: Lookup = Arc::new(|_| Box::pin(std::future::pending()));
    let settings = Settings {
        connect_timeout: Duration::from_millis(50),
        ..Settings::default()
    };
    let client = Client::with_lookup(settings, &lookup).unwrap();
    let error = get(&client, Zone::Mcp, "https://a.example/")
        .await
        .unwrap_err();
    assert_eq!(error, SendError::Timeout(Phase::Connect));
    assert!(!error.may_have_been_sent());
}

#[tokio::test]
async fn literals_and_odd_spellings_never_reach_the_resolver() {
    let (listener, port) = trap();
    let (lookup, asked) = scripted(&[&["8.8.8.8"]]);
    let client = client(&[], &lookup);
    for (host, reason) in [
        ("127.0.0.1", "loopback"),
        ("[::1]", "loopback"),
        ("[::ffff:127.0.0.1]", "ipv4_mapped"),
        ("localhost", "loopback"),
        ("2130706433", "address_form"),
        ("0x7f.1", "address_form"),
        ("0177.0.0.1", "address_form"),
        ("127.0.0.1.", "trailing_dot"),
        ("good.example@127.0.0.1", "userinfo"),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            check_refused(get(&client, Zone::Mcp, &url).await, reason);
        }
    }
    assert!(untouched(&listener));
    assert!(asked.lock().unwrap().is_empty());
}
