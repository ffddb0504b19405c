//! Data planes of workloads, and an application behind them.

use sluice_ir::{self as ir, Resource};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::telemetry::mesh::OwnWorkload;
use sluice_proxy::telemetry::trace::TraceOptions;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// All of it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An application that answers each request with its head.
pub(crate) async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let status = if head.contains("/broken") { "500 Broken" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        seen.clear();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A data plane beside a workload, with one way through it.
pub(crate) struct DataPlane {
    /// The proxy.
    pub(crate) proxy: Arc<Proxy>,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    /// Its access log.
    pub(crate) log: Log,
}

/// What makes a data plane.
pub(crate) struct Wanted<'a> {
    /// Name of its workload.
    pub(crate) workload: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Whether its workload is called; else it calls.
    pub(crate) is_inbound: bool,
    /// Where it leads.
    pub(crate) to: SocketAddr,
    /// The workload there.
    pub(crate) peer: Option<&'a str>,
    /// What is told of it.
    pub(crate) telemetry: Vec<ir::Telemetry>,
    /// Form of the access log.
    pub(crate) access_log: ir::AccessLog,
    /// Whether it carries connections whole.
    pub(crate) is_stream: bool,
    /// How collectors are spoken to.
    pub(crate) trace: TraceOptions,
}

impl<'a> Wanted<'a> {
    /// Of requests, without anything else.
    pub(crate) fn new(workload: &'a str, to: SocketAddr) -> Self {
        Self {
            workload,
            namespace: "shop",
            is_inbound: false,
            to,
            peer: None,
            telemetry: Vec::new(),
            access_log: ir::AccessLog::Off,
            is_stream: false,
            trace: TraceOptions::default(),
        }
    }

    /// Starts it.
    pub(crate) async fn start(self) -> DataPlane {
        let plan = BindPlan {
            bind: "127.0.0.1".parse().unwrap(),
            port_offset: 0,
            cluster_ports: false,
            is_captured: false,
        };
        let log = Log::default();
        let logger = AccessLogger::to_writer(Box::new(log.clone()));
        let proxy = Proxy::new(ProxyOptions {
            plan,
            log: logger,
            resolver: Resolver::system(),
            identity: None,
            mesh: None,
        })
        .unwrap();
        proxy.join_mesh(own(self.namespace, self.workload));
        proxy.trace_to(self.trace.clone());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let failures = proxy.apply(&self.configuration(free)).await;
        assert!(failures.is_empty(), "{failures:?}");
        DataPlane { proxy, address: SocketAddr::from(([127, 0, 0, 1], free)), log }
    }

    fn configuration(&self, port: u16) -> ir::Delta {
        let origin = |kind, name: &str| ir::Origin::new(kind, "shop", name);
        let key = if self.is_inbound { "Inbound" } else { "Mesh/Service/shop/target" };
        let (gateway, listener) = (ir::GatewayKey::new(key), ir::ListenerKey::new(format!("{key}/80")));
        let name = "Service/shop/target:80";
        let (backend, endpoints) = (ir::BackendKey::new(name), ir::EndpointSetKey::new(name));
        let telemetry = self.telemetry.iter().cloned().map(Arc::new).collect();
        let settings = ir::Settings { access_log: self.access_log, ..ir::Settings::standard() };
        let protocol = if self.is_stream { ir::ListenerProtocol::Tcp } else { ir::ListenerProtocol::Http };
        let speaks = if self.is_stream { ir::BackendProtocol::Tcp } else { ir::BackendProtocol::Http1 };
        let attachments =
            [ir::Attachment { listener: listener.clone(), hostnames: [ir::HostPattern::Any].into() }];
        let target = ir::WeightedBackend {
            target: ir::BackendTarget::Backend(backend.clone()),
            weight: 1,
            filters: Box::default(),
        };
        let route = match self.is_stream {
            true => Resource::StreamRoute(Arc::new(ir::StreamRoute {
                key: ir::StreamRouteKey::new("TCPRoute/shop/target"),
                origin: origin("TCPRoute", "target"),
                kind: ir::StreamKind::Tcp,
                created_s: 0,
                attachments: attachments.into(),
                backends: [target].into(),
            })),
            false => Resource::Route(Arc::new(ir::Route {
                key: ir::RouteKey::new("HTTPRoute/shop/target"),
                origin: origin("HTTPRoute", "target"),
                kind: ir::RouteKind::Http,
                created_s: 0,
                attachments: attachments.into(),
                traffic: None,
                rules: [ir::Rule {
                    index: 0,
                    name: None,
                    matches: [ir::Match::default()].into(),
                    filters: Box::default(),
                    backends: [target].into(),
                    timeouts: None,
                    retry: None,
                    session_persistence: None,
                }]
                .into(),
            })),
        };
        let upserts = vec![
            Resource::Gateway(Arc::new(ir::Gateway {
                key: gateway.clone(),
                origin: origin("Service", "target"),
                settings,
                backend_certificate: None,
                ticket_secrets: Vec::new(),
                traffic: None,
                authorization: Vec::new(),
                authentication: Vec::new(),
                telemetry,
            })),
            Resource::Listener(Arc::new(ir::Listener {
                key: listener,
                origin: origin("Service", "target").section("http"),
                gateway,
                addresses: Vec::new(),
                networks: Vec::new(),
                port,
                protocol,
                hostname: ir::HostPattern::Any,
                destination: None,
                traffic: None,
            })),
            Resource::EndpointSet(Arc::new(ir::EndpointSet {
                is_external: false,
                takes_first: false,
                asked: None,
                key: endpoints.clone(),
                origin: origin("Service", "target"),
                endpoints: vec![ir::Endpoint {
                    address: ir::EndpointAddress::Socket(self.to),
                    state: ir::EndpointState::Ready,
                    weight: 1,
                    topology: None,
                    workload: self.peer.map(|peer| Arc::new(own("shop", peer).workload)),
                }],
            })),
            Resource::Backend(Arc::new(ir::Backend {
                key: backend,
                origin: origin("Service", "target"),
                protocol: speaks,
                endpoints,
                tls: None,
                policy: None,
                health: None,
                mesh: ir::MeshTls::Off,
            })),
            route,
        ];
        ir::Delta { upserts, removals: Vec::new() }
    }
}

/// A workload.
pub(crate) fn own(namespace: &str, name: &str) -> OwnWorkload {
    let labels = [("app", name), ("version", "v1")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    OwnWorkload::new(
        namespace,
        name,
        &format!("{name}-v1-abc"),
        Some(&format!("{name}-v1")),
        BTreeMap::from(labels),
    )
}

/// One request with these fields on a connection of its own; the whole answer.
pub(crate) async fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: target.shop\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until a scrape shows what is looked for.
pub(crate) async fn scraped(proxy: &Proxy, is_there: impl Fn(&str) -> bool) -> String {
    for _ in 0..3_000 {
        let text = proxy.metrics().encode();
        if is_there(&text) {
            return text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not in\n{}", proxy.metrics().encode());
}
