//! A route put together: its listeners, its backends, its status.
//!
//! `Resolver` serves the routes of whole connections (`stream`) as well.

use super::attach::{self, Applicant, Named};
use super::place::{Places, Resolved, judge, place};
use crate::backend::{self, BackendId, Caller, RefFailure, check_grant};
use crate::destination::ServiceDomain;
use crate::model::{BackendReference, Fault, FaultReason, FilterModel, Meta, RouteModel, RuleModel};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, ParentRef, RouteStatus};
use crate::traffic;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{
    Authorizer, BackendKey, BackendTarget, Fail, Filter, ListenerKey, Mirror, Origin, Route, RouteKey,
    RouteTraffic, Rule, WeightedBackend,
};
use std::sync::Arc;

/// What a route makes.
#[derive(Debug, Default)]
pub(crate) struct RouteOutput {
    /// `None` when no listener that serves took the route.
    pub(crate) route: Option<Route>,
    /// The same for destinations of the mesh, whose hosts and backends are judged otherwise.
    pub(crate) mesh: Option<Route>,
    /// `None` when no parent is ours.
    pub(crate) status: Option<RouteStatus>,
    /// Listeners that accepted the route, each once, with their Gateway.
    pub(crate) accepted: Vec<(ListenerKey, ObjectRef)>,
    /// By ServiceEntry that is a parent, where the route shapes what goes to it.
    pub(crate) shapes: Places,
    pub(crate) problems: Vec<Problem>,
}

/// The backends that a route names, as far as the text of the references allows.
pub(crate) fn backend_ids<'a>(
    route: &'a RouteModel,
    domain: &'a ServiceDomain,
) -> impl Iterator<Item = BackendId> + 'a {
    let namespace = &route.meta.reference.namespace;
    let caller = Caller::of(route.meta.reference.kind);
    route
        .rules
        .iter()
        .flat_map(move |it| references(it, caller))
        .filter_map(move |(it, caller)| backend::identify(it, namespace, caller, domain).ok())
}

/// What a rule names, and as what it calls it.
fn references(rule: &RuleModel, caller: Caller) -> impl Iterator<Item = (&BackendReference, Caller)> {
    let of_backends = rule
        .backends
        .iter()
        .flat_map(move |it| std::iter::once((&it.reference, caller)).chain(of_filters(&it.filters, caller)));
    of_backends.chain(of_filters(rule.filters(), caller))
}

fn of_filters(filters: &[FilterModel], caller: Caller) -> impl Iterator<Item = (&BackendReference, Caller)> {
    filters.iter().filter_map(move |it| match it {
        FilterModel::Mirror(it) => Some((&it.backend, caller)),
        FilterModel::Auth(it) => Some((&it.backend, it.caller)),
        FilterModel::Ready(_) | FilterModel::Unresolved(_) => None,
    })
}

/// The backends that a finished route calls, as often as it names them.
pub(crate) fn backend_keys(route: &Route) -> impl Iterator<Item = &BackendKey> {
    let of_rules = route.rules.iter().flat_map(|rule| {
        let own = rule.backends.iter();
        let own = own
            .flat_map(|it| std::iter::once(&it.target).chain(it.filters.iter().filter_map(Filter::target)));
        own.chain(rule.filters.iter().filter_map(Filter::target))
    });
    of_rules.chain(route.traffic.iter().flat_map(|it| it.targets())).filter_map(key_of)
}

/// The backend of a target that resolves.
pub(crate) fn key_of(target: &BackendTarget) -> Option<&BackendKey> {
    match target {
        BackendTarget::Backend(key) => Some(key),
        BackendTarget::Fail(_) => None,
    }
}

/// Computes a route.
pub(crate) fn compute(view: &View<'_>, model: &RouteModel) -> RouteOutput {
    let reference = &model.meta.reference;
    let mut problems = Problems::of(reference);
    report(&model.faults, model.wants_default_gateways, model.parents.is_empty(), &mut problems);
    let verdict = judge(&model.meta, &model.faults, model.rule_count);
    let kinds = model.faults.iter().filter(|it| it.reason == FaultReason::InvalidKind);
    let kinds: Vec<(&str, &str)> = kinds.map(|it| ("InvalidKind", it.message.as_str())).collect();
    let resolve = |problems: &mut Problems, in_mesh: bool| {
        let failures = Vec::new();
        let mut resolver = Resolver { view, meta: &model.meta, failures, problems, in_mesh };
        let rules: Box<[Rule]> = model.rules.iter().map(|it| resolver.rule(it)).collect();
        let failures = resolver.failures.iter().map(|it| (it.reason, it.message.as_str()));
        let failed = kinds.iter().copied().chain(failures).collect();
        (rules, resolved_refs(model.meta.generation, failed))
    };
    let (rules, mesh_rules, resolved) = both(view, (&model.parents, &model.meta), &mut problems, resolve);
    let any = rules.as_deref().or(mesh_rules.as_deref()).unwrap_or_default();
    let traffic = route_traffic(view, reference, any);
    let applicant = Applicant { meta: &model.meta, hostnames: &model.hostnames, parents: &model.parents };
    let placed = place(view, applicant, &verdict, &resolved, &mut problems);
    let route = (!placed.attachments.is_empty()).then(|| Route {
        key: RouteKey::new(format!("{}/{}/{}", reference.kind, reference.namespace, reference.name)),
        origin: origin(reference),
        kind: model.kind,
        created_s: model.meta.created_s,
        attachments: placed.attachments,
        rules: rules.unwrap_or_default(),
        traffic: traffic.clone(),
    });
    let mesh = (!placed.mesh.is_empty()).then(|| Route {
        key: RouteKey::new(format!("Mesh/{}/{}/{}", reference.kind, reference.namespace, reference.name)),
        origin: origin(reference),
        kind: model.kind,
        created_s: model.meta.created_s,
        attachments: placed.mesh,
        rules: mesh_rules.unwrap_or_default(),
        traffic,
    });
    RouteOutput {
        route,
        mesh,
        status: placed.status,
        accepted: placed.accepted,
        shapes: placed.shapes,
        problems: problems.into_list(),
    }
}

/// Resolves references as Gateways and as the mesh have them, as far as a route's parents ask for either.
pub(super) fn both<T>(
    view: &View<'_>,
    (parents, meta): (&[Arc<ParentRef>], &Meta),
    problems: &mut Problems,
    resolve: impl Fn(&mut Problems, bool) -> (T, Condition),
) -> (Option<T>, Option<T>, Resolved) {
    let is_service = |it: &Arc<ParentRef>| {
        matches!(attach::named(it, &meta.reference.namespace), Named::Service(_) | Named::Entry(_))
    };
    let is_meshed = view.is_mesh() && parents.iter().any(is_service);
    if !is_meshed {
        let (rules, at_gateways) = resolve(problems, false);
        return (Some(rules), None, Resolved { in_mesh: at_gateways.clone(), at_gateways });
    }
    let (mesh_rules, in_mesh) = resolve(problems, true);
    if parents.iter().all(|it| matches!(attach::named(it, &meta.reference.namespace), Named::Service(_))) {
        return (None, Some(mesh_rules), Resolved { at_gateways: in_mesh.clone(), in_mesh });
    }
    let (rules, at_gateways) = resolve(problems, false);
    (Some(rules), Some(mesh_rules), Resolved { at_gateways, in_mesh })
}

/// What TrafficPolicies set for a route and for its rules by name.
fn route_traffic(view: &View<'_>, route: &ObjectRef, rules: &[Rule]) -> Option<Box<RouteTraffic>> {
    let policies = view.traffic_of(route);
    if policies.is_empty() {
        return None;
    }
    let named = rules.iter().filter_map(|rule| {
        let settings = traffic::settings(view, &policies, route, Some(rule.name.as_deref()?))?;
        Some((rule.index, *settings))
    });
    let all = traffic::settings(view, &policies, route, None).map(|it| *it).unwrap_or_default();
    RouteTraffic { all, rules: named.collect() }.boxed()
}

/// The route object.
pub(super) fn origin(reference: &ObjectRef) -> Origin {
    Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone())
}

/// What is wrong with the object by itself, in words.
pub(super) fn report(
    faults: &[Fault],
    wants_default_gateways: bool,
    is_orphan: bool,
    problems: &mut Problems,
) {
    for fault in faults {
        let severity = if fault.reason == FaultReason::Warning { Severity::Warning } else { Severity::Error };
        problems.add(severity, fault.field.clone(), fault.message.clone(), fault.next_step.clone());
    }
    if wants_default_gateways {
        problems.add(Severity::Note, "spec.useDefaultGateways", "default Gateways are not supported", "");
    }
    if is_orphan {
        problems.add(
            Severity::Warning,
            "spec.parentRefs",
            "the route names no parent",
            "name a Gateway in parentRefs",
        );
    }
}

/// ResolvedRefs: the first failure's reason, all messages.
pub(super) fn resolved_refs(generation: Option<i64>, failures: Vec<(&'static str, &str)>) -> Condition {
    let Some((reason, _)) = failures.first() else {
        return Condition::yes("ResolvedRefs", "ResolvedRefs", generation);
    };
    let mut messages: Vec<&str> = failures.iter().map(|it| it.1).collect();
    messages.dedup();
    Condition::no("ResolvedRefs", reason, messages.join("; "), generation)
}

/// Turns references to backends into backends.
pub(super) struct Resolver<'a, 'b> {
    pub(super) view: &'b View<'a>,
    pub(super) meta: &'b Meta,
    pub(super) failures: Vec<RefFailure>,
    pub(super) problems: &'b mut Problems,
    /// Whether other namespaces need not let themselves be named.
    pub(super) in_mesh: bool,
}

impl Resolver<'_, '_> {
    fn rule(&mut self, rule: &RuleModel) -> Rule {
        let mut filters = self.filters(rule.filters());
        let mut backends = Vec::with_capacity(rule.backends.len());
        for (index, it) in rule.backends.iter().enumerate() {
            let field = format!("spec.rules[{}].backendRefs[{index}]", rule.index);
            let target = self.target(&it.reference, &field);
            backends.push(WeightedBackend { target, weight: it.weight, filters: self.filters(&it.filters) });
        }
        let extras = rule.extras.as_deref().cloned().unwrap_or_default();
        if let Some(reason) = extras.refused {
            // The rule keeps its requests, so that they don't fall to a rule that was not meant for them.
            filters = [Filter::Fail(Fail { status: 500, reason })].into();
            backends = Vec::new();
        }
        Rule {
            index: rule.index,
            name: extras.name,
            matches: rule.matches.clone(),
            filters,
            backends: backends.into(),
            timeouts: extras.timeouts.boxed(),
            retry: extras.retry.map(Box::new),
            session_persistence: extras.session_persistence.map(Box::new),
        }
    }

    fn filters(&mut self, models: &[FilterModel]) -> Box<[Filter]> {
        let mut filters = Vec::with_capacity(models.len());
        for it in models {
            filters.push(match it {
                FilterModel::Ready(filter) => filter.clone(),
                FilterModel::Unresolved(reason) => Filter::Fail(Fail { status: 500, reason: reason.clone() }),
                FilterModel::Mirror(it) => {
                    let target = self.target(&it.backend, &it.field);
                    Filter::Mirror(Mirror { target, fraction: it.fraction })
                }
                FilterModel::Auth(it) => match self.target_as(&it.backend, it.caller, &it.field) {
                    BackendTarget::Fail(fail) => Filter::Fail(*fail),
                    target => Filter::ExternalAuth(Box::new(Authorizer { target, ..it.authorizer.clone() })),
                },
            });
        }
        filters.into()
    }

    pub(super) fn target(&mut self, reference: &BackendReference, field: &str) -> BackendTarget {
        self.target_as(reference, Caller::of(self.meta.reference.kind), field)
    }

    fn target_as(&mut self, reference: &BackendReference, caller: Caller, field: &str) -> BackendTarget {
        match self.resolve(reference, caller) {
            Ok(target) => target,
            Err(failure) => {
                let place = format!("{field}.{}", failure.part);
                self.problems.error(place, failure.message.clone(), failure.next_step.clone());
                let fail = Fail { status: 500, reason: failure.message.clone() };
                self.failures.push(failure);
                BackendTarget::Fail(Box::new(fail))
            }
        }
    }

    fn resolve(&self, reference: &BackendReference, caller: Caller) -> Result<BackendTarget, RefFailure> {
        let from = &self.meta.reference;
        let id = backend::identify(reference, &from.namespace, caller, self.view.domain())?;
        if !self.in_mesh {
            check_grant(self.view, from, &id)?;
        }
        match self.view.backend(&id).map(|it| &**it) {
            Some(Ok(resolved)) => Ok(BackendTarget::Backend(resolved.backend.key.clone())),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(RefFailure::new("BackendNotFound", "name", "backend not found", "")),
        }
    }
}
