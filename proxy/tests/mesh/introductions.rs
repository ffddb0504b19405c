//! Who calls is said once for each connection between two sidecars of ours, and with each request to those of Istio: seen by
//! a peer that shows every field.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict, until};
use crate::telemetry::{line, own};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use rustls_pki_types::ServerName;
use sluice_ir::{ListenerProtocol, SpiffeId};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// What both sides of a connection speak.
const PROTOCOL: &[&[u8]] = &[b"istio-http/1.1"];

/// A connection to a sidecar, as the proxy of this service account.
async fn connect(ca: &Ca, account: &str, to: SocketAddr) -> client::TlsStream<TcpStream> {
    let cart: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
    let config = ca.issue(account, &[ca]).client_config([cart].into(), PROTOCOL).unwrap();
    let name = ServerName::try_from("outbound_.80_._.cart.shop.svc.cluster.local").unwrap();
    let socket = TcpStream::connect(to).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

/// Reads a head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(app::TIME, stream.read_u8()).await.unwrap().ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

/// The answer's head to a request with these fields; its body is read too.
async fn ask(stream: &mut client::TlsStream<TcpStream>, fields: &str) -> String {
    stream.write_all(format!("GET /a HTTP/1.1\r\nhost: cart\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let head = head(stream).await.expect("an answer");
    let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(!body.contains("peer"), "an application is told of no peer: {body}");
    head
}

/// The heads that came, by connection.
type Heads<T> = Arc<Mutex<Vec<(usize, T)>>>;

/// A proxy of the mesh that speaks this protocol: `serve` does it on each connection, and notes each head that comes.
async fn listening<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    (ca, account): (&Ca, &str),
    protocol: &[&[u8]],
    serve: impl Fn(server::TlsStream<TcpStream>, Box<dyn Fn(T) + Send + Sync>) -> F + Clone + Send + 'static,
) -> (SocketAddr, Heads<T>) {
    let domains = ["cluster.local".to_owned()];
    let config = ca.issue(account, &[ca]).server_config(&domains, protocol).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (address, heads) = (listener.local_addr().unwrap(), Heads::default());
    let seen = heads.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, seen, serve) = (acceptor.clone(), seen.clone(), serve.clone());
            tokio::spawn(async move {
                let note = Box::new(move |head| seen.lock().unwrap().push((number, head)));
                let stream = acceptor.accept(socket).await.unwrap();
                serve(stream, note).await;
            });
        }
    });
    (address, heads)
}

/// One that answers with these fields.
async fn peer(ca: &Ca, account: &str, fields: &'static str) -> (SocketAddr, Heads<String>) {
    listening((ca, account), PROTOCOL, move |mut stream, note| async move {
        while let Some(head) = head(&mut stream).await {
            let closes = if head.contains("/last") { "connection: close\r\n" } else { "" };
            note(head);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{closes}{fields}\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !closes.is_empty() {
                stream.shutdown().await.unwrap();
                return;
            }
        }
    })
    .await
}

/// One of HTTP/2 that remembers.
async fn http2_peer(ca: &Ca, account: &str) -> (SocketAddr, Heads<HeaderMap>) {
    listening((ca, account), &[b"istio-h2"], |stream, note| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            note(request.headers().clone());
            let known = Response::builder().header("x-sluice-peer", "known").body(()).unwrap();
            answer.send_response(known, true).unwrap();
        }
    })
    .await
}

/// A sidecar of `web` whose calls go to this peer.
async fn caller(ca: &Ca, to: SocketAddr) -> Sidecar {
    let client = Sidecar::start(Some(ca.issue("web", &[ca]))).await;
    client.proxy.join_mesh(own("web", "v1"));
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, to);
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_remembers_is_told_once_for_each_connection() {
    let ca = Ca::new("root");
    let (to, heads) = peer(&ca, "cart", "x-sluice-peer: known\r\n").await;
    let client = caller(&ca, to).await;
    let mut application = TcpStream::connect(client.outbound()).await.unwrap();
    for path in ["/1", "/2", "/last", "/4", "/5"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: cart\r\nx-sluice-peer: remember\r\n\r\n");
        application.write_all(request.as_bytes()).await.unwrap();
        let answer = head(&mut application).await.unwrap();
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("peer"), "{answer}");
    }
    let heads = heads.lock().unwrap().clone();
    let told = |head: &str| {
        let all = ["x-envoy-peer-metadata: ", "x-envoy-peer-metadata-id: ", "x-sluice-peer: remember\r\n"];
        let count = all.iter().filter(|field| head.contains(**field)).count();
        assert!(count == 0 || count == all.len(), "all of it or nothing: {head}");
        count > 0
    };
    let seen: Vec<_> = heads.iter().map(|(connection, head)| (*connection, told(head))).collect();
    assert_eq!(seen, [(0, true), (0, false), (0, false), (1, true), (1, false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_http2_is_told_once_too() {
    let ca = Ca::new("root");
    let (to, heads) = http2_peer(&ca, "cart").await;
    let client = caller(&ca, to).await;
    for _ in 0..3 {
        let request = Request::get("http://cart/").body(Full::default()).unwrap();
        let (status, _, _) = app::http2(client.outbound(), request).await;
        assert_eq!(status, 200);
    }
    let heads = heads.lock().unwrap().clone();
    let seen: Vec<_> = heads
        .iter()
        .map(|(connection, head)| {
            let told = ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id", "x-sluice-peer"];
            (*connection, told.map(|field| head.contains_key(field)))
        })
        .collect();
    assert_eq!(seen, [(0, [true; 3]), (0, [false; 3]), (0, [false; 3])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_remembers_who_calls_in_http2() {
    let ca = Ca::new("root");
    let server = Sidecar::beside(app::http().await, Some(ca.issue("cart", &[&ca]))).await;
    server.proxy.join_mesh(own("cart", "v2"));
    server.govern(strict).await;
    let client = caller(&ca, server.inbound()).await;
    for _ in 0..3 {
        let request = Request::get("http://cart/").body(Full::default()).unwrap();
        let (status, body, _) = app::http2(client.outbound(), request).await;
        assert!(status == 200 && body.contains("HTTP/2.0") && !body.contains("peer"), "{body}");
    }
    let requests = "istio_requests_total{reporter=\"destination\",source_workload=\"web\"";
    until("all three are the workload's", || {
        server.counts(requests) && line(&server, requests).ends_with("} 3")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_say_so_is_told_every_time() {
    let ca = Ca::new("root");
    let (to, heads) = peer(&ca, "cart", "x-envoy-peer-metadata: CgUKA2Zvbw==\r\n").await;
    let client = caller(&ca, to).await;
    for _ in 0..3 {
        assert_eq!(app::get(client.outbound(), "cart", "/").await.0, 200);
    }
    let heads = heads.lock().unwrap().clone();
    assert!(heads.iter().all(|(_, head)| head.contains("x-envoy-peer-metadata: ")), "{heads:?}");
    assert_eq!(heads.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_to_be_remembered_is_known_with_every_request_of_its_connection() {
    let ca = Ca::new("root");
    let server = Sidecar::beside(app::http().await, Some(ca.issue("cart", &[&ca]))).await;
    server.proxy.join_mesh(own("cart", "v2"));
    server.govern(strict).await;
    let told = "x-envoy-peer-metadata: EYJ-NOT-OURS\r\n";
    let mut istio = connect(&ca, "web", server.inbound()).await;
    let answer = ask(&mut istio, told).await;
    assert!(answer.contains("x-envoy-peer-metadata: ") && !answer.contains("x-sluice-peer"), "{answer}");
    let answer = ask(&mut istio, "").await;
    assert!(!answer.contains("peer"), "who says nothing is told nothing: {answer}");

    let introduction = sluice_proxy::telemetry::mesh::Introduction::of(&own("web", "v1")).unwrap();
    let fields = format!("x-envoy-peer-metadata: {}\r\n", introduction.metadata.to_str().unwrap());
    let mut ours = connect(&ca, "web", server.inbound()).await;
    let answer = ask(&mut ours, &format!("{fields}x-sluice-peer: remember\r\n")).await;
    assert!(answer.contains("x-sluice-peer: known\r\n") && !answer.contains("metadata"), "{answer}");
    for _ in 0..2 {
        let answer = ask(&mut ours, "").await;
        assert!(!answer.contains("peer"), "{answer}");
    }
    // Another connection of the same identity has said nothing.
    let mut other = connect(&ca, "web", server.inbound()).await;
    ask(&mut other, "").await;
    let requests = "istio_requests_total{reporter=\"destination\",source_workload=\"web\"";
    until("three are the workload's", || server.counts(requests) && line(&server, requests).ends_with("} 3"))
        .await;
    let unknown = "istio_requests_total{reporter=\"destination\",source_workload=\"unknown\"";
    until("three are of its identity alone", || line(&server, unknown).ends_with("} 3")).await;
}
