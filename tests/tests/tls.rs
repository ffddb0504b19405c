//! TLS at the edge of the rules: handshakes that hang or lie, certificates that change under load, sessions that
//! outlive a change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustls::{ClientConfig, HandshakeKind};
use sluice_tests::client::{Io, plain};
use sluice_tests::tls::{Authority, connect};
use sluice_tests::{Ask, Stand, Wire, eventually, manifests, soon};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

const LISTENERS: &str = "  - {name: https, port: 443, protocol: HTTPS, hostname: '*.example.com', tls: {certificateRefs: [{name: web}]}}
";

fn manifests_with(secret: &str, more: &str) -> String {
    [
        manifests::GATEWAY,
        LISTENERS,
        more,
        &manifests::backend("main.test", 80, "HTTP"),
        &manifests::route("all", &[], "main.test", 80),
        secret,
    ]
    .concat()
}

const PARAMETERS: &str =
    "  infrastructure: {parametersRef: {group: sluice.dev, kind: GatewayParameters, name: short}}
---
apiVersion: sluice.dev/v1alpha1
kind: GatewayParameters
metadata: {name: short}
spec: {limits: {tlsHandshakeTimeout: 300ms}}
";

async fn tls(address: SocketAddr, config: &ClientConfig) -> TlsStream<Box<dyn Io>> {
    connect(address, "a.example.com", config.clone()).await.unwrap()
}

fn leaf(stream: &TlsStream<Box<dyn Io>>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn get() -> Ask {
    Ask::get("https://a.example.com/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_hangs_or_lies_is_closed() {
    let authority = Authority::new();
    let stand =
        Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), PARAMETERS)).await;
    let hello = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
    for (what, bytes) in [
        ("silence", &b""[..]),
        ("one byte", &hello[..1]),
        ("the start of a ClientHello", &hello),
        ("garbage", &[0xde, 0xad, 0xbe, 0xef].repeat(1000)),
        ("a record of length 0", &[0x16, 3, 1, 0, 0]),
        ("a record that is too long", &[0x16, 3, 1, 0xff, 0xff]),
        ("an alert", &[0x15, 3, 1, 0, 2, 2, 40]),
        ("SSL 2", &[0x80, 0x2e, 1, 0, 2]),
    ] {
        let started = Instant::now();
        let mut wire = Wire::connect(stand.address(443)).await;
        wire.send(bytes).await;
        let answer = wire.rest().await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{what}");
        assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
    }
    assert_eq!(stand.request(&get()).await.status, 200);
}

/// A trickle of bytes does not extend the handshake's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_trickles_is_closed() {
    let authority = Authority::new();
    let stand =
        Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), PARAMETERS)).await;
    let started = Instant::now();
    let mut wire = Wire::connect(stand.address(443)).await;
    wire.send([0x16, 3, 1, 0x40, 0]).await;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        pace.tick().await;
        if wire.try_send(&[1]).await.is_err() || started.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    let _ = wire.rest().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_on_a_tls_port_is_told_so() {
    let authority = Authority::new();
    let stand = Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
    let mut wire = Wire::connect(stand.address(443)).await;
    wire.send("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("HTTPS"), "{answer:?}");
}

/// A name that no listener has gets an alert, not somebody else's certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_listener_gets_no_certificate() {
    let authority = Authority::new();
    let stand = Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
    let connected = connect(stand.address(443), "other.test", sluice_tests::tls::trusting(&[])).await;
    let error = connected.err().expect("no listener for the name");
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

/// New handshakes get the new certificate; a connection of before goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_changes_without_touching_a_connection() {
    let authority = Authority::new();
    let config = authority.client(&["http/1.1"]);
    let mut stand =
        Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
    let stream = tls(stand.address(443), &config).await;
    let mut before = leaf(&stream);
    let mut kept = Wire::over(Box::new(stream));
    for _ in 0..10 {
        stand.apply(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
        let mut fresh = authority.client(&["http/1.1"]);
        fresh.resumption = rustls::client::Resumption::disabled();
        let stream = tls(stand.address(443), &fresh).await;
        let now = leaf(&stream);
        assert_ne!(now, before);
        before = now;
        assert_eq!(Wire::over(Box::new(stream)).ask(&get()).await.status, 200);
        assert_eq!(kept.ask(&get()).await.status, 200);
    }
}

/// A change elsewhere keeps TLS sessions: resumption saves the handshake's signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_after_a_change_elsewhere() {
    let authority = Authority::new();
    let secret = authority.issue(&["*.example.com"]).secret("web");
    let config = authority.client(&["http/1.1"]);
    let mut stand = Stand::start(&manifests_with(&secret, "")).await;
    let mut kinds = Vec::new();
    for round in 0..3 {
        let stream = tls(stand.address(443), &config).await;
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        // Tickets of TLS 1.3 come with the first answer.
        assert_eq!(Wire::over(Box::new(stream)).ask(&get()).await.status, 200);
        let other = manifests::route(&format!("other-{round}"), &["other.example.com"], "main.test", 80);
        stand.apply(&[manifests_with(&secret, ""), other].concat()).await;
    }
    assert_eq!(kinds[0], HandshakeKind::Full);
    assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
}

/// A Secret that is not there downs only its listener; when it comes, the listener serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_downs_only_its_listener() {
    let authority = Authority::new();
    let secret = authority.issue(&["*.example.com"]).secret("web");
    let config = authority.client(&["http/1.1"]);
    let mut stand = Stand::start(&manifests_with("", "")).await;
    assert_eq!(stand.get("http://a.example/").await.status, 200);
    assert!(tokio::net::TcpStream::connect(stand.address(443)).await.is_err());
    stand.apply(&manifests_with(&secret, "")).await;
    let stream = tls(stand.address(443), &config).await;
    assert_eq!(Wire::over(Box::new(stream)).ask(&get()).await.status, 200);
    stand.apply(&manifests_with("", "")).await;
    eventually("the port is released", || async {
        tokio::net::TcpStream::connect(stand.address(443)).await.is_err()
    })
    .await;
    assert_eq!(stand.get("http://a.example/").await.status, 200);
}

/// RFC 8446 §6.1: an answer without close_notify could be a cut one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_says_goodbye() {
    let authority = Authority::new();
    let stand = Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
    let mut stream = tls(stand.address(443), &authority.client(&["http/1.1"])).await;
    stream.write_all(&get().header("Connection", "close").to_http1()).await.unwrap();
    let mut all = Vec::new();
    // rustls reports an end without close_notify as an error.
    soon("the end", stream.read_to_end(&mut all)).await.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

/// A client that says it ends the connection while its request is open does no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_at_any_byte_is_harmless() {
    let authority = Authority::new();
    let stand = Stand::start(&manifests_with(&authority.issue(&["*.example.com"]).secret("web"), "")).await;
    let request = get().to_http1();
    for count in 0..request.len() {
        let mut stream = tls(stand.address(443), &authority.client(&["http/1.1"])).await;
        stream.write_all(&request[..count]).await.unwrap();
        drop(stream);
    }
    drop(plain(stand.address(443)).await);
    assert_eq!(stand.request(&get()).await.status, 200);
}
