//! What is spoken within the TLS.

use crate::backend::{Backend, Habits, shop, until};
use crate::gateway::{Gateway, Wanted, policy, read};
use crate::pki::Authority;
use bytes::Bytes;
use http_body_util::Full;
use sluice_ir as ir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// RFC 9113 §8.3.1: the scheme says https, and trailers pass, as gRPC needs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_over_tls() {
    let (authority, backend) = shop().await;
    let wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle())).http2();
    let gateway = Gateway::start(&wanted).await;
    let mut client = gateway.client().await;
    let post = http::Request::post("/cart").body(Bytes::from("hello")).unwrap();
    let (status, seen, _) = client.ask(post).await;
    assert_eq!(status, 200, "{seen}");
    assert!(seen.starts_with("/cart HTTP/2.0 scheme=https host=a.example "), "{seen}");
    assert!(seen.ends_with("body=hello"), "{seen}");
    let mut sender = gateway.http2().await;
    let request = http::Request::post("http://a.example/shop.Cart/Add")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from("hello")));
    let (status, seen, trailers) = read(sender.send_request(request.unwrap()).await.unwrap()).await;
    assert_eq!((status, trailers.get("grpc-status").unwrap().as_bytes()), (200, &b"0"[..]));
    assert!(seen.starts_with("/shop.Cart/Add HTTP/2.0 scheme=https host=a.example "), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_protocol_is_offered_and_no_other_is_spoken() {
    let authority = Authority::new();
    let issued = authority.issue(&["shop.example"]);
    for (alpn, http1, http2) in [
        (&[][..], true, false),
        (&["http/1.1"][..], true, false),
        (&["h2"][..], false, true),
        (&["h2", "http/1.1"][..], true, true),
        (&["h3"][..], false, false),
    ] {
        let backend = Backend::start(&issued, Habits { alpn, ..Habits::default() }).await;
        let wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle()));
        for (wanted, served) in [(wanted.clone(), http1), (wanted.http2(), http2)] {
            let gateway = Gateway::start(&wanted).await;
            if served {
                gateway.ok("/").await;
            } else {
                assert_eq!(gateway.failed().await, "upstream_tls", "{alpn:?} {:?}", wanted.protocol);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_reaches_a_backend_over_tls() {
    let (authority, backend) = shop().await;
    let gateway =
        Gateway::start(&Wanted::new(backend.address, policy("shop.example", authority.bundle()))).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let request = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        for part in [&b"both"[..], b"ways"] {
            stream.write_all(part).await.unwrap();
            let mut back = [0; 4];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, part);
        }
    }
    assert_eq!(backend.handshakes(), 20, "an upgraded connection serves nobody else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_reach_a_backend_over_tls() {
    let authority = Authority::new();
    let issued = authority.issue(&["shop.example"]);
    for protocol in [ir::BackendProtocol::Http1, ir::BackendProtocol::H2c] {
        let (main, copies) = (Backend::usual(&issued).await, Backend::usual(&issued).await);
        let mut wanted = Wanted::new(main.address, policy("shop.example", authority.bundle()));
        (wanted.protocol, wanted.copies) = (protocol, Some(copies.address));
        let gateway = Gateway::start(&wanted).await;
        let mut client = gateway.client().await;
        for count in 1..=20 {
            client.ok("/").await;
            // A copy's connection is kept before the copy counts as completed.
            let completed = format!("sluice_mirrors_total{{result=\"completed\"}} {count}\n");
            until("the copy is answered", || gateway.proxy.metrics().encode().contains(&completed)).await;
        }
        assert_eq!(main.handshakes(), 1);
        assert_eq!((copies.requests(), copies.handshakes()), (20, 1));
        // Copies are verified as requests are.
        let mut stranger = wanted.clone();
        stranger.tls.as_mut().unwrap().trust = Authority::new().bundle();
        gateway.apply(&stranger).await;
        assert_eq!(gateway.failed().await, "upstream_tls");
        assert_eq!(copies.requests(), 20);
    }
}

/// A handshake that fails has sent nothing: another endpoint serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_ends_costs_no_idempotent_request() {
    let authority = Authority::new();
    let issued = authority.issue(&["shop.example"]);
    let backend = Backend::usual(&issued).await;
    let mut wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle()));
    // Accepts and closes: the handshake fails.
    let ends = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    wanted.endpoints.push(ends.local_addr().unwrap());
    tokio::spawn(async move { while ends.accept().await.is_ok() {} });
    let gateway = Gateway::start(&wanted).await;
    for _ in 0..30 {
        gateway.ok("/").await;
    }
    let post = http::Request::post("/").body(Bytes::from("x")).unwrap();
    assert_eq!(gateway.client().await.ask(post).await.0, 200, "nothing was sent before the handshake");
}
