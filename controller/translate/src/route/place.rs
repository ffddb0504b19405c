//! Where a route ended up: what its object alone says against it, which listeners take it, and its status. The same for
//! routes of requests and of whole connections.

use super::attach::{self, Applicant, Named, Refused, Taken};
use crate::egress;
use crate::mesh;
use crate::model::{Fault, FaultReason, Meta};
use crate::problem::{Problems, Severity};
use crate::status::{Condition, ParentRef, RouteParentStatus, RouteStatus};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{Attachment, ListenerKey};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Listeners and `HOST:PORT`, by ServiceEntry or by route.
pub(crate) type Places = BTreeMap<ObjectRef, BTreeSet<(ListenerKey, String)>>;

/// Where a route ended up.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// By listener; only listeners that serve.
    pub(super) attachments: Box<[Attachment]>,
    /// The same of destinations of the mesh.
    pub(super) mesh: Box<[Attachment]>,
    /// `None` when no parent is ours.
    pub(super) status: Option<RouteStatus>,
    /// Listeners that accepted the route, each once, with their Gateway.
    pub(super) accepted: Vec<(ListenerKey, ObjectRef)>,
    /// By ServiceEntry that is a parent, where the route shapes what goes to it.
    pub(super) shapes: Places,
}

/// What came of a route's references.
pub(super) struct Resolved {
    /// For Gateways, where other namespaces must let themselves be named.
    pub(super) at_gateways: Condition,
    /// For the mesh, where they need not (GEP-1294).
    pub(super) in_mesh: Condition,
}

/// Attaches a route to the listeners that take it.
pub(super) fn place(
    view: &View<'_>,
    route: Applicant<'_>,
    verdict: &Verdict,
    resolved: &Resolved,
    problems: &mut Problems,
) -> Placed {
    let mut placed = Placed::default();
    let mut attachments: BTreeMap<ListenerKey, Attachment> = BTreeMap::new();
    let mut mesh: BTreeMap<ListenerKey, Attachment> = BTreeMap::new();
    let mut parents = Vec::new();
    for (index, written) in route.parents.iter().enumerate() {
        let is_refused = verdict.refused.is_some();
        let Some(taken) = parent(view, route, (index, written), is_refused, problems) else { continue };
        let is_mesh = match &taken {
            Ok(taken) => taken.iter().any(|it| it.gateway.is_none()),
            Err(_) => matches!(attach::named(written, &route.meta.reference.namespace), Named::Service(_)),
        };
        let accepted = match (&verdict.refused, taken) {
            (Some(refused), _) => refused.clone(),
            (None, Err(condition)) => condition,
            (None, Ok(taken)) => {
                if let Named::Entry(entry) = attach::named(written, &route.meta.reference.namespace) {
                    let at_proxies = taken.iter().filter(|it| it.gateway.is_some());
                    let places = at_proxies.flat_map(|it| {
                        it.hostnames.iter().map(move |name| (it.listener.clone(), name.to_string()))
                    });
                    let places: BTreeSet<(ListenerKey, String)> = places.collect();
                    if !places.is_empty() {
                        placed.shapes.entry(entry).or_default().extend(places);
                    }
                }
                let (at_gateways, in_mesh) = taken.into_iter().partition(|it: &Taken| it.gateway.is_some());
                attach_to(at_gateways, &mut attachments, &mut placed.accepted);
                attach_to(in_mesh, &mut mesh, &mut placed.accepted);
                Condition::yes("Accepted", "Accepted", route.meta.generation)
            }
        };
        let resolved = if is_mesh { &resolved.in_mesh } else { &resolved.at_gateways };
        let conditions = [Some(accepted), Some(resolved.clone()), verdict.partial.clone()];
        let conditions = view.share_conditions(conditions.into_iter().flatten().collect());
        parents.push(RouteParentStatus {
            conditions,
            controller_name: view.controller_name(),
            parent_ref: written.clone(),
        });
    }
    placed.status = (!parents.is_empty()).then_some(RouteStatus { parents });
    placed.attachments = attachments.into_values().collect();
    placed.mesh = mesh.into_values().collect();
    placed
}

/// Whether an object of so many rules is refused for what it says itself.
pub(crate) fn is_refused(meta: &Meta, faults: &[Fault], rule_count: u32) -> bool {
    judge(meta, faults, rule_count).refused.is_some()
}

/// What the object alone says.
pub(super) struct Verdict {
    /// Accepted=False.
    refused: Option<Condition>,
    /// PartiallyInvalid=True.
    partial: Option<Condition>,
}

/// Judges an object of so many rules.
pub(super) fn judge(meta: &Meta, faults: &[Fault], rule_count: u32) -> Verdict {
    let generation = meta.generation;
    let hard = || {
        faults.iter().filter_map(|it| match it.reason {
            FaultReason::UnsupportedValue => Some((it, "UnsupportedValue")),
            FaultReason::IncompatibleFilters => Some((it, "IncompatibleFilters")),
            FaultReason::InvalidKind | FaultReason::Warning => None,
        })
    };
    let Some((first, reason)) = hard().find(|(it, _)| it.rule.is_none()).or_else(|| hard().next()) else {
        return Verdict { refused: None, partial: None };
    };
    let mut rules: Vec<u32> = hard().filter_map(|(it, _)| it.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let message = format!("{}: {}", first.field, first.message);
    if first.rule.is_none() || rules.len() >= rule_count as usize {
        return Verdict {
            refused: Some(Condition::no("Accepted", reason, message, generation)),
            partial: None,
        };
    }
    let names: Vec<String> = rules.iter().map(u32::to_string).collect();
    let message = format!("Dropped Rule(s) {}: {message}", names.join(", "));
    let partial = Condition::yes("PartiallyInvalid", "UnsupportedValue", generation).message(message);
    Verdict { refused: None, partial: Some(partial) }
}

/// What a parentRef comes to; `None` when there is no status to give. A destination of the mesh has not even looked at a route
/// that is refused.
fn parent(
    view: &View<'_>,
    route: Applicant<'_>,
    (index, written): (usize, &ParentRef),
    is_refused: bool,
    problems: &mut Problems,
) -> Option<Result<Vec<Taken>, Condition>> {
    let field = format!("spec.parentRefs[{index}]");
    let reference = match attach::named(written, &route.meta.reference.namespace) {
        Named::Parent(reference) | Named::Entry(reference) | Named::Service(reference) => reference,
        Named::OtherKind(kind) => {
            let message = format!("parents of kind {kind} are not supported yet");
            let next_step = "use a Gateway, ListenerSet, Service or ServiceEntry";
            problems.add(Severity::Note, format!("{field}.kind"), message, next_step);
            return None;
        }
    };
    let in_mesh = || match is_refused {
        true => view.mesh_parent(&reference).map(|_| Ok(Vec::new())),
        false => mesh::attach(view, route, written, &reference),
    };
    let taken = match reference.kind {
        Kind::Service => in_mesh(),
        Kind::ServiceEntry => {
            let at_proxies = egress::attach(view, route, written, &reference);
            either(at_proxies, in_mesh())
        }
        _ => attach::listeners(view, route, written, &reference),
    };
    match taken {
        None => {
            absent_parent(view, &reference, &field, problems);
            None
        }
        Some(Ok(taken)) => Some(Ok(taken)),
        Some(Err(refused)) => {
            let next_step = match refused.reason {
                "Conflicted" => "use one kind of route for each port, or name the ports in the parentRefs",
                "NotAllowedByListeners" if reference.kind == Kind::Service => {
                    "use a route of the protocol that the port speaks"
                }
                "NoMatchingParent" if reference.kind == Kind::Service => "use a port of the Service",
                "NoMatchingParent" if reference.kind == Kind::ServiceEntry => {
                    "use a port of the ServiceEntry"
                }
                "NoMatchingParent" => "use a listener of the parent",
                "NotAllowedByListeners" if reference.kind == Kind::ServiceEntry => {
                    "move the route to the namespace of the ServiceEntry, or have an own ServiceEntry"
                }
                "NotAllowedByListeners" => "set allowedRoutes of the listener, or use another one",
                _ if reference.kind == Kind::ServiceEntry => "use hosts of the ServiceEntry",
                _ => "use a hostname that the listener has, or change the listener's",
            };
            let field = if refused.part.is_empty() { field } else { format!("{field}.{}", refused.part) };
            problems.error(field, refused.message.clone(), next_step);
            Some(Err(Condition::no("Accepted", refused.reason, refused.message, route.meta.generation)))
        }
    }
}

/// What two ways of taking a route come to: whatever one of them takes is taken.
fn either(
    one: Option<Result<Vec<Taken>, Refused>>,
    other: Option<Result<Vec<Taken>, Refused>>,
) -> Option<Result<Vec<Taken>, Refused>> {
    match (one, other) {
        (Some(Ok(mut all)), Some(Ok(more))) => {
            all.extend(more);
            Some(Ok(all))
        }
        (Some(Ok(all)), _) | (_, Some(Ok(all))) => Some(Ok(all)),
        (Some(Err(refused)), _) | (None, Some(Err(refused))) => Some(Err(refused)),
        (None, None) => None,
    }
}

/// Says why a parent offers nothing: it is not there, it is another controller's, or its own parent is.
fn absent_parent(view: &View<'_>, reference: &ObjectRef, field: &str, problems: &mut Problems) {
    let is_there = match reference.kind {
        Kind::ListenerSet => view.listener_set(reference).is_some(),
        Kind::ServiceEntry => view.entry(reference).is_some(),
        Kind::Service => view.service(reference).is_some(),
        _ => view.gateway(reference).is_some(),
    };
    if is_there && reference.kind == Kind::ServiceEntry {
        let message = format!("no forward proxy here leads to {reference}; the route is left alone");
        problems.add(Severity::Note, field, message, "see exportTo of the ServiceEntry");
    } else if is_there && reference.kind == Kind::Service {
        let (message, next_step) = if view.options().standalone {
            ("a Service is served by sidecars only, of which there are none here", "name a Gateway")
        } else {
            ("there is no mesh here", "label a namespace with istio-injection: enabled")
        };
        problems.add(Severity::Note, field, format!("{message}; the route is left alone"), next_step);
    } else if is_there {
        let message = format!("{reference} is not served here; the route is left alone");
        problems.add(Severity::Note, field, message, "see the problems of the parent");
    } else {
        let message = format!("{reference} not found");
        problems.error(format!("{field}.name"), message, "create it, or correct name or namespace");
    }
}

fn attach_to(
    taken: Vec<Taken>,
    attachments: &mut BTreeMap<ListenerKey, Attachment>,
    accepted: &mut Vec<(ListenerKey, ObjectRef)>,
) {
    for it in taken {
        if let Some(gateway) = it.gateway
            && !accepted.iter().any(|(key, _)| *key == it.listener)
        {
            accepted.push((it.listener.clone(), gateway));
        }
        if it.is_served {
            match attachments.entry(it.listener.clone()) {
                Entry::Vacant(free) => {
                    free.insert(Attachment { listener: it.listener, hostnames: it.hostnames });
                }
                // Several ServiceEntries, or ports of one, lead out by one forward proxy.
                Entry::Occupied(mut known) if known.get().hostnames != it.hostnames => {
                    let known = known.get_mut();
                    let all: BTreeSet<_> = known.hostnames.iter().chain(it.hostnames.iter()).collect();
                    known.hostnames = all.into_iter().cloned().collect();
                }
                Entry::Occupied(_) => {}
            }
        }
    }
}
