//! Requests that are being answered when what has let them in changes: those that are forbidden now end, all others go on.

use crate::app::{self, TIME};
use crate::sidecar::{Sidecar, strict, until};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice_ir as ir;
use sluice_proxy::telemetry::mesh::OwnWorkload;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nobody may do this by these methods.
fn deny(methods: &[&str]) -> Arc<ir::Authorization> {
    let exact = |it: &&str| ir::ValueMatch::Exact((*it).to_owned());
    let operation = ir::Operation {
        methods: ir::Values { any: methods.iter().map(exact).collect(), none: Vec::new() },
        ..ir::Operation::default()
    };
    Arc::new(ir::Authorization {
        origin: ir::Origin::new("AuthorizationPolicy", "shop", "cart"),
        selector: ir::Selector::default(),
        action: ir::AuthorizationAction::Deny,
        is_dry_run: false,
        rules: vec![ir::AuthorizationRule { from: Vec::new(), to: vec![operation], when: Vec::new() }],
    })
}

/// A workload whose requests are written down, and how many its application has got.
async fn workload() -> (Sidecar, Arc<AtomicUsize>) {
    let sidecar = Sidecar::start(None).await;
    let mut own = OwnWorkload::new("shop", "cart", "cart-0", Some("cart"), Default::default());
    own.access_log = Some(ir::AccessLog::Json);
    sidecar.proxy.join_mesh(own);
    sidecar.govern(|_| {}).await;
    let (application, got) = app::counting().await;
    sidecar.captured_from(Some(application));
    (sidecar, got)
}

/// Whether so many requests are being answered.
fn are_under_way(sidecar: &Sidecar, count: usize) -> bool {
    sidecar.counts(&format!("sluice_requests_in_flight {count}\n"))
}

/// A connection of HTTP/1.1 whose request is not at its end.
struct Open {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Open {
    async fn begin((sidecar, got): (&Sidecar, &AtomicUsize), request: &str, body: &str) -> Self {
        let before = got.load(SeqCst);
        let mut stream = TcpStream::connect(sidecar.inbound()).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nhost: cart\r\n{body}").as_bytes()).await.unwrap();
        until("the application has it", || got.load(SeqCst) == before + 1).await;
        Self { stream, seen: Vec::new() }
    }

    /// Reads until this has come after what was seen before; `false`: the connection has ended.
    async fn sees(&mut self, word: &str) -> bool {
        self.seen.clear();
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&self.seen).contains(word) {
            match timeout(TIME, self.stream.read(&mut bytes)).await.unwrap() {
                Ok(0) | Err(_) => return false,
                Ok(len) => self.seen.extend_from_slice(&bytes[..len]),
            }
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forbidden_ends_with_its_connection_and_the_log_says_why() {
    let (sidecar, got) = workload().await;
    let to = (&sidecar, &*got);
    let mut ticks = Open::begin(to, "GET /ticks", "\r\n").await;
    let mut silent = Open::begin(to, "GET /silent", "\r\n").await;
    let mut waiting = Open::begin(to, "GET /wait", "\r\n").await;
    let mut upload = Open::begin(to, "PUT /upload", "content-length: 100\r\n\r\nbegin").await;
    let mut neighbour = Open::begin(to, "POST /ticks", "content-length: 0\r\n\r\n").await;
    assert!(ticks.sees("tick").await && silent.sees("first").await && neighbour.sees("tick").await);

    sidecar.govern(|it| it.authorization = vec![deny(&["DELETE"])]).await;
    assert!(ticks.sees("tick").await && neighbour.sees("tick").await, "it forbids something else");
    assert!(are_under_way(&sidecar, 5));

    let told = Instant::now();
    sidecar.govern(|it| it.authorization = vec![deny(&["GET", "PUT"])]).await;
    for cut in [&mut ticks, &mut silent, &mut waiting, &mut upload] {
        assert!(!cut.sees("\r\n0\r\n\r\n").await, "no answer comes to its end");
    }
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert!(waiting.seen.is_empty() && upload.seen.is_empty());
    until("only what is allowed is left", || are_under_way(&sidecar, 1)).await;
    for _ in 0..3 {
        assert!(neighbour.sees("tick").await, "what is allowed goes on");
    }
    let reason = r#""reason":"AuthorizationPolicy shop/cart rule 0 denies it""#;
    until("all are recorded", || sidecar.log.text().matches(reason).count() == 4).await;
    let log = sidecar.log.text();
    for (path, has_answer) in [("/ticks", true), ("/silent", true), ("/wait", false), ("/upload", false)] {
        let line = log.lines().find(|it| it.contains(&format!("\"path\":\"{path}\""))).unwrap();
        assert!(line.contains("\"outcome\":\"forbidden\""), "{line}");
        let told = line.contains("\"status\":200,");
        assert_eq!(told, has_answer, "{line}");
    }
    until("it is counted", || sidecar.counts("outcome=\"forbidden\"")).await;
    assert_eq!(app::get(sidecar.inbound(), "cart", "/").await.0, 403);
}

/// A request on a connection of HTTP/2, until its head is there.
async fn open(
    client: &hyper::client::conn::http2::SendRequest<Full<bytes::Bytes>>,
    method: &str,
    path: &str,
) -> hyper::Result<Incoming> {
    let request = Request::builder().method(method).uri(format!("http://cart{path}"));
    let request = request.header("content-type", "application/grpc").body(Full::default()).unwrap();
    Ok(timeout(TIME, client.clone().send_request(request)).await.unwrap()?.into_body())
}

/// Why a stream was reset.
fn reason(error: &hyper::Error) -> Option<h2::Reason> {
    error.source()?.downcast_ref::<h2::Error>()?.reason()
}

/// The error that a body ends with.
async fn end(mut body: Incoming) -> hyper::Error {
    loop {
        match timeout(TIME, body.frame()).await.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            None => panic!("the answer came to its end"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_connection_of_http2_only_the_streams_that_are_forbidden_are_reset() {
    let (sidecar, got) = workload().await;
    let stream = TcpStream::connect(sidecar.inbound()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, driver) = handshake.await.unwrap();
    tokio::spawn(driver);
    let ticks = open(&client, "GET", "/ticks").await.unwrap();
    let silent = open(&client, "GET", "/silent").await.unwrap();
    let mut neighbour = open(&client, "POST", "/ticks").await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "GET", "/wait").await }
    });
    until("the application has all", || got.load(SeqCst) == 4).await;

    let told = Instant::now();
    sidecar.govern(|it| it.authorization = vec![deny(&["GET"])]).await;
    for cut in [end(ticks).await, end(silent).await, waiting.await.unwrap().err().unwrap()] {
        assert_eq!(reason(&cut), Some(h2::Reason::CANCEL), "{cut:?}");
    }
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    for _ in 0..10 {
        assert!(timeout(TIME, neighbour.frame()).await.unwrap().unwrap().is_ok(), "its neighbour goes on");
    }
    assert!(open(&client, "POST", "/more").await.is_ok(), "so does the connection");
    until("all are recorded", || sidecar.log.text().matches("denies it").count() == 3).await;
    until("only the neighbour is left", || are_under_way(&sidecar, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn becoming_strict_ends_answers_in_the_clear() {
    let (sidecar, got) = workload().await;
    let mut silent = Open::begin((&sidecar, &*got), "GET /silent", "\r\n").await;
    assert!(silent.sees("first").await);
    sidecar.govern(strict).await;
    assert!(!silent.sees("0\r\n\r\n").await);
    until("it is recorded", || sidecar.log.text().contains("\"outcome\":\"plaintext_refused\"")).await;
}
