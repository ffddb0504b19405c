//! What a Telemetry is told: whether it governs anybody, what of it is not done, and which providers it can't use.

use super::model::TelemetryModel;
use super::resolve;
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, DestinationStatus};
use crate::targets::{self, RESOLVED_REFS};
use crate::view::View;
use sluice_crds::Kind;

/// Status and problems.
pub(crate) fn compute(view: &View<'_>, model: &TelemetryModel) -> (DestinationStatus, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    targets::tell(&model.faults, &model.warnings, &mut problems);
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
    let not_done = targets::in_words(&model.faults);
    let mut conditions = targets::conditions(generation, is_accepted, absent, &model.warnings, not_done);
    if !failures.is_empty() {
        conditions.push(Condition::no(RESOLVED_REFS, "InvalidProvider", failures.join("; "), generation));
    }
    conditions
}
