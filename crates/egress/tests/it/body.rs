//! The cap on bodies, counted after decompression, and bodies that break.

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use axum::Router;
use axum::http::header::CONTENT_ENCODING;
use axum::routing::get as route;
use bytes::Bytes;
use portunus_egress::{Limits, SendError};
use tokio::io::AsyncWriteExt;

use crate::stage::{get, serve, serve_raw};

const LIMIT_BYTES: usize = 1024 * 1024;
const BOMB_BYTES: usize = 64 * LIMIT_BYTES;

fn limits() -> Limits {
    Limits {
        max_body_bytes: Some(LIMIT_BYTES),
        ..Limits::default()
    }
}

async fn compressed(encoding: &str, plain: &[u8]) -> Bytes {
    let packed = match encoding {
        "gzip" => {
            let mut encoder = GzipEncoder::new(Vec::new());
            encoder.write_all(plain).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }
        "br" => {
            let quality = async_compression::Level::Fastest;
            let mut encoder = BrotliEncoder::with_quality(Vec::new(), quality);
            encoder.write_all(plain).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }
        _ => {
            let mut encoder = ZstdEncoder::new(Vec::new());
            encoder.write_all(plain).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }
    };
    Bytes::from(packed)
}

async fn server_of(encoding: &'static str, packed: Bytes) -> crate::stage::Server {
    let answer = move || async move { ([(CONTENT_ENCODING, encoding)], packed) };
    serve(Router::new().route("/", route(answer))).await
}

#[tokio::test]
async fn compressed_bodies_arrive_plain() {
    for encoding in ["gzip", "br", "zstd"] {
        let server = server_of(encoding, compressed(encoding, b"hello").await).await;
        let response = get(&server.url("/"), limits()).await.unwrap();
        assert!(
            !response.headers.contains_key(CONTENT_ENCODING),
            "{encoding}"
        );
        assert_eq!(response.body.bytes().await.unwrap(), "hello", "{encoding}");
    }
}

#[tokio::test]
async fn a_bomb_is_cut_at_the_decompressed_limit() {
    let plain = vec![0; BOMB_BYTES];
    for encoding in ["gzip", "br", "zstd"] {
        let packed = compressed(encoding, &plain).await;
        assert!(
            packed.len() < LIMIT_BYTES,
            "{encoding}: {} bytes on the wire",
            packed.len()
        );
        let server = server_of(encoding, packed).await;
        let mut body = get(&server.url("/"), limits()).await.unwrap().body;
        let error = loop {
            match body.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => unreachable!("{encoding}: the bomb went through"),
                Err(error) => break error,
            }
        };
        assert_eq!(
            error,
            SendError::TooLarge {
                limit_bytes: LIMIT_BYTES
            },
            "{encoding}"
        );
        assert!(
            body.seen_bytes() < LIMIT_BYTES + 256 * 1024,
            "{encoding}: {}",
            body.seen_bytes()
        );
    }
}

#[tokio::test]
async fn a_plain_body_may_fill_the_limit_but_not_pass_it() {
    let router = Router::new()
        .route("/full", route(|| async { vec![b'x'; LIMIT_BYTES] }))
        .route("/over", route(|| async { vec![b'x'; LIMIT_BYTES + 1] }));
    let server = serve(router).await;
    let full = get(&server.url("/full"), limits())
        .await
        .unwrap()
        .body
        .bytes()
        .await
        .unwrap();
    assert_eq!(full.len(), LIMIT_BYTES);
    let over = get(&server.url("/over"), limits())
        .await
        .unwrap()
        .body
        .bytes()
        .await;
    assert_eq!(
        over,
        Err(SendError::TooLarge {
            limit_bytes: LIMIT_BYTES
        })
    );
}

async fn check_broken(answer: &'static [u8]) {
    let (server, _requests) = serve_raw(answer).await;
    let outcome = match get(&server.url("/secret-path?secret-query"), limits()).await {
        Ok(response) => response.body.bytes().await,
        Err(error) => Err(error),
    };
    let error = outcome.unwrap_err();
    assert!(matches!(error, SendError::Protocol(_)), "{error:?}");
    assert!(error.may_have_been_sent());
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn broken_answers_are_protocol_errors() {
    for answer in [
        b"" as &[u8],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        check_broken(answer).await;
    }
}
