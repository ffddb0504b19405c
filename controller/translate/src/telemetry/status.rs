//! What a Telemetry is told: whether it governs anybody, what of it is not done, and which providers it can't use.

use super::model::TelemetryModel;
use super::resolve;
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, DestinationStatus};
use crate::values::Fault;
use crate::view::View;
use sluice_crds::Kind;

/// Our conditions stand beside those of Istio's own controllers.
const ACCEPTED: &str = "sluice.dev/Accepted";
const RESOLVED_REFS: &str = "sluice.dev/ResolvedRefs";
const PARTIALLY_INVALID: &str = "sluice.dev/PartiallyInvalid";

/// Status and problems.
pub(crate) fn compute(view: &View<'_>, model: &TelemetryModel) -> (DestinationStatus, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    for fault in &model.faults {
        problems.error(&fault.field, &fault.message, &fault.next_step);
    }
    for warning in &model.warnings {
        problems.add(Severity::Warning, &warning.field, &warning.message, &warning.next_step);
    }
    let mesh = view.mesh();
    let mut failures = Vec::new();
    for (provider, used) in model.providers() {
        if let Some(failure) = resolve::failure(mesh.config(), provider, used) {
            let next_step = "add it to extensionProviders of the mesh's configuration, or correct the name";
            problems.error(format!("spec.{}", provider.field), &failure, next_step);
            failures.push(failure);
        }
    }
    let absent: Vec<String> = model
        .targets
        .iter()
        .filter(|(object, _)| match object.kind {
            Kind::GatewayClass => view.class(&object.name).is_none(),
            _ => view.gateway(object).is_none(),
        })
        .map(|(object, field)| {
            let message = format!("{object} not found");
            problems.error(format!("{field}.name"), message.clone(), "create it, or correct the name");
            message
        })
        .collect();
    if model.is_for_workloads() && model.selector.is_some() && view.options().standalone {
        let message = "selector has effect with sidecars only, of which there are none here";
        problems.add(Severity::Note, "spec.selector", message, "name a Gateway in targetRefs");
    }
    let is_accepted = model.is_for_workloads() || model.targets.len() > absent.len();
    (
        DestinationStatus { conditions: conditions(model, is_accepted, &absent, &failures) },
        problems.into_list(),
    )
}

fn conditions(
    model: &TelemetryModel,
    is_accepted: bool,
    absent: &[String],
    failures: &[String],
) -> Vec<Condition> {
    let generation = model.meta.generation;
    let joined = |faults: &[Fault]| {
        faults.iter().map(|it| format!("{}: {}", it.field, it.message)).collect::<Vec<_>>().join("; ")
    };
    let mut conditions = vec![match is_accepted {
        true => Condition::yes(ACCEPTED, "Accepted", generation).message(joined(&model.warnings)),
        false if absent.is_empty() => {
            Condition::no(ACCEPTED, "Invalid", "no entry of targetRefs can be used", generation)
        }
        false => Condition::no(ACCEPTED, "TargetNotFound", absent.join("; "), generation),
    }];
    let not_done: Vec<String> =
        [joined(&model.faults), if is_accepted { absent.join("; ") } else { String::new() }]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
    if !not_done.is_empty() {
        let message = not_done.join("; ");
        conditions.push(Condition::yes(PARTIALLY_INVALID, "UnsupportedValue", generation).message(message));
    }
    if !failures.is_empty() {
        conditions.push(Condition::no(RESOLVED_REFS, "InvalidProvider", failures.join("; "), generation));
    }
    conditions
}
