//! TrafficPolicy (GEP-713): what policies say (`read`) and name (`backend`), what their Secrets hold (`secrets`), which of
//! them counts for a target (here), and what each is told about itself (`status`).
//!
//! The settings of a target travel with it: with a Gateway, listener, route or rule. Laying the levels over each other
//! is the data plane's, so that a policy of a Gateway is one resource on the wire however many routes inherit it.

mod backend;
mod read;
mod secrets;
mod status;

pub(crate) use backend::{backend_id, failure as backend_failure};
pub(crate) use read::read;
pub(crate) use status::{Standing, compute as status};

use crate::model::TrafficModel;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::TrafficSettings;
use std::sync::Arc;

/// What the policies of one object (in the order in which they win) set for it: for the whole object, or for a section
/// of it alone.
pub(crate) fn settings(
    view: &View<'_>,
    policies: &[&Arc<TrafficModel>],
    object: &ObjectRef,
    section: Option<&str>,
) -> Option<Box<TrafficSettings>> {
    let taken = policies.iter().filter(|it| it.targets(object, section));
    let mut merged = TrafficSettings::default();
    for policy in taken {
        if first_conflict(&merged, &policy.settings).is_none() {
            merged = merged.over(&secrets::fill_in(view, policy, backend::settings(view, policy)));
        }
    }
    merged.boxed()
}

/// The policy that has a setting which `later` has too, and its name: a policy that comes later then has no effect on
/// the target at all, so that half of a policy never is what somebody relies on.
fn first_conflict<'a>(
    settings: &'a TrafficSettings,
    later: &TrafficSettings,
) -> Option<(&'static str, &'a sluice_ir::Origin)> {
    let later = later.given();
    settings.given().into_iter().find(|(name, _)| later.iter().any(|(other, _)| other == name))
}

/// As [`settings`] decides: what `policy` loses to at a target, if it does.
fn lost(
    policies: &[&Arc<TrafficModel>],
    policy: &ObjectRef,
    object: &ObjectRef,
    section: Option<&str>,
) -> Option<(&'static str, ObjectRef)> {
    let mut merged = TrafficSettings::default();
    for it in policies.iter().filter(|it| it.targets(object, section)) {
        let conflict = first_conflict(&merged, &it.settings);
        if it.meta.reference == *policy {
            let (setting, winner) = conflict?;
            let winner = ObjectRef::new(policy.kind, &*winner.namespace, &*winner.name);
            return Some((setting, winner));
        }
        if conflict.is_none() {
            merged = merged.over(&it.settings);
        }
    }
    None
}
