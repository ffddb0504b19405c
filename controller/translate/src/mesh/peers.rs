//! What a PeerAuthentication is told: nothing unless something of it is not done.

use crate::model::PeerAuthenticationModel;
use crate::problem::{Problem, Problems, Severity};
use crate::status::DestinationStatus;
use crate::view::View;

/// Status and problems of a PeerAuthentication.
pub(crate) fn compute(
    view: &View<'_>,
    model: &PeerAuthenticationModel,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    let mut remarks = model.remarks.clone();
    let root = view.options().root_namespace.as_str();
    if model.meta.reference.namespace == *root && !model.rule.selector.is_all() {
        let message =
            format!("has no effect in the root namespace {root:?}: what is there holds for the whole mesh");
        let next_step = "remove the selector, or move it to the namespace of the workloads";
        remarks.push((Severity::Error, "spec.selector".to_owned(), message, next_step));
    }
    for (severity, field, message, next_step) in &remarks {
        problems.add(*severity, field, message, *next_step);
    }
    let not_done = remarks.iter().filter(|it| it.0 == Severity::Error);
    let not_done: Vec<String> =
        not_done.map(|(_, field, message, _)| format!("{field}: {message}")).collect();
    let status = DestinationStatus::not_done(&not_done, model.meta.generation);
    (status, problems.into_list())
}
