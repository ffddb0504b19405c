//! What a rule is told: what of it is not done, and whether it is used at all.

use super::model::{Blocks, DestinationModel, TlsModel};
use super::tls;
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, DestinationStatus};
use crate::targets::{ACCEPTED, RESOLVED_REFS};
use crate::view::View;
use sluice_crds::Name;
use std::collections::BTreeSet;

/// Why ISTIO_MUTUAL can't be done.
const NO_MESH: &str = "there is no mesh here, and so no identity of one; requests get 502";

/// Namespaces of the routes that follow the rule; in a mesh also of clients without routes, and an empty one for all
/// clients that have no rules of their own.
pub(crate) type Users = BTreeSet<Name>;

/// Status and problems of a rule; no status while no route that is attached to a Gateway of ours follows it.
pub(crate) fn compute(
    view: &View<'_>,
    model: &DestinationModel,
    users: &Users,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    for fault in &model.faults {
        problems.add(fault.severity, &fault.field, &fault.message, &fault.next_step);
    }
    let rival = rival(view, model);
    if let Some(message) = &rival {
        problems.error("spec.exportTo", message, "export both alike, or make them one");
    }
    let unresolved = unresolved(view, model, users);
    for (field, message) in &unresolved {
        let next_step = "create it in the namespace of the routes, or correct it";
        problems.error(field, format!("{message}; requests get 502"), next_step);
    }
    if users.is_empty() && !model.host.is_empty() && !model.has_selector && rival.is_none() {
        let message = format!("no route that a Gateway here accepts calls {:?} by this rule", model.host);
        problems.add(Severity::Note, "spec.host", message, "");
    }
    let meshless = meshless(view, model);
    for field in &meshless {
        problems.error(field, NO_MESH, "use MUTUAL with credentialName, or SIMPLE");
    }
    let status = (!users.is_empty())
        .then(|| DestinationStatus { conditions: conditions(model, &unresolved, &meshless) });
    (status, problems.into_list())
}

/// Another rule that comes first, for the same host and the same clients, and is exported differently.
fn rival(view: &View<'_>, model: &DestinationModel) -> Option<String> {
    let all = view.destinations_of(&model.host);
    let own = &model.meta.reference;
    let mut before = all.into_iter().take_while(|it| it.meta.reference != *own);
    let is_rival = |it: &DestinationModel| {
        it.meta.reference.namespace == own.namespace
            && !it.has_selector
            && it.export_to != model.export_to
            && it.is_visible_in(&own.namespace)
            && model.is_visible_in(&own.namespace)
    };
    let first = &before.find(|it| is_rival(it))?.meta.reference;
    Some(format!(
        "{first} comes first for the same host and is exported differently, so that the two are not merged"
    ))
}

/// Fields that ask for the mesh's TLS where there is no mesh.
fn meshless(view: &View<'_>, model: &DestinationModel) -> Vec<String> {
    let asks = blocks(model).into_iter().filter(|(_, it)| it.tls == Some(TlsModel::Mesh) && !view.is_mesh());
    asks.map(|(field, _)| format!("{field}.tls.mode")).collect()
}

/// All blocks of a rule with their fields.
fn blocks(model: &DestinationModel) -> Vec<(String, &Blocks)> {
    let subsets = model.subsets.iter().enumerate().filter_map(|(index, it)| {
        Some((format!("spec.subsets[{index}].trafficPolicy"), it.traffic.as_ref()?))
    });
    let top = model.top.iter().map(|it| ("spec.trafficPolicy".to_owned(), it));
    let mut all = Vec::new();
    for (field, traffic) in top.chain(subsets) {
        let ports = traffic.ports.iter();
        all.extend(ports.map(|(port, it)| (format!("{field}.portLevelSettings[port {port}]"), it)));
        all.push((field, &traffic.all));
    }
    all
}

/// Secrets that give nothing, each by the field that names it.
fn unresolved(view: &View<'_>, model: &DestinationModel, users: &Users) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (field, blocks) in blocks(model) {
        let Some(terms @ TlsModel::On(_)) = &blocks.tls else { continue };
        // Clients of no namespace in particular have no Secrets.
        let users = users.iter().filter(|it| !it.is_empty());
        let faults = users.filter_map(|client| tls::fault(view, client, terms));
        found.extend(faults.map(|it| (format!("{field}.tls.credentialName"), it)));
    }
    found
}

fn conditions(
    model: &DestinationModel,
    unresolved: &[(String, String)],
    meshless: &[String],
) -> Vec<Condition> {
    let generation = model.meta.generation;
    let said = |severity: Severity| {
        let faults = model.faults.iter().filter(move |it| it.severity == severity);
        faults.map(|it| format!("{}: {}", it.field, it.message)).collect::<Vec<_>>().join("; ")
    };
    let mut conditions =
        vec![Condition::yes(ACCEPTED, "Accepted", generation).message(said(Severity::Warning))];
    let mut not_done = vec![said(Severity::Error)];
    not_done.retain(|it| !it.is_empty());
    not_done.extend(meshless.iter().map(|field| format!("{field}: {NO_MESH}")));
    conditions.extend(Condition::not_done(&not_done, generation));
    if !unresolved.is_empty() {
        let messages: Vec<_> = unresolved.iter().map(|(field, it)| format!("{field}: {it}")).collect();
        conditions.push(Condition::no(RESOLVED_REFS, "InvalidSecretRef", messages.join("; "), generation));
    }
    conditions
}
