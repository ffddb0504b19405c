//! What the store must know of routes, the same for routes of requests and of streams: the listeners that they name and
//! the backends that they call.

use sluice_ir::{self as ir, Resource, ResourceKey};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The attachments of a route; `None` for a resource of another kind.
pub(super) fn attachments(resource: &Resource) -> Option<&[ir::Attachment]> {
    match resource {
        Resource::Route(it) => Some(&it.attachments),
        Resource::StreamRoute(it) => Some(&it.attachments),
        Resource::Gateway(_)
        | Resource::Listener(_)
        | Resource::Backend(_)
        | Resource::EndpointSet(_)
        | Resource::Certificate(_)
        | Resource::Challenge(_)
        | Resource::Workloads(_) => None,
    }
}

/// Whether it is the key of something that attaches to listeners.
pub(super) fn is_route(key: &ResourceKey) -> bool {
    matches!(key, ResourceKey::Route(_) | ResourceKey::StreamRoute(_))
}

/// The route with those attachments alone that are wanted; the same one when that is all. The flag says so.
pub(super) fn only(resource: Resource, wanted: impl Fn(&ir::Attachment) -> bool) -> (Resource, bool) {
    if attachments(&resource).is_none_or(|all| all.iter().all(&wanted)) {
        return (resource, true);
    }
    let chosen = |all: &[ir::Attachment]| all.iter().filter(|it| wanted(it)).cloned().collect();
    let route = match resource {
        Resource::Route(it) => {
            Resource::Route(Arc::new(ir::Route { attachments: chosen(&it.attachments), ..(*it).clone() }))
        }
        Resource::StreamRoute(it) => Resource::StreamRoute(Arc::new(ir::StreamRoute {
            attachments: chosen(&it.attachments),
            ..(*it).clone()
        })),
        other => other,
    };
    (route, false)
}

/// The listeners that a route names.
pub(super) fn listeners(route: &Resource) -> BTreeSet<ir::ListenerKey> {
    let all = attachments(route).unwrap_or_default();
    all.iter().map(|attachment| attachment.listener.clone()).collect()
}

/// The backends that a route names, those of its filters and policies too.
pub(super) fn backends(route: &Resource) -> BTreeSet<ResourceKey> {
    match route {
        Resource::Route(it) => {
            let policies = it.traffic.iter().flat_map(|it| it.targets());
            of_rules(&it.rules).into_iter().chain(policies.filter_map(key)).collect()
        }
        Resource::StreamRoute(it) => it.backends.iter().filter_map(|it| key(&it.target)).collect(),
        _ => BTreeSet::new(),
    }
}

fn of_rules(rules: &[ir::Rule]) -> BTreeSet<ResourceKey> {
    let mut keys = BTreeSet::new();
    for rule in rules {
        keys.extend(called(&rule.filters));
        for backend in rule.backends.iter() {
            keys.extend(key(&backend.target));
            keys.extend(called(&backend.filters));
        }
    }
    keys
}

fn called(filters: &[ir::Filter]) -> impl Iterator<Item = ResourceKey> {
    filters.iter().filter_map(|filter| key(filter.target()?))
}

/// The backends that policies of a Gateway or listener name.
pub(super) fn of_policies(traffic: Option<&ir::TrafficSettings>) -> impl Iterator<Item = ResourceKey> {
    traffic.into_iter().flat_map(ir::TrafficSettings::targets).filter_map(key)
}

/// The backends that AuthorizationPolicies ask.
pub(super) fn of_authorization(policies: &[Arc<ir::Authorization>]) -> impl Iterator<Item = ResourceKey> {
    policies.iter().flat_map(|it| it.targets()).filter_map(key)
}

fn key(target: &ir::BackendTarget) -> Option<ResourceKey> {
    match target {
        ir::BackendTarget::Backend(key) => Some(ResourceKey::Backend(key.clone())),
        ir::BackendTarget::Fail(_) => None,
    }
}
