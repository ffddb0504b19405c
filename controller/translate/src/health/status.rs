//! What a HealthCheckPolicy is told: one entry for each target (GEP-713 lets the target be the ancestor), with the
//! condition `Accepted`.

use super::model::{HealthModel, HealthTarget};
use super::winner;
use crate::model::kind_name;
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, ParentRef, PolicyAncestorStatus, PolicyStatus};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};

/// Why a target is not what the policy means it to be.
struct Refused {
    reason: &'static str,
    message: String,
    next_step: &'static str,
    /// Part of the targetRef.
    part: &'static str,
}

/// Status and problems of a policy; `is_used`: a backend of an attached route is asked as it says.
pub(crate) fn compute(
    view: &View<'_>,
    policy: &HealthModel,
    is_used: bool,
) -> (Option<PolicyStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&policy.meta.reference);
    for fault in &policy.faults {
        problems.error(&fault.field, &fault.message, &fault.next_step);
    }
    for warning in &policy.warnings {
        problems.add(Severity::Warning, &warning.field, &warning.message, &warning.next_step);
    }
    let mut ancestors: Vec<PolicyAncestorStatus> = Vec::new();
    let mut is_well = policy.faults.is_empty();
    for (index, target) in policy.targets.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        if policy.targets.iter().take(index).any(|it| it == target) {
            problems.add(Severity::Warning, field, "names an earlier target again", "remove it");
            continue;
        }
        let refused = judge(view, policy, target);
        if let Some(it) = &refused {
            is_well = false;
            let field = if it.part.is_empty() { field } else { format!("{field}.{}", it.part) };
            problems.error(field, it.message.clone(), it.next_step);
        }
        ancestors.push(PolicyAncestorStatus {
            ancestor_ref: ancestor(policy, target),
            conditions: vec![accepted(policy, refused)],
            controller_name: view.controller_name(),
        });
    }
    if is_well && !is_used {
        let message = "no route that a Gateway here accepts calls a target: nobody is asked";
        problems.add(Severity::Note, "spec.targetRefs", message, "");
    }
    let status = (!ancestors.is_empty()).then_some(PolicyStatus { ancestors });
    (status, problems.into_list())
}

fn judge(view: &View<'_>, policy: &HealthModel, target: &HealthTarget) -> Option<Refused> {
    let object = match &target.object {
        Ok(object) => object,
        Err((group, kind)) => {
            return Some(Refused {
                reason: "Invalid",
                message: format!("targets of kind {} are not supported", kind_name(kind, group)),
                next_step: "target a Service, or a ServiceEntry of group networking.istio.io",
                part: "kind",
            });
        }
    };
    let Some(ports) = ports(view, object) else {
        return Some(Refused {
            reason: "TargetNotFound",
            message: format!("{object} not found"),
            next_step: "create it, or correct the name; a target is in the policy's namespace",
            part: "name",
        });
    };
    if let Some(section) = &target.section
        && !ports.contains(section)
    {
        let names = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        return Some(Refused {
            reason: "TargetNotFound",
            message: format!("{object} has no port named {section:?} (names: {names})"),
            next_step: "use the name of a port, or leave sectionName out for all of them",
            part: "sectionName",
        });
    }
    let first = winner(&view.health_of(object), object, target.section.as_deref())?;
    let first = &first.meta.reference;
    (*first != policy.meta.reference).then(|| Refused {
        reason: "Conflicted",
        message: match &target.section {
            None => format!("{first} comes first and targets the same: {object}"),
            Some(port) => format!("{first} comes first and targets the same: port {port:?} of {object}"),
        },
        next_step: "remove one of the two",
        part: "",
    })
}

/// Names of its ports; `None`: it is not there.
fn ports(view: &View<'_>, object: &ObjectRef) -> Option<Vec<String>> {
    let names: Vec<String> = match object.kind {
        Kind::Service => view.service(object)?.ports.iter().map(|it| it.name.clone()).collect(),
        _ => view.entry(object)?.ports.iter().map(|it| it.name.clone()).collect(),
    };
    Some(names.into_iter().filter(|it| !it.is_empty()).collect())
}

fn accepted(policy: &HealthModel, refused: Option<Refused>) -> Condition {
    let generation = policy.meta.generation;
    if let Some(refused) = refused {
        return Condition::no("Accepted", refused.reason, refused.message, generation);
    }
    match policy.faults.first() {
        Some(fault) => {
            let message = format!("{}: {}; nobody is asked", fault.field, fault.message);
            Condition::no("Accepted", "Invalid", message, generation)
        }
        None => Condition::yes("Accepted", "Accepted", generation),
    }
}

fn ancestor(policy: &HealthModel, target: &HealthTarget) -> ParentRef {
    let (group, kind) = target.group_kind();
    ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.to_owned()),
        name: target.name.clone(),
        namespace: Some(policy.meta.reference.namespace.to_string()),
        port: None,
        section_name: target.section.clone(),
    }
}
