//! Which rule of which route takes the request, or why none does.

use super::places::{Places, route_object};
use super::report::{Answer, Explanation, MOST_NEAR, Part};
use super::{Asked, describe};
use crate::project::Project;
use sluice_ir::{Listener, Route, Rule, Snapshot};
use sluice_proxy::telemetry::Outcome;
use sluice_route::{CompiledMatch, Found, Miss, NearMiss, Request, RouteEntry, RouteTable, RuleEntry};
use sluice_translate::{ConditionStatus, Status};
use std::sync::Arc;

/// A rule of a route.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) route: Arc<Route>,
    position: usize,
}

impl Target {
    pub(super) fn rule(&self) -> Option<&Rule> {
        self.route.rules.get(self.position)
    }
}

/// The routes of a listener.
pub(super) fn build(snapshot: &Snapshot, listener: &Listener) -> RouteTable<Target> {
    let entries = snapshot.routes.values().filter_map(|route| {
        let attachment = route.attachments.iter().find(|it| it.listener == listener.key)?;
        let rules = route.rules.iter().enumerate().map(|(position, rule)| RuleEntry {
            index: rule.index,
            // The translation lets no expression through that does not compile.
            matches: rule.matches.iter().filter_map(|it| CompiledMatch::compile(it).ok()).collect(),
            target: Target { route: route.clone(), position },
        });
        Some(RouteEntry {
            key: route.key.clone(),
            kind: route.kind,
            created_s: route.created_s,
            hostnames: attachment.hostnames.clone(),
            rules: rules.collect(),
        })
    });
    RouteTable::build(entries)
}

/// Notes route, rule and match.
pub(super) fn describe(found: &Found<'_, Target>, places: &mut Places<'_>, explanation: &mut Explanation) {
    let route = &found.target.route;
    let field = format!("spec.rules[{}]", found.rule_index);
    let name = found.target.rule().and_then(|rule| rule.name.as_deref());
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    explanation.route =
        Some(Part::new(format!("{} for host {}", route.origin, found.hostname), places.of(&route.origin)));
    explanation.rule = Some(Part::new(format!("{field}{name}"), places.field(&route.origin, &field)));
    let field = format!("{field}.matches[{}]", found.match_index);
    let matched = found.target.rule().and_then(|rule| rule.matches.get(found.match_index as usize));
    let text = matched.map(describe::matching).unwrap_or_default();
    explanation.matched = Some(Part::new(text, places.field(&route.origin, &field)));
}

/// The answer to a miss.
pub(super) fn missed(table: &RouteTable<Target>, miss: Miss, asked: &Asked, listener: &Listener) -> Answer {
    let text = match miss {
        Miss::Host if table.is_empty() => format!("no route is attached to {}", listener.origin),
        Miss::Host => format!("no route of this listener answers for the host {:?}", asked.host),
        Miss::Rule => format!("routes answer for the host {:?}, but none of their rules matches", asked.host),
    };
    Answer::refused(Outcome::NoRoute, text)
}

/// What came nearest: rules with the conditions that failed, or the hosts that would do.
pub(super) fn nearest(
    table: &RouteTable<Target>,
    request: &Request<'_>,
    miss: Miss,
    places: &mut Places<'_>,
) -> Vec<Part> {
    match miss {
        Miss::Rule => {
            let misses = table.explain_miss(request);
            misses.into_iter().take(MOST_NEAR).map(|it| near_miss(&it, places)).collect()
        }
        Miss::Host => table
            .routes()
            .into_iter()
            .take(MOST_NEAR)
            .map(|route| {
                let hosts: Vec<_> = route.hostnames.iter().map(ToString::to_string).collect();
                let name =
                    route_object(&route.key).map_or_else(|| route.key.to_string(), |it| it.to_string());
                let text = format!("{name} answers for {}", hosts.join(", "));
                Part::new(text, places.route_field(&route.key, "spec.hostnames"))
            })
            .collect(),
    }
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
                notes.push(format!(
                    "{object} is not attached to {}: {}: {}",
                    parent.parent_ref.name, refusal.reason, refusal.message
                ));
            }
        }
    }
    notes.truncate(MOST_NEAR);
    notes
}
