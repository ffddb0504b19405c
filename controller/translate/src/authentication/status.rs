//! What a policy is told: whether it governs anybody, and what of it is not done.

use super::keys;
use super::model::AuthenticationModel;
use crate::problem::{Problem, Problems, Severity};
use crate::status::DestinationStatus;
use crate::targets::{self, Standing};
use crate::view::View;
use sluice_ir::KeyReach;
use std::net::IpAddr;

/// Status and problems of a policy; no status while all that it names is another controller's.
pub(crate) fn compute(
    view: &View<'_>,
    model: &AuthenticationModel,
) -> (Option<DestinationStatus>, Vec<Problem>) {
    let mut problems = Problems::of(&model.meta.reference);
    targets::tell(&model.faults, &model.warnings, &mut problems);
    if model.rules.is_empty() {
        let message = "the policy has no rule: every request passes";
        problems.add(Severity::Warning, "spec.jwtRules", message, "add a rule");
    }
    let mut not_done = targets::in_words(&model.faults);
    for (field, message) in unreachable(view, model) {
        let next_step = "use a name, of the internet or of a Service, or add a ServiceEntry for it with location MESH_INTERNAL";
        problems.error(&field, &message, next_step);
        not_done.push(format!("{field}: {message}"));
    }
    let standing = Standing::of(view, &model.targets, &mut problems);
    let is_for_workloads = model.is_for_workloads();
    targets::tell_standalone(view, is_for_workloads, &mut problems);
    let status = (!standing.is_foreign(is_for_workloads)).then(|| DestinationStatus {
        conditions: targets::conditions(
            model.meta.generation,
            standing.is_accepted(is_for_workloads),
            &standing.absent,
            &model.warnings,
            not_done,
        ),
    });
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
