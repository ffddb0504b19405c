//! What a policy is told: whether it governs anybody, what of it is not done, and whom it can't ask.

use super::model::AuthorizationModel;
use super::resolve::ResolvedAuthorization;
use crate::gateway::{Verdict, class_verdict};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, DestinationStatus};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};

/// Our conditions stand beside those of Istio's own controllers.
const ACCEPTED: &str = "sluice.dev/Accepted";
const RESOLVED_REFS: &str = "sluice.dev/ResolvedRefs";
const PARTIALLY_INVALID: &str = "sluice.dev/PartiallyInvalid";

/// How a target stands.
enum Standing {
    /// A Gateway of ours, or a class of ours.
    Ours,
    /// Another controller's.
    Foreign(String),
    /// Not there.
    Absent,
}

/// Status and problems of a policy; no status while all that it names is another controller's.
pub(crate) fn compute(
    view: &View<'_>,
    model: &AuthorizationModel,
    resolved: &ResolvedAuthorization,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    for fault in &model.faults {
        problems.error(&fault.field, &fault.message, &fault.next_step);
    }
    for warning in &model.warnings {
        problems.add(Severity::Warning, &warning.field, &warning.message, &warning.next_step);
    }
    if let Some(failure) = &resolved.failure {
        let message = format!("{failure}; what the rules match is refused");
        problems.error("spec.provider.name", message, "add it to extensionProviders, or correct the name");
    }
    let (mut ours, mut absent, mut foreign) = (usize::from(model.is_for_workloads()), Vec::new(), 0);
    for target in &model.targets {
        let Some(object) = &target.object else { continue };
        match standing(view, object) {
            Standing::Ours => ours += 1,
            Standing::Foreign(message) => {
                foreign += 1;
                problems.add(Severity::Note, &target.field, message, "see the problems of the target");
            }
            Standing::Absent => {
                let message = format!("{object} not found");
                let next_step = "create it, or correct the name; a Gateway is in the policy's namespace";
                problems.error(format!("{}.name", target.field), message.clone(), next_step);
                absent.push(message);
            }
        }
    }
    if model.is_for_workloads() && view.options().standalone {
        let message =
            "a policy without targetRefs has effect with sidecars only, of which there are none here";
        problems.add(Severity::Note, "spec", message, "name a Gateway in targetRefs");
    }
    let is_foreign = ours == 0 && foreign > 0 && absent.is_empty();
    let status = (!is_foreign)
        .then(|| DestinationStatus { conditions: conditions(model, resolved, ours > 0, &absent) });
    (status, problems.into_list())
}

fn standing(view: &View<'_>, object: &ObjectRef) -> Standing {
    let foreign =
        || Standing::Foreign(format!("{object} is not served here; the policy has no effect on it"));
    match object.kind {
        Kind::GatewayClass => match class_verdict(view, &object.name) {
            Verdict::Ours { .. } => Standing::Ours,
            Verdict::Foreign(_) if view.class(&object.name).is_some() => foreign(),
            Verdict::Foreign(_) => Standing::Absent,
        },
        _ => match (view.gateway(object).is_some(), view.parent(object).is_some()) {
            (true, true) => Standing::Ours,
            (true, false) => foreign(),
            (false, _) => Standing::Absent,
        },
    }
}

fn conditions(
    model: &AuthorizationModel,
    resolved: &ResolvedAuthorization,
    is_accepted: bool,
    absent: &[String],
) -> Vec<Condition> {
    let generation = model.meta.generation;
    let joined = |faults: &[crate::values::Fault]| {
        faults.iter().map(|it| format!("{}: {}", it.field, it.message)).collect::<Vec<_>>().join("; ")
    };
    let mut conditions = vec![match is_accepted {
        true => Condition::yes(ACCEPTED, "Accepted", generation).message(joined(&model.warnings)),
        false if absent.is_empty() => {
            Condition::no(ACCEPTED, "Invalid", "no entry of targetRefs can be used", generation)
        }
        false => Condition::no(ACCEPTED, "TargetNotFound", absent.join("; "), generation),
    }];
    let mut not_done = joined(&model.faults);
    if is_accepted && !absent.is_empty() {
        let gap = if not_done.is_empty() { "" } else { "; " };
        not_done = format!("{not_done}{gap}{}", absent.join("; "));
    }
    if !not_done.is_empty() {
        conditions.push(Condition::yes(PARTIALLY_INVALID, "UnsupportedValue", generation).message(not_done));
    }
    if let Some(failure) = &resolved.failure {
        let message = format!("{failure}; what the rules match is refused");
        conditions.push(Condition::no(RESOLVED_REFS, "InvalidProvider", message, generation));
    }
    conditions
}
