//! Ways around the rules of a forward proxy: none leads to a host that no ServiceEntry names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod doors;
mod open;
mod shaped;

use sluice_tests::{Sluice, loopback, tls};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A server that counts who reaches it, and answers `NAME` whatever is said.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Target {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self { address: listener.local_addr().unwrap(), reached: Arc::default() };
        let reached = target.reached.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                reached.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut seen = [0; 4096];
                    let _ = stream.read(&mut seen).await;
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        target
    }

    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

fn manifests(folder: &Path, allowed: SocketAddr) {
    let yaml = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: egress}}
spec:
  gatewayClassName: sluice
  listeners:
  - {{name: proxy, port: 3128, protocol: sluice.dev/ForwardProxy}}
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
# Another namespace's, and not exported: not for this proxy.
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: secret, namespace: other}}
spec:
  hosts: [secret.example.com]
  exportTo: [\".\"]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1}}]
",
        port = allowed.port(),
    );
    std::fs::write(folder.join("egress.yaml"), yaml).unwrap();
}

/// Says it and hears all that comes back.
pub(crate) async fn say(proxy: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut back = Vec::new();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut back)).await;
    String::from_utf8_lossy(&back).into_owned()
}

pub(crate) fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

pub(crate) fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_entry_names_is_reached_and_nothing_else() {
    let (allowed, canary) = (Target::start("allowed").await, Target::start("canary").await);
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), allowed.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let proxy = sluice.address(3128);

    // The ways that are open.
    for open in [
        get("http://allowed.example.com/", "allowed.example.com"),
        get("http://allowed.example.com:80/", "allowed.example.com:80"),
        get("HTTP://Allowed.Example.COM/", "allowed.example.com"),
        connect("allowed.example.com:80"),
        connect("allowed.example.com.:5432"),
    ] {
        let before = allowed.reached();
        let back = say(proxy, open.as_bytes()).await;
        assert!(back.ends_with("allowed"), "{open}: {back}\n{}", sluice.said());
        assert_eq!(allowed.reached(), before + 1, "{open}");
    }

    // Ways around.
    let before = allowed.reached();
    let (port, own) = (canary.address.port(), allowed.address.port());
    let mut closed = Vec::new();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("0x7f.1:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("localhost:{port}"),
        format!("app.localhost:{port}"),
        format!("127.0.0.1:{own}"),
        format!("elsewhere.example.com:{port}"),
        "elsewhere.example.com:443".to_owned(),
        "secret.example.com:80".to_owned(),
        "example.com:80".to_owned(),
        "sub.allowed.example.com:80".to_owned(),
        "allowed.example.com.evil.test:80".to_owned(),
        "allowed.example.com:81".to_owned(),
        format!("allowed.example.com:{port}"),
        "allowed.example.com:080443".to_owned(),
        "allowed.example.com:0".to_owned(),
        "allowed.example.com:65616".to_owned(),
        "169.254.169.254:80".to_owned(),
        "metadata.google.internal:80".to_owned(),
        "kubernetes.default.svc:443".to_owned(),
    ] {
        closed.push(connect(&host));
        closed.push(get(&format!("http://{host}/"), &host));
    }
    closed.extend([
        // The target and the Host disagree.
        get("http://allowed.example.com/", &format!("127.0.0.1:{port}")),
        get(&format!("http://127.0.0.1:{port}/"), "allowed.example.com"),
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: allowed.example.com:80\r\n\r\n"),
        format!("CONNECT allowed.example.com:80 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        // Two hosts, user information, another scheme, no port, an encoded host.
        format!("GET http://allowed.example.com/ HTTP/1.1\r\nHost: allowed.example.com\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        get(&format!("http://allowed.example.com@127.0.0.1:{port}/"), &format!("127.0.0.1:{port}")),
        connect(&format!("allowed.example.com:80@127.0.0.1:{port}")),
        get("https://allowed.example.com/", "allowed.example.com:443"),
        get("https://allowed.example.com/", "allowed.example.com"),
        get("ftp://allowed.example.com/", "allowed.example.com"),
        connect("allowed.example.com"),
        get("http://allowed%2eexample.com/", "allowed%2eexample.com"),
        connect("allowed.example.com:80\tx"),
        // Heads that two parsers read in two ways.
        format!("CONNECT allowed.example.com:80 HTTP/1.1\nHost: 127.0.0.1:{port}\n\n"),
        "CONNECT allowed.example.com:80 HTTP/1.1\r\nHost: allowed.example.com:80\r\nContent-Length: 4\r\n\r\nx".to_owned(),
        format!("CONNECT  127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        format!("connect 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        // A request as to a server, for a host inside.
        get("/", &format!("127.0.0.1:{port}")),
        get("/", "elsewhere.example.com"),
    ]);
    assert!(closed.len() >= 40, "{}", closed.len());
    for way in &closed {
        let back = say(proxy, way.as_bytes()).await;
        let status = back.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "405" | "502"), "{way:?}: {back:?}");
    }
    assert_eq!((canary.reached(), allowed.reached()), (0, before), "{} ways were tried", closed.len());
    println!("{} ways around, none leads anywhere", closed.len());
    sluice_tests::eventually("refusals are in the access log, which is off", || async {
        let log = sluice.said();
        log.contains("egress_refused")
            && log.contains("secret.example.com")
            && log.contains("no ServiceEntry lets the destination be reached")
            && log.contains("client=127.0.0.1:")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_within_a_tunnel_is_for_the_host_of_the_tunnel() {
    let allowed = Target::start("allowed").await;
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), allowed.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let proxy = sluice.address(3128);
    let tunnel = async || {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let head = "CONNECT allowed.example.com:443 HTTP/1.1\r\nHost: allowed.example.com:443\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 39];
        stream.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 Connection established\r\n\r\n"), "{answer:?}");
        stream
    };
    // The right name: the bytes reach the other side, which answers in the clear.
    let right = tls::hello("allowed.example.com");
    let mut stream = tunnel().await;
    stream.write_all(&right).await.unwrap();
    let mut back = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut back)).await.unwrap().unwrap();
    assert!(back.ends_with("allowed"), "{back}");
    // Another name, no name, no TLS: nothing comes back, and nothing of it is said to the other side.
    for wrong in [tls::hello("elsewhere.example.com"), tls::hello(""), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = tunnel().await;
        stream.write_all(&wrong).await.unwrap();
        let mut back = Vec::new();
        let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut back)).await.unwrap();
        assert!(ended.is_err() || back.is_empty(), "{back:?}");
    }
    sluice_tests::eventually("the log says why", || async {
        sluice.said().matches("server_name_mismatch").count() == 3
    })
    .await;
}

/// Hosts that only clients name: everything below `apps.localhost` is this machine (RFC 6761), without any DNS server.
fn dynamic(folder: &Path, target: SocketAddr, other: SocketAddr) {
    let yaml = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: egress}}
spec:
  gatewayClassName: sluice
  listeners:
  - {{name: proxy, port: 3128, protocol: sluice.dev/ForwardProxy}}
  - {{name: http, port: 80, protocol: HTTP}}
  - {{name: tls, port: 443, protocol: TLS, hostname: '*.apps.localhost', tls: {{mode: Passthrough}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: apps}}
spec:
  hosts: ['*.apps.localhost']
  resolution: DYNAMIC_DNS
  ports:
  - {{number: 80, name: http, protocol: HTTP, targetPort: {port}}}
  - {{number: 443, name: tls, protocol: TLS, targetPort: {port}}}
---
# Names that no server knows, and addresses.
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: databases}}
spec:
  hosts: [db.invalid, '*.db.invalid']
  addresses: [127.0.0.0/30, '::1']
  resolution: NONE
  ports:
  - {{number: {port}, name: db, protocol: TCP}}
  - {{number: {other}, name: http, protocol: HTTP}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: apps}}
spec:
  parentRefs: [{{name: egress, sectionName: http}}]
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: '*.apps.localhost', port: 80}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {{name: apps}}
spec:
  parentRefs: [{{name: egress, sectionName: tls}}]
  hostnames: ['*.apps.localhost']
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: '*.apps.localhost', port: 443}}]
",
        port = target.port(),
        other = other.port(),
    );
    std::fs::write(folder.join("egress.yaml"), yaml).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_only_clients_name_are_looked_up_and_no_others() {
    let (target, other) = (Target::start("target").await, Target::start("other").await);
    let folder = tempfile::tempdir().unwrap();
    dynamic(folder.path(), target.address, other.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let (proxy, http, tls_port) = (sluice.address(3128), sluice.address(80), sluice.address(443));
    let port = target.address.port();

    // By a forward proxy, by the Host, by the server name; by an address within those of the entry.
    for (to, way) in [
        (proxy, connect("one.apps.localhost:80")),
        (proxy, get("http://two.apps.localhost/", "two.apps.localhost")),
        (proxy, get("http://a.b.apps.localhost:80/", "a.b.apps.localhost:80")),
        (http, get("/", "one.apps.localhost")),
        (http, get("/", "Three.Apps.localhost.:80")),
        (proxy, connect(&format!("127.0.0.1:{port}"))),
        (proxy, connect(&format!("[::ffff:127.0.0.1]:{port}"))),
    ] {
        let back = say(to, way.as_bytes()).await;
        assert!(back.ends_with("target"), "{way}: {back}\n{}", sluice.said());
    }
    let back = say(tls_port, &tls::hello("one.apps.localhost")).await;
    assert!(back.ends_with("target"), "{back}");
    let literal = format!("127.0.0.1:{}", other.address.port());
    let back = say(proxy, get(&format!("http://{literal}/"), &literal).as_bytes()).await;
    assert!(back.ends_with("other"), "{back}");

    // Everything else is refused, and nobody is called for it.
    let reached = (target.reached(), other.reached());
    for (to, way, status) in [
        (proxy, connect("apps.localhost:80"), "502"),
        (proxy, connect("one.apps.localhost:81"), "502"),
        (proxy, connect("one.apps.localhost.example.com:80"), "502"),
        (proxy, connect(&format!("127.0.0.5:{port}")), "502"),
        (proxy, connect(&format!("2130706433:{port}")), "502"),
        (proxy, connect(&format!("127.0.0.1:{}", port.wrapping_add(1).max(1))), "502"),
        (http, get("/", "apps.localhost"), "502"),
        (http, get("/", "localhost"), "502"),
        (http, get("/", "127.0.0.1"), "502"),
        (http, get("/", &format!("127.0.0.1:{port}")), "502"),
    ] {
        let back = say(to, way.as_bytes()).await;
        assert_eq!(back.split(' ').nth(1), Some(status), "{way}: {back}");
    }
    for name in ["apps.localhost", "localhost", ""] {
        assert_eq!(say(tls_port, &tls::hello(name)).await, "", "{name}");
    }
    assert_eq!((target.reached(), other.reached()), reached);
    // A name without an address says so.
    let back = say(proxy, connect(&format!("x.db.invalid:{port}")).as_bytes()).await;
    assert!(back.starts_with("HTTP/1.1 502 ") && back.contains("no address"), "{back}");
    sluice_tests::eventually("the log says why", || async { sluice.said().contains("egress_refused") }).await;
}
