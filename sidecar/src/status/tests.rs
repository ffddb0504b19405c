//! The status server over real connections, with workloads of several kinds behind it.

use super::{AppMetrics, ReadyPage, StatusPages};
use crate::life::Life;
use sluice_proxy::admin::{self, Answer, Readiness};
use sluice_proxy::telemetry::Metrics;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn started(answers: impl Answer) -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(admin::serve(listener, Arc::new(answers), CancellationToken::new()));
    port
}

fn pages(probes: &str) -> StatusPages {
    StatusPages {
        readiness: Readiness::new("no identity yet"),
        life: Life::default(),
        probes: probes.parse().unwrap(),
        app_metrics: None,
        metrics: Metrics::new(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
    }
}

/// Status and body.
async fn ask(port: u16, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// What a workload was asked.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(IpAddr, String)>>>);

impl Heard {
    fn last(&self) -> (IpAddr, String) {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: SocketAddr,
    heard: &Heard,
    answer: &str,
) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let answer = if path == "/moved" {
        "HTTP/1.1 302 Found\r\nlocation: /live\r\ncontent-length: 0\r\n\r\n"
    } else if path == "/away" {
        "HTTP/1.1 302 Found\r\nlocation: http://example.com/\r\ncontent-length: 0\r\n\r\n"
    } else if path == "/round" {
        "HTTP/1.1 302 Found\r\nlocation: /round\r\ncontent-length: 0\r\n\r\n"
    } else {
        answer
    };
    heard.0.lock().unwrap().push((peer.ip(), text));
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A workload with this answer.
async fn workload(answer: &'static str, tls: Option<TlsAcceptor>) -> (u16, Heard) {
    let (listener, port) = listener().await;
    let heard = Heard::default();
    let told = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let (told, tls) = (told.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => speak(stream, peer, &told, answer).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            speak(stream, peer, &told, answer).await;
                        }
                    }
                }
            });
        }
    });
    (port, heard)
}

const WELL: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

fn http(port: u16, path: &str, further: &str) -> String {
    format!(r#"{{"/app-health/web/livez": {{"httpGet": {{"path": "{path}", "port": {port}{further}}}}}}}"#)
}

const PATH: &str = "/app-health/web/livez";

#[tokio::test]
async fn an_http_probe_gets_the_workloads_status_from_an_address_that_is_not_captured() {
    let (port, heard) = workload(WELL, None).await;
    let further = r#", "host": "web.test", "httpHeaders": [{"name": "X-Probe", "value": "1"}]"#;
    let status = started(pages(&http(port, "live?a=b", further))).await;
    assert_eq!(ask(status, "GET", PATH).await.0, 204);
    let (peer, request) = heard.last();
    assert_eq!(peer, IpAddr::from([127, 0, 0, 6]));
    assert!(request.starts_with("GET /live?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: web.test:{port}\r\n")), "{request}");
    assert!(request.contains("x-probe: 1\r\n"), "{request}");
    assert_eq!(ask(status, "GET", "/app-health/web/readyz").await.0, 404);
    assert_eq!(ask(status, "POST", PATH).await.0, 405);
}

#[tokio::test]
async fn a_workload_that_is_not_well_or_not_there_fails_its_probe() {
    let (port, _) = workload(UNWELL, None).await;
    let status = started(pages(&http(port, "/live", ""))).await;
    assert_eq!(ask(status, "GET", PATH).await.0, 503);
    let (closed, port) = listener().await;
    drop(closed);
    let status = started(pages(&http(port, "/live", ""))).await;
    assert_eq!(ask(status, "GET", PATH).await.0, 500);
    let (_silent, port) = listener().await;
    let status = started(pages(&http(port, "/live", ""))).await;
    assert_eq!(ask(status, "GET", PATH).await.0, 500, "no answer in a second");
}

#[tokio::test]
async fn redirects_within_the_workload_are_followed() {
    let (port, heard) = workload(WELL, None).await;
    for (path, expected, last) in
        [("/moved", 204, "GET /live "), ("/away", 200, "GET /away "), ("/round", 500, "GET /round ")]
    {
        let status = started(pages(&http(port, path, ""))).await;
        assert_eq!(ask(status, "GET", PATH).await.0, expected, "{path}");
        assert!(heard.last().1.starts_with(last), "{path}");
    }
}

#[tokio::test]
async fn an_https_probe_believes_every_certificate() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    let (port, _) = workload(WELL, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let status = started(pages(&http(port, "/live", r#", "scheme": "HTTPS""#))).await;
    assert_eq!(ask(status, "GET", PATH).await.0, 204);
}

#[tokio::test]
async fn a_tcp_probe_connects() {
    let (open, port) = listener().await;
    let probes = format!(r#"{{"/p": {{"tcpSocket": {{"port": {port}}}}}}}"#);
    let status = started(pages(&probes)).await;
    assert_eq!(ask(status, "GET", "/p").await.0, 200);
    drop(open);
    assert_eq!(ask(status, "GET", "/p").await.0, 500);
}

#[tokio::test]
async fn a_grpc_probe_asks_the_health_service() {
    let (listener, port) = listener().await;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("web", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("ill", tonic_health::ServingStatus::NotServing).await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
    for (service, expected) in [("web", 200), ("ill", 500), ("", 200), ("unknown", 500)] {
        let probes = format!(
            r#"{{"/p": {{"grpc": {{"port": {port}, "service": "{service}"}}, "timeoutSeconds": 9}}}}"#
        );
        let status = started(pages(&probes)).await;
        assert_eq!(ask(status, "GET", "/p").await.0, expected, "{service:?}");
    }
}

#[tokio::test]
async fn metrics_of_both_are_one_page() {
    const METRICS: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: 9\r\n\r\norders 1\n";
    let (port, heard) = workload(METRICS, None).await;
    let mut with = pages("");
    with.app_metrics = Some(AppMetrics { port, path: "/metrics".to_owned() });
    let status = started(with).await;
    let (code, page) = ask(status, "GET", "/stats/prometheus").await;
    assert_eq!(code, 200);
    assert!(page.contains("sluice_build_info") && page.ends_with("\norders 1\n"), "{page}");
    assert!(!page.contains("# EOF"));
    assert!(heard.last().1.starts_with("GET /metrics "));
    let status = started(pages("")).await;
    assert!(ask(status, "GET", "/metrics").await.1.ends_with("# EOF\n"));
}

#[tokio::test]
async fn readiness_and_orders() {
    let pages = pages("");
    let (readiness, life) = (pages.readiness.clone(), pages.life.clone());
    let (status, ready) = (started(pages).await, started(ReadyPage(readiness.clone())).await);
    for port in [status, ready] {
        let told = (503, "not ready: no identity yet\n".to_owned());
        assert_eq!(ask(port, "GET", "/healthz/ready").await, told);
    }
    readiness.set_ready();
    assert_eq!(ask(ready, "GET", "/healthz/ready").await.0, 200);
    assert_eq!(ask(ready, "GET", "/quitquitquit").await.0, 404, "orders are taken elsewhere");
    assert_eq!(ask(status, "GET", "/drain").await.0, 405);
    assert_eq!(ask(status, "POST", "/drain").await.0, 200);
    life.near_end().await;
    assert_eq!(ask(status, "POST", "/quitquitquit").await.0, 200);
    life.ordered().await;
}
