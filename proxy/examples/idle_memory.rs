//! Prints what an idle keep-alive connection costs:
//! `cargo run -p sluice-proxy --example idle_memory -- plain 2000`, or `tls 2000`.
//!
//! The clients are a second process, so that only the server's side is counted. Each client sends one request, reads
//! the answer and then keeps its connection open.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sluice_ir::{Certificate, CertificateKey, HostPattern, Origin, SecretBytes, Tls};
use sluice_proxy::listen::{PortConfig, Ports};
use sluice_proxy::tls::{Certificates, Keyring, PortTls};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

struct Hello;

#[async_trait]
impl HttpServerApp for Hello {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.ok()? {
            return None;
        }
        let mut head = ResponseHeader::build(200, None).ok()?;
        head.insert_header("content-length", 2).ok()?;
        session.write_response_header(Box::new(head)).await.ok()?;
        session.write_response_body(Bytes::from_static(b"ok"), true).await.ok()?;
        session.finish_body().await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        Some(ReusedHttpStream::from_reusable_stream(session.finish().await.ok()??, settings))
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.as_slice() {
        [role, address, count] if role == "clients" => {
            let (address, count) = (address.parse().unwrap(), count.parse().unwrap());
            runtime.block_on(clients(address, count));
        }
        rest => {
            let tls = rest.first().is_some_and(|kind| kind == "tls");
            let count = rest.get(1).map_or(2000, |count| count.parse().unwrap());
            let measured = runtime.spawn(measure(count, tls.then(certificate)));
            runtime.block_on(measured).unwrap();
        }
    }
}

async fn measure(count: usize, certificate: Option<Arc<Certificate>>) {
    let tls = certificate.as_ref().map(|certificate| {
        let certificates = vec![certificate.key.clone()];
        let tls = Tls::showing(certificates);
        let all = BTreeMap::from([(certificate.key.clone(), certificate.clone())]);
        let certificates = Certificates { all: &all, changed: &Default::default() };
        Arc::new(PortTls::build(&[(&HostPattern::Any, &tls)], certificates, &mut Keyring::default(), None))
    });
    let mut config = PortConfig { tls, ..PortConfig::default() };
    config.limits.connections = u32::MAX;
    config.limits.connections_per_client = u32::MAX;
    let ports = Ports::new(Arc::new(Hello), Arc::new(()));
    let wanted = "127.0.0.1:0".parse().unwrap();
    assert!(ports.apply(BTreeMap::from([(wanted, Arc::new(config))])).await.is_empty());
    let before = resident_kib();

    let name = if certificate.is_some() { "TLS" } else { "plain" };
    let root = certificate.map(|it| it.chain.expose().to_vec()).unwrap_or_default();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["clients", &ports.bound()[0].1.to_string(), &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&root).unwrap();
    let mut output = child.stdout.take().unwrap();
    let ready = tokio::task::spawn_blocking(move || std::io::Read::read_exact(&mut output, &mut [0]));
    ready.await.unwrap().unwrap();
    let after = resident_kib();
    let open = ports.connections();
    println!("{name}: {open} idle connections, {:.1} KiB each", (after - before) as f64 / open as f64);
    child.kill().unwrap();
    child.wait().unwrap();
    ports.drain(Duration::from_secs(5)).await;
}

/// Resident memory of this process, from `/proc/self/status`.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

fn certificate() -> Arc<Certificate> {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    Arc::new(Certificate {
        key: CertificateKey::new("Secret/default/example"),
        origin: Origin::new("Secret", "default", "example"),
        names: vec!["a.example".to_owned()],
        chain: SecretBytes::new(made.cert.pem().into_bytes()),
        private_key: SecretBytes::new(made.signing_key.serialize_pem().into_bytes()),
        staple: None,
        on_demand: None,
    })
}

/// The other process: TLS when a root certificate comes on standard input.
async fn clients(address: SocketAddr, count: usize) {
    let mut root = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut root).unwrap();
    let connector = (!root.is_empty()).then(|| connector(&root));
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).await.unwrap();
        match &connector {
            None => {
                exchange(&mut socket).await;
                held.push(Box::new(socket));
            }
            Some(connector) => {
                let name = ServerName::try_from("a.example").unwrap();
                let mut stream = connector.connect(name, socket).await.unwrap();
                exchange(&mut stream).await;
                held.push(Box::new(stream));
            }
        }
    }
    std::io::stdout().write_all(b".").unwrap();
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}

fn connector(root: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        answer.push(stream.read_u8().await.unwrap());
    }
}
