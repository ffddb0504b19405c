//! The backends that policies name: the authorisers of `extAuth`.

use crate::backend::{self, BackendId, RefFailure, check_grant};
use crate::destination::ServiceDomain;
use crate::model::TrafficModel;
use crate::view::View;
use sluice_ir::{BackendTarget, ExtAuth, Fail, Given, TrafficSettings};
use std::sync::Arc;

/// The backend that a policy names, as far as the text of its reference allows.
pub(crate) fn backend_id(policy: &TrafficModel, domain: &ServiceDomain) -> Option<BackendId> {
    let auth = policy.auth.as_ref()?;
    backend::identify(&auth.backend, &policy.meta.reference.namespace, auth.caller, domain).ok()
}

/// Why the backend that a policy names can't be used.
pub(crate) fn failure(view: &View<'_>, policy: &TrafficModel) -> Option<RefFailure> {
    resolve(view, policy)?.err()
}

/// What a policy says, with its backend in place.
pub(super) fn settings(view: &View<'_>, policy: &TrafficModel) -> TrafficSettings {
    let mut settings = policy.settings.clone();
    let Some(resolved) = resolve(view, policy) else { return settings };
    if let Some(given) = &settings.ext_auth
        && let ExtAuth::Ask(authorizer) = &given.value
    {
        let target = resolved.unwrap_or_else(|failure| {
            BackendTarget::Fail(Box::new(Fail { status: 500, reason: failure.message }))
        });
        let mut authorizer = authorizer.clone();
        authorizer.target = target;
        let value = ExtAuth::Ask(authorizer);
        settings.ext_auth = Some(Arc::new(Given { policy: given.policy.clone(), value }));
    }
    settings
}

/// `None` for a policy that names no backend, or that has a fault.
fn resolve(view: &View<'_>, policy: &TrafficModel) -> Option<Result<BackendTarget, RefFailure>> {
    let auth = policy.auth.as_ref().filter(|_| policy.faults.is_empty())?;
    let reference = &policy.meta.reference;
    let id = backend::identify(&auth.backend, &reference.namespace, auth.caller, view.domain());
    let found = id.and_then(|id| {
        check_grant(view, reference, &id)?;
        match view.backend(&id).map(|it| &**it) {
            Some(Ok(resolved)) => Ok(BackendTarget::Backend(resolved.backend.key.clone())),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(RefFailure::new("BackendNotFound", "name", "backend not found", "")),
        }
    });
    Some(found)
}
