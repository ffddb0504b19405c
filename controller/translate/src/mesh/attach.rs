//! Routes whose parent is a destination of the mesh (GEP-1294): which of its listeners they have.

use super::compute::Offer;
use crate::route::{Applicant, Refused, Taken};
use crate::status::ParentRef;
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::HostPattern;
use std::sync::Arc;

/// The listeners that a route has because of its parent `reference`; `None`: there is no mesh, or no such object.
pub(crate) fn attach(
    view: &View<'_>,
    route: Applicant<'_>,
    written: &ParentRef,
    reference: &ObjectRef,
) -> Option<Result<Vec<Taken>, Refused>> {
    let parent = view.mesh_parent(reference)?;
    let own = &route.meta.reference;
    let is_meant = |number: u16, name: &str| {
        written.section_name.as_ref().is_none_or(|it| *it == name)
            && written.port.is_none_or(|it| it == i32::from(number))
    };
    let ports: Vec<_> = parent.ports.iter().filter(|it| is_meant(it.0, &it.1)).collect();
    if ports.is_empty() {
        let known: Vec<String> =
            parent.ports.iter().map(|(number, name, _)| format!("{number} {name}")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let part = if written.section_name.is_some() { "sectionName" } else { "port" };
        let part = if parent.ports.is_empty() { "" } else { part };
        let message = format!("{reference} has no such port of TCP (ports: {})", known.trim_end());
        return Some(Err(Refused { reason: "NoMatchingParent", message, part }));
    }
    if !ports.iter().any(|it| it.2.takes(own.kind)) {
        let spoken: Vec<String> = ports.iter().map(|it| format!("{} speaks {}", it.0, it.2.word())).collect();
        let message = format!("no port of {reference} is for a {} ({})", own.kind, spoken.join(", "));
        return Some(Err(Refused { reason: "NotAllowedByListeners", message, part: "" }));
    }
    let meant = parent.offers.iter().filter(|it| is_meant(it.number, &it.name));
    let taken: Vec<Taken> = meant
        .clone()
        .filter(|it| it.routes.contains(own))
        .map(|it| Taken {
            listener: it.listener.clone(),
            gateway: None,
            hostnames: hostnames(own.kind, it, route.hostnames),
            is_served: true,
        })
        .filter(|it| !it.hostnames.is_empty())
        .collect();
    if !taken.is_empty() {
        return Some(Ok(taken));
    }
    // Those of another kind that have what the route is for.
    let winner =
        meant.filter(|it| it.speech.takes(own.kind)).find_map(|it| it.kind.filter(|kind| *kind != own.kind));
    Some(Err(match winner {
        Some(kind) => Refused {
            reason: "Conflicted",
            message: format!("{kind}s have the ports of {reference}, and come before a {}", own.kind),
            part: "",
        },
        None => Refused {
            reason: "NoMatchingListenerHostname",
            message: format!("nothing of {reference} is for the hostnames of the route"),
            part: "",
        },
    }))
}

/// For which hosts: those of a listener that is found by its address are its own, whatever a route of requests says; a
/// TLSRoute tells connections apart by nothing else.
fn hostnames(kind: Kind, offer: &Offer, route: &Arc<[HostPattern]>) -> Arc<[HostPattern]> {
    if kind != Kind::TlsRoute || route.is_empty() {
        return [offer.hostname.clone()].into();
    }
    let mut hosts: Vec<HostPattern> = route.iter().filter_map(|it| offer.hostname.intersection(it)).collect();
    hosts.sort();
    hosts.dedup();
    hosts.into()
}
