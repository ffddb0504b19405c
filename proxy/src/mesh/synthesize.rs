//! What a sidecar serves besides what it is sent: connections to its application, and those to destinations that the mesh
//! does not know.
//!
//! Both become the resources that a Gateway's are, so that limits, policies, records and the engine need not know of
//! them. The policies of the namespace are selected by the labels of the pod here: the control plane translates none for a
//! pod.

use super::{INBOUND, OUTBOUND};
use sluice_ir as ir;
use sluice_ir::{Resource, ResourceKey};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long what is under way may be silent.
const STREAM_IDLE: Duration = Duration::from_secs(60 * 60);

/// Time to connect to where a connection was going.
const CONNECT: Duration = Duration::from_secs(10);

/// Hosts that the mesh alone knows, with their addresses.
pub type Names = BTreeMap<String, Vec<IpAddr>>;

/// Makes them, as often as what they are made of changes.
pub(crate) struct Synthesizer {
    namespace: String,
    labels: BTreeMap<String, String>,
    workloads: Option<Arc<ir::Workloads>>,
    /// The labels are others since the last delta.
    is_relabelled: bool,
    made: Vec<Resource>,
    names: Arc<Names>,
}

impl Synthesizer {
    pub(crate) fn new(namespace: String, labels: BTreeMap<String, String>) -> Self {
        Self {
            namespace,
            labels,
            workloads: None,
            is_relabelled: false,
            made: Vec::new(),
            names: Arc::default(),
        }
    }

    /// The pod's labels are these now. The next delta makes them count, also an empty one.
    pub(crate) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        self.is_relabelled |= self.labels != labels;
        self.labels = labels;
    }

    /// What governs the workload; `None` before the control plane has said anything.
    pub(crate) fn workloads(&self) -> Option<&Arc<ir::Workloads>> {
        self.workloads.as_ref()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the workload takes on a port.
    pub(crate) fn mode(&self, workloads: &ir::Workloads, port: u16) -> ir::MutualTlsMode {
        ir::mutual_tls_mode(&workloads.mutual_tls, &self.labels, port)
    }

    /// The Sidecar that is for the workload.
    fn scope(&self) -> Option<&ir::Scope> {
        self.workloads.as_ref()?.scope(&self.labels)
    }

    /// What becomes of connections to destinations that the workload does not know.
    pub(crate) fn outbound(&self, workloads: &ir::Workloads) -> ir::Outbound {
        workloads.scope(&self.labels).map_or(workloads.outbound, |it| it.outbound)
    }

    /// Whether the workload knows a port: what its Sidecar does not name is not there.
    pub(crate) fn knows(&self, listener: &ir::Listener) -> bool {
        self.scope().is_none_or(|it| it.knows(listener))
    }

    /// The names that the workload knows, as of the last delta; `None` before the control plane has said anything.
    pub(crate) fn names(&self) -> Option<&Arc<Names>> {
        self.workloads.as_ref().map(|_| &self.names)
    }

    fn known_names(&self) -> Names {
        let scope = self.scope();
        let all = self.workloads.iter().flat_map(|it| &it.names);
        let known = all.filter(|(host, it)| scope.is_none_or(|of| of.knows_host(&it.namespace, host)));
        known.map(|(host, it)| (host.clone(), it.addresses.clone())).collect()
    }

    /// The delta and what it changes here.
    pub(crate) fn extend(&mut self, delta: &ir::Delta) -> ir::Delta {
        let before = self.workloads.clone();
        let ours = ir::WorkloadsKey::new(self.namespace.as_str());
        for resource in &delta.upserts {
            if let Resource::Workloads(it) = resource
                && it.key == ours
            {
                self.workloads = Some(it.clone());
            }
        }
        if delta.removals.contains(&ResourceKey::Workloads(ours)) {
            self.workloads = None;
        }
        let now = self.workloads.as_deref().map(|it| self.make(it)).unwrap_or_default();
        let mut extended = delta.clone();
        let is_same = match (&before, &self.workloads) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if self.is_relabelled || !is_same {
            self.names = Arc::new(self.known_names());
        }
        if std::mem::take(&mut self.is_relabelled) {
            // What is taken on which port may be something else now.
            extended.upserts.extend(self.workloads.clone().map(Resource::Workloads));
        }
        extended.upserts.extend(now.iter().filter(|it| !self.made.contains(it)).cloned());
        let gone = self.made.iter().map(Resource::key).filter(|key| now.iter().all(|it| it.key() != *key));
        extended.removals.extend(gone);
        self.made = now;
        extended
    }

    fn make(&self, workloads: &ir::Workloads) -> Vec<Resource> {
        let authorization = workloads.authorization.iter().filter(|it| it.selector.selects(&self.labels));
        let authentication = workloads.authentication.iter().filter(|it| it.selector.selects(&self.labels));
        let mut inbound = side(&self.namespace, "Inbound", "application", INBOUND);
        inbound.gateway.authorization = authorization.cloned().collect();
        inbound.gateway.authentication = authentication.cloned().collect();
        inbound.gateway.settings.paths = workloads.paths;
        let mut outbound = side(&self.namespace, "Outbound", "PassthroughCluster", OUTBOUND);
        for side in [&mut inbound, &mut outbound] {
            let telemetry = workloads.telemetry.iter().filter(|it| it.selector.selects(&self.labels));
            side.gateway.telemetry = telemetry.cloned().collect();
        }
        inbound.resources().chain(outbound.resources()).collect()
    }
}

/// Everything of one direction.
struct Side {
    gateway: ir::Gateway,
    listener: ir::Listener,
    set: ir::EndpointSet,
    backends: [ir::Backend; 2],
    route: ir::Route,
    stream: ir::StreamRoute,
}

impl Side {
    fn resources(self) -> impl Iterator<Item = Resource> {
        let Self { gateway, listener, set, backends: [http, whole], route, stream } = self;
        [
            Resource::EndpointSet(Arc::new(set)),
            Resource::Backend(Arc::new(http)),
            Resource::Backend(Arc::new(whole)),
            Resource::Gateway(Arc::new(gateway)),
            Resource::Listener(Arc::new(listener)),
            Resource::Route(Arc::new(route)),
            Resource::StreamRoute(Arc::new(stream)),
        ]
        .into_iter()
    }
}

/// Whatever comes goes where it was going.
fn side(namespace: &str, kind: &'static str, name: &str, address: SocketAddr) -> Side {
    let origin = ir::Origin::new(kind, namespace, name);
    let key = format!("{kind}/{namespace}/{name}");
    let gateway = ir::GatewayKey::new(kind);
    let listener = ir::ListenerKey::new(key.as_str());
    let asked = ir::AskedHosts { names: None, networks: Vec::new(), port: 0, original: true };
    let set = ir::EndpointSet {
        key: ir::EndpointSetKey::new(key.as_str()),
        origin: origin.clone(),
        endpoints: Vec::new(),
        is_external: false,
        takes_first: false,
        asked: Some(Box::new(asked)),
    };
    let mut policy = ir::BackendPolicy::new(origin.clone());
    // A client that speaks HTTP/2 knows that its server does.
    policy.connections.speaks_as_client = true;
    let backend = |suffix: &str, protocol, policy| ir::Backend {
        key: ir::BackendKey::new(format!("{key}{suffix}")),
        origin: origin.clone(),
        protocol,
        endpoints: set.key.clone(),
        tls: None,
        policy,
        health: None,
        mesh: ir::MeshTls::Off,
    };
    let backends = [
        backend("", ir::BackendProtocol::Http1, Some(Box::new(policy))),
        backend("+tcp", ir::BackendProtocol::Tcp, None),
    ];
    let to = |backend: &ir::Backend| -> Arc<[ir::WeightedBackend]> {
        let target = ir::BackendTarget::Backend(backend.key.clone());
        [ir::WeightedBackend { target, weight: 1, filters: Box::default() }].into()
    };
    let attachments: Box<[ir::Attachment]> =
        [ir::Attachment { listener: listener.clone(), hostnames: [ir::HostPattern::Any].into() }].into();
    let rule = ir::Rule {
        index: 0,
        name: None,
        matches: [ir::Match::default()].into(),
        filters: Box::default(),
        backends: to(&backends[0]),
        timeouts: None,
        retry: None,
        session_persistence: None,
    };
    let mut settings = ir::Settings::standard();
    // Clients are pods, and one that is a gateway brings the connections of many.
    settings.limits.connections_per_client = settings.limits.connections;
    // As destinations of the mesh have it, and Istio's sidecars: an answer may take its time, and there is no other endpoint.
    settings.limits.stream_idle_timeout = STREAM_IDLE;
    settings.limits.connect_timeout = CONNECT;
    settings.eject_after_failures = 0;
    Side {
        gateway: ir::Gateway::plain(gateway.clone(), origin.clone(), settings),
        listener: ir::Listener {
            key: listener,
            origin: origin.clone(),
            gateway,
            addresses: vec![address.ip()],
            networks: Vec::new(),
            port: address.port(),
            protocol: ir::ListenerProtocol::Detect,
            hostname: ir::HostPattern::Any,
            destination: None,
            traffic: None,
        },
        route: ir::Route {
            key: ir::RouteKey::new(key.as_str()),
            origin: origin.clone(),
            kind: ir::RouteKind::Http,
            created_s: 0,
            attachments: attachments.clone(),
            rules: [rule].into(),
            traffic: None,
        },
        stream: ir::StreamRoute {
            key: ir::StreamRouteKey::new(key.as_str()),
            origin,
            kind: ir::StreamKind::Tcp,
            created_s: 0,
            attachments,
            backends: to(&backends[1]),
        },
        set,
        backends,
    }
}

#[cfg(test)]
mod tests {
    use super::Synthesizer;
    use sluice_ir as ir;
    use sluice_ir::{Resource, ResourceKey};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn labels(app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    fn workloads(apps: &[&str]) -> ir::Delta {
        let authorization = apps.iter().map(|app| {
            Arc::new(ir::Authorization {
                origin: ir::Origin::new("AuthorizationPolicy", "shop", *app),
                selector: ir::Selector(labels(app)),
                action: ir::AuthorizationAction::Deny,
                is_dry_run: false,
                rules: Vec::new(),
            })
        });
        let workloads = ir::Workloads {
            key: ir::WorkloadsKey::new("shop"),
            origin: ir::Origin::new("Namespace", "", "shop"),
            trust_domains: vec!["cluster.local".to_owned()],
            outbound: ir::Outbound::AllowAny,
            scopes: Vec::new(),
            mutual_tls: Vec::new(),
            authorization: authorization.collect(),
            authentication: Vec::new(),
            telemetry: Vec::new(),
            paths: ir::PathNormalization::default(),
            names: BTreeMap::new(),
            always_allowed: Vec::new(),
        };
        ir::Delta { upserts: vec![Resource::Workloads(Arc::new(workloads))], removals: Vec::new() }
    }

    fn scope(app: &str, host: &str, outbound: ir::Outbound) -> ir::Scope {
        let hosts = vec![ir::KnownHosts { namespace: None, host: ir::HostPattern::parse(host) }];
        ir::Scope {
            origin: ir::Origin::new("Sidecar", "shop", app),
            selector: ir::Selector(labels(app)),
            outbound,
            egress: Some(vec![ir::Egress { port: None, hosts }]),
        }
    }

    #[test]
    fn names_and_what_is_unknown_are_as_the_sidecar_of_the_pods_labels_says() {
        let mut delta = workloads(&[]);
        let Resource::Workloads(it) = &mut delta.upserts[0] else { unreachable!() };
        let all = Arc::make_mut(it);
        all.scopes = vec![
            scope("a", "a.test", ir::Outbound::RegistryOnly),
            scope("b", "b.test", ir::Outbound::AllowAny),
        ];
        let named = |address: [u8; 4]| ir::HostAddresses {
            namespace: "shop".to_owned(),
            addresses: vec![address.into()],
        };
        all.names = BTreeMap::from([
            ("a.test".to_owned(), named([240, 240, 0, 1])),
            ("b.test".to_owned(), named([240, 240, 0, 2])),
        ]);
        let all = it.clone();
        let mut made = Synthesizer::new("shop".to_owned(), labels("a"));
        assert!(made.names().is_none());
        made.extend(&delta);
        let names = |it: &Synthesizer| it.names().map(|it| it.keys().cloned().collect::<Vec<_>>());
        assert_eq!(
            (names(&made), made.outbound(&all)),
            (Some(vec!["a.test".to_owned()]), ir::Outbound::RegistryOnly)
        );
        made.set_labels(labels("b"));
        made.extend(&ir::Delta::default());
        assert_eq!(
            (names(&made), made.outbound(&all)),
            (Some(vec!["b.test".to_owned()]), ir::Outbound::AllowAny)
        );
        made.set_labels(labels("c"));
        made.extend(&ir::Delta::default());
        assert_eq!(names(&made).map(|it| it.len()), Some(2), "no Sidecar is for it");
    }

    fn policies(delta: &ir::Delta) -> Vec<usize> {
        let gateways = delta.upserts.iter().filter_map(|it| match it {
            Resource::Gateway(it) => Some(it.authorization.len()),
            _ => None,
        });
        gateways.collect()
    }

    #[test]
    fn policies_are_those_that_select_the_pod_and_only_what_changed_is_made_anew() {
        let mut made = Synthesizer::new("shop".to_owned(), labels("a"));
        assert!(made.extend(&ir::Delta::default()).upserts.is_empty(), "nothing before the first word");
        let first = made.extend(&workloads(&["a", "b"]));
        assert_eq!((policies(&first), first.upserts.len()), (vec![1, 0], 15));
        assert_eq!(made.extend(&ir::Delta::default()), ir::Delta::default());
        assert_eq!(policies(&made.extend(&workloads(&["a", "b", "c"]))), [0; 0], "of others");
        assert_eq!(policies(&made.extend(&workloads(&["b"]))), [0]);
        made.set_labels(labels("b"));
        assert_eq!(policies(&made.extend(&ir::Delta::default())), [1]);
        let gone = ir::Delta {
            upserts: Vec::new(),
            removals: vec![ResourceKey::Workloads(ir::WorkloadsKey::new("shop"))],
        };
        assert_eq!(made.extend(&gone).removals.len(), 15);
    }
}
