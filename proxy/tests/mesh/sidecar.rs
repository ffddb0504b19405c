//! A sidecar, and the configuration that it gets.

use sluice_ir::{self as ir, Resource};
use sluice_proxy::identity::Identity;
use sluice_proxy::listen::{Destination, OriginalDestination};
use sluice_proxy::mesh::{Destinations, Mesh, MeshOptions, MeshSettings, Wanted};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A running sidecar of an application in namespace `shop`.
pub(crate) struct Sidecar {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) mesh: Mesh,
    pub(crate) identity: watch::Sender<Option<Arc<Identity>>>,
    going: Arc<Mutex<Option<SocketAddr>>>,
    pub(crate) log: Log,
    pub(crate) world: Arc<World>,
}

/// An access log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
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

/// What the control plane knows, and what it was asked for.
#[derive(Default)]
pub(crate) struct World {
    proxy: Mutex<Option<Arc<Proxy>>>,
    known: Mutex<BTreeMap<String, ir::Delta>>,
    pub(crate) asked: Mutex<BTreeSet<String>>,
}

impl World {
    /// A destination that is part of the configuration once somebody asks.
    pub(crate) fn knows(&self, name: &str, delta: ir::Delta) {
        self.known.lock().unwrap().insert(name.to_owned(), delta);
    }
}

#[async_trait::async_trait]
impl Destinations for World {
    async fn want(&self, destination: Destination) -> Wanted {
        let name = destination.name();
        self.asked.lock().unwrap().insert(name.clone());
        let known = self.known.lock().unwrap().get(&name).cloned();
        let Some(delta) = known else { return Wanted::Nobody };
        let proxy = self.proxy.lock().unwrap().clone().unwrap();
        assert!(proxy.apply(&delta).await.is_empty());
        Wanted::Known
    }
}

impl Sidecar {
    pub(crate) async fn start(identity: Option<Arc<Identity>>) -> Self {
        let (identity, receiver) = watch::channel(identity);
        let settings = MeshSettings {
            namespace: "shop".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "cart".to_owned())]),
            detection: Duration::from_millis(100),
        };
        let log = Log::default();
        let proxy = Proxy::new(ProxyOptions {
            plan: BindPlan::captured(),
            log: AccessLogger::to_writer(Box::new(log.clone())),
            resolver: Resolver::system(),
            identity: Some(receiver),
            mesh: Some(settings),
        })
        .unwrap();
        let going: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let told = going.clone();
        let original: OriginalDestination = Arc::new(move |_| Ok(*told.lock().unwrap()));
        let world = Arc::new(World::default());
        *world.proxy.lock().unwrap() = Some(proxy.clone());
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let options = MeshOptions {
            outbound: vec![local],
            inbound: vec![local],
            original,
            destinations: world.clone(),
            wait: Duration::from_secs(2),
        };
        let mesh = Mesh::start(&proxy, options).await.unwrap();
        Self { proxy, mesh, identity, going, log, world }
    }

    /// Connections that come from now on were going there; `None`: they were not captured.
    pub(crate) fn captured_from(&self, original: Option<SocketAddr>) -> &Self {
        *self.going.lock().unwrap() = original;
        self
    }

    pub(crate) fn outbound(&self) -> SocketAddr {
        self.mesh.outbound()[0]
    }

    pub(crate) fn inbound(&self) -> SocketAddr {
        self.mesh.inbound()[0]
    }

    pub(crate) async fn apply(&self, resources: impl IntoIterator<Item = Resource>) {
        let delta = ir::Delta { upserts: resources.into_iter().collect(), removals: Vec::new() };
        let failures = self.proxy.apply(&delta).await;
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// What governs the namespace.
    pub(crate) async fn govern(&self, change: impl FnOnce(&mut ir::Workloads)) {
        let mut workloads = workloads();
        change(&mut workloads);
        self.apply([Resource::Workloads(Arc::new(workloads))]).await;
    }

    /// A sidecar that lets everything pass, beside the application.
    pub(crate) async fn beside(app: SocketAddr, identity: Option<Arc<Identity>>) -> Self {
        let it = Self::start(identity).await;
        it.govern(|_| {}).await;
        it.captured_from(Some(app));
        it
    }

    pub(crate) fn counts(&self, metric: &str) -> bool {
        self.proxy.metrics().encode().contains(metric)
    }
}

pub(crate) fn workloads() -> ir::Workloads {
    ir::Workloads {
        key: ir::WorkloadsKey::new("shop"),
        origin: ir::Origin::new("Namespace", "", "shop"),
        trust_domains: vec!["cluster.local".to_owned()],
        outbound: ir::Outbound::AllowAny,
        scopes: Vec::new(),
        mutual_tls: Vec::new(),
        authorization: Vec::new(),
        authentication: Vec::new(),
        telemetry: Vec::new(),
        paths: ir::PathNormalization::default(),
        names: BTreeMap::new(),
        always_allowed: Vec::new(),
    }
}

pub(crate) fn strict(workloads: &mut ir::Workloads) {
    workloads.mutual_tls = vec![ir::MutualTls {
        origin: ir::Origin::new("PeerAuthentication", "shop", "strict"),
        is_mesh: false,
        selector: ir::Selector::default(),
        mode: Some(ir::MutualTlsMode::Strict),
        ports: BTreeMap::new(),
    }];
}

/// A destination of the mesh.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) address: Option<&'static str>,
    /// Networks by which it is found besides.
    pub(crate) networks: &'static [&'static str],
    /// Whether connections go where they were going, at `port` of `endpoint`, which is not called.
    pub(crate) is_original: bool,
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    pub(crate) protocol: ir::ListenerProtocol,
    pub(crate) endpoint: SocketAddr,
    /// The service account behind it, if that takes the mesh's TLS.
    pub(crate) account: Option<&'static str>,
    pub(crate) mesh: ir::MeshTls,
    /// How its endpoint is asked whether it is well.
    pub(crate) health: Option<ir::HealthCheck>,
}

impl Service {
    /// One that is spoken to in the mesh's TLS where its endpoint takes that.
    pub(crate) fn new(address: &'static str, protocol: ir::ListenerProtocol, endpoint: SocketAddr) -> Self {
        Self {
            name: "cart",
            address: Some(address),
            networks: &[],
            is_original: false,
            host: "*",
            port: 80,
            protocol,
            endpoint,
            account: Some("cart"),
            mesh: ir::MeshTls::Auto("outbound_.80_._.cart.shop.svc.cluster.local".into()),
            health: None,
        }
    }

    pub(crate) fn vip(&self) -> SocketAddr {
        SocketAddr::new(self.address.unwrap().parse().unwrap(), self.port)
    }

    pub(crate) fn resources(&self) -> Vec<Resource> {
        let origin = ir::Origin::new("Service", "shop", self.name);
        let key = format!("Mesh/Service/shop/{}", self.name);
        let gateway = ir::GatewayKey::new(key.as_str());
        let listener = ir::ListenerKey::new(format!("{key}/{}", self.port));
        let set = ir::EndpointSetKey::new(key.as_str());
        let backend = |suffix: &str, protocol| {
            let mut policy = ir::BackendPolicy::new(origin.clone());
            policy.connections.speaks_as_client = true;
            ir::Backend {
                key: ir::BackendKey::new(format!("{key}{suffix}")),
                origin: origin.clone(),
                protocol,
                endpoints: set.clone(),
                tls: None,
                policy: Some(Box::new(policy)),
                health: self.health.clone().map(Box::new),
                mesh: self.mesh.clone(),
            }
        };
        let (http, whole) =
            (backend("", ir::BackendProtocol::Http1), backend("+tcp", ir::BackendProtocol::Tcp));
        let to = |backend: &ir::Backend| -> Arc<[ir::WeightedBackend]> {
            let target = ir::BackendTarget::Backend(backend.key.clone());
            [ir::WeightedBackend { target, weight: 1, filters: Box::default() }].into()
        };
        let attachments: Box<[ir::Attachment]> =
            [ir::Attachment { listener: listener.clone(), hostnames: [ir::HostPattern::Any].into() }].into();
        let workload = self.account.map(|account| {
            Arc::new(ir::Workload {
                namespace: "shop".to_owned(),
                service_account: account.to_owned(),
                name: self.name.to_owned(),
                app: String::new(),
                version: String::new(),
                canonical_service: self.name.to_owned(),
                canonical_revision: "latest".to_owned(),
                mutual_tls: true,
            })
        });
        let port = self.endpoint.port();
        let asked = ir::AskedHosts { names: None, networks: Vec::new(), port, original: true };
        let rule = ir::Rule {
            index: 0,
            name: None,
            matches: [ir::Match::default()].into(),
            filters: Box::default(),
            backends: to(&http),
            timeouts: None,
            retry: None,
            session_persistence: None,
        };
        vec![
            Resource::Gateway(Arc::new(ir::Gateway::plain(
                gateway.clone(),
                origin.clone(),
                ir::Settings::standard(),
            ))),
            Resource::Listener(Arc::new(ir::Listener {
                key: listener,
                origin: origin.clone(),
                gateway,
                addresses: self.address.iter().map(|it| it.parse().unwrap()).collect(),
                networks: self.networks.iter().map(|it| it.parse().unwrap()).collect(),
                port: self.port,
                protocol: self.protocol.clone(),
                hostname: ir::HostPattern::parse(self.host),
                destination: Some(format!("{}.shop.svc.cluster.local", self.name).into()),
                traffic: None,
            })),
            Resource::EndpointSet(Arc::new(ir::EndpointSet {
                key: set,
                origin: origin.clone(),
                endpoints: vec![ir::Endpoint {
                    address: ir::EndpointAddress::Socket(self.endpoint),
                    state: ir::EndpointState::Ready,
                    weight: 1,
                    topology: None,
                    workload,
                }],
                is_external: false,
                takes_first: false,
                asked: self.is_original.then(|| Box::new(asked)),
            })),
            Resource::Route(Arc::new(ir::Route {
                key: ir::RouteKey::new(key.as_str()),
                origin: origin.clone(),
                kind: ir::RouteKind::Http,
                created_s: 0,
                attachments: attachments.clone(),
                rules: [rule].into(),
                traffic: None,
            })),
            Resource::StreamRoute(Arc::new(ir::StreamRoute {
                key: ir::StreamRouteKey::new(key.as_str()),
                origin,
                kind: ir::StreamKind::Tcp,
                created_s: 0,
                attachments,
                backends: to(&whole),
            })),
            Resource::Backend(Arc::new(http)),
            Resource::Backend(Arc::new(whole)),
        ]
    }

    pub(crate) fn delta(&self) -> ir::Delta {
        ir::Delta { upserts: self.resources(), removals: Vec::new() }
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
