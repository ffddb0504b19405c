//! A DestinationRule in our own terms. Made once, when the object comes in.

use crate::model::Meta;
use crate::problem::Severity;
use sluice_crds::Name;
use sluice_ir::{
    Balancing, CircuitLimits, ConnectionTerms, Ejection, HashPolicy, LocalityPolicy, ProxyVersion,
    RetryBudget, SubjectName, Tunnel, Warmup,
};
use std::collections::BTreeMap;

/// A DestinationRule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DestinationModel {
    pub(crate) meta: Meta,
    /// Lower case, whole: `cart.shop.svc.cluster.local`, `*.example.com`, `*`. Empty: the rule has none that can be.
    pub(crate) host: String,
    /// Sorted; empty: every namespace.
    pub(crate) export_to: Vec<String>,
    /// Whether it holds for some workloads only, which are none of ours.
    pub(crate) has_selector: bool,
    pub(crate) top: Option<Traffic>,
    pub(crate) subsets: Vec<SubsetModel>,
    /// What is wrong with the rule by itself, or not done.
    pub(crate) faults: Vec<Fault>,
}

/// A `trafficPolicy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) all: Blocks,
    /// In place of `all` for these ports.
    pub(crate) ports: BTreeMap<u16, Blocks>,
    pub(crate) budget: Option<RetryBudget>,
    pub(crate) proxy_header: Option<ProxyVersion>,
    pub(crate) tunnel: Option<Way>,
}

/// What `tunnel` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the endpoints to there.
    Through(Tunnel),
    /// It asks for what can't be done: nothing is sent past the proxy instead.
    Refused,
}

/// The parts that a port or a subset has of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Blocks {
    pub(crate) load: Option<Load>,
    pub(crate) pool: Option<Pool>,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) tls: Option<TlsModel>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) how: Balancing,
    pub(crate) affinity: Option<HashPolicy>,
    pub(crate) warmup: Option<Warmup>,
    /// Which places come first; `None`: the rule does not say.
    pub(crate) near: Option<Near>,
}

/// What `localityLbSetting` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Near {
    /// All places are alike.
    Off,
    /// They are not.
    On(LocalityPolicy),
}

/// Bounds, and what connections are like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pool {
    pub(crate) connections: ConnectionTerms,
    pub(crate) circuit: CircuitLimits,
    /// Whether HTTP/2 is spoken where the port says HTTP/1.1.
    pub(crate) is_upgraded: bool,
}

/// A subset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubsetModel {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) traffic: Option<Traffic>,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsModel {
    /// `DISABLE`.
    Off,
    /// `ISTIO_MUTUAL`.
    Mesh,
    /// `SIMPLE` and `MUTUAL`.
    On(TlsTerms),
    /// It asks for what can't be done: nobody is trusted.
    Refused,
}

/// Whom to believe, and what to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsTerms {
    /// Whether a certificate is shown.
    pub(crate) is_mutual: bool,
    /// Secret of the client's namespace.
    pub(crate) credential: Option<Name>,
    /// Default: the host.
    pub(crate) sni: Option<String>,
    pub(crate) subject_names: Vec<SubjectName>,
    /// `insecureSkipVerify`.
    pub(crate) believes_anyone: bool,
}

/// Something about a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) next_step: String,
    /// `Error`: the field is not done.
    pub(crate) severity: Severity,
}

impl DestinationModel {
    /// Whether clients of `namespace` follow the rule.
    pub(crate) fn is_visible_in(&self, namespace: &str) -> bool {
        let own = &self.meta.reference.namespace;
        self.export_to.is_empty()
            || self.export_to.iter().any(|it| match it.as_str() {
                "*" => true,
                "." => *own == *namespace,
                other => other == namespace,
            })
    }
}
