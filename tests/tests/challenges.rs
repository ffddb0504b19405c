//! What certificate authorities ask is answered before hosts and routes are looked at, and a listener without a
//! certificate takes nobody down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls_pki_types::CertificateDer;
use sluice_ir::{self as ir, Resource};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use sluice_tests::client::Io;
use sluice_tests::tls;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

type Tls = TlsStream<Box<dyn Io>>;

const PATH: &str = "/.well-known/acme-challenge/";

fn origin() -> ir::Origin {
    ir::Origin::new("Gateway", "default", "edge")
}

fn gateway() -> ir::GatewayKey {
    ir::GatewayKey::new("default/edge")
}

fn listener(name: &str, port: u16, host: &str, protocol: ir::ListenerProtocol) -> Resource {
    Resource::Listener(Arc::new(ir::Listener {
        key: ir::ListenerKey::new(format!("Gateway/default/edge/{name}")),
        origin: origin().section(name),
        gateway: gateway(),
        addresses: Vec::new(),
        networks: Vec::new(),
        port,
        protocol,
        hostname: ir::HostPattern::parse(host),
        destination: None,
        traffic: None,
    }))
}

fn https(certificates: &[&str], self_signed_meanwhile: bool) -> ir::ListenerProtocol {
    let certificates = certificates.iter().map(|it| ir::CertificateKey::new(*it)).collect();
    ir::ListenerProtocol::Https(ir::Tls { self_signed_meanwhile, ..ir::Tls::showing(certificates) })
}

fn issued(name: &str) -> (ir::SecretBytes, ir::SecretBytes) {
    made(CertificateParams::new(vec![name.to_owned()]).unwrap())
}

/// As RFC 8737 §3 asks for it: with acmeIdentifier, which is critical.
fn special(name: &str) -> (ir::SecretBytes, ir::SecretBytes) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.custom_extensions.push(CustomExtension::new_acme_identifier(&[7; 32]));
    made(params)
}

fn made(params: CertificateParams) -> (ir::SecretBytes, ir::SecretBytes) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (
        ir::SecretBytes::new(certificate.pem().into_bytes()),
        ir::SecretBytes::new(key.serialize_pem().into_bytes()),
    )
}

fn challenge(host: &str, answer: ir::ChallengeAnswer) -> Arc<ir::Challenge> {
    let key = ir::Challenge::key_of(&gateway(), host, &answer);
    let origin = ir::Origin::new("CertificateIssuer", "default", "ca");
    Arc::new(ir::Challenge { key, origin, gateway: gateway(), host: host.to_owned(), answer })
}

fn http01(host: &str, token: &str) -> Arc<ir::Challenge> {
    let key_authorization = ir::SecretBytes::new(format!("{token}.thumbprint").into_bytes());
    challenge(host, ir::ChallengeAnswer::Http01 { token: token.to_owned(), key_authorization })
}

fn delta(upserts: Vec<Resource>) -> ir::Delta {
    ir::Delta { upserts, removals: Vec::new() }
}

/// A port for plain HTTP and one for TLS, of one Gateway.
async fn start(listeners: impl FnOnce(u16, u16) -> Vec<Resource>) -> (Arc<Proxy>, u16, u16) {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [plain, secure] = [0, 1].map(|it: usize| free[it].local_addr().unwrap().port());
    drop(free);
    let plan = BindPlan {
        bind: "127.0.0.1".parse().unwrap(),
        port_offset: 0,
        cluster_ports: false,
        is_captured: false,
    };
    let log = AccessLogger::to_writer(Box::new(std::io::sink()));
    let proxy =
        Proxy::new(ProxyOptions { plan, log, resolver: Resolver::system(), identity: None, mesh: None })
            .unwrap();
    let mut upserts =
        vec![Resource::Gateway(Arc::new(ir::Gateway::plain(gateway(), origin(), ir::Settings::standard())))];
    upserts.extend(listeners(plain, secure));
    let failures = proxy.apply(&delta(upserts)).await;
    assert!(failures.is_empty(), "{failures:?}");
    (proxy, plain, secure)
}

/// Status and body.
async fn ask(port: u16, method: &str, host: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), body.to_owned())
}

/// Shakes hands with whatever certificate: what is shown is looked at by the test.
async fn shake(port: u16, host: &str, alpn: &[&str]) -> io::Result<Tls> {
    tls::connect(([127, 0, 0, 1], port).into(), host, tls::trusting_challenges(alpn)).await
}

fn shown(stream: &Tls) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &ir::SecretBytes) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.expose()).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_01_is_answered_for_a_known_host_and_token_only() {
    let (proxy, plain, _) =
        start(|plain, _| vec![listener("http", plain, "other.example", ir::ListenerProtocol::Http)]).await;
    let asked = http01("shop.example", "abc");
    assert_eq!(ask(plain, "GET", "shop.example", &format!("{PATH}abc")).await.0, "404");
    proxy.apply(&delta(vec![Resource::Challenge(asked.clone())])).await;
    // No listener has this host, and no route this path.
    let answer = ask(plain, "GET", "Shop.example:80", &format!("{PATH}abc")).await;
    assert_eq!(answer, ("200".to_owned(), "abc.thumbprint".to_owned()));
    assert_eq!(
        ask(plain, "HEAD", "shop.example", &format!("{PATH}abc")).await,
        ("200".into(), String::new())
    );
    for (method, host, path) in [
        ("GET", "other.example", "abc"),
        ("GET", "shop.example", "abd"),
        ("GET", "shop.example", ""),
        ("POST", "shop.example", "abc"),
    ] {
        let answer = ask(plain, method, host, &format!("{PATH}{path}")).await;
        assert_eq!(answer.0, "404", "{method} {host} {path}: {answer:?}");
    }
    assert!(proxy.metrics().encode().contains("outcome=\"challenge\""));
    let gone = vec![ir::ResourceKey::Challenge(asked.key.clone())];
    proxy.apply(&ir::Delta { upserts: Vec::new(), removals: gone }).await;
    assert_eq!(ask(plain, "GET", "shop.example", &format!("{PATH}abc")).await.0, "404");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_alpn_01_is_answered_on_the_port_of_a_listener_that_waits() {
    let (chain, private_key) = issued("served.example");
    let certificate = ir::Certificate {
        key: ir::CertificateKey::new("Secret/default/served"),
        origin: ir::Origin::new("Secret", "default", "served"),
        names: vec!["served.example".to_owned()],
        chain: chain.clone(),
        private_key,
        staple: None,
        on_demand: None,
    };
    let (proxy, _, secure) =
        start(|_, secure| vec![listener("shop", secure, "shop.example", https(&[], false))]).await;
    // The port is bound, and the name refused.
    let refused = shake(secure, "shop.example", &["h2"]).await.err().unwrap();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");

    let (special, private_key) = special("shop.example");
    let answer = ir::ChallengeAnswer::TlsAlpn01 { certificate: special.clone(), private_key };
    let serves = listener("served", secure, "served.example", https(&["Secret/default/served"], false));
    let upserts = vec![
        Resource::Challenge(challenge("shop.example", answer)),
        Resource::Certificate(Arc::new(certificate)),
        serves,
    ];
    assert!(proxy.apply(&delta(upserts)).await.is_empty());
    let mut stream = shake(secure, "shop.example", &["acme-tls/1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(shown(&stream), der(&special));
    // RFC 8737 §3: nothing follows.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);

    // Whoever offers more than the one protocol, or names another host, is served as ever.
    let refused = shake(secure, "shop.example", &["acme-tls/1", "h2"]).await.err().unwrap();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    let refused = shake(secure, "served.example", &["acme-tls/1"]).await.err().unwrap();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let stream = shake(secure, "served.example", &["h2"]).await.unwrap();
    assert_eq!(shown(&stream), der(&chain));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_is_shown_only_when_told_to() {
    let (_proxy, _, secure) = start(|_, secure| {
        vec![
            listener("told", secure, "told.example", https(&[], true)),
            listener("silent", secure, "silent.example", https(&[], false)),
        ]
    })
    .await;
    let stream = shake(secure, "told.example", &["http/1.1"]).await.unwrap();
    assert!(!shown(&stream).is_empty());
    assert!(shake(secure, "silent.example", &["http/1.1"]).await.is_err());
}

/// The authority knows one port, 443, whatever is carried there: the listener that is to be proven is on another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_alpn_01_is_answered_on_a_port_that_only_passes_through() {
    let (special, private_key) = special("shop.example");
    let answer = ir::ChallengeAnswer::TlsAlpn01 { certificate: special.clone(), private_key };
    let asked = challenge("shop.example", answer);
    let (proxy, _, secure) = start(|_, secure| {
        vec![
            listener("passed", secure, "*", ir::ListenerProtocol::TlsPassthrough),
            Resource::Challenge(asked.clone()),
        ]
    })
    .await;
    let mut stream = shake(secure, "shop.example", &["acme-tls/1"]).await.unwrap();
    assert_eq!(shown(&stream), der(&special));
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    // Everybody else's connection is carried, here to nobody.
    assert!(shake(secure, "shop.example", &["h2"]).await.is_err());
    assert!(shake(secure, "other.example", &["acme-tls/1"]).await.is_err());
    let gone = vec![ir::ResourceKey::Challenge(asked.key.clone())];
    proxy.apply(&ir::Delta { upserts: Vec::new(), removals: gone }).await;
    assert!(shake(secure, "shop.example", &["acme-tls/1"]).await.is_err());
}
