//! Routes, the same for HTTPRoute and GRPCRoute: what can be judged by the object alone is already in the IR's terms,
//! references are still names.

use super::Meta;
use crate::backend::Caller;
use crate::status::ParentRef;
use sluice_crds::Name;
use sluice_ir::{
    Authorizer, Filter, HostPattern, Match, Ratio, Retry, RouteKind, SessionPersistence, Timeouts,
};
use std::sync::Arc;

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteModel {
    pub(crate) meta: Meta,
    pub(crate) kind: RouteKind,
    /// Shared by the routes that write the same.
    pub(crate) parents: Arc<[Arc<ParentRef>]>,
    /// Empty: every host. Shared with the IR where a listener takes all of them.
    pub(crate) hostnames: Arc<[HostPattern]>,
    /// Without those whose matches could not be read.
    pub(crate) rules: Box<[RuleModel]>,
    /// How many rules the object has.
    pub(crate) rule_count: u32,
    /// What is wrong with the object by itself.
    pub(crate) faults: Box<[Fault]>,
    /// Whether `useDefaultGateways` is set.
    pub(crate) wants_default_gateways: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleModel {
    pub(crate) index: u32,
    pub(crate) matches: Arc<[Match]>,
    /// Shared by the rules that write the same.
    pub(crate) backends: Arc<[BackendModel]>,
    /// What most rules don't have.
    pub(crate) extras: Option<Box<RuleExtras>>,
}

/// The rarer parts of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RuleExtras {
    pub(crate) name: Option<Box<str>>,
    pub(crate) filters: Vec<FilterModel>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Retry>,
    pub(crate) session_persistence: Option<SessionPersistence>,
    /// Requests that match are answered with an error, because part of the rule could not be read.
    pub(crate) refused: Option<String>,
}

impl RuleModel {
    pub(crate) fn filters(&self) -> &[FilterModel] {
        self.extras.as_ref().map_or(&[], |it| &it.filters)
    }
}

impl RuleExtras {
    /// Nothing when all is empty.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FilterModel {
    /// Needs nothing else.
    Ready(Filter),
    /// Needs a backend.
    Mirror(Box<MirrorModel>),
    /// The same.
    Auth(Box<AuthModel>),
    /// Names something that does not exist; requests must fail. The text names it.
    Unresolved(String),
}

/// `requestMirror`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MirrorModel {
    pub(crate) backend: BackendReference,
    pub(crate) fraction: Ratio,
    /// Path of the backendRef.
    pub(crate) field: String,
}

/// `externalAuth`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AuthModel {
    pub(crate) backend: BackendReference,
    /// As what the backend is called: not every protocol is the route's.
    pub(crate) caller: Caller,
    /// All but its target.
    pub(crate) authorizer: Authorizer,
    /// Path of the backendRef.
    pub(crate) field: String,
}

/// A `backendRefs` entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BackendModel {
    pub(crate) reference: BackendReference,
    pub(crate) weight: u32,
    pub(crate) filters: Box<[FilterModel]>,
}

/// A reference to a backend as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BackendReference {
    /// `Service`, or another kind with its group; the usual one costs nothing.
    pub(crate) other_kind: Option<Box<(String, String)>>,
    pub(crate) namespace: Option<Name>,
    pub(crate) name: Name,
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

impl BackendReference {
    pub(crate) fn new(
        group: Option<&String>,
        kind: Option<&String>,
        namespace: Option<&String>,
        name: &str,
        port: Option<i32>,
    ) -> Self {
        let group = group.map_or("", String::as_str);
        let kind = kind.map_or("Service", String::as_str);
        let is_service = matches!((group, kind), ("" | "core", "Service"));
        Self {
            other_kind: (!is_service).then(|| Box::new((group.to_owned(), kind.to_owned()))),
            namespace: namespace.map(Name::from),
            name: name.into(),
            port,
        }
    }

    /// Group and kind.
    pub(crate) fn group_kind(&self) -> (&str, &str) {
        self.other_kind.as_ref().map_or(("", "Service"), |it| (it.0.as_str(), it.1.as_str()))
    }
}
