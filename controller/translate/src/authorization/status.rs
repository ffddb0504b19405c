//! What a policy is told: whether it governs anybody, what of it is not done, and whom it can't ask.

use super::model::AuthorizationModel;
use super::resolve::ResolvedAuthorization;
use crate::problem::{Problem, Problems};
use crate::status::{Condition, DestinationStatus};
use crate::targets::{self, RESOLVED_REFS, Standing};
use crate::view::View;

/// Status and problems of a policy; no status while all that it names is another controller's.
pub(crate) fn compute(
    view: &View<'_>,
    model: &AuthorizationModel,
    resolved: &ResolvedAuthorization,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    targets::tell(&model.faults, &model.warnings, &mut problems);
    if let Some(failure) = &resolved.failure {
        let message = format!("{failure}; what the rules match is refused");
        problems.error("spec.provider.name", message, "add it to extensionProviders, or correct the name");
    }
    let standing = Standing::of(view, &model.targets, &mut problems);
    let is_for_workloads = model.is_for_workloads();
    targets::tell_standalone(view, is_for_workloads, &mut problems);
    let status = (!standing.is_foreign(is_for_workloads)).then(|| DestinationStatus {
        conditions: conditions(model, resolved, standing.is_accepted(is_for_workloads), &standing.absent),
    });
    (status, problems.into_list())
}

fn conditions(
    model: &AuthorizationModel,
    resolved: &ResolvedAuthorization,
    is_accepted: bool,
    absent: &[String],
) -> Vec<Condition> {
    let generation = model.meta.generation;
    let not_done = targets::in_words(&model.faults);
    let mut conditions = targets::conditions(generation, is_accepted, absent, &model.warnings, not_done);
    if let Some(failure) = &resolved.failure {
        let message = format!("{failure}; what the rules match is refused");
        conditions.push(Condition::no(RESOLVED_REFS, "InvalidProvider", message, generation));
    }
    conditions
}
