//! Workloads: processes with a sidecar beside them, who they are, and what governs them.
//!
//! What governs workloads travels once a namespace, with the labels that each policy selects by: a data plane knows the
//! labels of its own pod and selects for itself, so that a control plane translates nothing per pod.

use crate::{Authentication, Authorization, Origin, PathNormalization, Scope, Telemetry, WorkloadsKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What governs the workloads of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workloads {
    /// The namespace.
    pub key: WorkloadsKey,
    /// The Namespace.
    pub origin: Origin,
    /// The mesh's own trust domain first, then its aliases; never empty.
    pub trust_domains: Vec<String>,
    /// What becomes of connections to destinations that the mesh does not know, where no Sidecar is for a workload.
    #[serde(default)]
    pub outbound: Outbound,
    /// Sidecars, in the order in which they win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// PeerAuthentications of the root namespace without a selector, and all of this namespace; the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutual_tls: Vec<MutualTls>,
    /// AuthorizationPolicies of the root namespace and of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization: Vec<Arc<Authorization>>,
    /// RequestAuthentications of the root namespace and of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<Arc<Authentication>>,
    /// Telemetries of the root namespace and of this one, and what holds without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<Arc<Telemetry>>,
    /// How paths are read by AuthorizationPolicies, and written for workloads (`meshConfig.pathNormalization`).
    #[serde(default, skip_serializing_if = "PathNormalization::is_usual")]
    pub paths: PathNormalization,
    /// Hosts that no other DNS knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, HostAddresses>,
    /// Addresses that may be called whatever `outbound` says, such as those of the Kubernetes API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always_allowed: Vec<IpNet>,
}

impl Workloads {
    /// The Sidecar that is for a workload with these labels.
    pub fn scope(&self, labels: &BTreeMap<String, String>) -> Option<&Scope> {
        self.scopes.iter().find(|it| it.selector.selects(labels))
    }
}

/// A host of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAddresses {
    /// That of the ServiceEntry.
    pub namespace: String,
    /// Its virtual addresses, or those that the entry names.
    pub addresses: Vec<IpAddr>,
}

/// What becomes of connections to destinations that the mesh does not know (`outboundTrafficPolicy.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outbound {
    /// They go where the application sent them.
    #[default]
    AllowAny,
    /// They are refused: requests are answered 502, other connections closed.
    RegistryOnly,
}

/// Labels that a pod must have, all of them; empty: every pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector(pub BTreeMap<String, String>);

impl Selector {
    /// Whether every pod is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pod with these labels is meant.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// One PeerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutualTls {
    /// The PeerAuthentication.
    pub origin: Origin,
    /// Whether it is the root namespace's, and so the mesh's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_mesh: bool,
    /// Which workloads.
    #[serde(default)]
    pub selector: Selector,
    /// For all ports; `None`: as the next wider one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<MutualTlsMode>,
    /// For single ports of the workload; `None`: as `mode`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, Option<MutualTlsMode>>,
}

/// What a workload takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MutualTlsMode {
    /// The mesh's TLS is not ended here.
    Disable,
    /// The mesh's TLS, and everything else.
    #[default]
    Permissive,
    /// The mesh's TLS alone.
    Strict,
}

/// The mode of a workload's port: port, workload, namespace, mesh in this order; the oldest of equals counts; permissive
/// when none says anything.
pub fn mutual_tls_mode(all: &[MutualTls], labels: &BTreeMap<String, String>, port: u16) -> MutualTlsMode {
    let selecting = all.iter().find(|it| !it.is_mesh && !it.selector.is_all() && it.selector.selects(labels));
    let of_port = selecting.and_then(|it| it.ports.get(&port)).copied().flatten();
    let of_namespace = all.iter().find(|it| !it.is_mesh && it.selector.is_all());
    let of_mesh = all.iter().find(|it| it.is_mesh);
    let modes = [selecting, of_namespace, of_mesh].into_iter().flatten().filter_map(|it| it.mode);
    of_port.into_iter().chain(modes).next().unwrap_or_default()
}

/// One workload as its clients see it: behind an endpoint, and in metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// The Deployment, StatefulSet, Job or whatever made the pod.
    pub name: String,
    /// Label `app`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// Label `version`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else the workload's name.
    pub canonical_service: String,
    /// `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, else `version`, else `latest`.
    pub canonical_revision: String,
    /// Whether clients speak the mesh's TLS to it: it has a sidecar, and its PeerAuthentication does not switch it off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mutual_tls: bool,
}

impl Workload {
    /// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`, which its certificate must carry (SPIFFE-ID §2).
    pub fn spiffe_id(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

/// Whether the mesh's TLS is spoken to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MeshTls {
    /// Never: no backend of the mesh, or a DestinationRule switches it off or sets another TLS.
    #[default]
    Off,
    /// To endpoints that take it, in the clear to the others. Server name of the handshake:
    /// `outbound_.PORT_.SUBSET_.HOST`.
    Auto(Box<str>),
    /// To all endpoints; those that don't take it are not reached (DestinationRule `ISTIO_MUTUAL`).
    Required(Box<str>),
}

impl MeshTls {
    /// Whether it never is.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

#[cfg(test)]
mod tests {
    use super::{MutualTls, MutualTlsMode, Selector, mutual_tls_mode};
    use crate::Origin;
    use std::collections::BTreeMap;

    fn labels(app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    fn rule(is_mesh: bool, app: Option<&str>, mode: Option<MutualTlsMode>) -> MutualTls {
        let selector = Selector(app.map(labels).unwrap_or_default());
        let origin = Origin::new("PeerAuthentication", "shop", "it");
        MutualTls { origin, is_mesh, selector, mode, ports: BTreeMap::new() }
    }

    #[test]
    fn port_beats_workload_beats_namespace_beats_mesh_and_unset_inherits() {
        use MutualTlsMode::{Disable, Permissive, Strict};
        assert_eq!(mutual_tls_mode(&[], &labels("a"), 80), Permissive);
        let mut workload = rule(false, Some("a"), None);
        workload.ports = BTreeMap::from([(80, Some(Disable)), (81, None)]);
        let all = [workload, rule(false, None, Some(Permissive)), rule(true, None, Some(Strict))];
        assert_eq!(mutual_tls_mode(&all, &labels("a"), 80), Disable);
        assert_eq!(mutual_tls_mode(&all, &labels("a"), 81), Permissive, "a port that is UNSET inherits");
        assert_eq!(mutual_tls_mode(&all, &labels("b"), 80), Permissive);
        assert_eq!(mutual_tls_mode(&all[2..], &labels("b"), 80), Strict);
    }
}
