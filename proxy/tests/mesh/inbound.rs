//! What comes to an application: what its PeerAuthentication takes, from whom, and by which address it is handed on.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict, until};
use crate::tls;
use http_body_util::Full;
use sluice_ir::{self as ir, ListenerProtocol};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permissive_workload_takes_the_mesh_and_the_clear_and_passes_tls_of_others() {
    let ca = Ca::new("root");
    let app = app::http().await;
    let sidecar = Sidecar::beside(app, Some(ca.issue("cart", &[&ca]))).await;
    let (status, body) = app::get(sidecar.inbound(), "cart", "/plain").await;
    assert_eq!(status, 200);
    assert!(body.contains("from=127.0.0.6 xfcc= "), "by the address that is not captured again: {body}");
    let request = http::Request::get("http://cart/h2").body(Full::default()).unwrap();
    let (status, body, trailers) = app::http2(sidecar.inbound(), request).await;
    assert!(status == 200 && body.contains("HTTP/2.0") && trailers["grpc-status"] == "0", "{body}");

    let echo = app::tcp("").await;
    sidecar.captured_from(Some(echo));
    let hello = tls::hello("cart.example");
    assert_eq!(app::exchange(sidecar.inbound(), &hello, hello.len()).await, hello, "TLS of others");
    assert_eq!(app::exchange(sidecar.inbound(), b"\x00raw", 4).await, b"\x00raw");
    let greeting = app::tcp("220 ready").await;
    sidecar.captured_from(Some(greeting));
    assert_eq!(app::exchange(sidecar.inbound(), b"", 9).await, b"220 ready", "the server speaks first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_workload_takes_the_mesh_alone() {
    let ca = Ca::new("root");
    let app = app::http().await;
    let server = Sidecar::beside(app, Some(ca.issue("cart", &[&ca]))).await;
    server.govern(strict).await;
    let to = server.inbound();
    assert!(app::exchange(to, b"GET / HTTP/1.1\r\nhost: cart\r\n\r\n", 1).await.is_empty());
    assert!(app::exchange(to, &tls::hello("cart.example"), 1).await.is_empty());
    until("it is counted", || server.counts("plaintext_refused")).await;

    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, to);
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    let (status, body) = app::get(client.outbound(), "cart", "/in").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("from=127.0.0.6 xfcc=By=spiffe://cluster.local/ns/shop/sa/cart;Hash="), "{body}");
    assert!(body.contains(";Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/web body="), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_may_differ_from_its_workload() {
    let (strict_app, open_app) = (app::http().await, app::http().await);
    let sidecar = Sidecar::beside(strict_app, None).await;
    sidecar
        .govern(|it| {
            strict(it);
            it.mutual_tls.push(ir::MutualTls {
                origin: ir::Origin::new("PeerAuthentication", "shop", "cart"),
                is_mesh: false,
                selector: ir::Selector([("app".to_owned(), "cart".to_owned())].into()),
                mode: None,
                ports: [(open_app.port(), Some(ir::MutualTlsMode::Permissive))].into(),
            });
        })
        .await;
    assert!(app::exchange(sidecar.inbound(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1).await.is_empty());
    sidecar.captured_from(Some(open_app));
    assert_eq!(app::get(sidecar.inbound(), "cart", "/").await.0, 200);
    // The port's word was for pods with that label.
    sidecar.proxy.set_labels([("app".to_owned(), "other".to_owned())].into()).await;
    assert!(app::exchange(sidecar.inbound(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn becoming_strict_ends_what_came_in_the_clear() {
    let (http, echo) = (app::http().await, app::tcp("").await);
    let sidecar = Sidecar::beside(http, None).await;
    let mut requests = app::Http1::connect(sidecar.inbound()).await;
    let request = || http::Request::get("/").header("host", "cart").body(Full::default()).unwrap();
    assert_eq!(requests.ask(request()).await.unwrap().0, 200);
    sidecar.captured_from(Some(echo));
    let mut stream = TcpStream::connect(sidecar.inbound()).await.unwrap();
    stream.write_all(b"\x00a").await.unwrap();
    let mut two = [0; 2];
    stream.read_exact(&mut two).await.unwrap();

    let told = Instant::now();
    sidecar.govern(strict).await;
    let cut = tokio::time::timeout(app::TIME, stream.read(&mut two)).await.unwrap();
    assert!(matches!(cut, Ok(0) | Err(_)));
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    let (status, body, _) = requests.ask(request()).await.unwrap();
    assert_eq!((status, body.trim()), (403, "plaintext_refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_in_before_it_is_known_what_may() {
    let ca = Ca::new("root");
    let sidecar = Sidecar::start(Some(ca.issue("cart", &[&ca]))).await;
    sidecar.captured_from(Some(app::http().await));
    assert!(app::exchange(sidecar.inbound(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1).await.is_empty());
    until("it is counted", || sidecar.counts("not_configured")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_announced_loses_no_request() {
    let sidecar = Sidecar::beside(app::http().await, None).await;
    let mut client = app::Http1::connect(sidecar.inbound()).await;
    let request = || http::Request::get("/").header("host", "cart").body(Full::default()).unwrap();
    assert_eq!(client.ask(request()).await.unwrap().0, 200);
    sidecar.mesh.announce_end().await;
    let (status, _, fields) = client.ask(request()).await.unwrap();
    assert_eq!(status, 200, "{fields:?}");
    assert_eq!(app::get(sidecar.inbound(), "cart", "/new").await.0, 200, "who comes now is served");
    assert_eq!(sidecar.mesh.drain(Duration::from_secs(5)).await, 0);
    assert!(TcpStream::connect(sidecar.inbound()).await.is_err());
}

/// Only `account` may do this, by these methods.
fn allow(account: &str, methods: &[&str]) -> Arc<ir::Authorization> {
    let exact = |it: &str| ir::ValueMatch::Exact(it.to_owned());
    let principal = format!("cluster.local/ns/shop/sa/{account}");
    let source = ir::Source {
        principals: ir::Values { any: vec![exact(&principal)], none: Vec::new() },
        ..ir::Source::default()
    };
    let operation = ir::Operation {
        methods: ir::Values { any: methods.iter().map(|it| exact(it)).collect(), none: Vec::new() },
        ..ir::Operation::default()
    };
    let to = if methods.is_empty() { Vec::new() } else { vec![operation] };
    Arc::new(ir::Authorization {
        origin: ir::Origin::new("AuthorizationPolicy", "shop", "cart"),
        selector: ir::Selector::default(),
        action: ir::AuthorizationAction::Allow,
        is_dry_run: false,
        rules: vec![ir::AuthorizationRule { from: vec![source], to, when: Vec::new() }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_the_namespace_hold_for_whoever_calls_and_cut_what_they_forbid_later() {
    let ca = Ca::new("root");
    let (http, echo) = (app::http().await, app::tcp("").await);
    let server = Sidecar::beside(http, Some(ca.issue("cart", &[&ca]))).await;
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound());
    let raw = Service { name: "raw", ..Service::new("10.96.0.2", ListenerProtocol::Tcp, server.inbound()) };
    client.apply([service.resources(), raw.resources()].concat()).await;
    client.captured_from(Some(service.vip()));

    server.govern(|it| it.authorization = vec![allow("web", &["GET"])]).await;
    assert_eq!(app::get(client.outbound(), "cart", "/").await.0, 200);
    let request = http::Request::post("/").header("host", "cart").body(Full::default()).unwrap();
    let (status, body, _) = app::Http1::connect(client.outbound()).await.ask(request).await.unwrap();
    assert_eq!((status, body.trim()), (403, "RBAC: access denied"));
    assert_eq!(app::get(server.inbound(), "cart", "/").await.0, 403, "nobody in particular");

    // A stream that may go on until somebody says otherwise.
    server.govern(|it| it.authorization = vec![allow("web", &[])]).await;
    server.captured_from(Some(echo));
    client.captured_from(Some(raw.vip()));
    let mut stream = TcpStream::connect(client.outbound()).await.unwrap();
    stream.write_all(b"\x00a").await.unwrap();
    let mut two = [0; 2];
    stream.read_exact(&mut two).await.unwrap();
    let told = Instant::now();
    server.govern(|it| it.authorization = vec![allow("somebody-else", &[])]).await;
    let cut = tokio::time::timeout(app::TIME, stream.read(&mut two)).await.unwrap();
    assert!(matches!(cut, Ok(0) | Err(_)));
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert!(app::exchange(client.outbound(), b"\x00a", 2).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_more_passes_on_a_websocket_that_is_forbidden_later() {
    let ca = Ca::new("root");
    let server = Sidecar::beside(app::http().await, Some(ca.issue("cart", &[&ca]))).await;
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    let mut socket = TcpStream::connect(client.outbound()).await.unwrap();
    let upgrade = "GET /echo HTTP/1.1\r\nhost: cart\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let mut seen = Vec::new();
    let mut echo = async |word: &[u8]| {
        if socket.write_all(word).await.is_err() {
            return false;
        }
        let mut bytes = [0; 512];
        while !seen.ends_with(word) {
            match tokio::time::timeout(app::TIME, socket.read(&mut bytes)).await.unwrap() {
                Ok(0) | Err(_) => return false,
                Ok(len) => seen.extend_from_slice(&bytes[..len]),
            }
        }
        true
    };
    assert!(echo(b"one").await);
    server.govern(|it| it.authorization = vec![allow("web", &["GET"])]).await;
    assert!(echo(b"two").await, "policies that let it go on");
    server.govern(|it| it.authorization = vec![allow("somebody-else", &[])]).await;
    assert!(!echo(b"three").await);
    assert!(
        !String::from_utf8_lossy(&seen).contains("RBAC"),
        "nothing is said in the middle of another protocol"
    );
}

/// RequestAuthentications of the namespace that select the workload: tokens of callers are judged where they come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_judged_where_requests_come_in() {
    let sidecar = Sidecar::beside(app::http().await, None).await;
    let policy = |selector: ir::Selector| {
        let rule = ir::JwtRule {
            issuer: "me".to_owned(),
            audiences: Vec::new(),
            keys: ir::JwtKeys::Inline(r#"{"keys": []}"#.to_owned()),
            headers: Vec::new(),
            parameters: Vec::new(),
            cookies: Vec::new(),
            forwards: false,
            payload_header: None,
            claim_headers: [("x-user".to_owned(), vec!["sub".to_owned()])].into(),
            space_delimited: Vec::new(),
        };
        let origin = ir::Origin::new("RequestAuthentication", "shop", "tokens");
        Arc::new(ir::Authentication { origin, selector, rules: vec![rule] })
    };
    let others = ir::Selector([("app".to_owned(), "somebody-else".to_owned())].into());
    for (selector, of_bad_token) in [(others, 200), (ir::Selector::default(), 401)] {
        sidecar.govern(|it| it.authentication = vec![policy(selector)]).await;
        assert_eq!(app::get(sidecar.inbound(), "cart", "/?access_token=x").await.0, of_bad_token);
        assert_eq!(app::get(sidecar.inbound(), "cart", "/").await.0, 200);
    }
}
