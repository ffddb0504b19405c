//! Compiles one route: matches, filters, weights.

use super::runtime::{BackendRuntime, MirrorRuntime, RouteRuntime, RuleBackend, RuleRuntime};
use crate::http::{CompiledFilters, Cors};
use crate::upstream::{Sampler, Sessions, Weights};
use sluice_ir as ir;
use sluice_route::{CompiledMatch, RuleEntry};
use std::sync::Arc;

/// Finds the backend of a key.
pub(super) trait Backends {
    fn backend(&self, key: &ir::BackendKey) -> Option<Arc<BackendRuntime>>;
}

/// The rules of a route, ready for any table. A match that does not compile is left out and said in the log: the
/// translation has refused it before, so this is a fault of ours, and the other matches still serve.
pub(super) fn compile(
    route: &Arc<RouteRuntime>,
    backends: &impl Backends,
) -> Arc<[RuleEntry<Arc<RuleRuntime>>]> {
    route
        .route
        .rules
        .iter()
        .map(|rule| RuleEntry {
            index: rule.index,
            matches: matches(&route.route, rule),
            target: Arc::new(runtime(route, rule, backends)),
        })
        .collect()
}

fn matches(route: &ir::Route, rule: &ir::Rule) -> Arc<[CompiledMatch]> {
    rule.matches
        .iter()
        .filter_map(|it| match CompiledMatch::compile(it) {
            Ok(compiled) => Some(compiled),
            Err(error) => {
                tracing::error!(origin = %route.origin, rule = rule.index, %error, "match left out");
                None
            }
        })
        .collect()
}

fn runtime(route: &Arc<RouteRuntime>, rule: &ir::Rule, backends: &impl Backends) -> RuleRuntime {
    let mut compiled = RuleRuntime {
        route: route.clone(),
        index: rule.index,
        fail: None,
        redirect: None,
        cors: None,
        filters: CompiledFilters::compile(&rule.filters),
        mirrors: mirrors(&rule.filters, backends),
        backends: rule.backends.iter().map(|it| rule_backend(it, backends)).collect(),
        weights: Weights::new(&rule.backends.iter().map(|backend| backend.weight).collect::<Vec<_>>()),
        request_timeout: rule.timeouts.request,
        backend_timeout: rule.timeouts.backend_request,
        retry: rule.retry.clone(),
        sessions: rule.session_persistence.as_deref().and_then(Sessions::new).map(Box::new),
    };
    for filter in &rule.filters {
        match filter {
            ir::Filter::Fail(fail) => compiled.fail = Some(Box::new(fail.clone())),
            ir::Filter::Redirect(redirect) => compiled.redirect = Some(Box::new(redirect.clone())),
            ir::Filter::Cors(cors) => compiled.cors = Some(Box::new(Cors::compile(cors))),
            ir::Filter::Mirror(_)
            | ir::Filter::RequestHeaders(_)
            | ir::Filter::ResponseHeaders(_)
            | ir::Filter::Rewrite(_) => {}
        }
    }
    compiled
}

fn rule_backend(backend: &ir::WeightedBackend, backends: &impl Backends) -> RuleBackend {
    let failed = backend.filters.iter().find_map(|filter| match filter {
        ir::Filter::Fail(fail) => Some(fail.clone()),
        _ => None,
    });
    let target = match (failed, &backend.target) {
        (Some(fail), _) => Err(Box::new(fail)),
        (None, ir::BackendTarget::Fail(fail)) => Err(Box::new(fail.clone())),
        (None, ir::BackendTarget::Backend(key)) => backends.backend(key).ok_or_else(|| {
            let reason = format!("backend {key} is not part of the configuration");
            Box::new(ir::Fail { status: 500, reason })
        }),
    };
    RuleBackend {
        target,
        filters: CompiledFilters::compile(&backend.filters),
        mirrors: mirrors(&backend.filters, backends),
    }
}

/// A mirror whose backend does not resolve copies nothing; the route's status says so.
fn mirrors(filters: &[ir::Filter], backends: &impl Backends) -> Box<[MirrorRuntime]> {
    let mirror = |filter: &ir::Filter| match filter {
        ir::Filter::Mirror(ir::Mirror { target: ir::BackendTarget::Backend(key), fraction }) => {
            Some(MirrorRuntime { backend: backends.backend(key)?, sampler: Sampler::new(*fraction) })
        }
        _ => None,
    };
    filters.iter().filter_map(mirror).collect()
}
