//! What Sidecars (Istio) leave their workloads of the mesh.
//!
//! A workload follows one Sidecar as a whole: one of its namespace that selects it, else one of its namespace for all, else
//! the root namespace's for all; of equals the oldest. Which one that is depends on its labels, and so its sidecar chooses.

use crate::model::{EgressModel, OfNamespace, OutboundMode, SidecarModel};
use crate::view::View;
use sluice_crds::Name;
use sluice_ir::{Egress, HostPattern, KnownHosts, Origin, Outbound, Scope};
use std::sync::Arc;

/// The Sidecars that may be for workloads of a namespace, in the order in which they win.
pub(super) fn compute(view: &View<'_>, namespace: &Name) -> Vec<Scope> {
    let own = view.sidecars_in(namespace);
    let for_all = |all: &[&Arc<SidecarModel>]| all.iter().copied().find(|it| it.selector.is_none()).cloned();
    let root = || for_all(&view.sidecars_in(&view.options().root_namespace));
    let last = for_all(&own).or_else(root);
    let selecting = own.into_iter().filter(|it| it.selector.is_some()).cloned();
    selecting.chain(last).map(|it| scope(view, namespace, &it)).collect()
}

/// What the mesh's configuration says of destinations that nobody knows; Istio's default is that anything may be called.
pub(super) fn outbound(view: &View<'_>) -> Outbound {
    match view.mesh().config().and_then(|it| it.outbound_traffic_policy.mode.as_deref()) {
        None | Some("ALLOW_ANY") => Outbound::AllowAny,
        Some(_) => Outbound::RegistryOnly,
    }
}

fn scope(view: &View<'_>, namespace: &Name, it: &SidecarModel) -> Scope {
    let reference = &it.meta.reference;
    let hosts = |all: &[(OfNamespace, HostPattern)]| {
        let known = all.iter().map(|(of, host)| KnownHosts {
            namespace: match of {
                OfNamespace::Any => None,
                OfNamespace::Own => Some(namespace.to_string()),
                OfNamespace::Named(name) => Some(name.to_string()),
            },
            host: host.clone(),
        });
        known.collect()
    };
    let egress = |all: &Vec<EgressModel>| {
        all.iter().map(|it| Egress { port: it.port, hosts: hosts(&it.hosts) }).collect()
    };
    Scope {
        origin: Origin::new("Sidecar", reference.namespace.clone(), reference.name.clone()),
        selector: it.selector.clone().unwrap_or_default(),
        outbound: match it.mode {
            Some(OutboundMode::RegistryOnly) => Outbound::RegistryOnly,
            Some(OutboundMode::AllowAny) => Outbound::AllowAny,
            None => outbound(view),
        },
        egress: it.egress.as_ref().map(egress),
    }
}
