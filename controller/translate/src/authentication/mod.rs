//! RequestAuthentication (Istio): which tokens are believed. What a policy says (`model`, `read`, with `keys` for where
//! keys may come from), whom it governs (here), and what it is told about itself (`status`).
//!
//! A policy fails closed: a rule whose keys can't be used stays, without any, so that its issuer's tokens are refused and
//! the fields that it gives are taken from clients all the same.

mod keys;
mod model;
mod read;
mod status;

pub(crate) use model::AuthenticationModel;
pub(crate) use read::read;
pub(crate) use status::compute as status;

use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{Authentication, Origin};
use std::sync::Arc;

/// The policies of a Gateway: those that name its class, then those that name it, each the oldest first.
pub(crate) fn for_gateway(view: &View<'_>, gateway: &ObjectRef, class: &str) -> Vec<Arc<Authentication>> {
    let class = ObjectRef::new(Kind::GatewayClass, "", class);
    let of_class = view.authentications_of(&class);
    let own = view.authentications_of(gateway);
    of_class.into_iter().chain(own).map(|it| resolved(view, it)).collect()
}

/// The policies of a namespace's workloads: those of the root namespace, then its own, each the oldest first. Which of
/// them select a workload is for its data plane to say.
pub(crate) fn for_workloads(view: &View<'_>, namespace: &str) -> Vec<Arc<Authentication>> {
    let root = view.options().root_namespace.as_str();
    let of_mesh = if namespace == root { Vec::new() } else { view.authentications_in(root) };
    let own = view.authentications_in(namespace);
    of_mesh.into_iter().chain(own).map(|it| resolved(view, it)).collect()
}

/// The policy with what its hosts may lead to, which ServiceEntries have a word in.
fn resolved(view: &View<'_>, model: &AuthenticationModel) -> Arc<Authentication> {
    let reference = &model.meta.reference;
    Arc::new(Authentication {
        origin: Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone()),
        selector: model.selector.clone().unwrap_or_default(),
        rules: model.rules.iter().map(|it| keys::reaching(view, &reference.namespace, it)).collect(),
    })
}
