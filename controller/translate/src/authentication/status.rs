//! What a policy is told: whether it governs anybody, and what of it is not done.

use super::keys;
use super::model::AuthenticationModel;
use crate::gateway::{Verdict, class_verdict};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, DestinationStatus};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::KeyReach;
use std::net::IpAddr;

/// Our conditions stand beside those of Istio's own controllers.
const ACCEPTED: &str = "sluice.dev/Accepted";
const PARTIALLY_INVALID: &str = "sluice.dev/PartiallyInvalid";

/// How a target stands.
enum Standing {
    /// A Gateway of ours, or a class of ours.
    Ours,
    /// Another controller's.
    Foreign,
    /// Not there.
    Absent,
}

/// Status and problems of a policy; no status while all that it names is another controller's.
pub(crate) fn compute(
    view: &View<'_>,
    model: &AuthenticationModel,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    for fault in &model.faults {
        problems.error(&fault.field, &fault.message, &fault.next_step);
    }
    for warning in &model.warnings {
        problems.add(Severity::Warning, &warning.field, &warning.message, &warning.next_step);
    }
    if model.rules.is_empty() {
        let message = "the policy has no rule: every request passes";
        problems.add(Severity::Warning, "spec.jwtRules", message, "add a rule");
    }
    let mut not_done: Vec<String> =
        model.faults.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
    for (field, message) in unreachable(view, model) {
        let next_step = "use a name, of the internet or of a Service, or add a ServiceEntry for it with location MESH_INTERNAL";
        problems.error(&field, &message, next_step);
        not_done.push(format!("{field}: {message}"));
    }
    let (mut ours, mut foreign) = (usize::from(model.is_for_workloads()), 0_usize);
    let mut absent = Vec::new();
    for target in &model.targets {
        let Some(object) = &target.object else { continue };
        match standing(view, object) {
            Standing::Ours => ours += 1,
            Standing::Foreign => {
                foreign += 1;
                let message = format!("{object} is not served here; the policy has no effect on it");
                problems.add(Severity::Note, &target.field, message, "see the problems of the target");
            }
            Standing::Absent => {
                let message = format!("{object} not found");
                let next_step = "create it, or correct the name; a Gateway is in the policy's namespace";
                problems.error(format!("{}.name", target.field), &message, next_step);
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
        .then(|| DestinationStatus { conditions: conditions(model, ours > 0, &absent, not_done) });
    (status, problems.into_list())
}

/// Hosts of key sets that are addresses which may not be asked, each by the field that names it.
fn unreachable(view: &View<'_>, model: &AuthenticationModel) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, rule) in model.rules.iter().enumerate() {
        let Some(place) = keys::asked(rule).and_then(|it| keys::place(it).ok()) else { continue };
        let reach = keys::of_host(view, &model.meta.reference.namespace, &place.host);
        let is_inside = match place.host.parse::<IpAddr>() {
            Ok(address) => is_plainly_inside(address),
            Err(_) => place.host == "localhost" || place.host.ends_with(".localhost"),
        };
        if reach != KeyReach::Any && is_inside {
            let field = match &rule.keys {
                sluice_ir::JwtKeys::Fetched { uri, .. } if uri.is_empty() => "issuer",
                _ => "jwksUri",
            };
            let message = format!(
                "{} is inside: no keys are fetched there, and the issuer's tokens are refused",
                place.host
            );
            found.push((format!("spec.jwtRules[{index}].{field}"), message));
        }
    }
    found
}

/// The plainest cases, told early; the data plane has the whole list.
fn is_plainly_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_private() || it.is_loopback() || it.is_link_local() || it.is_unspecified(),
        IpAddr::V6(it) => {
            it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local() || it.is_unspecified()
        }
    }
}

fn standing(view: &View<'_>, object: &ObjectRef) -> Standing {
    match object.kind {
        Kind::GatewayClass => match class_verdict(view, &object.name) {
            Verdict::Ours { .. } => Standing::Ours,
            Verdict::Foreign(_) if view.class(&object.name).is_some() => Standing::Foreign,
            Verdict::Foreign(_) => Standing::Absent,
        },
        _ => match (view.gateway(object).is_some(), view.parent(object).is_some()) {
            (true, true) => Standing::Ours,
            (true, false) => Standing::Foreign,
            (false, _) => Standing::Absent,
        },
    }
}

fn conditions(
    model: &AuthenticationModel,
    is_accepted: bool,
    absent: &[String],
    mut not_done: Vec<String>,
) -> Vec<Condition> {
    let generation = model.meta.generation;
    let warnings: Vec<String> =
        model.warnings.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
    let mut conditions = vec![match is_accepted {
        true => Condition::yes(ACCEPTED, "Accepted", generation).message(warnings.join("; ")),
        false if absent.is_empty() => {
            Condition::no(ACCEPTED, "Invalid", "no entry of targetRefs can be used", generation)
        }
        false => Condition::no(ACCEPTED, "TargetNotFound", absent.join("; "), generation),
    }];
    if is_accepted {
        not_done.extend(absent.iter().cloned());
    }
    if !not_done.is_empty() {
        let message = not_done.join("; ");
        conditions.push(Condition::yes(PARTIALLY_INVALID, "UnsupportedValue", generation).message(message));
    }
    conditions
}
