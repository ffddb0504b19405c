//! Who may do what: AuthorizationPolicies.

use crate::{BackendTarget, ExtAuth, Origin, Selector};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The AuthorizationPolicy.
    pub origin: Origin,
    /// Which workloads; of no interest where the policy is a Gateway's.
    #[serde(default)]
    pub selector: Selector,
    /// What a match means.
    pub action: AuthorizationAction,
    /// Whether a match is only told (annotation `istio.io/dry-run`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_dry_run: bool,
    /// Any of these; none: nothing matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AuthorizationRule>,
}

/// What a match means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthorizationAction {
    /// The request may go on, unless something denies it.
    Allow,
    /// It is refused.
    Deny,
    /// It is marked in the log.
    Audit,
    /// Somebody else is asked; an unknown provider refuses.
    Custom(Box<ExtAuth>),
}

impl Authorization {
    /// The backends that it calls.
    pub fn targets(&self) -> impl Iterator<Item = &BackendTarget> {
        let authorizer = match &self.action {
            AuthorizationAction::Custom(it) => it.authorizer(),
            AuthorizationAction::Allow | AuthorizationAction::Deny | AuthorizationAction::Audit => None,
        };
        authorizer.map(|it| &it.target).into_iter()
    }
}

/// All three must match; an empty list does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRule {
    /// Any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Source>,
    /// Any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Operation>,
    /// All of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
}

impl AuthorizationRule {
    /// Whether it looks at what only a token says.
    pub fn reads_tokens(&self) -> bool {
        self.from.iter().any(|it| it.request_principals != Values::default())
            || self.when.iter().any(|it| it.attribute.is_of_token())
    }
}

/// Values of which one must fit and none may; empty lists say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values<T> {
    /// One of these.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<T>,
    /// None of these.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { any: Vec::new(), none: Vec::new() }
    }
}

/// Where a request comes from; all of it must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`, expanded by the aliases of the trust domain.
    pub principals: Values<ValueMatch>,
    /// `ISSUER/SUBJECT` of a token.
    pub request_principals: Values<ValueMatch>,
    /// Namespaces of peers.
    pub namespaces: Values<ValueMatch>,
    /// `NAMESPACE/SERVICE-ACCOUNT` of peers.
    pub service_accounts: Values<String>,
    /// Addresses of peers.
    pub addresses: Values<IpNet>,
    /// Addresses of clients, where proxies before this one are believed.
    pub remote_addresses: Values<IpNet>,
    /// Trust domains of peers.
    pub trust_domains: Values<ValueMatch>,
}

/// What is asked for; all of it must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// Hosts, compared without regard to case.
    pub hosts: Values<ValueMatch>,
    /// Ports of the workload.
    pub ports: Values<u16>,
    /// Methods.
    pub methods: Values<ValueMatch>,
    /// Normalised paths.
    pub paths: Values<PathValue>,
}

/// A further condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What is looked at.
    pub attribute: Attribute,
    /// What it must be.
    pub values: Values<ValueMatch>,
}

/// What a condition looks at (Istio's "Authorization Policy Conditions").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attribute {
    /// `request.headers[NAME]`, lower case.
    Header(String),
    /// `source.ip`; values are networks.
    SourceAddress,
    /// `remote.ip`; values are networks.
    RemoteAddress,
    /// `source.namespace`
    SourceNamespace,
    /// `source.principal`
    SourcePrincipal,
    /// `source.serviceAccount`
    SourceServiceAccount,
    /// `source.trustDomain`
    SourceTrustDomain,
    /// `request.auth.principal`
    RequestPrincipal,
    /// `request.auth.audiences`
    Audiences,
    /// `request.auth.presenter`
    Presenter,
    /// `request.auth.claims[A][B]`
    Claim(Vec<String>),
    /// `destination.ip`; values are networks.
    DestinationAddress,
    /// `destination.port`
    DestinationPort,
    /// `connection.sni`
    ServerName,
}

impl Attribute {
    /// Whether only a token says it.
    pub fn is_of_token(&self) -> bool {
        match self {
            Self::RequestPrincipal | Self::Audiences | Self::Presenter | Self::Claim(_) => true,
            Self::Header(_)
            | Self::SourceAddress
            | Self::RemoteAddress
            | Self::SourceNamespace
            | Self::SourcePrincipal
            | Self::SourceServiceAccount
            | Self::SourceTrustDomain
            | Self::DestinationAddress
            | Self::DestinationPort
            | Self::ServerName => false,
        }
    }

    /// Whether a connection that is carried whole does not have it.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Self::Header(_)) || self.is_of_token()
    }
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    /// `abc`
    Exact(String),
    /// `abc*`
    Prefix(String),
    /// `*abc`
    Suffix(String),
    /// `*`: anything that is not empty.
    Present,
    /// `a*b` where a namespace may be written so: the parts between the stars.
    Parts(Vec<String>),
    /// A network, where addresses are compared.
    Network(IpNet),
}

/// A path to compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathValue {
    /// As any other value.
    Value(ValueMatch),
    /// A template, by its segments.
    Template(Vec<Segment>),
}

/// How paths are brought into one form, for routes, policies and backends alike. The normal form of RFC 3986 comes first in
/// any case: dot segments are gone, what need not be percent-encoded is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathNormalization {
    /// The path goes on in its normal form. A policy must let it pass in each way that a backend might read it: with
    /// `%2F`, `%5C` and `\` as slashes, with slashes merged, without parameters of segments, decoded again.
    #[default]
    EveryReading,
    /// `\` becomes `/` (Istio's `BASE`).
    Base,
    /// Neighbouring slashes become one besides (Istio's `MERGE_SLASHES`).
    MergeSlashes,
    /// `%2F` and `%5C` become slashes before that (Istio's `DECODE_AND_MERGE_SLASHES`).
    DecodeAndMergeSlashes,
}

impl PathNormalization {
    /// Whether nothing else was asked for.
    pub fn is_usual(&self) -> bool {
        *self == Self::EveryReading
    }
}

/// A segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Segment {
    /// Exactly this.
    Literal(String),
    /// `{*}`: any one segment.
    One,
    /// `{**}`: any number of segments, also none.
    Rest,
}
