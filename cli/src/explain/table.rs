//! Which rule took the request, or why none did.

use super::places::{Places, route_object};
use super::report::{Answer, Explanation, MOST_NEAR, Part};
use super::{Asked, describe, port};
use crate::project::Project;
use sluice_proxy::http::Matched;
use sluice_proxy::snapshot::{Port, RouteRuntime, RuleHandle};
use sluice_proxy::telemetry::Outcome;
use sluice_route::{NearMiss, Request, RouteTable};
use sluice_translate::{ConditionStatus, Status};
use std::sync::Arc;

type Table = RouteTable<RouteRuntime>;

/// Notes route, rule and match.
pub(super) fn describe(matched: &Matched<'_, '_>, places: &mut Places<'_>, explanation: &mut Explanation) {
    let found = &matched.found;
    let origin = &found.route.route.origin;
    let field = format!("spec.rules[{}]", found.rule().index);
    let handle = RuleHandle::of(found);
    let rule = handle.rule();
    let name = rule.and_then(|rule| rule.name.as_deref());
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    explanation.route = Some(Part::new(format!("{origin} for host {}", found.hostname), places.of(origin)));
    explanation.rule = Some(Part::new(format!("{field}{name}"), places.field(origin, &field)));
    let field = format!("{field}.matches[{}]", found.match_index);
    let condition = rule.and_then(|rule| rule.matches.get(found.match_index as usize));
    let text = condition.map(describe::matching).unwrap_or_default();
    explanation.matched = Some(Part::new(text, places.field(origin, &field)));
}

/// Why the port answers itself, with what came nearest.
pub(super) fn refused(
    outcome: Outcome,
    project: &Project,
    port: &Arc<Port>,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Answer {
    match outcome {
        Outcome::NoListener => {
            explanation.near = port::listeners([port].into_iter(), places);
            Answer::refused(
                outcome,
                format!("no listener of this port answers for the host {:?}", asked.host),
            )
        }
        Outcome::Misdirected => {
            let opened = port.listener(asked.tls_name().unwrap_or_default());
            explanation.listener = opened.map(|it| port::listener(it, places));
            let (opened, host) = (&asked.server_name, &asked.host);
            let text = format!(
                "the connection was opened for {opened:?}, which belongs to another listener than {host:?}"
            );
            Answer::refused(outcome, text)
        }
        Outcome::NoRoute => {
            explanation.notes.extend(detached(project));
            missed(port, asked, places, explanation)
        }
        other => {
            let reject = sluice_route::path::normalize(&asked.path).err();
            let reason = reject.map(|reject| format!("the path is refused: {reject}"));
            Answer::refused(other, reason.unwrap_or_else(|| "the request's head is refused".to_owned()))
        }
    }
}

fn missed(port: &Port, asked: &Asked, places: &mut Places<'_>, explanation: &mut Explanation) -> Answer {
    let refused = |text: String| Answer::refused(Outcome::NoRoute, text);
    let Some(listener) = port.listener(&asked.host) else { return refused(String::new()) };
    explanation.listener = Some(port::listener(listener, places));
    let table = &listener.table;
    if table.is_empty() {
        return refused(format!("no route is attached to {}", listener.listener.origin));
    }
    let path = sluice_route::path::normalize(&asked.path).unwrap_or_default();
    let misses = table.explain_miss(&Request {
        host: &asked.host,
        path: &path,
        query: asked.query.as_deref(),
        method: &asked.method,
        headers: &asked.headers,
    });
    if misses.is_empty() {
        explanation.near = hosts(table, places);
        return refused(format!("no route of this listener answers for the host {:?}", asked.host));
    }
    explanation.near = misses.iter().take(MOST_NEAR).map(|it| near_miss(it, places)).collect();
    refused(format!("routes answer for the host {:?}, but none of their rules matches", asked.host))
}

/// The hosts that would do.
pub(super) fn hosts(table: &Table, places: &mut Places<'_>) -> Vec<Part> {
    let routes = table.routes().into_iter().take(MOST_NEAR);
    routes
        .map(|route| {
            let hosts: Vec<_> = route.hostnames.iter().map(ToString::to_string).collect();
            let origin = &route.route.route.origin;
            let field = if origin.kind == "ServiceEntry" { "spec.hosts" } else { "spec.hostnames" };
            Part::new(format!("{origin} answers for {}", hosts.join(", ")), places.field(origin, field))
        })
        .collect()
}

fn near_miss(miss: &NearMiss, places: &mut Places<'_>) -> Part {
    let field = format!("spec.rules[{}].matches[{}]", miss.rule_index, miss.match_index);
    let name = route_object(&miss.route).map_or_else(|| miss.route.to_string(), |it| it.to_string());
    let unmet: Vec<_> = miss.unmet.iter().map(ToString::to_string).collect();
    Part::new(format!("{name} {field}: {}", unmet.join(", ")), places.route_field(&miss.route, &field))
}

/// Routes that no listener took: the one that is missed may be among them.
pub(super) fn detached(project: &Project) -> Vec<String> {
    let mut notes = Vec::new();
    for (object, status) in project.statuses() {
        let Status::Route(route) = status else { continue };
        for parent in &route.parents {
            let refusal = parent
                .conditions
                .iter()
                .find(|it| it.r#type == "Accepted" && it.status == ConditionStatus::False);
            if let Some(refusal) = refusal {
                let (parent, reason, message) = (&parent.parent_ref.name, &refusal.reason, &refusal.message);
                notes.push(format!("{object} is not attached to {parent}: {reason}: {message}"));
            }
        }
    }
    notes.truncate(MOST_NEAR);
    notes
}
