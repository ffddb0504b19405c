//! Sends the requests of a fixture.

use super::check::differences;
use super::format::{Request, Step, Traffic};
use crate::backends::is_called;
use crate::client::{Answer, Ask, H2, Io, Wire, plain};
use crate::recorder::Recorder;
use crate::stand::{Endpoints, Stand};
use crate::tls;
use crate::wait::eventually;
use std::collections::BTreeMap;
use std::path::Path;

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
    stand.apply(&read("input.yaml")).await;
    let mut found = Vec::new();
    for (index, step) in traffic.steps.iter().enumerate() {
        if let Some(path) = &step.apply {
            stand.edit(&read(path)).await;
        }
        if let Some(request) = &step.request {
            let differences = send(&stand, step, request).await;
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

async fn send(stand: &Stand, step: &Step, request: &Request) -> Vec<String> {
    let mut found = Vec::new();
    let mut share: BTreeMap<String, usize> = BTreeMap::new();
    let mut client = Client::connect(stand, request).await;
    for _ in 0..step.times {
        let answer = client.ask(stand, request).await;
        let who = answer.backend().map_or_else(|| answer.status.to_string(), |name| wanted_name(name, step));
        *share.entry(who).or_default() += 1;
        if found.is_empty() {
            found = differences(&answer, &step.expect, !step.share.is_empty());
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

async fn open(stand: &Stand, request: &Request, ask: &Ask) -> (Box<dyn Io>, Vec<Vec<u8>>) {
    let address = match request.to {
        Some(named) => stand.address_of(named, ask.port()),
        None => stand.address(ask.port()),
    };
    if !ask.tls {
        return (plain(address).await, Vec::new());
    }
    let name = request.sni.as_deref().unwrap_or_else(|| ask.host());
    let alpn: &[&str] = if request.http == 2 { &["h2"] } else { &["http/1.1"] };
    let stream = tls::connect(address, name, tls::trusting(alpn)).await;
    let stream = stream.unwrap_or_else(|error| panic!("TLS to {address} as {name}: {error}"));
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.to_vec()).collect();
    (Box::new(stream), certificates)
}
