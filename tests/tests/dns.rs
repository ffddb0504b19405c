//! Names of ServiceEntries with a real DNS server (dnsmasq) whose answers change, end and lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::dnsmasq::{Dnsmasq, ZONE, in_own_network};
use sluice_tests::{Endpoints, Recorder, Reply, Stand, eventually, manifests};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An address of the internet, by its looks; here it is this machine's.
const OUTSIDE: &str = "192.0.2.80";

/// A ServiceEntry by DNS, in the mesh or not, and a route for its host.
fn entry(host: &str, port: u16, location: &str, routes: usize) -> String {
    let name = host.replace('.', "-");
    let mut text = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{host}]
  ports: [{{number: {port}, name: main, protocol: HTTP}}]
  resolution: DNS
  location: {location}
"
    );
    for number in 0..routes {
        write!(
            text,
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}-{number}}}
spec:
  parentRefs: [{{name: web}}]
  hostnames: [{host}]
  rules:
  - matches: [{{path: {{value: /{number}}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: {host}, port: {port}}}]
"
        )
        .unwrap();
    }
    text
}

/// Answers every request with its name, at this address.
async fn server(address: SocketAddr, name: &'static str) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|len| len > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
}

async fn answer(stand: &Stand, host: &str) -> String {
    let answer = stand.get(&format!("http://{host}/0")).await;
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

#[test]
fn a_name_is_asked_for_once_for_all_routes_and_again_when_its_time_is_over() {
    in_own_network("192.0.2.80".parse().unwrap(), || async {
        let mut dns = Dnsmasq::start(2).await;
        for (ip, name) in [("127.0.0.11", "first"), ("127.0.0.12", "second")] {
            server(SocketAddr::new(ip.parse().unwrap(), 8080), name).await;
        }
        dns.set("127.0.0.11 api.test\n").await;
        let mut stand = Stand::empty(Endpoints::AsWritten).await;
        let absent = format!("gone.{ZONE}");
        let yaml = [
            manifests::GATEWAY.to_owned(),
            entry("api.test", 8080, "MESH_INTERNAL", 50),
            entry(&absent, 8080, "MESH_INTERNAL", 5),
        ];
        stand.apply(&yaml.concat()).await;
        let started = Instant::now();
        eventually("the name is resolved", || async { answer(&stand, "api.test").await == "first" }).await;
        assert_eq!(dns.asked("api.test"), (1, 1), "50 routes ask once");
        assert_eq!(answer(&stand, &absent).await, "503");
        eventually("it is asked again", || async { dns.asked("api.test").0 == 2 }).await;
        let again = started.elapsed();
        assert!(again >= Duration::from_millis(1_500), "before its time was over: {again:?}");
        // Absence has a time too (RFC 2308): about one question in two seconds, not one a second.
        let (asked, since) = (dns.asked(&absent).0, started.elapsed().as_secs());
        assert!((1..=2 + usize::try_from(since).unwrap() / 2).contains(&asked), "{asked} in {since} s");
        // The answer changes: the new address is used when the old one's time is over.
        dns.set("127.0.0.12 api.test\n").await;
        let changed = Instant::now();
        eventually("the change is seen", || async { answer(&stand, "api.test").await == "second" }).await;
        assert!(changed.elapsed() < Duration::from_secs(4), "{:?}", changed.elapsed());
        // Nobody answers any more: what was good stays.
        let asked = dns.asked("api.test");
        dns.kill().await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(answer(&stand, "api.test").await, "second", "after {asked:?}");
    });
}

#[test]
fn a_name_of_the_internet_that_leads_inside_is_not_followed_whatever_the_server_says() {
    let outside: IpAddr = OUTSIDE.parse().unwrap();
    in_own_network(outside, move || async move {
        let dns = Dnsmasq::start(1).await;
        let inside = Recorder::scripted(|_| Reply::ok("inside")).await;
        let port = inside.address().port();
        server(SocketAddr::new(outside, port), "outside").await;
        dns.set(&format!("{OUTSIDE} www.test\n")).await;
        let mut stand = Stand::empty(Endpoints::AsWritten).await;
        let yaml = [manifests::GATEWAY.to_owned(), entry("www.test", port, "MESH_EXTERNAL", 1)];
        stand.apply(&yaml.concat()).await;
        eventually("the name is resolved", || async { answer(&stand, "www.test").await == "outside" }).await;
        // The same name turns to this machine, to private networks and to metadata, in either family.
        let lies = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"];
        dns.set(&lies.map(|it| format!("{it} www.test\n")).concat()).await;
        eventually("nobody is there", || async { answer(&stand, "www.test").await == "503" }).await;
        dns.set(&format!("{OUTSIDE} www.test\n")).await;
        eventually("it is outside again", || async { answer(&stand, "www.test").await == "outside" }).await;
        // One lie among good answers: only those are used.
        dns.set(&format!("{OUTSIDE} www.test\n127.0.0.1 www.test\n")).await;
        let asked = dns.asked("www.test").0;
        eventually("the answer is seen", || async { dns.asked("www.test").0 > asked + 1 }).await;
        for _ in 0..20 {
            assert_eq!(answer(&stand, "www.test").await, "outside");
        }
        assert_eq!(inside.requests().len(), 0, "{:?}", inside.lines());
    });
}
