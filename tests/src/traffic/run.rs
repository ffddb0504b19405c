//! Sends the requests of a fixture.

use super::check::{differences, handshake};
use super::format::{Request, Step, Traffic};
use crate::backends::is_called;
use crate::client::{Answer, Ask, H2, Io, Wire, plain};
use crate::recorder::Recorder;
use crate::stand::{Endpoints, Stand};
use crate::tls;
use crate::tls_backend::TlsBackend;
use crate::wait::{eventually, soon};
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Runs `traffic.yaml` of a fixture and returns everything that differs, one sentence each.
pub async fn run(fixture: &Path) -> Vec<String> {
    let read = |name: &str| {
        let path = fixture.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let traffic: Traffic = serde_saphyr::from_str(&read("traffic.yaml"))
        .unwrap_or_else(|error| panic!("{}/traffic.yaml: {error}", fixture.display()));
    let mut stand = Stand::empty(Endpoints::Echo).await;
    let mut recorders = BTreeMap::new();
    for name in &traffic.recorders {
        let recorder = Recorder::start().await;
        stand.fix(name, recorder.address());
        recorders.insert(name.clone(), recorder);
    }
    let mut fronts = Fronts::new();
    for (name, options) in &traffic.tls {
        let echo = stand.echo(name).await;
        let front = TlsBackend::start(options, echo).await;
        stand.fix(name, front.address());
        fronts.insert(name.clone(), front);
    }
    stand.apply(&read("input.yaml")).await;
    let mut found = Vec::new();
    for (index, step) in traffic.steps.iter().enumerate() {
        if let Some(path) = &step.apply {
            stand.edit(&read(path)).await;
        }
        if let Some(request) = &step.request {
            let differences = send(&stand, &fronts, step, request).await;
            found.extend(
                differences
                    .into_iter()
                    .map(|text| format!("step {index} ({}): {text}", request.ask().target)),
            );
        }
    }
    for (name, count) in &traffic.recorded {
        let recorder = &recorders[name];
        // Copies arrive on their own time, so the count may still grow.
        eventually("the copies arrive", || async { recorder.requests().len() >= *count }).await;
        if recorder.requests().len() != *count {
            found.push(format!("{name} got {} requests instead of {count}", recorder.requests().len()));
        }
    }
    found
}

/// The backends that speak TLS, by service.
type Fronts = BTreeMap<String, TlsBackend>;

async fn send(stand: &Stand, fronts: &Fronts, step: &Step, request: &Request) -> Vec<String> {
    let mut found = Vec::new();
    if step.expect.refused {
        let is_refused = is_refused(stand, request).await;
        return if is_refused { found } else { vec!["was not refused".to_owned()] };
    }
    let mut share: BTreeMap<String, usize> = BTreeMap::new();
    let mut client = Client::connect(stand, request).await;
    for _ in 0..step.times {
        let answer = client.ask(stand, request).await;
        let who = answer.backend().map_or_else(|| answer.status.to_string(), |name| wanted_name(name, step));
        *share.entry(who).or_default() += 1;
        if found.is_empty() {
            found = differences(&answer, &step.expect, !step.share.is_empty());
        }
        if let Some(expect) = &step.expect.handshake {
            let front = answer.backend().and_then(|it| fronts.iter().find(|(name, _)| is_called(it, name)));
            found.extend(handshake(front.and_then(|(_, it)| it.latest()).as_ref(), expect));
        }
    }
    if !step.share.is_empty() && share != step.share {
        found.push(format!("answered by {share:?} instead of {:?}", step.share));
    }
    found
}

/// The name under which the step counts this backend.
fn wanted_name(name: &str, step: &Step) -> String {
    step.share.keys().find(|wanted| is_called(name, wanted)).cloned().unwrap_or_else(|| name.to_owned())
}

/// One connection for all repetitions of a request; opened again where the gateway closes it.
enum Client {
    Http1 { wire: Wire, certificates: Vec<Vec<u8>> },
    Http2 { h2: H2, certificates: Vec<Vec<u8>> },
}

impl Client {
    async fn connect(stand: &Stand, request: &Request) -> Self {
        let ask = request.ask();
        let (io, certificates) = open(stand, request, &ask).await;
        if request.http == 2 {
            let (h2, _) = H2::over(io).await;
            Self::Http2 { h2, certificates }
        } else {
            Self::Http1 { wire: Wire::over(io), certificates }
        }
    }

    async fn ask(&mut self, stand: &Stand, request: &Request) -> Answer {
        let ask = request.ask();
        match self {
            Self::Http2 { h2, certificates } => {
                Answer { certificates: certificates.clone(), ..h2.ask(&ask).await }
            }
            Self::Http1 { wire, certificates } => {
                let answer = Answer { certificates: certificates.clone(), ..wire.ask(&ask).await };
                if answer.closes() {
                    let (io, _) = open(stand, request, &ask).await;
                    *wire = Wire::over(io);
                }
                answer
            }
        }
    }
}

/// Whether the gateway ends the connection without an answer, or does not take it at all.
async fn is_refused(stand: &Stand, request: &Request) -> bool {
    let ask = request.ask();
    let name = request.sni.as_deref().unwrap_or_else(|| ask.host()).to_owned();
    let attempt = async {
        let stream = TcpStream::connect(address(stand, request, &ask)).await?;
        let connector = TlsConnector::from(Arc::new(client(request)));
        let name = ServerName::try_from(name).expect("a valid server name");
        let mut stream = connector.connect(name, stream).await?;
        let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", ask.host());
        stream.write_all(head.as_bytes()).await?;
        // With TLS 1.3 a client learns only here that its certificate was not taken.
        stream.read_u8().await
    };
    soon("an answer or a refusal", attempt).await.is_err()
}

fn address(stand: &Stand, request: &Request, ask: &Ask) -> SocketAddr {
    match request.to {
        Some(named) => stand.address_of(named, ask.port()),
        None => stand.address(ask.port()),
    }
}

fn client(request: &Request) -> rustls::ClientConfig {
    let alpn: &[&str] = if request.http == 2 { &["h2"] } else { &["http/1.1"] };
    match &request.certificate {
        Some(certificate) => tls::presenting(alpn, certificate),
        None => tls::trusting(alpn),
    }
}

async fn open(stand: &Stand, request: &Request, ask: &Ask) -> (Box<dyn Io>, Vec<Vec<u8>>) {
    let address = address(stand, request, ask);
    if !ask.tls {
        return (plain(address).await, Vec::new());
    }
    let name = request.sni.as_deref().unwrap_or_else(|| ask.host());
    let stream = tls::connect(address, name, client(request)).await;
    let stream = stream.unwrap_or_else(|error| panic!("TLS to {address} as {name}: {error}"));
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.to_vec()).collect();
    (Box::new(stream), certificates)
}
