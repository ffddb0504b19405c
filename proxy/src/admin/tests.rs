//! The admin server over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{AdminState, Page, Readiness, serve};
use crate::telemetry::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

struct Admin {
    address: SocketAddr,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(pages: Vec<(String, Page)>) -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, readiness, metrics) =
        (listener.local_addr().unwrap(), Readiness::new("no configuration yet"), Metrics::new());
    let state = AdminState { readiness: readiness.clone(), metrics: metrics.clone(), pages };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, Arc::new(state), stop.clone()));
    Admin { address, readiness, metrics, stop, task }
}

impl Admin {
    /// Sends bytes, returns everything up to the end of the connection.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n")).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

#[tokio::test]
async fn readiness_follows_the_flag_and_says_why() {
    let admin = start(Vec::new()).await;
    assert_eq!(admin.get("/healthz/live").await, (200, "live\n".to_owned()));
    let (status, text) = admin.get("/healthz/ready").await;
    assert_eq!(status, 503);
    assert!(text.contains("configuration"), "{text}");

    admin.readiness.set_ready();
    assert!(admin.readiness.is_ready());
    assert_eq!(admin.get("/healthz/ready").await, (200, "ready\n".to_owned()));

    admin.readiness.set_not_ready("draining");
    assert_eq!(admin.get("/healthz/ready").await, (503, "not ready: draining\n".to_owned()));
    assert_eq!(admin.get("/healthz/live").await.0, 200);
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let admin = start(Vec::new()).await;
    admin.metrics.panicked();
    let answer = admin.exchange("GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("\nsluice_panics_total 1\n") && answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn pages_are_made_when_asked_for_and_a_fault_in_one_stays_there() {
    let pages: Vec<(String, Page)> = vec![
        ("/debug/snapshot".to_owned(), Box::new(|| r#"{"routes":{}}"#.to_owned())),
        ("/debug/broken".to_owned(), Box::new(|| panic!("a fault in a page"))),
    ];
    let admin = start(pages).await;
    assert_eq!(admin.get("/debug/snapshot?x=1").await, (200, r#"{"routes":{}}"#.to_owned()));
    assert_eq!(admin.get("/debug/broken").await.0, 500);
    assert!(admin.metrics.encode().contains("\nsluice_panics_total 1\n"));
    assert_eq!(admin.get("/debug/snapshot").await.0, 200);
}

#[tokio::test]
async fn a_miss_lists_the_pages_and_other_methods_are_refused() {
    let admin = start(vec![("/debug/snapshot".to_owned(), Box::new(String::new))]).await;
    let (status, text) = admin.get("/").await;
    assert_eq!(status, 404);
    for path in ["/healthz/live", "/healthz/ready", "/metrics", "/debug/snapshot"] {
        assert!(text.lines().any(|line| line == path), "{path} is not in {text}");
    }
    let answer = admin.exchange("POST /metrics HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
    let answer = admin.exchange("HEAD /healthz/live HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_no_http_or_too_large_gets_no_page() {
    let admin = start(Vec::new()).await;
    assert!(admin.exchange("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    // The server may close before it has read everything: only that it survives and served nothing counts.
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let large = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let _ = stream.write_all(large.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(admin.get("/healthz/live").await.0, 200);
}

#[tokio::test]
async fn silent_connections_are_closed_and_make_room_for_others() {
    let admin = start(Vec::new()).await;
    // More than are served at a time.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(admin.address).await.unwrap());
    }
    assert_eq!(admin.get("/healthz/live").await.0, 200);
    for stream in &mut silent {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn stop_ends_the_server_and_its_connections() {
    let admin = start(Vec::new()).await;
    let mut silent = TcpStream::connect(admin.address).await.unwrap();
    assert_eq!(admin.get("/healthz/live").await.0, 200);
    admin.stop.cancel();
    tokio::time::timeout(LONG, admin.task).await.unwrap().unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, silent.read_to_end(&mut answer)).await.unwrap();
    assert!(TcpStream::connect(admin.address).await.is_err());
}
