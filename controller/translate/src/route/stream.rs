//! What TLSRoute, TCPRoute and UDPRoute are told. No listener serves them yet, so none accepts them; their references
//! are judged all the same.

use super::attach::{self, Named};
use super::resolve::{absent_parent, check_grant, resolved_refs};
use crate::backend::{self, RefFailure, Target};
use crate::model::{BackendReference, StreamModel};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, RouteParentStatus, RouteStatus};
use crate::view::View;
use sluice_crds::Kind;

/// Status and problems; no status when no parent is ours.
pub(crate) fn compute(view: &View<'_>, model: &StreamModel) -> (Option<RouteStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    let mut failures = Vec::new();
    for (field, reference) in &model.backends {
        if let Err(failure) = resolve(view, model, reference) {
            let place = format!("{field}.{}", failure.part);
            problems.error(place, failure.message.clone(), failure.next_step.clone());
            failures.push(failure);
        }
    }
    let failed = failures.iter().map(|it| (it.reason, it.message.as_str()));
    let resolved = resolved_refs(model.meta.generation, failed.collect());
    let mut parents = Vec::new();
    for (index, written) in model.parents.iter().enumerate() {
        let field = format!("spec.parentRefs[{index}]");
        let parent = match attach::named(written, &model.meta.reference.namespace) {
            Named::Parent(parent) => parent,
            Named::OtherKind(kind) => {
                let message = format!("parents of kind {kind} are not supported yet");
                let next_step = "use a Gateway or ListenerSet";
                problems.add(Severity::Note, format!("{field}.kind"), message, next_step);
                continue;
            }
        };
        let Some(offered) = view.parent(&parent) else {
            absent_parent(view, &parent, &field, &mut problems);
            continue;
        };
        let kind = model.meta.reference.kind;
        let (reason, message) = match attach::meant(written, &parent, offered) {
            Err(refused) => (refused.reason, refused.message),
            Ok(_) => ("NotAllowedByListeners", format!("no listener of {parent} serves {kind}s yet")),
        };
        problems.error(field, message.clone(), "");
        let accepted = Condition::no("Accepted", reason, message, model.meta.generation);
        parents.push(RouteParentStatus {
            conditions: view.share_conditions(vec![accepted, resolved.clone()]),
            controller_name: view.controller_name(),
            parent_ref: written.clone(),
        });
    }
    ((!parents.is_empty()).then_some(RouteStatus { parents }), problems.into_list())
}

/// Whether a backendRef names a port of a Service that is there and may be named.
fn resolve(view: &View<'_>, model: &StreamModel, reference: &BackendReference) -> Result<(), RefFailure> {
    let from = &model.meta.reference;
    let (service, port) = match backend::identify(reference, &from.namespace, false)?.target {
        Target::Service { service, port } => (service, port),
        Target::Hostname { .. } => {
            let message = format!("a {} can't go to a Hostname", from.kind);
            return Err(RefFailure::new("InvalidKind", "kind", message, "use kind Service"));
        }
    };
    check_grant(view, from, &service)?;
    let name = format!("Service \"{}/{}\"", service.namespace, service.name);
    let Some(found) = view.service(&service) else {
        let next_step = "create it, or correct name or namespace";
        return Err(RefFailure::new("BackendNotFound", "name", format!("{name} not found"), next_step));
    };
    let is_tcp = from.kind != Kind::UdpRoute;
    if found.ports.iter().any(|it| it.port == i32::from(port) && it.is_tcp == is_tcp) {
        return Ok(());
    }
    let transport = if is_tcp { "TCP" } else { "UDP" };
    let message = format!("{name} has no {transport} port {port}");
    Err(RefFailure::new("BackendNotFound", "port", message, "use a port of the Service"))
}
