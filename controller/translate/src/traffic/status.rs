//! What a TrafficPolicy is told: one entry for each target of ours (GEP-713 lets the target be the ancestor), with the
//! conditions `Accepted` and, of a policy that names a backend or Secrets, `ResolvedRefs`.

use super::{backend_failure, lost, secrets};
use crate::backend::RefFailure;
use crate::model::{TrafficModel, TrafficTarget, kind_name};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, ParentRef, PolicyAncestorStatus, PolicyStatus};
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, Kind, ObjectRef};

/// What is known of a target before its policy is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not there.
    Absent,
    /// It is there and another controller's, or nobody's.
    Foreign,
    /// A Gateway of ours serves it, or would.
    Ours,
}

/// Why a target is not what the policy means it to be.
struct Refused {
    reason: &'static str,
    message: String,
    next_step: &'static str,
    /// Part of the targetRef.
    part: &'static str,
}

/// Status and problems of a policy; `standings` are those of its targets, in their order. No status while it has no
/// target of ours.
pub(crate) fn compute(
    view: &View<'_>,
    policy: &TrafficModel,
    standings: &[Standing],
) -> (Option<PolicyStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&policy.meta.reference);
    for fault in &policy.faults {
        problems.error(fault.field.clone(), fault.message.clone(), fault.next_step.clone());
    }
    let failure = backend_failure(view, policy);
    if let Some(it) = &failure {
        let field = format!("spec.extAuth.backendRef.{}", it.part);
        problems.error(field, it.message.clone(), it.next_step.clone());
    }
    if policy.faults.is_empty() && policy.settings.given().is_empty() {
        problems.add(Severity::Warning, "spec", "the policy sets nothing", "add a setting");
    }
    let references = references(view, policy, &mut problems);
    let mut ancestors: Vec<PolicyAncestorStatus> = Vec::new();
    for (index, (target, standing)) in policy.targets.iter().zip(standings).enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        if policy.targets.iter().take(index).any(|it| it == target) {
            problems.add(Severity::Warning, field, "names an earlier target again", "remove it");
            continue;
        }
        if *standing == Standing::Foreign {
            let message = "is not served here; the policy has no effect on it".to_owned();
            problems.add(Severity::Note, field, message, "see the problems of the target");
            continue;
        }
        let refused = judge(view, policy, target, *standing);
        if let Some(it) = &refused {
            let field = if it.part.is_empty() { field } else { format!("{field}.{}", it.part) };
            problems.error(field, it.message.clone(), it.next_step);
        }
        ancestors.push(PolicyAncestorStatus {
            ancestor_ref: ancestor(policy, target),
            conditions: conditions(policy, refused, failure.as_ref(), references.clone()),
            controller_name: view.controller_name(),
        });
    }
    let status = (!ancestors.is_empty()).then_some(PolicyStatus { ancestors });
    (status, problems.into_list())
}

/// The condition `ResolvedRefs` of a policy that names Secrets.
fn references(view: &View<'_>, policy: &TrafficModel, problems: &mut Problems) -> Option<Condition> {
    if !secrets::has_references(policy) {
        return None;
    }
    let generation = policy.meta.generation;
    Some(match secrets::unresolved(view, policy) {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs", generation),
        Some(it) => {
            let field = format!("spec.{}", it.field);
            problems.error(field.clone(), it.message.clone(), it.next_step);
            let message = format!("{field}: {}; every request meets onFailure", it.message);
            Condition::no("ResolvedRefs", "InvalidSecretRef", message, generation)
        }
    })
}

fn judge(
    view: &View<'_>,
    policy: &TrafficModel,
    target: &TrafficTarget,
    standing: Standing,
) -> Option<Refused> {
    let object = match &target.object {
        Ok(object) => object,
        Err((group, kind)) => {
            return Some(Refused {
                reason: "Invalid",
                message: format!("targets of kind {} are not supported", kind_name(kind, group)),
                next_step: "target a Gateway, ListenerSet, HTTPRoute or GRPCRoute",
                part: "kind",
            });
        }
    };
    if standing == Standing::Absent {
        return Some(Refused {
            reason: "TargetNotFound",
            message: format!("{object} not found"),
            next_step: "create it, or correct the name; a target is in the policy's namespace",
            part: "name",
        });
    }
    if let Some(section) = &target.section {
        let (what, names) = sections(view, object);
        if !names.contains(section) {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Some(Refused {
                reason: "TargetNotFound",
                message: format!("{object} has no {what} named {section:?} (names: {names})"),
                next_step: "use one of the names, or leave sectionName out for all of it",
                part: "sectionName",
            });
        }
    }
    let policies = view.traffic_of(object);
    let (setting, winner) = lost(&policies, &policy.meta.reference, object, target.section.as_deref())?;
    let section = target.section.as_ref().map(|it| format!(" section {it:?}")).unwrap_or_default();
    Some(Refused {
        reason: "Conflicted",
        message: format!("{winner} comes first and sets {setting} for the same: {object}{section}"),
        next_step: "remove the setting from one of the two",
        part: "",
    })
}

/// What sections of an object are, and their names.
fn sections(view: &View<'_>, object: &ObjectRef) -> (&'static str, Vec<String>) {
    match object.kind {
        Kind::HttpRoute | Kind::GrpcRoute => {
            let rules = view.route(object).map(|it| &*it.rules).unwrap_or_default();
            let names = rules.iter().filter_map(|it| it.extras.as_ref()?.name.as_deref());
            ("rule", names.map(str::to_owned).collect())
        }
        _ => {
            let listeners = view.parent(object).map(|it| it.listeners.as_slice()).unwrap_or_default();
            ("listener", listeners.iter().map(|it| it.name.clone()).collect())
        }
    }
}

fn conditions(
    policy: &TrafficModel,
    refused: Option<Refused>,
    failure: Option<&RefFailure>,
    of_secrets: Option<Condition>,
) -> Vec<Condition> {
    let generation = policy.meta.generation;
    let of_backend = policy.auth.as_ref().map(|_| match failure {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs", generation),
        Some(it) => {
            let message = format!("{}; requests are refused", it.message);
            Condition::no("ResolvedRefs", it.reason, message, generation)
        }
    });
    // There is one such condition: what refuses requests comes first.
    let resolved = if failure.is_some() { of_backend } else { of_secrets.or(of_backend) };
    std::iter::once(accepted(policy, refused)).chain(resolved).collect()
}

fn accepted(policy: &TrafficModel, refused: Option<Refused>) -> Condition {
    let generation = policy.meta.generation;
    if let Some(refused) = refused {
        return Condition::no("Accepted", refused.reason, refused.message, generation);
    }
    match policy.faults.first() {
        Some(fault) => {
            let effect = match (&policy.settings.clients, &policy.settings.ext_auth) {
                (None, None) => "; the policy has no effect",
                _ => "; nobody is let in",
            };
            let message = format!("{}: {}{effect}", fault.field, fault.message);
            Condition::no("Accepted", "Invalid", message, generation)
        }
        None => Condition::yes("Accepted", "Accepted", generation),
    }
}

fn ancestor(policy: &TrafficModel, target: &TrafficTarget) -> ParentRef {
    let (group, kind) = match &target.object {
        Ok(object) => (GATEWAY_API_GROUP, object.kind.name()),
        Err((group, kind)) => (group.as_str(), kind.as_str()),
    };
    ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.to_owned()),
        name: target.name.clone(),
        namespace: Some(policy.meta.reference.namespace.to_string()),
        port: None,
        section_name: target.section.clone(),
    }
}
