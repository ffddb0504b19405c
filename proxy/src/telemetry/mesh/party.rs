//! Who takes part in a call, as metrics, spans and other proxies name it.

use sluice_ir as ir;
use std::collections::BTreeMap;

/// What stands for text that is not known.
pub const UNKNOWN: &str = "unknown";

/// One end of a call. Empty text: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Party {
    /// The Deployment, StatefulSet or whatever made the pod.
    pub workload: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its SPIFFE ID, told only of connections that proved it.
    pub principal: Box<str>,
    /// Label `app`.
    pub app: Box<str>,
    /// Label `version`.
    pub version: Box<str>,
    /// Label `service.istio.io/canonical-name`, or what stands for it.
    pub canonical_service: Box<str>,
    /// Label `service.istio.io/canonical-revision`, or what stands for it.
    pub canonical_revision: Box<str>,
    /// Its cluster.
    pub cluster: Box<str>,
}

impl Party {
    /// A workload of a cluster, known to clients by this trust domain.
    pub fn of(workload: &ir::Workload, trust_domain: &str, cluster: &str) -> Self {
        Self {
            workload: workload.name.as_str().into(),
            namespace: workload.namespace.as_str().into(),
            principal: workload.spiffe_id(trust_domain).into(),
            app: workload.app.as_str().into(),
            version: workload.version.as_str().into(),
            canonical_service: workload.canonical_service.as_str().into(),
            canonical_revision: workload.canonical_revision.as_str().into(),
            cluster: cluster.into(),
        }
    }

    /// Whoever holds this identity; its workload is not known.
    pub fn of_identity(spiffe_id: &str) -> Self {
        Self {
            namespace: namespace_of(spiffe_id).unwrap_or_default().into(),
            principal: spiffe_id.into(),
            ..Self::default()
        }
    }
}

/// `NS` of `spiffe://TRUST-DOMAIN/ns/NS/sa/SA`.
pub(super) fn namespace_of(spiffe_id: &str) -> Option<&str> {
    let mut parts = spiffe_id.strip_prefix("spiffe://")?.split('/');
    parts.next()?;
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        ("ns", namespace, "sa", _, None) => Some(namespace),
        _ => None,
    }
}

/// The Service or host that a call is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// `reviews.shop.svc.cluster.local`
    pub host: Box<str>,
    /// `reviews`; of a host outside the cluster the host.
    pub name: Box<str>,
    /// `shop`
    pub namespace: Box<str>,
}

/// The domain of cluster names where nothing else is said.
const DOMAIN: &str = "svc.cluster.local";

impl ServiceName {
    /// A Service.
    pub fn of(namespace: &str, name: &str) -> Self {
        Self {
            host: format!("{name}.{namespace}.{DOMAIN}").into(),
            name: name.into(),
            namespace: namespace.into(),
        }
    }

    /// A host as clients say it: a Service's, `NAME.NAMESPACE.svc...`, or one of `namespace`'s ServiceEntries.
    pub fn of_host(host: &str, namespace: &str) -> Self {
        let mut labels = host.splitn(3, '.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(name), Some(namespace), Some(domain)) if domain == "svc" || domain.starts_with("svc.") => {
                Self { host: host.into(), name: name.into(), namespace: namespace.into() }
            }
            _ => Self { host: host.into(), name: host.into(), namespace: namespace.into() },
        }
    }

    /// What a backend stands for.
    pub fn of_backend(backend: &ir::Backend) -> Self {
        let key = backend.key.as_str();
        if Self::is_outside(backend) {
            return Self::cluster(&backend.origin.name);
        }
        let entry = if backend.origin.kind == "ServiceEntry" { &*backend.origin.namespace } else { "" };
        match key.split_once('/') {
            Some(("Service", rest)) => {
                let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
                Self::of(namespace, name.split(':').next().unwrap_or(name))
            }
            // HOST:PORT, or NAMESPACE/NAME/HOST:PORT.
            Some((_, rest)) => {
                let named = rest.split(':').next().unwrap_or(rest);
                Self::of_host(named.rsplit('/').next().unwrap_or(named), entry)
            }
            None => Self::of_host(key, entry),
        }
    }

    /// Whether a backend is whatever the mesh does not know.
    pub fn is_outside(backend: &ir::Backend) -> bool {
        backend.origin.kind == OUTBOUND
    }

    /// A backend in Envoy's words: `outbound|PORT|SUBSET|HOST`.
    pub fn cluster_of(&self, backend: &ir::Backend) -> String {
        let key = backend.key.as_str();
        let rest = key.split_once(':').map_or("", |(_, rest)| rest).split('@').next().unwrap_or_default();
        let (port, subset) = rest.split_once('/').unwrap_or((rest, ""));
        let port = port.split('+').next().unwrap_or(port);
        match backend.origin.kind {
            OUTBOUND => self.name.to_string(),
            super::INBOUND => format!("inbound|{port}||"),
            _ => format!("outbound|{port}|{subset}|{}", self.host),
        }
    }

    /// The destination whose Gateway this is, for calls that come to no backend: `Mesh/KIND/NAMESPACE/NAME`, perhaps
    /// with `@CLIENT-NAMESPACE`. What goes nowhere because the mesh does not know it is `BlackHoleCluster`, as in Istio.
    pub(super) fn of_gateway(gateway: &ir::GatewayKey) -> Self {
        let mut parts = gateway.as_str().split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("Mesh"), Some("Service"), Some(namespace), Some(name)) => {
                Self::of(namespace, name.split('@').next().unwrap_or(name))
            }
            (Some("Mesh"), Some(_), Some(namespace), Some(name)) => Self {
                name: name.split('@').next().unwrap_or(name).into(),
                namespace: namespace.into(),
                ..Self::default()
            },
            (Some(OUTBOUND), ..) => Self::black_hole(),
            _ => Self::default(),
        }
    }

    /// What is called that the mesh does not know, and so goes nowhere.
    pub(crate) fn black_hole() -> Self {
        Self::cluster("BlackHoleCluster")
    }

    fn cluster(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Key of the Gateway, and kind of its backends, for destinations that the mesh does not know.
const OUTBOUND: &str = "Outbound";

/// What a data plane of the mesh knows of itself.
#[derive(Clone, Debug)]
pub struct OwnWorkload {
    /// The workload that it stands beside, or that it is.
    pub workload: ir::Workload,
    /// Labels of its pod; settings select by them.
    pub labels: BTreeMap<String, String>,
    /// The mesh's own.
    pub trust_domain: String,
    /// Its cluster, `Kubernetes` where nothing is said.
    pub cluster: String,
    /// Its mesh; by default the trust domain.
    pub mesh: String,
    /// Its pod.
    pub pod: String,
    /// Its address as text, for the name that other proxies know it by; may be empty.
    pub address: String,
    /// Form of the access log of its ports where no Telemetry says it; `None`: as their Gateways have it.
    pub access_log: Option<ir::AccessLog>,
    /// Whether it is a Gateway, and so neither in front of its workload nor behind it.
    pub is_gateway: bool,
}

impl OwnWorkload {
    /// From what the downward API tells of a pod. `owner` names what made it; `None`: it is made out from the pod's name.
    pub fn new(
        namespace: &str,
        service_account: &str,
        pod: &str,
        owner: Option<&str>,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let label = |names: &[&str]| names.iter().find_map(|name| labels.get(*name)).cloned();
        let name = owner.map_or_else(|| owner_of(pod, &labels), str::to_owned);
        let service = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        let revision =
            label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        let workload = ir::Workload {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            app: label(&["app"]).unwrap_or_default(),
            version: label(&["version"]).unwrap_or_default(),
            canonical_service: service.unwrap_or_else(|| name.clone()),
            canonical_revision: revision.unwrap_or_else(|| "latest".to_owned()),
            name,
            mutual_tls: true,
        };
        Self {
            workload,
            labels,
            trust_domain: "cluster.local".to_owned(),
            cluster: "Kubernetes".to_owned(),
            mesh: "cluster.local".to_owned(),
            pod: pod.to_owned(),
            address: String::new(),
            access_log: None,
            is_gateway: false,
        }
    }

    /// As Envoy's `node.id`: `sidecar~ADDRESS~POD.NAMESPACE~NAMESPACE.svc.cluster.local`.
    pub fn node_id(&self) -> String {
        let namespace = &self.workload.namespace;
        let role = if self.is_gateway { "router" } else { "sidecar" };
        format!("{role}~{}~{}.{namespace}~{namespace}.{DOMAIN}", self.address, self.pod)
    }
}

/// What made a pod, from its name: of a Deployment `NAME-HASH-RANDOM`, where the label says the hash; else what stands
/// before the last dash.
fn owner_of(pod: &str, labels: &BTreeMap<String, String>) -> String {
    let Some((rest, _)) = pod.rsplit_once('-') else { return pod.to_owned() };
    let hash = labels.get("pod-template-hash").map(|hash| format!("-{hash}"));
    let name = hash.and_then(|hash| rest.strip_suffix(&hash)).unwrap_or(rest);
    name.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{OwnWorkload, Party, ServiceName};
    use sluice_ir as ir;
    use std::collections::BTreeMap;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_is_named_as_istio_names_it() {
        let pod = "reviews-v1-5f9c-x2x9k";
        let own = OwnWorkload::new(
            "shop",
            "reviews",
            pod,
            None,
            labels(&[("app", "reviews"), ("version", "v1"), ("pod-template-hash", "5f9c")]),
        );
        assert_eq!(own.workload.name, "reviews-v1");
        assert_eq!((&*own.workload.canonical_service, &*own.workload.canonical_revision), ("reviews", "v1"));
        assert_eq!(own.node_id(), format!("sidecar~~{pod}.shop~shop.svc.cluster.local"));
        let bare = OwnWorkload::new("shop", "default", "job-0", None, BTreeMap::new());
        assert_eq!(
            (&*bare.workload.canonical_service, &*bare.workload.canonical_revision),
            ("job", "latest")
        );
    }

    #[test]
    fn a_host_of_a_service_says_its_name_and_namespace() {
        let service = ServiceName::of_host("reviews.shop.svc.cluster.local", "other");
        assert_eq!(service, ServiceName::of("shop", "reviews"));
        let outside = ServiceName::of_host("api.example.com", "shop");
        assert_eq!((&*outside.name, &*outside.namespace), ("api.example.com", "shop"));
    }

    #[test]
    fn a_backend_is_a_cluster_in_envoys_words() {
        let backend = |kind, key: &str| ir::Backend {
            key: ir::BackendKey::new(key),
            origin: ir::Origin::new(kind, "shop", "PassthroughCluster"),
            protocol: ir::BackendProtocol::Http1,
            endpoints: ir::EndpointSetKey::new(key),
            tls: None,
            policy: None,
            health: None,
            mesh: ir::MeshTls::Off,
        };
        for (kind, key, cluster, name) in [
            ("Service", "Service/shop/cart:80", "outbound|80||cart.shop.svc.cluster.local", "cart"),
            ("Service", "Service/shop/cart:80/v2@web", "outbound|80|v2|cart.shop.svc.cluster.local", "cart"),
            ("Service", "Service/shop/cart:80+h2c", "outbound|80||cart.shop.svc.cluster.local", "cart"),
            (
                "ServiceEntry",
                "Hostname/api.example.com:443",
                "outbound|443||api.example.com",
                "api.example.com",
            ),
            (
                "ServiceEntry",
                "Hostname/shop/it/api.example.com:443",
                "outbound|443||api.example.com",
                "api.example.com",
            ),
            ("Outbound", "Outbound", "PassthroughCluster", "PassthroughCluster"),
        ] {
            let backend = backend(kind, key);
            let service = ServiceName::of_backend(&backend);
            assert_eq!((service.cluster_of(&backend).as_str(), &*service.name), (cluster, name), "{key}");
        }
    }

    #[test]
    fn only_a_whole_identity_has_a_namespace() {
        assert_eq!(&*Party::of_identity("spiffe://cluster.local/ns/shop/sa/cart").namespace, "shop");
        for id in ["spiffe://a/ns/shop", "spiffe://a/ns/shop/sa/cart/more", "https://a/ns/shop/sa/b", ""] {
            assert_eq!(&*Party::of_identity(id).namespace, "", "{id}");
        }
    }
}
