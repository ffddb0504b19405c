//! ListenerSets (GEP-1713): which ones a Gateway lets in.

use super::class::{self, Verdict};
use crate::model::{GatewayModel, SetModel};
use crate::problem::{Problem, Problems, Severity};
use crate::view::View;
use sluice_crds::ObjectRef;
use std::sync::Arc;

/// Whether the Gateway's `allowedListeners` lets the set in.
pub(crate) fn is_admitted(view: &View<'_>, gateway: &GatewayModel, set: &SetModel) -> bool {
    let namespace = &set.meta.reference.namespace;
    gateway
        .allowed_listeners
        .allows(&gateway.meta.reference.namespace, namespace, || view.namespace_labels(namespace))
}

/// The sets that a Gateway lets in, in merge order.
pub(crate) fn admitted<'a>(view: &View<'a>, gateway: &GatewayModel) -> Vec<&'a Arc<SetModel>> {
    let sets = view.sets_of(&gateway.meta.reference).into_iter();
    sets.filter(|it| it.names_gateway && is_admitted(view, gateway, it)).collect()
}

/// Problems of a set whose parent is missing or not ours; such a set has no status.
pub(crate) fn orphan_problems(view: &View<'_>, reference: &ObjectRef) -> Vec<Problem> {
    let Some(set) = view.listener_set(reference) else { return Vec::new() };
    let mut problems = Problems::of(reference);
    let parent = &set.parent;
    if !set.names_gateway {
        problems.error("spec.parentRef.kind", "a ListenerSet's parent must be a Gateway", "use kind Gateway");
        return problems.into_list();
    }
    match view.gateway(parent) {
        None => problems.error(
            "spec.parentRef.name",
            format!("Gateway \"{}/{}\" not found", parent.namespace, parent.name),
            "create it, or correct the name or namespace",
        ),
        Some(gateway) => {
            if let Verdict::Foreign(message) = class::verdict(view, &gateway.class) {
                problems.add(Severity::Note, "spec.parentRef", message, "");
            }
        }
    }
    problems.into_list()
}
