//! Service, EndpointSlice, Node, Secret, ConfigMap and ServiceEntry.

use super::entry::{Resolution, network, wants_address};
use super::{Meta, Transport};
use crate::mesh_config::{self, MeshConfig};
use ipnet::IpNet;
use sluice_crds::{
    ConfigMap, EndpointSlice, Kind, Name, Node, ObjectRef, Secret, Service, ServiceEntry, ServiceEntrySpec,
};
use sluice_ir::{Locality, REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where the authorities are in a ConfigMap or Secret (Gateway API `caCertificateRefs`).
const AUTHORITIES_KEY: &str = "ca.crt";

/// Values of `trafficDistribution` for which near endpoints come first.
const NEAR: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
/// Annotation that says the same where the API server does not know the field (Istio).
const DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// Label of Secrets that an issuer's certificates are kept in.
const ISSUED: &str = "sluice.dev/certificate";
/// Its value where a handshake asked for the certificate.
const ON_DEMAND: &str = "on-demand";
/// Annotation of a ServiceEntry: `"true"` lets its names lead to private addresses.
const ALLOW_PRIVATE: &str = "sluice.dev/allow-private-addresses";

/// Keys of Secrets that CertificateIssuers read, those that DestinationRules may find a credential under besides those of
/// `kubernetes.io/tls`, and those that TrafficPolicies find one for Redis under.
const OTHER_KEYS: [&str; 10] = [
    "eab-key",
    "tsig-key",
    "webhook-header",
    "ca.crl",
    "cert",
    "key",
    "cacert",
    "crl",
    "username",
    "password",
];

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceModel {
    pub(crate) reference: ObjectRef,
    pub(crate) is_external_name: bool,
    pub(crate) ports: Vec<ServicePort>,
    /// Labels of its pods.
    pub(crate) selector: BTreeMap<String, String>,
    /// Whether near endpoints come first (`trafficDistribution`).
    pub(crate) prefers_near: bool,
    /// `clusterIPs`; none where it is headless, or in a folder that names none.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether its name leads to its pods.
    pub(crate) is_headless: bool,
    pub(crate) created_s: i64,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePort {
    /// Empty for a single unnamed port.
    pub(crate) name: String,
    pub(crate) port: i32,
    /// `None` for one that nobody here speaks.
    pub(crate) transport: Option<Transport>,
    pub(crate) app_protocol: Option<String>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceModel {
    pub(crate) service: Option<ObjectRef>,
    /// Whether addresses are names.
    pub(crate) is_fqdn: bool,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) endpoints: Vec<SliceEndpoint>,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) transport: Transport,
}

/// An endpoint of a slice; those that are neither ready nor serving are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEndpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) is_ready: bool,
    pub(crate) zone: Option<String>,
    /// Where it runs.
    pub(crate) node: Option<Name>,
}

/// A Secret, as far as it can be a certificate or authorities.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretModel {
    pub(crate) reference: ObjectRef,
    pub(crate) kind: Option<String>,
    pub(crate) chain: Option<Vec<u8>>,
    pub(crate) private_key: Option<Vec<u8>>,
    /// `ca.crt`.
    pub(crate) authorities: Option<Vec<u8>>,
    /// What a CertificateIssuer, a DestinationRule or a TrafficPolicy may read.
    pub(crate) keys: BTreeMap<&'static str, Vec<u8>>,
    /// Whether it was made for an issuer's certificate.
    pub(crate) is_issued: bool,
    /// The issuer's `NAMESPACE/NAME` where a handshake asked for the certificate.
    pub(crate) on_demand: Option<String>,
}

/// A ConfigMap, as far as it can be authorities or the mesh's configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfigMapModel {
    /// `ca.crt`.
    pub(crate) authorities: Option<Vec<u8>>,
    /// The mesh's configuration, or why it can't be read; only of a ConfigMap that has its name.
    pub(crate) mesh: Option<Result<MeshConfig, String>>,
}

/// A ServiceEntry; hosts lower case, without trailing dot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntryModel {
    pub(crate) meta: Meta,
    pub(crate) hosts: Vec<String>,
    pub(crate) ports: Vec<EntryPort>,
    /// Whether its names may lead to private addresses.
    pub(crate) allows_private: bool,
    pub(crate) resolution: Resolution,
    /// `spec.addresses`, as far as they can be read.
    pub(crate) networks: Vec<IpNet>,
    /// What the label says of addresses that are given to hosts without any.
    pub(crate) wants_address: Option<bool>,
    pub(crate) spec: ServiceEntrySpec,
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryPort {
    pub(crate) number: i64,
    pub(crate) name: String,
    /// Upper case.
    pub(crate) protocol: String,
    pub(crate) target: Option<i64>,
}

impl ServiceModel {
    pub(crate) fn read(it: &Service) -> Self {
        let spec = it.spec.as_ref();
        let ports = spec.and_then(|it| it.ports.as_ref());
        let annotation = it.metadata.annotations.as_ref().and_then(|it| it.get(DISTRIBUTION));
        let distribution = spec.and_then(|it| it.traffic_distribution.as_ref()).or(annotation);
        let meta = Meta::read(Kind::Service, &it.metadata);
        let addresses = spec.into_iter().flat_map(|it| it.cluster_ips.iter().flatten().chain(&it.cluster_ip));
        let addresses: BTreeSet<IpAddr> = addresses.filter_map(|it| it.parse().ok()).collect();
        Self {
            addresses: addresses.into_iter().collect(),
            is_headless: spec.and_then(|it| it.cluster_ip.as_deref()) == Some("None"),
            created_s: meta.created_s,
            reference: meta.reference,
            is_external_name: spec.and_then(|it| it.type_.as_deref()) == Some("ExternalName"),
            ports: ports
                .into_iter()
                .flatten()
                .map(|it| ServicePort {
                    name: it.name.clone().unwrap_or_default(),
                    port: it.port,
                    transport: Transport::of_port(it.protocol.as_deref()),
                    app_protocol: it.app_protocol.clone().filter(|it| !it.is_empty()),
                })
                .collect(),
            selector: spec.and_then(|it| it.selector.clone()).unwrap_or_default(),
            prefers_near: distribution.is_some_and(|it| NEAR.contains(&it.as_str())),
        }
    }
}

impl SliceModel {
    pub(crate) fn read(it: &EndpointSlice) -> Self {
        let meta = Meta::read(Kind::EndpointSlice, &it.metadata);
        let labels = it.metadata.labels.as_ref();
        let service = labels.and_then(|it| it.get("kubernetes.io/service-name"));
        let endpoints = it.endpoints.iter().filter_map(|it| {
            let conditions = it.conditions.as_ref();
            // A missing `ready` counts as ready; a missing `serving` as `ready` (discovery.k8s.io EndpointConditions).
            let is_ready = conditions.and_then(|it| it.ready).unwrap_or(true);
            let is_serving = conditions.and_then(|it| it.serving).unwrap_or(is_ready);
            let is_terminating = conditions.and_then(|it| it.terminating).unwrap_or(false);
            (is_ready || (is_serving && is_terminating)).then(|| SliceEndpoint {
                addresses: it.addresses.clone(),
                is_ready,
                zone: it.zone.clone(),
                node: it.node_name.as_deref().map(Name::from),
            })
        });
        Self {
            service: service
                .map(|it| ObjectRef::new(Kind::Service, meta.reference.namespace.clone(), it.clone())),
            is_fqdn: it.address_type == "FQDN",
            ports: it
                .ports
                .iter()
                .flatten()
                .filter_map(|it| {
                    Some(SlicePort {
                        name: it.name.clone().unwrap_or_default(),
                        number: port(i64::from(it.port?))?,
                        transport: Transport::of_port(it.protocol.as_deref())?,
                    })
                })
                .collect(),
            endpoints: endpoints.collect(),
        }
    }

    /// Where the port of a Service is.
    pub(crate) fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let found = self.ports.iter().find(|it| it.name == name && it.transport == transport);
        found.map(|it| it.number)
    }
}

impl SecretModel {
    pub(crate) fn read(it: &Secret) -> Self {
        // stringData is what a person writes; the API server would have moved it to data.
        let field = |name: &str| {
            let text = it.string_data.as_ref().and_then(|it| it.get(name)).map(|it| it.clone().into_bytes());
            text.or_else(|| it.data.as_ref().and_then(|it| it.get(name)).map(|it| it.0.clone()))
        };
        let label = it.metadata.labels.as_ref().and_then(|it| it.get(ISSUED));
        let issuer = it.metadata.annotations.as_ref().and_then(|it| it.get(crate::gateway::ISSUER));
        Self {
            reference: Meta::read(Kind::Secret, &it.metadata).reference,
            kind: it.type_.clone(),
            chain: field("tls.crt"),
            private_key: field("tls.key"),
            authorities: field(AUTHORITIES_KEY),
            keys: OTHER_KEYS.iter().filter_map(|it| Some((*it, field(it)?))).collect(),
            is_issued: label.is_some(),
            on_demand: issuer.filter(|_| label.is_some_and(|it| it == ON_DEMAND)).cloned(),
        }
    }
}

impl ConfigMapModel {
    pub(crate) fn read(it: &ConfigMap) -> Self {
        let text = it.data.as_ref().and_then(|it| it.get(AUTHORITIES_KEY)).map(|it| it.clone().into_bytes());
        let bytes = || it.binary_data.as_ref().and_then(|it| it.get(AUTHORITIES_KEY)).map(|it| it.0.clone());
        let is_mesh = it.metadata.name.as_deref() == Some(mesh_config::CONFIG_MAP);
        let mesh = it.data.as_ref().filter(|_| is_mesh).and_then(|it| it.get(mesh_config::KEY));
        Self { authorities: text.or_else(bytes), mesh: mesh.map(|it| MeshConfig::read(it)) }
    }
}

impl std::fmt::Debug for SecretModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretModel").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl EntryModel {
    pub(crate) fn read(it: &ServiceEntry) -> Self {
        let spec = &it.spec;
        Self {
            meta: Meta::read(Kind::ServiceEntry, &it.metadata),
            hosts: spec.hosts.iter().map(|it| host_name(it)).collect(),
            allows_private: it
                .metadata
                .annotations
                .as_ref()
                .and_then(|it| it.get(ALLOW_PRIVATE))
                .is_some_and(|it| it == "true"),
            resolution: Resolution::read(spec.resolution.as_deref()),
            networks: spec.addresses.iter().filter_map(|it| network(it).ok()).collect(),
            wants_address: wants_address(&it.metadata),
            ports: spec
                .ports
                .iter()
                .map(|it| EntryPort {
                    number: it.number,
                    name: it.name.clone(),
                    protocol: it.protocol.as_deref().unwrap_or("HTTP").to_ascii_uppercase(),
                    target: it.target_port,
                })
                .collect(),
            spec: ServiceEntrySpec { hosts: Vec::new(), ports: Vec::new(), ..spec.clone() },
        }
    }

    /// Whether objects of `namespace` see the entry. Its own does only where `exportTo` says so (Istio).
    pub(crate) fn is_visible_in(&self, namespace: &str) -> bool {
        let is_own = self.meta.reference.namespace == namespace;
        self.is_exported() || self.spec.export_to.iter().any(|it| it == namespace || (is_own && it == "."))
    }

    /// Whether its names are hosts of the internet: not within the mesh, and nobody says that they are at home.
    pub(crate) fn is_external(&self) -> bool {
        self.spec.location.as_deref() != Some("MESH_INTERNAL") && !self.allows_private
    }

    /// Whether its endpoints are workloads of the mesh.
    pub(crate) fn is_internal(&self) -> bool {
        self.spec.location.as_deref() == Some("MESH_INTERNAL")
    }

    /// Whether every namespace sees the entry.
    pub(crate) fn is_exported(&self) -> bool {
        self.spec.export_to.is_empty() || self.spec.export_to.iter().any(|it| it == "*")
    }
}

/// Where a node is, by its labels; `None`: they say nothing.
pub fn place_of_node(it: &Node) -> Option<Locality> {
    let labels = it.metadata.labels.as_ref()?;
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let place =
        Locality { region: label(REGION_LABEL), zone: label(ZONE_LABEL), subzone: label(SUBZONE_LABEL) };
    (!place.is_empty()).then_some(place)
}

/// Lower case, without trailing dot.
pub(crate) fn host_name(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

/// 1 to 65535.
pub(crate) fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|it| *it != 0)
}
