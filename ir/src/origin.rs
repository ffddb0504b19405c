//! Where a resource comes from, in words a user of `kubectl` knows.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds that a control plane of this version names.
const KINDS: [&str; 24] = [
    "Gateway",
    "ListenerSet",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    "UDPRoute",
    "Service",
    "ServiceEntry",
    "DestinationRule",
    "Sidecar",
    "Secret",
    "ConfigMap",
    "BackendTLSPolicy",
    "GatewayParameters",
    "CertificateIssuer",
    "TrafficPolicy",
    "HealthCheckPolicy",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "PeerAuthentication",
    "Telemetry",
    "Namespace",
    "Pod",
];

/// Stands for the kinds that are too many to keep.
const SOME_KIND: &str = "Object";

/// How many kinds of newer control planes are kept for the life of the process, and how long they may be.
const FOREIGN_KINDS: usize = 32;
const FOREIGN_KIND_BYTES: usize = 64;

/// The object, and the part of it, that caused a resource. Carried into logs, dumps, acks and `sluice explain`. Texts
/// are shared: a clone copies none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// Kind as written in the manifest: `HTTPRoute`.
    pub kind: &'static str,
    /// Namespace of the object; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name of the object.
    pub name: Arc<str>,
    /// Listener name, port name or the like, where the resource comes from a section of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<Arc<str>>,
}

impl Origin {
    /// The whole object.
    pub fn new(kind: &'static str, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into(), section: None }
    }

    /// A named section of the object.
    pub fn section(mut self, section: impl Into<Arc<str>>) -> Self {
        self.section = Some(section.into());
        self
    }
}

/// An origin as it arrives.
#[derive(Deserialize)]
struct Arrived {
    kind: String,
    namespace: Arc<str>,
    name: Arc<str>,
    #[serde(default)]
    section: Option<Arc<str>>,
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Arrived { kind, namespace, name, section } = Arrived::deserialize(from)?;
        Ok(Self { kind: interned(kind), namespace, name, section })
    }
}

/// The kind without a copy for each resource: from [`KINDS`], or one that a newer control plane has added. Those are
/// kept for the life of the process, so their number and length are bounded; beyond, the kind reads `Object`.
fn interned(kind: String) -> &'static str {
    static FOREIGN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if let Some(known) = KINDS.into_iter().find(|known| *known == kind) {
        return known;
    }
    let mut foreign = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = foreign.get(kind.as_str()) {
        return kept;
    }
    if foreign.len() >= FOREIGN_KINDS || kind.len() > FOREIGN_KIND_BYTES {
        return SOME_KIND;
    }
    let kept: &'static str = Box::leak(kind.into_boxed_str());
    foreign.insert(kept);
    kept
}

impl fmt::Display for Origin {
    /// `HTTPRoute shop/cart` or `Gateway edge/web section "https"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        match &self.section {
            Some(section) => write!(f, " section {section:?}"),
            None => Ok(()),
        }
    }
}
