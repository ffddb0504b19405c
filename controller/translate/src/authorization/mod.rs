//! AuthorizationPolicy (Istio): who may do what. What a policy says (`model`, `read`, with `values`, `attribute` and
//! `template` for the small languages in it), what it comes to (`resolve`: trust domains written out, `provider`: whom
//! CUSTOM asks), which policies govern whom (here), and what each is told about itself (`status`).
//!
//! A policy fails closed: of ALLOW a rule that can't be read is left out, of the other actions a field that can't be
//! read is taken for absent, so that neither lets in who was to be kept out.

mod attribute;
mod model;
mod provider;
mod read;
mod resolve;
mod status;
mod template;
mod values;

pub(crate) use model::AuthorizationModel;
pub(crate) use read::read;
pub(crate) use resolve::{ResolvedAuthorization, backend_id, compute};
pub(crate) use status::compute as status;

use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::Authorization;
use std::sync::Arc;

/// The policies of a Gateway: those that name its class, then those that name it, each the oldest first.
pub(crate) fn for_gateway(view: &View<'_>, gateway: &ObjectRef, class: &str) -> Vec<Arc<Authorization>> {
    let class = ObjectRef::new(Kind::GatewayClass, "", class);
    let of_class = view.authorization_of(&class);
    let own = view.authorization_of(gateway);
    of_class.into_iter().chain(own).collect()
}

/// The policies of a namespace's workloads: those of the root namespace, then its own, each the oldest first. Which of
/// them select a workload is for its data plane to say.
pub(crate) fn for_workloads(view: &View<'_>, namespace: &str) -> Vec<Arc<Authorization>> {
    let root = view.options().root_namespace.as_str();
    let of_mesh = if namespace == root { Vec::new() } else { view.authorization_in(root) };
    of_mesh.into_iter().chain(view.authorization_in(namespace)).collect()
}
