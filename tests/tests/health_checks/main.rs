//! Active health checks through a real gateway: over HTTP, gRPC, TLS and plain connections, for requests and streams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod flip;
mod kinds;

use sluice_tests::{Received, Recorder, Reply, Stand, manifests};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// An HTTP server with a name, that is well or not; then it answers everything 503.
struct Server {
    recorder: Recorder,
    is_well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
}

impl Server {
    async fn start(name: &str) -> Self {
        let (is_well, checks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let served = Arc::new(AtomicUsize::new(0));
        let (well, count, name) = (is_well.clone(), checks.clone(), name.to_owned());
        let requests = served.clone();
        let recorder = Recorder::scripted(move |request: &Received| {
            if request.line().contains(" /healthz ") {
                count.fetch_add(1, SeqCst);
            } else if well.load(SeqCst) {
                requests.fetch_add(1, SeqCst);
            }
            match well.load(SeqCst) {
                true => Reply::ok(&name),
                false => Reply::Send(b"HTTP/1.1 503 Unwell\r\nContent-Length: 0\r\n\r\n".to_vec()),
            }
        });
        Self { recorder: recorder.await, is_well, checks, served }
    }

    fn address(&self) -> SocketAddr {
        self.recorder.address()
    }

    fn set(&self, is_well: bool) {
        self.is_well.store(is_well, SeqCst);
    }

    /// Requests that it answered well.
    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    fn checks(&self) -> usize {
        self.checks.load(SeqCst)
    }
}

/// A ServiceEntry `api.test` with these endpoints.
fn entry(protocol: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|it| format!("{{address: {}, ports: {{main: {}}}}}", it.ip(), it.port()))
        .collect();
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.test]
  ports: [{{number: 80, name: main, protocol: {protocol}}}]
  resolution: STATIC
  endpoints: [{}]
",
        endpoints.join(", ")
    )
}

/// Asks the endpoints of `api.test` every second.
fn policy(kind: &str, more: &str) -> String {
    format!(
        "
---
apiVersion: sluice.dev/v1alpha1
kind: HealthCheckPolicy
metadata: {{name: api}}
spec:
  targetRefs: [{{kind: ServiceEntry, name: api}}]
  type: {kind}
  interval: 1s
  timeout: 500ms
  unhealthyThreshold: 1
  healthyThreshold: 1
{more}"
    )
}

/// So many routes `/p0`, `/p1`, ... to `api.test`.
fn routes(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        write!(
            text,
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{number}}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - matches: [{{path: {{value: /p{number}}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: api.test, port: 80}}]
"
        )
        .unwrap();
        text
    })
}

/// The endpoints as `/debug` shows them: address and health.
fn health(stand: &Stand) -> Vec<(SocketAddr, sluice_proxy::upstream::HealthSnapshot)> {
    let pools = stand.gateway().proxy().endpoints();
    let endpoints = pools.into_iter().flat_map(|pool| pool.endpoints);
    endpoints.filter_map(|it| Some((it.address, it.health?))).collect()
}

fn is_out(stand: &Stand, address: SocketAddr) -> bool {
    health(stand).iter().any(|it| it.0 == address && it.1.state.is_out())
}

fn gateway() -> String {
    manifests::GATEWAY.to_owned()
}
