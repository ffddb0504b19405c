//! A proxy that sends everything to one backend.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice_ir::{self as ir, Resource};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

const TIME: Duration = Duration::from_secs(10);

/// What the proxy is told.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) endpoints: Vec<SocketAddr>,
    pub(crate) protocol: ir::BackendProtocol,
    pub(crate) tls: Option<ir::UpstreamTls>,
    /// Shown to backends: what the Gateway names, and whether it is part of the configuration.
    pub(crate) certificate: Option<(ir::CertificateKey, Option<ir::Certificate>)>,
    /// Gets copies, with the same protocol and policy.
    pub(crate) copies: Option<SocketAddr>,
    pub(crate) retry: Option<ir::Retry>,
    /// Hosts that clients name, in place of endpoints.
    pub(crate) asked: Option<ir::AskedHosts>,
}

/// A policy with nothing special.
pub(crate) fn policy(server_name: &str, trust: ir::Trust) -> ir::UpstreamTls {
    ir::UpstreamTls {
        origin: ir::Origin::new("BackendTLSPolicy", "default", "app"),
        server_name: server_name.to_owned(),
        subject_names: Vec::new(),
        trust,
        revocations: None,
        certificate: None,
    }
}

impl Wanted {
    pub(crate) fn new(endpoint: SocketAddr, tls: ir::UpstreamTls) -> Self {
        Self {
            endpoints: vec![endpoint],
            protocol: ir::BackendProtocol::Http1,
            tls: Some(tls),
            certificate: None,
            copies: None,
            retry: None,
            asked: None,
        }
    }

    pub(crate) fn http2(mut self) -> Self {
        self.protocol = ir::BackendProtocol::H2c;
        self
    }

    fn backend(&self, name: &str, endpoints: &[SocketAddr]) -> [Resource; 2] {
        let key = format!("Service/default/{name}:80");
        let endpoint = |address: &SocketAddr| ir::Endpoint {
            address: ir::EndpointAddress::Socket(*address),
            state: ir::EndpointState::Ready,
            weight: 1,
            topology: None,
            workload: None,
        };
        let origin = ir::Origin::new("Service", "default", name);
        let set = ir::EndpointSet {
            is_external: false,
            takes_first: false,
            asked: self.asked.clone().map(Box::new),
            key: ir::EndpointSetKey::new(key.as_str()),
            origin: origin.clone(),
            endpoints: endpoints.iter().map(endpoint).collect(),
        };
        let backend = ir::Backend {
            key: ir::BackendKey::new(key.as_str()),
            origin,
            protocol: self.protocol,
            endpoints: set.key.clone(),
            tls: self.tls.clone().map(Box::new),
            policy: None,
            health: None,
            mesh: ir::MeshTls::Off,
        };
        [Resource::EndpointSet(Arc::new(set)), Resource::Backend(Arc::new(backend))]
    }

    fn route(&self, listener: ir::ListenerKey) -> ir::Route {
        let target = |name: &str| {
            ir::BackendTarget::Backend(ir::BackendKey::new(format!("Service/default/{name}:80").as_str()))
        };
        let mirror = |_| ir::Filter::Mirror(ir::Mirror { target: target("copy"), fraction: ir::Ratio::ALL });
        ir::Route {
            key: ir::RouteKey::new("HTTPRoute/default/app"),
            origin: ir::Origin::new("HTTPRoute", "default", "app"),
            kind: ir::RouteKind::Http,
            created_s: 0,
            attachments: [ir::Attachment { listener, hostnames: [ir::HostPattern::Any].into() }].into(),
            traffic: None,
            rules: [ir::Rule {
                index: 0,
                name: None,
                matches: [ir::Match::default()].into(),
                filters: self.copies.iter().map(mirror).collect(),
                backends: [ir::WeightedBackend { target: target("app"), weight: 1, filters: Box::default() }]
                    .into(),
                timeouts: None,
                retry: self.retry.clone().map(Box::new),
                session_persistence: None,
            }]
            .into(),
        }
    }

    fn delta(&self, port: u16) -> ir::Delta {
        let gateway = ir::GatewayKey::new("default/edge");
        let listener = ir::ListenerKey::new("Gateway/default/edge/http");
        let origin = ir::Origin::new("Gateway", "default", "edge");
        let mut upserts = vec![
            Resource::Gateway(Arc::new(ir::Gateway {
                key: gateway.clone(),
                origin: origin.clone(),
                settings: ir::Settings::standard(),
                backend_certificate: self.certificate.as_ref().map(|(key, _)| key.clone()),
                ticket_secrets: Vec::new(),
                traffic: None,
                authorization: Vec::new(),
                authentication: Vec::new(),
                telemetry: Vec::new(),
            })),
            Resource::Listener(Arc::new(ir::Listener {
                key: listener.clone(),
                origin: origin.section("http"),
                gateway,
                addresses: Vec::new(),
                networks: Vec::new(),
                port,
                protocol: ir::ListenerProtocol::Http,
                hostname: ir::HostPattern::Any,
                destination: None,
                traffic: None,
            })),
            Resource::Route(Arc::new(self.route(listener))),
        ];
        upserts.extend(self.backend("app", &self.endpoints));
        upserts.extend(self.copies.iter().flat_map(|address| self.backend("copy", &[*address])));
        let certificate = self.certificate.iter().filter_map(|(_, certificate)| certificate.clone());
        upserts.extend(certificate.map(|it| Resource::Certificate(Arc::new(it))));
        ir::Delta { upserts, removals: Vec::new() }
    }
}

/// A running proxy.
pub(crate) struct Gateway {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    pub(crate) async fn start(wanted: &Wanted) -> Self {
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
        // The planned address has port 0: the system chooses, and planning it again changes nothing.
        let failures = proxy.apply(&wanted.delta(0)).await;
        assert!(failures.is_empty(), "{failures:?}");
        let address = proxy.bound()[0].1;
        Self { proxy, address }
    }

    pub(crate) async fn apply(&self, wanted: &Wanted) {
        assert!(self.proxy.apply(&wanted.delta(0)).await.is_empty());
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let (status, body, _) =
            self.client().await.ask(http::Request::get(path).body(Bytes::new()).unwrap()).await;
        (status, body)
    }

    /// The body of an answer that must be 200.
    pub(crate) async fn ok(&self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The outcome of a request that must fail with 502.
    pub(crate) async fn failed(&self) -> String {
        let (status, body) = self.get("/").await;
        assert_eq!(status, 502, "{body}");
        body.trim().to_owned()
    }

    /// An HTTP/1.1 connection of its own.
    pub(crate) async fn client(&self) -> Http1 {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Http1(sender)
    }

    /// An HTTP/2 connection.
    pub(crate) async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        sender
    }
}

/// A client's connection.
pub(crate) struct Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Http1 {
    /// The body of an answer that must be 200.
    pub(crate) async fn ok(&mut self, path: &str) -> String {
        let (status, body, _) = self.ask(http::Request::get(path).body(Bytes::new()).unwrap()).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Status, body and trailers of the answer.
    pub(crate) async fn ask(&mut self, request: http::Request<Bytes>) -> (u16, String, http::HeaderMap) {
        let mut request = request.map(Full::new);
        request.headers_mut().entry("host").or_insert("a.example".parse().unwrap());
        self.0.ready().await.unwrap();
        read(tokio::time::timeout(TIME, self.0.send_request(request)).await.unwrap().unwrap()).await
    }
}

pub(crate) async fn read(answer: http::Response<hyper::body::Incoming>) -> (u16, String, http::HeaderMap) {
    let status = answer.status().as_u16();
    let whole = tokio::time::timeout(TIME, answer.into_body().collect()).await.unwrap().unwrap();
    let trailers = whole.trailers().cloned().unwrap_or_default();
    (status, String::from_utf8(whole.to_bytes().to_vec()).unwrap(), trailers)
}
