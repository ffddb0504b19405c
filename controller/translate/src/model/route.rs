//! Routes, the same for HTTPRoute and GRPCRoute: what can be judged by the object alone is already in the IR's terms,
//! references are still names.

use super::Meta;
use crate::status::ParentRef;
use sluice_ir::{Filter, HostPattern, Match, Ratio, Retry, RouteKind, SessionPersistence, Timeouts};

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteModel {
    pub(crate) meta: Meta,
    pub(crate) kind: RouteKind,
    pub(crate) parents: Vec<ParentRef>,
    /// Empty: every host.
    pub(crate) hostnames: Vec<HostPattern>,
    /// Without those whose matches could not be read.
    pub(crate) rules: Vec<RuleModel>,
    /// How many rules the object has.
    pub(crate) rule_count: usize,
    /// What is wrong with the object by itself.
    pub(crate) faults: Vec<Fault>,
    /// Whether `useDefaultGateways` is set.
    pub(crate) wants_default_gateways: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleModel {
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    pub(crate) matches: Vec<Match>,
    pub(crate) filters: Vec<FilterModel>,
    pub(crate) backends: Vec<BackendModel>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Retry>,
    pub(crate) session_persistence: Option<SessionPersistence>,
    /// Requests that match are answered with an error, because part of the rule could not be read.
    pub(crate) refused: Option<String>,
}

/// A filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FilterModel {
    /// Needs nothing else.
    Ready(Filter),
    /// Needs a backend.
    Mirror(Box<MirrorModel>),
    /// Names something that does not exist; requests must fail. The text names it.
    Unresolved(String),
}

/// `requestMirror`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MirrorModel {
    pub(crate) backend: BackendReference,
    pub(crate) fraction: Ratio,
    /// Path of the backendRef.
    pub(crate) field: String,
}

/// A `backendRefs` entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackendModel {
    pub(crate) reference: BackendReference,
    pub(crate) weight: u32,
    pub(crate) filters: Vec<FilterModel>,
}

/// A reference to a backend as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) port: Option<i32>,
}

/// Something wrong with a route that its object alone shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The rule; `None`: the route.
    pub(crate) rule: Option<u32>,
    pub(crate) field: String,
    pub(crate) reason: FaultReason,
    pub(crate) message: String,
    pub(crate) next_step: String,
}

/// What a fault does to the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultReason {
    /// Accepted=False or PartiallyInvalid=True.
    UnsupportedValue,
    /// The same.
    IncompatibleFilters,
    /// ResolvedRefs=False.
    InvalidKind,
    /// None: only a warning.
    Warning,
}
