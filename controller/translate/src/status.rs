//! The `status` subresource of each kind, as it is written, less `lastTransitionTime`: this crate has no clock, so the
//! writer keeps the old time where `status` of a condition is unchanged.

use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Accepted`, `Programmed`, `ResolvedRefs`, ...
    pub r#type: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word for programs.
    pub reason: Cow<'static, str>,
    /// A sentence for people; empty when all is well.
    pub message: String,
    /// Generation of the object that was judged; absent where objects have none (a folder).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
}

impl Condition {
    pub(crate) fn yes(r#type: &'static str, reason: &'static str, generation: Option<i64>) -> Self {
        Self {
            r#type,
            status: ConditionStatus::True,
            reason: Cow::Borrowed(reason),
            message: String::new(),
            observed_generation: generation,
        }
    }

    pub(crate) fn no(
        r#type: &'static str,
        reason: &'static str,
        message: impl Into<String>,
        generation: Option<i64>,
    ) -> Self {
        Self {
            status: ConditionStatus::False,
            message: message.into(),
            ..Self::yes(r#type, reason, generation)
        }
    }

    /// `sluice.dev/PartiallyInvalid`: what of an object is not done; `None`: nothing.
    pub(crate) fn not_done(what: &[String], generation: Option<i64>) -> Option<Self> {
        let condition = || Self::yes("sluice.dev/PartiallyInvalid", "UnsupportedValue", generation);
        (!what.is_empty()).then(|| condition().message(what.join("; ")))
    }

    pub(crate) fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

/// The conditions of a route that is well, where objects have no generation.
pub(crate) fn good_route() -> Arc<[Condition]> {
    let good = |name| Condition::yes(name, name, None);
    Arc::from([good("Accepted"), good("ResolvedRefs")])
}

/// The status of an object of one of the kinds that have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a GatewayClass.
    GatewayClass(Box<GatewayClassStatus>),
    /// Of a Gateway.
    Gateway(Box<GatewayStatus>),
    /// Of a ListenerSet.
    ListenerSet(Box<ListenerSetStatus>),
    /// Of an HTTPRoute or GRPCRoute; equal ones are one.
    Route(Arc<RouteStatus>),
    /// Of a BackendTLSPolicy.
    Policy(Box<PolicyStatus>),
    /// Of a CertificateIssuer.
    Issuer(Box<IssuerStatus>),
    /// Of a DestinationRule.
    Destination(Box<DestinationStatus>),
    /// Of a ServiceEntry.
    Entry(Box<EntryStatus>),
}

impl Status {
    /// Every condition with the part of the object it is about: empty for the whole, `listener "http"`,
    /// `parent "web"`.
    pub fn conditions(&self) -> Vec<(String, &Condition)> {
        let listeners = |list: &'_ [ListenerStatus]| -> Vec<(String, usize)> {
            list.iter().enumerate().map(|(index, it)| (format!("listener {:?}", it.name), index)).collect()
        };
        let mut all = Vec::new();
        match self {
            Self::GatewayClass(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
            }
            Self::Issuer(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
            }
            Self::Destination(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
            }
            Self::Entry(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
            }
            Self::Gateway(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
                for (part, index) in listeners(&status.listeners) {
                    let conditions = status.listeners.get(index).map_or(&[][..], |it| &it.conditions);
                    all.extend(conditions.iter().map(|it| (part.clone(), it)));
                }
            }
            Self::ListenerSet(status) => {
                all.extend(status.conditions.iter().map(|it| (String::new(), it)));
                for (part, index) in listeners(&status.listeners) {
                    let conditions = status.listeners.get(index).map_or(&[][..], |it| &it.conditions);
                    all.extend(conditions.iter().map(|it| (part.clone(), it)));
                }
            }
            Self::Policy(status) => {
                for ancestor in &status.ancestors {
                    let part = format!("ancestor {:?}", ancestor.ancestor_ref.name);
                    all.extend(ancestor.conditions.iter().map(|it| (part.clone(), it)));
                }
            }
            Self::Route(status) => {
                for parent in &status.parents {
                    let mut part = format!("parent {:?}", parent.parent_ref.name);
                    if let Some(section) = &parent.parent_ref.section_name {
                        part.push_str(&format!(" section {section:?}"));
                    }
                    all.extend(parent.conditions.iter().map(|it| (part.clone(), it)));
                }
            }
        }
        all
    }
}

/// Status of a CertificateIssuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IssuerStatus {
    /// `Accepted`, `Ready`.
    pub conditions: Vec<Condition>,
}

/// Status of a DestinationRule, PeerAuthentication, Sidecar or Telemetry, or of an Istio policy: our part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationStatus {
    /// `sluice.dev/Accepted`; `sluice.dev/PartiallyInvalid` only when True, `sluice.dev/ResolvedRefs` only when False.
    pub conditions: Vec<Condition>,
}

impl DestinationStatus {
    /// That of an object of which nothing is told but what is not done.
    pub(crate) fn not_done(what: &[String], generation: Option<i64>) -> Option<Self> {
        Condition::not_done(what, generation).map(|it| Self { conditions: vec![it] })
    }
}

/// Status of a ServiceEntry: our part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryStatus {
    /// Addresses that hosts have which were given none by the entry: those that the object's status names already, as
    /// long as they are nobody else's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EntryAddress>,
    /// `sluice.dev/Accepted`; `sluice.dev/PartiallyInvalid` and `sluice.dev/Conflicted` only when True.
    pub conditions: Vec<Condition>,
}

/// An address of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryAddress {
    /// The host.
    pub host: String,
    /// Within 240.240.0.0/16 or 2001:2::/48.
    pub value: String,
}

/// Status of a GatewayClass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// `Accepted`, `SupportedVersion`.
    pub conditions: Vec<Condition>,
    /// Sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<Feature>,
}

/// A feature by its name in the conformance suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// `HTTPRouteQueryParamMatching`.
    pub name: &'static str,
}

/// Status of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that the Gateway answers on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// ListenerSets that are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
    /// `Accepted`, `Programmed`.
    pub conditions: Vec<Condition>,
    /// One entry for each listener of the spec.
    pub listeners: Vec<ListenerStatus>,
}

/// An address of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayAddress {
    /// `IPAddress`.
    pub r#type: &'static str,
    /// The address.
    pub value: String,
}

/// Status of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    /// `Accepted`, `Programmed`.
    pub conditions: Vec<Condition>,
    /// One entry for each listener of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}

/// Status of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// Routes that the listener accepted, also when the listener itself can't serve.
    pub attached_routes: u32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`; `Conflicted` and `OverlappingTLSConfig` only when True;
    /// `sluice.dev/OCSPStapled` only where a certificate asks for it.
    pub conditions: Vec<Condition>,
    /// Kinds of routes that the listener takes.
    pub supported_kinds: Vec<RouteGroupKind>,
}

/// A kind of route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RouteGroupKind {
    /// `gateway.networking.k8s.io`.
    pub group: String,
    /// `HTTPRoute`.
    pub kind: String,
}

/// Status of a route. Shared by the many routes of one parent that are well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RouteStatus {
    /// One entry for each parentRef that names an object of ours, in the order of the spec.
    pub parents: Vec<RouteParentStatus>,
}

/// What one parent says of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// `Accepted`, `ResolvedRefs`; `PartiallyInvalid` only when True. Shared by the many routes that are well.
    pub conditions: Arc<[Condition]>,
    /// Whose word this is.
    pub controller_name: Arc<str>,
    /// As the route wrote it.
    pub parent_ref: Arc<ParentRef>,
}

/// Status of a policy (GEP-713).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// One entry for each Gateway of ours that the policy has an effect on, by namespace and name, at most 16.
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What a policy comes to for one Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The Gateway.
    pub ancestor_ref: ParentRef,
    /// `Accepted`, `ResolvedRefs`.
    pub conditions: Vec<Condition>,
    /// Whose word this is.
    pub controller_name: Arc<str>,
}

/// A parentRef, field by field as the route wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Absent: `gateway.networking.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Absent: `Gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Absent: the route's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only listeners of this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Only the listener of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
