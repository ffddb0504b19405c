//! What forward proxies may reach that no ServiceEntry names: nothing, unless a Sidecar (Istio) says
//! `outboundTrafficPolicy.mode: ALLOW_ANY` for their namespace.
//!
//! In: a Sidecar without workloadSelector and the forward proxies. Out: one route of requests and one of tunnels for every
//! host, attached to the proxies of the namespaces that the Sidecar holds for: its own, and from the root namespace those
//! that have none. Names are looked up when they are asked for, and lead to addresses of the internet only. What a
//! ServiceEntry names comes first, since its routes are more specific.

use super::{Proxy, Ways, everything};
use crate::backend::{BackendId, Caller, Target};
use crate::model::OutboundMode;
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{
    Attachment, BackendTarget, HostPattern, ListenerKey, Origin, Route, RouteKey, RouteKind, StreamKind,
    StreamRoute, StreamRouteKey, WeightedBackend,
};
use std::sync::Arc;

/// The backends that the ways of a Sidecar lead to.
pub(crate) fn backend_ids(sidecar: &ObjectRef) -> Vec<BackendId> {
    [Caller::Http, Caller::Tcp].map(|caller| id(sidecar, caller)).into()
}

fn id(sidecar: &ObjectRef, caller: Caller) -> BackendId {
    let target = Target::Anything { sidecar: sidecar.clone() };
    BackendId { target, caller, client: None, subset: None }
}

/// Computes the ways of a Sidecar.
pub(crate) fn compute(view: &View<'_>, reference: &ObjectRef) -> Ways {
    let mut ways = Ways::default();
    let Some(sidecar) = view.sidecar(reference) else { return ways };
    let is_first =
        || view.outbound_of(&reference.namespace).is_some_and(|it| it.meta.reference == *reference);
    if sidecar.selector.is_some() || sidecar.mode.is_none() || !is_first() {
        return ways;
    }
    let attachments: Box<[Attachment]> = if sidecar.mode == Some(OutboundMode::AllowAny) {
        let everything: Arc<[HostPattern]> = [HostPattern::Any].into();
        let open = view.forward_proxies().iter().filter(|(_, it)| holds_for(view, reference, &it.namespace));
        open.map(|(listener, _): (&ListenerKey, &Proxy)| Attachment {
            listener: listener.clone(),
            hostnames: everything.clone(),
        })
        .collect()
    } else {
        Box::default()
    };
    if attachments.is_empty() {
        return ways;
    }
    let to = |caller| {
        let outcome = view.backend(&id(reference, caller))?;
        let target = BackendTarget::Backend(outcome.as_ref().as_ref().ok()?.backend.key.clone());
        Some(Arc::from([WeightedBackend { target, weight: 1, filters: Box::default() }]))
    };
    let key = format!("Sidecar/{}/{}", reference.namespace, reference.name);
    let origin = Origin::new("Sidecar", reference.namespace.clone(), reference.name.clone());
    let created_s = sidecar.meta.created_s;
    ways.requests.extend(to(Caller::Http).map(|backends| Route {
        key: RouteKey::new(key.clone()),
        origin: origin.clone(),
        kind: RouteKind::Http,
        created_s,
        attachments: attachments.clone(),
        rules: everything(backends).into(),
        traffic: None,
    }));
    ways.tunnels.extend(to(Caller::Tcp).map(|backends| StreamRoute {
        key: StreamRouteKey::new(key),
        origin,
        kind: StreamKind::Tcp,
        created_s,
        attachments,
        backends,
    }));
    ways
}

/// Whether the Sidecar is the one that says what may be reached from a namespace.
fn holds_for(view: &View<'_>, reference: &ObjectRef, namespace: &Name) -> bool {
    let own = view.outbound_of(namespace).or_else(|| view.outbound_of(&view.options().root_namespace));
    own.is_some_and(|it| it.meta.reference == *reference)
}
