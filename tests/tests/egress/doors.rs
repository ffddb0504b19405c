//! The other doors of an egress gateway: TLS by server name, and plain listeners. None leads to what no route names.

use crate::{Target, get, say};
use sluice_tests::{Sluice, loopback, tls};
use std::net::SocketAddr;
use std::path::Path;

fn manifests(folder: &Path, allowed: SocketAddr) {
    let yaml = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: egress}}
spec:
  gatewayClassName: sluice
  infrastructure: {{parametersRef: {{group: sluice.dev, kind: GatewayParameters, name: egress}}}}
  listeners:
  - {{name: tls, port: 443, protocol: TLS, hostname: \"*.example.com\", tls: {{mode: Passthrough}}}}
  - {{name: http, port: 80, protocol: HTTP, hostname: allowed.example.com}}
  - {{name: tcp, port: 5432, protocol: TCP}}
---
apiVersion: sluice.dev/v1alpha1
kind: GatewayParameters
metadata: {{name: egress}}
spec: {{accessLog: Text}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: allowed}}
spec:
  hosts: [allowed.example.com]
  resolution: STATIC
  ports:
  - {{number: 80, name: http, protocol: HTTP, targetPort: {port}}}
  - {{number: 443, name: tls, protocol: TLS, targetPort: {port}}}
  - {{number: 5432, name: db, protocol: TCP, targetPort: {port}}}
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {{name: tls}}
spec:
  parentRefs: [{{name: egress, sectionName: tls}}]
  hostnames: [allowed.example.com]
  rules: [{{backendRefs: [{{group: networking.istio.io, kind: Hostname, name: allowed.example.com, port: 443}}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: http}}
spec:
  parentRefs: [{{name: egress, sectionName: http}}]
  rules: [{{backendRefs: [{{group: networking.istio.io, kind: Hostname, name: allowed.example.com, port: 80}}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: tcp}}
spec:
  parentRefs: [{{name: egress, sectionName: tcp}}]
  rules: [{{backendRefs: [{{group: networking.istio.io, kind: Hostname, name: allowed.example.com, port: 5432}}]}}]
",
        port = allowed.port(),
    );
    std::fs::write(folder.join("egress.yaml"), yaml).unwrap();
}

/// A hello for `name` with another one in its place, byte by byte: what no client of TLS says.
fn forged(name: &str, other: &str) -> Vec<u8> {
    assert_eq!(name.len(), other.len());
    let hello = tls::hello(name);
    let at = hello.windows(name.len()).position(|it| it == name.as_bytes()).unwrap();
    [&hello[..at], other.as_bytes(), &hello[at + name.len()..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_door_leads_to_what_no_route_names() {
    let allowed = Target::start("allowed").await;
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), allowed.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let (by_name, plain, whole) = (sluice.address(443), sluice.address(80), sluice.address(5432));

    let host = "allowed.example.com";
    assert!(say(by_name, &tls::hello(host)).await.ends_with("allowed"), "{}", sluice.said());
    assert!(say(by_name, &forged(host, "ALLOWED.Example.com")).await.ends_with("allowed"));
    assert!(say(plain, get("/", host).as_bytes()).await.ends_with("allowed"));
    assert!(say(whole, b"hello").await.ends_with("allowed"));

    // By server name: another one, none, an address, forms that one could take for the name.
    let before = allowed.reached();
    let mut closed: Vec<Vec<u8>> = vec![
        tls::hello("elsewhere.example.com"),
        tls::hello("sub.allowed.example.com"),
        tls::hello("example.com"),
        tls::hello("allowed.example.com.evil.test"),
        tls::hello("localhost"),
        tls::hello(""),
        forged("127-0-0-1.example", "127.0.0.1.example"),
        forged("aaaaaaaaa", "127.0.0.1"),
        forged(host, "allowed.example.co\0"),
        forged(host, "allowed.example.co\n"),
        forged(host, "allowed example.com"),
        forged(host, ".llowed.example.com"),
        forged(host, "*.lowed.example.com"),
        get("/", host).into_bytes(),
        b"CONNECT allowed.example.com:443 HTTP/1.1\r\nHost: allowed.example.com:443\r\n\r\n".to_vec(),
    ];
    // Cut short: a hello that is never whole is nobody's.
    closed.push(tls::hello(host)[..60].to_vec());
    for way in &closed {
        let back = say(by_name, way).await;
        assert!(!back.contains("allowed"), "{:?}: {back:?}", String::from_utf8_lossy(way));
    }
    // By Host.
    for (way, status) in [
        (get("/", "elsewhere.example.com"), "404"),
        (get("http://elsewhere.example.com/", "elsewhere.example.com"), "404"),
        (get("http://elsewhere.example.com/", host), "400"),
        (get("/", "127.0.0.1"), "404"),
        (get("/", "allowed.example.com.evil.test"), "404"),
        ("CONNECT allowed.example.com:80 HTTP/1.1\r\nHost: allowed.example.com:80\r\n\r\n".to_owned(), "405"),
    ] {
        let back = say(plain, way.as_bytes()).await;
        assert_eq!(back.split(' ').nth(1), Some(status), "{way:?}: {back:?}");
    }
    assert_eq!(allowed.reached(), before, "{} ways were tried", closed.len() + 6);
    sluice_tests::eventually("the log says who asked for what, and why it is refused", || async {
        let log = sluice.said();
        let line = |text: &str| log.lines().any(|it| it.contains("no_route") && it.contains(text));
        line("sni=\"elsewhere.example.com\"") && line("reason=\"no server name, and no listener")
    })
    .await;
    let metrics = say(sluice.admin(), get("/metrics", "localhost").as_bytes()).await;
    let counted =
        |it: &str| it.starts_with("sluice_connections_refused_total{") && it.contains("\"no_route\"");
    assert!(metrics.lines().any(counted), "{metrics}");
}
