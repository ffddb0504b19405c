//! `targetRefs` of Istio's policies: reading them, how each target stands, and what a policy is told of it.

use crate::gateway::{Verdict, class_verdict};
use crate::model::kind_name;
use crate::problem::{Problems, Severity};
use crate::status::Condition;
use crate::values::{Fault, Values};
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, ISTIO_GROUP, IstioTargetRef, Kind, ObjectRef};

/// Most entries of `targetRefs` (Istio's CRDs).
const MOST_TARGETS: usize = 16;

/// Our conditions stand beside those of Istio's own controllers.
pub(crate) const ACCEPTED: &str = "sluice.dev/Accepted";
pub(crate) const RESOLVED_REFS: &str = "sluice.dev/ResolvedRefs";

/// A `targetRefs` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyTarget {
    /// A Gateway or GatewayClass; `None`: the reference can't be used, which is a fault.
    pub(crate) object: Option<ObjectRef>,
    /// `spec.targetRefs[0]`.
    pub(crate) field: String,
}

/// Each entry of `targetRef` and `targetRefs` with its field below `spec`.
pub(crate) fn named<'a>(
    one: Option<&'a IstioTargetRef>,
    many: &'a [IstioTargetRef],
) -> impl Iterator<Item = (String, &'a IstioTargetRef)> {
    let many = many.iter().enumerate().map(|(index, it)| (format!("targetRefs[{index}]"), it));
    one.into_iter().map(|it| ("targetRef".to_owned(), it)).chain(many)
}

/// The targets of a policy of namespace `home`; `root` is the mesh's root namespace.
pub(crate) fn read(
    (one, many): (Option<&IstioTargetRef>, &[IstioTargetRef]),
    (home, root): (&str, &str),
    values: &mut Values,
) -> Vec<PolicyTarget> {
    if many.len() > MOST_TARGETS {
        values.fault("targetRefs", format!("names {} targets", many.len()), "use at most 16");
    }
    named(one, many)
        .map(|(field, it)| {
            let object = target(it, home, root);
            let object = object.map_err(|(message, next_step)| values.fault(&field, message, next_step)).ok();
            PolicyTarget { object, field: format!("spec.{field}") }
        })
        .collect()
}

/// Notes that a policy has a selector beside its targets.
pub(crate) fn beside(has_selector: bool, targets: &[PolicyTarget], values: &mut Values) {
    if has_selector && !targets.is_empty() {
        let message = "stands beside targetRefs: the policy holds for both";
        values.fault("selector", message, "remove one of the two, and write a second policy");
    }
}

fn target(it: &IstioTargetRef, home: &str, root: &str) -> Result<ObjectRef, (String, &'static str)> {
    let group = it.group.as_deref().unwrap_or_default();
    if it.namespace.as_deref().is_some_and(|it| !it.is_empty() && it != home) {
        let message = format!("names {} of another namespace", it.kind);
        return Err((message, "name one of the policy's own namespace"));
    }
    match (group, it.kind.as_str()) {
        (GATEWAY_API_GROUP, "Gateway") => Ok(ObjectRef::new(Kind::Gateway, home, &*it.name)),
        (GATEWAY_API_GROUP, "GatewayClass") if home == root => {
            Ok(ObjectRef::new(Kind::GatewayClass, "", &*it.name))
        }
        (GATEWAY_API_GROUP, "GatewayClass") => {
            let message = format!("names a GatewayClass, which only policies of namespace {root} may");
            Err((message, "name Gateways, or move the policy there"))
        }
        ("", "Service") | (ISTIO_GROUP, "ServiceEntry") => {
            let message = format!("names a {}, which has effect with waypoints only", it.kind);
            Err((message, "use selector with the labels of its pods"))
        }
        (group, kind) => {
            let message =
                format!("names an object of kind {}, which is not supported", kind_name(kind, group));
            Err((message, "name a Gateway of group gateway.networking.k8s.io"))
        }
    }
}

/// How the targets of a policy stand.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Gateways and classes of ours that it governs.
    ours: usize,
    /// Those of other controllers.
    foreign: usize,
    /// What is told of those that are not there.
    pub(crate) absent: Vec<String>,
}

impl Standing {
    /// Looks at each target and notes what is wrong with it.
    pub(crate) fn of(view: &View<'_>, targets: &[PolicyTarget], problems: &mut Problems) -> Self {
        let mut all = Self::default();
        for target in targets {
            let Some(object) = &target.object else { continue };
            match is_ours(view, object) {
                Some(true) => all.ours += 1,
                Some(false) => {
                    all.foreign += 1;
                    let message = format!("{object} is not served here; the policy has no effect on it");
                    problems.add(Severity::Note, &target.field, message, "see the problems of the target");
                }
                None => {
                    let message = format!("{object} not found");
                    let next_step = "create it, or correct the name; a Gateway is in the policy's namespace";
                    problems.error(format!("{}.name", target.field), &message, next_step);
                    all.absent.push(message);
                }
            }
        }
        all
    }

    /// Whether it governs anything here, workloads included.
    pub(crate) fn is_accepted(&self, is_for_workloads: bool) -> bool {
        is_for_workloads || self.ours > 0
    }

    /// Whether all that it names is another controller's.
    pub(crate) fn is_foreign(&self, is_for_workloads: bool) -> bool {
        !self.is_accepted(is_for_workloads) && self.foreign > 0 && self.absent.is_empty()
    }
}

/// Whether a Gateway or class is ours; `None`: it is not there.
fn is_ours(view: &View<'_>, object: &ObjectRef) -> Option<bool> {
    match object.kind {
        Kind::GatewayClass => match class_verdict(view, &object.name) {
            Verdict::Ours { .. } => Some(true),
            Verdict::Foreign(_) => view.class(&object.name).is_some().then_some(false),
        },
        _ => {
            // Both are asked, so that both are noted as read.
            let (is_there, is_served) = (view.gateway(object).is_some(), view.parent(object).is_some());
            is_there.then_some(is_served)
        }
    }
}

/// Tells that a policy without targets has no effect where there are no sidecars.
pub(crate) fn tell_standalone(view: &View<'_>, is_for_workloads: bool, problems: &mut Problems) {
    if is_for_workloads && view.options().standalone {
        let message =
            "a policy without targetRefs has effect with sidecars only, of which there are none here";
        problems.add(Severity::Note, "spec", message, "name a Gateway in targetRefs");
    }
}

/// Tells faults and warnings.
pub(crate) fn tell(faults: &[Fault], warnings: &[Fault], problems: &mut Problems) {
    for fault in faults {
        problems.error(&fault.field, &fault.message, &fault.next_step);
    }
    for warning in warnings {
        problems.add(Severity::Warning, &warning.field, &warning.message, &warning.next_step);
    }
}

/// Faults as they stand in a condition.
pub(crate) fn in_words(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|it| format!("{}: {}", it.field, it.message)).collect()
}

/// Whether it governs anybody, and what of it is not done.
pub(crate) fn conditions(
    generation: Option<i64>,
    is_accepted: bool,
    absent: &[String],
    warnings: &[Fault],
    mut not_done: Vec<String>,
) -> Vec<Condition> {
    let mut conditions = vec![match is_accepted {
        true => Condition::yes(ACCEPTED, "Accepted", generation).message(in_words(warnings).join("; ")),
        false if absent.is_empty() => {
            Condition::no(ACCEPTED, "Invalid", "no entry of targetRefs can be used", generation)
        }
        false => Condition::no(ACCEPTED, "TargetNotFound", absent.join("; "), generation),
    }];
    if is_accepted {
        not_done.extend(absent.iter().cloned());
    }
    conditions.extend(Condition::not_done(&not_done, generation));
    conditions
}
