//! What a Sidecar is told: what of it nobody does, and which other one counts in its place.

use crate::model::{Remark, SidecarModel};
use crate::problem::{Problem, Problems, Severity};
use crate::status::DestinationStatus;
use crate::view::View;

/// Its status, where something of it is not done, and its problems.
pub(crate) fn compute(view: &View<'_>, sidecar: &SidecarModel) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&sidecar.meta.reference);
    let mut remarks = sidecar.remarks.clone();
    remarks.extend(if view.is_mesh() { undone(sidecar) } else { ignored(sidecar) });
    remarks.extend(rival(view, sidecar));
    for (severity, field, message, next_step) in &remarks {
        problems.add(*severity, field, message, *next_step);
    }
    let errors = remarks.iter().filter(|it| it.0 == Severity::Error);
    let not_done: Vec<String> = errors.map(|(_, field, message, _)| format!("{field}: {message}")).collect();
    (DestinationStatus::not_done(&not_done, sidecar.meta.generation), problems.into_list())
}

/// What sidecars do not heed.
fn undone(sidecar: &SidecarModel) -> Vec<Remark> {
    let remark = |field: &&str| {
        let message = "sidecars do not heed it".to_owned();
        (Severity::Error, format!("spec.{field}"), message, "remove it: the rest of the Sidecar has effect")
    };
    sidecar.undone.iter().map(remark).collect()
}

/// What has no effect where there is no mesh.
fn ignored(sidecar: &SidecarModel) -> Vec<Remark> {
    if sidecar.for_sidecars.is_empty() {
        return Vec::new();
    }
    let message = match sidecar.selector {
        Some(_) => "a Sidecar with workloadSelector has effect with sidecars only".to_owned(),
        None => format!("{} has effect with sidecars only", sidecar.for_sidecars.join(", ")),
    };
    let next_step = "a gateway reads outboundTrafficPolicy.mode alone";
    vec![(Severity::Note, "spec".to_owned(), message, next_step)]
}

/// The older one that counts for the namespace: for sidecars as a whole, for gateways where both say what may leave.
fn rival(view: &View<'_>, sidecar: &SidecarModel) -> Option<Remark> {
    let reference = &sidecar.meta.reference;
    if sidecar.selector.is_some() || !view.is_mesh() && sidecar.mode.is_none() {
        return None;
    }
    let all = view.sidecars_in(&reference.namespace);
    let counts = |it: &SidecarModel| it.selector.is_none() && (view.is_mesh() || it.mode.is_some());
    let first = all.into_iter().find(|it| counts(it)).filter(|it| it.meta.reference != *reference)?;
    let field = if view.is_mesh() { "spec" } else { "spec.outboundTrafficPolicy" };
    let message = format!("{} is older and counts for the namespace", first.meta.reference);
    Some((Severity::Warning, field.to_owned(), message, "remove one of the two"))
}
