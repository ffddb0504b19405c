#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{MirrorBody, MirrorClient, MirrorLimits, MirrorRequest, MirrorStats};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use sluice_ir::BackendProtocol;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// What a server received: version, authority, path and body.
type Seen = (Version, String, String, Vec<u8>);

#[derive(Clone, Default)]
struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    /// Bytes of each answer.
    answer_bytes: usize,
    /// Closes each connection after one answer, without saying so.
    hangs_up: bool,
}

impl Server {
    async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                self.connections.fetch_add(1, Ordering::SeqCst);
                let server = self.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                let once = self.hangs_up;
                tokio::spawn(async move {
                    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    if once {
                        builder = builder.http1_only();
                        builder.http1().keep_alive(false);
                    }
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        address
    }

    async fn answer(self, request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let host = host.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap_or_default();
        let body = body.collect().await?.to_bytes().to_vec();
        self.seen.lock().push((head.version, host, head.uri.path_and_query().unwrap().to_string(), body));
        Ok(Response::new(Full::new(Bytes::from(vec![b'x'; self.answer_bytes]))))
    }
}

fn request(address: SocketAddr, protocol: BackendProtocol, method: Method) -> MirrorRequest {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("shop.example.com"))]);
    let has_body = method == Method::POST;
    MirrorRequest {
        address,
        protocol,
        tls: None,
        method,
        uri: "/cart?a=b".parse().unwrap(),
        headers,
        has_body,
    }
}

async fn until(client: &MirrorClient, what: &str, holds: impl Fn(MirrorStats) -> bool) {
    let waiting = async {
        while !holds(client.stats()) || client.in_flight() != 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{what}: {:?}", client.stats());
}

#[tokio::test]
async fn copies_arrive_whole_over_both_protocols_and_share_connections() {
    for (protocol, version) in
        [(BackendProtocol::Http1, Version::HTTP_11), (BackendProtocol::H2c, Version::HTTP_2)]
    {
        let server = Server::default();
        let address = server.clone().start().await;
        let client = MirrorClient::new(MirrorLimits::default());
        for round in 1..=3 {
            let mut body = client.start(request(address, protocol, Method::POST));
            body.send(Bytes::from_static(b"hello "));
            body.send(Bytes::from_static(b"world"));
            body.finish();
            until(&client, "posted", |stats| stats.completed == round * 2 - 1).await;
            client.start(request(address, protocol, Method::GET)).finish();
            until(&client, "got", |stats| stats.completed == round * 2).await;
        }
        let seen = server.seen.lock().clone();
        let expected = |body: &[u8]| {
            (version, "shop.example.com-shadow".to_owned(), "/cart?a=b".to_owned(), body.to_vec())
        };
        assert_eq!(seen[..2], [expected(b"hello world"), expected(b"")]);
        assert_eq!(seen.len(), 6);
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{protocol:?}");
        assert_eq!(client.stats(), MirrorStats { completed: 6, ..MirrorStats::default() });
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let server = Server { hangs_up: true, ..Server::default() };
    let address = server.clone().start().await;
    let client = MirrorClient::new(MirrorLimits::default());
    for round in 1..=4 {
        client.start(request(address, BackendProtocol::Http1, Method::GET)).finish();
        until(&client, "answered", |stats| stats.completed == round).await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_answer_above_the_limit_costs_its_connection_only() {
    let server = Server { answer_bytes: 300_000, ..Server::default() };
    let address = server.clone().start().await;
    let client = MirrorClient::new(MirrorLimits { response_bytes: 1_000, ..MirrorLimits::default() });
    for round in 1..=2 {
        client.start(request(address, BackendProtocol::Http1, Method::GET)).finish();
        until(&client, "answered", |stats| stats.completed == round).await;
    }
    assert_eq!((server.connections.load(Ordering::SeqCst), client.connections.kept()), (2, 0));
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let address = Server::default().start().await;
    let limits = MirrorLimits { idle_timeout: Duration::from_millis(20), ..MirrorLimits::default() };
    let client = MirrorClient::new(limits);
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        client.start(request(address, protocol, Method::GET)).finish();
    }
    until(&client, "answered and closed", |stats| stats.completed == 2 && client.connections.kept() == 0)
        .await;
}

/// Accepts, reads a little, and never answers.
async fn blocked_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut little = [0; 16];
            let _ = stream.read(&mut little).await;
            held.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn a_blocked_server_never_delays_the_client() {
    let address = blocked_server().await;
    let limits = MirrorLimits { total_timeout: Duration::from_millis(400), ..MirrorLimits::default() };
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        let client = MirrorClient::new(limits);
        let started = Instant::now();
        let mut body = client.start(request(address, protocol, Method::POST));
        for _ in 0..1_000 {
            body.send(Bytes::from(vec![0; 64 * 1024]));
            tokio::task::yield_now().await;
        }
        body.finish();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        until(&client, "given up", |stats| stats.overflowed + stats.failed > 0).await;
        assert_eq!(client.stats().completed, 0);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_costs_one_permit_for_a_bounded_time() {
    let address = blocked_server().await;
    let total_timeout = Duration::from_millis(50);
    let client = MirrorClient::new(MirrorLimits { concurrent: 2, total_timeout, ..MirrorLimits::default() });
    for _ in 0..5 {
        client.start(request(address, BackendProtocol::Http1, Method::GET)).finish();
    }
    assert_eq!((client.stats().refused, client.in_flight()), (3, 2));
    until(&client, "timed out", |stats| stats.failed == 2).await;
}

#[tokio::test]
async fn a_request_that_ends_early_never_looks_complete_to_the_receiver() {
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        let server = Server::default();
        let address = server.clone().start().await;
        let client = MirrorClient::new(MirrorLimits::default());
        let mut body: MirrorBody = client.start(request(address, protocol, Method::POST));
        body.send(Bytes::from_static(b"half"));
        drop(body);
        until(&client, "given up", |stats| stats.abandoned == 1).await;
        assert!(server.seen.lock().is_empty());
        assert_eq!(client.stats(), MirrorStats { abandoned: 1, ..MirrorStats::default() });
    }
}

#[tokio::test]
async fn nobody_listening_is_a_failure_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = MirrorClient::new(MirrorLimits::default());
    let mut body = client.start(request(address, BackendProtocol::Http1, Method::POST));
    body.send(Bytes::from_static(b"x"));
    until(&client, "failed", |stats| stats.failed == 1).await;
    body.send(Bytes::from_static(b"y"));
    body.finish();
    assert_eq!(client.stats(), MirrorStats { failed: 1, ..MirrorStats::default() });
}

#[test]
fn without_a_runtime_a_copy_is_a_failure() {
    let client = MirrorClient::new(MirrorLimits::default());
    client.start(request("127.0.0.1:1".parse().unwrap(), BackendProtocol::Http1, Method::GET)).finish();
    assert_eq!((client.stats().failed, client.in_flight()), (1, 0));
}
