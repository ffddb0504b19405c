//! What a BackendTLSPolicy is told: one entry for each Gateway whose routes call what it targets.

use super::{load, winner};
use crate::authorities::{Authorities, Cause};
use crate::model::{PolicyModel, TargetModel, TrustModel, kind_name};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, ParentRef, PolicyAncestorStatus, PolicyStatus};
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, Kind, ObjectRef};
use std::collections::BTreeSet;

/// Most entries of a policy's status (Gateway API PolicyStatus.ancestors).
const MAX_ANCESTORS: usize = 16;

/// The Gateways whose routes call what a target names, by its position in `targetRefs`.
pub(crate) type Users = Vec<BTreeSet<ObjectRef>>;

/// Why a target is not what the policy means it to be.
struct Refused {
    reason: &'static str,
    message: String,
    next_step: &'static str,
    /// Part of the targetRef.
    part: &'static str,
}

/// Status and problems of a policy; no status while no Gateway of ours has to do with it.
pub(crate) fn compute(
    view: &View<'_>,
    policy: &PolicyModel,
    users: &Users,
) -> (Option<PolicyStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&policy.meta.reference);
    let authorities = load(view, policy);
    report(policy, &authorities, &mut problems);
    let targets = policy.targets.iter().enumerate();
    let refused: Vec<Option<Refused>> =
        targets.map(|(index, it)| judge(view, policy, (index, it), users, &mut problems)).collect();
    let gateways: BTreeSet<&ObjectRef> = users.iter().flatten().collect();
    if gateways.len() > MAX_ANCESTORS {
        let message = format!("{} Gateways use it, its status has room for {MAX_ANCESTORS}", gateways.len());
        problems.add(Severity::Warning, "", message, "the others use it all the same");
    }
    let ancestors: Vec<PolicyAncestorStatus> = gateways
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|gateway| {
            let is_used = |index: usize| users.get(index).is_some_and(|it| it.contains(gateway));
            let own = refused.iter().enumerate().filter(|(index, _)| is_used(*index));
            let own: Vec<&Refused> = own.filter_map(|(_, it)| it.as_ref()).collect();
            PolicyAncestorStatus {
                ancestor_ref: ancestor(gateway),
                conditions: vec![accepted(policy, &own, &authorities), resolved(policy, &authorities)],
                controller_name: view.controller_name(),
            }
        })
        .collect();
    let status = (!ancestors.is_empty()).then_some(PolicyStatus { ancestors });
    (status, problems.into_list())
}

fn ancestor(gateway: &ObjectRef) -> ParentRef {
    ParentRef {
        group: Some(GATEWAY_API_GROUP.to_owned()),
        kind: Some(gateway.kind.name().to_owned()),
        name: gateway.name.to_string(),
        namespace: Some(gateway.namespace.to_string()),
        port: None,
        section_name: None,
    }
}

/// Problems of the policy by itself.
fn report(policy: &PolicyModel, authorities: &Authorities, problems: &mut Problems) {
    if let Some((field, message, next_step)) = &policy.refused {
        problems.error(field, format!("{message}; requests get 502"), *next_step);
    }
    for (index, fault) in &authorities.faults {
        let field = format!("spec.validation.caCertificateRefs[{index}]");
        problems.error(field, fault.message.clone(), fault.next_step.clone());
    }
    for name in &policy.options {
        let message = format!("option {name:?} is not known and has no effect");
        problems.add(Severity::Note, format!("spec.options[{name}]"), message, "");
    }
}

/// Whether a target is there, and whether another policy has it.
fn judge(
    view: &View<'_>,
    policy: &PolicyModel,
    (index, target): (usize, &TargetModel),
    users: &Users,
    problems: &mut Problems,
) -> Option<Refused> {
    let field = format!("spec.targetRefs[{index}]");
    let object = match &target.object {
        Ok(object) => object,
        Err((group, kind)) => {
            let message = format!("targets of kind {} have no effect", kind_name(kind, group));
            let next_step = "target a Service, or a ServiceEntry of group networking.istio.io";
            problems.add(Severity::Warning, format!("{field}.kind"), message, next_step);
            return None;
        }
    };
    let refused = refusal(view, policy, (object, target));
    match &refused {
        Some(it) => {
            let field = if it.part.is_empty() { field } else { format!("{field}.{}", it.part) };
            problems.error(field, it.message.clone(), it.next_step);
        }
        None if users.get(index).is_none_or(BTreeSet::is_empty) => {
            let what = match &target.section {
                None => format!("{} {:?}", object.kind, target.name),
                Some(port) => format!("port {port:?} of {} {:?}", object.kind, target.name),
            };
            let message = format!("no route that a Gateway here accepts calls {what}");
            problems.add(Severity::Note, field, message, "");
        }
        None => {}
    }
    refused
}

fn refusal(
    view: &View<'_>,
    policy: &PolicyModel,
    (object, target): (&ObjectRef, &TargetModel),
) -> Option<Refused> {
    let name = format!("{} \"{}/{}\"", object.kind, object.namespace, object.name);
    let Some(ports) = port_names(view, object) else {
        return Some(Refused {
            reason: "TargetNotFound",
            message: format!("{name} not found"),
            next_step: "create it, or correct the name",
            part: "name",
        });
    };
    if let Some(section) = &target.section
        && !ports.contains(&section.as_str())
    {
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        return Some(Refused {
            reason: "TargetNotFound",
            message: format!("{name} has no port named {section:?} (names: {ports})"),
            next_step: "use the name of a port",
            part: "sectionName",
        });
    }
    let first = winner(&view.policies_of(object), object, target.section.as_deref())?;
    let first = &first.meta.reference;
    (*first != policy.meta.reference).then(|| Refused {
        reason: "Conflicted",
        message: match &target.section {
            None => format!("{first} comes first and targets the same: {name}"),
            Some(port) => format!("{first} comes first and targets the same: port {port:?} of {name}"),
        },
        next_step: "remove one of the two",
        part: "",
    })
}

/// The ports of a target that have a name; `None`: it is not there.
fn port_names<'a>(view: &View<'a>, object: &ObjectRef) -> Option<Vec<&'a str>> {
    let names: Vec<&str> = match object.kind {
        Kind::ServiceEntry => view.entry(object)?.ports.iter().map(|it| it.name.as_str()).collect(),
        _ => view.service(object)?.ports.iter().map(|it| it.name.as_str()).collect(),
    };
    Some(names.into_iter().filter(|it| !it.is_empty()).collect())
}

fn accepted(policy: &PolicyModel, refused: &[&Refused], authorities: &Authorities) -> Condition {
    let generation = policy.meta.generation;
    let no = |reason, message: &str| Condition::no("Accepted", reason, message, generation);
    if let Some(first) = refused.iter().find(|it| it.reason == "Conflicted").or(refused.first()) {
        return no(first.reason, &first.message);
    }
    if let Some((field, message, _)) = &policy.refused {
        return no("Invalid", &format!("{field}: {message}"));
    }
    if let (TrustModel::References(_), true) = (&policy.trust, authorities.pem.is_empty()) {
        return no("NoValidCACertificate", &messages(authorities));
    }
    let ignored: Vec<String> = policy
        .targets
        .iter()
        .filter_map(|it| it.object.as_ref().err())
        .map(|(group, kind)| format!("targets of kind {} have no effect", kind_name(kind, group)))
        .collect();
    Condition::yes("Accepted", "Accepted", generation).message(ignored.join("; "))
}

fn resolved(policy: &PolicyModel, authorities: &Authorities) -> Condition {
    let generation = policy.meta.generation;
    let reason = match authorities.faults.first().map(|(_, it)| it.cause) {
        None => return Condition::yes("ResolvedRefs", "ResolvedRefs", generation),
        Some(Cause::Kind) => "InvalidKind",
        Some(Cause::NotPermitted | Cause::Content) => "InvalidCACertificateRef",
    };
    Condition::no("ResolvedRefs", reason, messages(authorities), generation)
}

fn messages(authorities: &Authorities) -> String {
    let all: Vec<&str> = authorities.faults.iter().map(|(_, it)| it.message.as_str()).collect();
    all.join("; ")
}
