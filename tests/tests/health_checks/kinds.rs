//! What is asked, by whom, and what comes of the answers.

use super::{Server, entry, gateway, health, is_out, policy, routes};
use sluice_proxy::upstream::HealthState;
use sluice_tests::pki::{Pki, Wish};
use sluice_tests::{Ask, Endpoints, Recorder, Stand, TlsBackend, TlsBackendOptions, eventually};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tonic_health::ServingStatus;

async fn stand(yaml: &[String]) -> Stand {
    let mut stand = Stand::empty(Endpoints::AsWritten).await;
    stand.apply(&yaml.concat()).await;
    stand
}

/// Who answers, of 20 requests.
async fn answering(stand: &Stand, path: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let answer = stand.get(&format!("http://a.example{path}")).await;
        seen.insert(if answer.status == 200 { answer.text() } else { answer.status.to_string() });
    }
    seen
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_says_it_is_unwell_gets_no_request_of_any_route() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    b.set(false);
    let yaml = [
        gateway(),
        entry("HTTP", &[a.address(), b.address()]),
        routes(64),
        policy("HTTP", "  http: {path: /healthz, host: well.test}\n"),
    ];
    let stand = stand(&yaml).await;
    eventually("b is out", || async { is_out(&stand, b.address()) }).await;
    assert_eq!(answering(&stand, "/p0").await, set(&["a"]));
    assert_eq!(answering(&stand, "/p63").await, set(&["a"]));
    assert!(a.recorder.saw("GET /healthz HTTP/1.1"));
    assert!(a.recorder.saw("host: well.test"));
    let metrics = stand.gateway().proxy().metrics().encode();
    for line in [
        "sluice_endpoints{endpoint_set=\"Hostname/api.test:80\",state=\"ready\"} 1",
        "sluice_endpoints{endpoint_set=\"Hostname/api.test:80\",state=\"unhealthy\"} 1",
        "sluice_health_checks_total{endpoint_set=\"Hostname/api.test:80\",result=\"failed\"}",
    ] {
        assert!(metrics.contains(line), "{line}:\n{metrics}");
    }
    b.set(true);
    eventually("b is in", || async { !is_out(&stand, b.address()) }).await;
    assert_eq!(answering(&stand, "/p5").await, set(&["a", "b"]));
    // 64 routes, and each endpoint was asked about once a second.
    let known = a.checks();
    eventually("two more checks", || async { a.checks() >= known + 2 }).await;
    assert!(a.checks() <= known + 3, "{} after {known}", a.checks());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_healthy_all_are_used_or_none_as_the_policy_says() {
    let server = Server::start("a").await;
    server.set(false);
    let yaml = |more: &str| {
        let policy = policy("HTTP", &format!("  http: {{path: /healthz}}\n{more}"));
        [gateway(), entry("HTTP", &[server.address()]), routes(1), policy].concat()
    };
    let mut stand = stand(&[yaml("")]).await;
    eventually("it is out", || async { is_out(&stand, server.address()) }).await;
    assert!(server.recorder.lines().iter().all(|it| it.contains("/healthz")));
    assert_eq!(stand.get("http://a.example/p0").await.status, 503);
    assert!(server.recorder.saw("GET /p0 "), "all are used");
    // The policy changes; what is known stays known, and no request slips through.
    stand.apply(&yaml("  minHealthyPercent: 0\n")).await;
    let before = server.recorder.lines().iter().filter(|it| it.contains("/p0")).count();
    assert_eq!(stand.get("http://a.example/p0").await.status, 503);
    let after = server.recorder.lines().iter().filter(|it| it.contains("/p0")).count();
    assert_eq!(before, after);
    // Counted a moment after the answer.
    let is_counted =
        || async { stand.gateway().proxy().metrics().encode().contains("outcome=\"no_endpoint\"") };
    eventually("it is counted", is_counted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_health_service_is_asked_for_the_service_that_the_policy_names() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop.Pay", ServingStatus::Serving).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let yaml = |more: &str| {
        let policy = policy("GRPC", more);
        [gateway(), entry("GRPC", &[address]), routes(1), policy].concat()
    };
    let mut stand = stand(&[yaml("  grpc: {service: shop.Pay}\n")]).await;
    let state = |stand: &Stand| health(stand).first().map(|it| it.1.state);
    eventually("it serves", || async { state(&stand) == Some(HealthState::Healthy) }).await;
    reporter.set_service_status("shop.Pay", ServingStatus::NotServing).await;
    eventually("it does not", || async { state(&stand) == Some(HealthState::Unhealthy) }).await;
    assert_eq!(health(&stand)[0].1.failure.as_deref(), Some("is not serving: NOT_SERVING"));
    reporter.set_service_status("shop.Pay", ServingStatus::Serving).await;
    eventually("it serves again", || async { state(&stand) == Some(HealthState::Healthy) }).await;
    for (service, failure) in
        [("  grpc: {service: shop.Gone}\n", "answered gRPC status 5"), ("", "is not serving: NOT_SERVING")]
    {
        stand.apply(&yaml(service)).await;
        eventually(failure, || async { health(&stand)[0].1.failure.as_deref() == Some(failure) }).await;
    }
}

/// Something that takes connections and says nothing.
async fn silent() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_only_to_endpoints_that_take_connections() {
    let (recorder, (other, task)) = (Recorder::start().await, silent().await);
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  listeners: [{name: tcp, port: 90, protocol: TCP}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: t}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.test, port: 80}]}]
";
    let yaml = [gateway.to_owned(), entry("TCP", &[recorder.address(), other]), policy("TCP", "")];
    let stand = stand(&yaml).await;
    eventually("both are well", || async {
        health(&stand).iter().filter(|it| it.1.state == HealthState::Healthy).count() == 2
    })
    .await;
    task.abort();
    eventually("one is out", || async { is_out(&stand, other) }).await;
    assert!(
        health(&stand).iter().any(|it| it.1.failure.as_deref().is_some_and(|it| it.starts_with("connect: ")))
    );
    for _ in 0..10 {
        let mut stream = TcpStream::connect(stand.address(90)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

/// BackendTLSPolicy: checks speak the TLS of requests, so that an endpoint with another's certificate is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_speak_tls_as_requests_do() {
    let behind = Recorder::start().await;
    let options = |name: &str| TlsBackendOptions {
        certificate: Wish { signed_by: "first".to_owned(), names: vec![name.to_owned()], uris: Vec::new() },
        asks_for: None,
    };
    let right = TlsBackend::start(&options("api.test"), behind.address()).await;
    let wrong = TlsBackend::start(&options("other.test"), behind.address()).await;
    let tls = "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api}
spec:
  host: api.test
  trafficPolicy: {tls: {mode: SIMPLE, credentialName: api}}
";
    let secret = format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: api}}\nstringData:\n  ca.crt: {:?}\n",
        Pki::named("first").pem()
    );
    let yaml = [
        gateway(),
        entry("HTTPS", &[right.address(), wrong.address()]),
        routes(1),
        tls.to_owned(),
        secret,
        policy("HTTP", "  http: {path: /healthz}\n"),
    ];
    let stand = stand(&yaml).await;
    eventually("the wrong one is out", || async { is_out(&stand, wrong.address()) }).await;
    eventually("the right one is well", || async {
        health(&stand).iter().any(|it| it.0 == right.address() && it.1.state == HealthState::Healthy)
    })
    .await;
    assert_eq!(right.latest().unwrap().server_name.as_deref(), Some("api.test"));
    assert!(behind.saw("host: api.test"), "the name of TLS is asked for");
    let failures: Vec<_> = health(&stand).into_iter().filter_map(|it| it.1.failure).collect();
    assert!(failures.len() == 1 && failures[0].starts_with("TLS handshake: "), "{failures:?}");
    for _ in 0..10 {
        assert_eq!(stand.request(&Ask::get("http://a.example/p0")).await.status, 200);
    }
}
