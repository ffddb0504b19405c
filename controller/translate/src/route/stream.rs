//! TLSRoute, TCPRoute and UDPRoute put together: their listeners, their backends, their status.

use super::attach::Applicant;
use super::place::{Placed, Places, judge, place};
use super::resolve::{self, Resolver, origin, report};
use crate::backend::{self, BackendId, Caller};
use crate::destination::ServiceDomain;
use crate::model::StreamModel;
use crate::problem::{Problem, Problems};
use crate::status::RouteStatus;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{BackendKey, BackendTarget, ListenerKey, StreamRoute, StreamRouteKey, WeightedBackend};
use std::sync::Arc;

/// What a stream route makes.
#[derive(Debug, Default)]
pub(crate) struct StreamOutput {
    /// `None` when no listener that serves took the route.
    pub(crate) route: Option<StreamRoute>,
    /// The same for destinations of the mesh.
    pub(crate) mesh: Option<StreamRoute>,
    /// `None` when no parent is ours.
    pub(crate) status: Option<RouteStatus>,
    /// Listeners that accepted the route, each once, with their Gateway.
    pub(crate) accepted: Vec<(ListenerKey, ObjectRef)>,
    /// By ServiceEntry that is a parent, where the route shapes what goes to it.
    pub(crate) shapes: Places,
    pub(crate) problems: Vec<Problem>,
}

/// The backends that a stream route names, as far as the text of the references allows.
pub(crate) fn backend_ids<'a>(
    route: &'a StreamModel,
    domain: &'a ServiceDomain,
) -> impl Iterator<Item = BackendId> + 'a {
    let reference = &route.meta.reference;
    let caller = Caller::of(reference.kind);
    let references = route.backends.iter().map(|it| &it.reference);
    references.filter_map(move |it| backend::identify(it, &reference.namespace, caller, domain).ok())
}

/// The backends that a finished stream route calls, as often as it names them.
pub(crate) fn backend_keys(route: &StreamRoute) -> impl Iterator<Item = &BackendKey> {
    route.backends.iter().filter_map(|it| match &it.target {
        BackendTarget::Backend(key) => Some(key),
        BackendTarget::Fail(_) => None,
    })
}

/// The key of a stream route.
pub(crate) fn key(reference: &ObjectRef) -> StreamRouteKey {
    StreamRouteKey::new(format!("{}/{}/{}", reference.kind, reference.namespace, reference.name))
}

/// Computes a stream route.
pub(crate) fn compute(view: &View<'_>, model: &StreamModel) -> StreamOutput {
    let mut problems = Problems::of(&model.meta.reference);
    report(&model.faults, model.wants_default_gateways, model.parents.is_empty(), &mut problems);
    let verdict = judge(&model.meta, &model.faults, 1);
    let resolve = |problems: &mut Problems, in_mesh: bool| {
        let failures = Vec::new();
        let mut resolver = Resolver { view, meta: &model.meta, failures, problems, in_mesh };
        let backends = model.backends.iter().enumerate().map(|(index, it)| WeightedBackend {
            target: resolver.target(&it.reference, &format!("spec.rules[0].backendRefs[{index}]")),
            weight: it.weight,
            filters: Box::default(),
        });
        let backends: Arc<[WeightedBackend]> = backends.collect();
        let failed = resolver.failures.iter().map(|it| (it.reason, it.message.as_str()));
        (backends, resolve::resolved_refs(model.meta.generation, failed.collect()))
    };
    let (backends, mesh_backends, resolved) =
        resolve::both(view, (&model.parents, &model.meta), &mut problems, resolve);
    let applicant = Applicant { meta: &model.meta, hostnames: &model.hostnames, parents: &model.parents };
    let Placed { attachments, mesh, status, accepted, shapes } =
        place(view, applicant, &verdict, &resolved, &mut problems);
    let mesh = (!mesh.is_empty()).then(|| StreamRoute {
        key: StreamRouteKey::new(format!("Mesh/{}", key(&model.meta.reference))),
        origin: origin(&model.meta.reference),
        kind: model.kind,
        created_s: model.meta.created_s,
        attachments: mesh,
        backends: mesh_backends.unwrap_or_else(|| Arc::new([])),
    });
    let route = (!attachments.is_empty()).then(|| StreamRoute {
        key: key(&model.meta.reference),
        origin: origin(&model.meta.reference),
        kind: model.kind,
        created_s: model.meta.created_s,
        attachments,
        backends: backends.unwrap_or_else(|| Arc::new([])),
    });
    StreamOutput { route, mesh, status, accepted, shapes, problems: problems.into_list() }
}
