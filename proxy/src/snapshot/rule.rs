//! Compiles one route: matches, filters, weights.

use super::levels::{ByListener, Levels};
use super::runtime::{
    BackendExtras, BackendRuntime, MirrorRuntime, RouteRuntime, RuleBackend, RuleExtras, RuleRuntime,
};
use crate::auth::Authorizer;
use crate::http::{CompiledFilters, Cors};
use crate::upstream::{Sampler, Sessions, Weights};
use sluice_ir as ir;
use sluice_route::{CompiledMatch, RuleEntry};
use std::sync::Arc;

/// Finds the backend of a key.
pub(super) trait Backends {
    fn backend(&self, key: &ir::BackendKey) -> Option<Arc<BackendRuntime>>;
}

/// A route, ready for any table. A match that does not compile is left out and said in the log: the translation has
/// refused it before, so this is a fault of ours, and the other matches still serve.
pub(super) fn compile(
    route: &Arc<ir::Route>,
    gateway: ir::GatewayKey,
    backends: &impl Backends,
    levels: &Levels<'_>,
) -> RouteRuntime {
    let mut policies = levels.rules(route).into_iter();
    let rules = route.rules.iter().map(|rule| RuleEntry {
        index: rule.index,
        matches: matches(route, rule),
        target: runtime(rule, backends, policies.next().unwrap_or_default()),
    });
    RouteRuntime::new(route.clone(), gateway, rules.collect())
}

fn matches(route: &ir::Route, rule: &ir::Rule) -> Box<[CompiledMatch]> {
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

fn runtime(rule: &ir::Rule, backends: &impl Backends, policies: ByListener) -> RuleRuntime {
    RuleRuntime {
        backends: rule.backends.iter().map(|it| rule_backend(it, backends)).collect(),
        weights: Weights::new(&rule.backends.iter().map(|backend| backend.weight).collect::<Vec<_>>()),
        extras: extras(rule, backends, policies),
    }
}

fn extras(rule: &ir::Rule, backends: &impl Backends, policies: ByListener) -> Option<Box<RuleExtras>> {
    let is_plain = rule.filters.is_empty()
        && rule.timeouts.is_none()
        && rule.retry.is_none()
        && rule.session_persistence.is_none()
        && policies.is_empty();
    if is_plain {
        return None;
    }
    let mut extras = RuleExtras {
        filters: CompiledFilters::compile(&rule.filters),
        mirrors: mirrors(&rule.filters, backends),
        timeouts: rule.timeouts.as_deref().cloned().unwrap_or_default(),
        retry: rule.retry.clone(),
        sessions: rule.session_persistence.as_deref().and_then(Sessions::new).map(Box::new),
        policies,
        ..RuleExtras::default()
    };
    for filter in &rule.filters {
        match filter {
            ir::Filter::Fail(fail) => extras.fail = Some(Box::new(fail.clone())),
            ir::Filter::Redirect(redirect) => extras.redirect = Some(Box::new(redirect.clone())),
            ir::Filter::Cors(cors) => extras.cors = Some(Box::new(Cors::compile(cors))),
            ir::Filter::ExternalAuth(it) => {
                let compiled = Authorizer::compile(it, |key| backends.backend(key));
                extras.authorizer = Some(Arc::new(compiled));
            }
            ir::Filter::Mirror(_)
            | ir::Filter::RequestHeaders(_)
            | ir::Filter::ResponseHeaders(_)
            | ir::Filter::Rewrite(_) => {}
        }
    }
    Some(Box::new(extras))
}

fn rule_backend(backend: &ir::WeightedBackend, backends: &impl Backends) -> RuleBackend {
    let failed = backend.filters.iter().find_map(|filter| match filter {
        ir::Filter::Fail(fail) => Some(Box::new(fail.clone())),
        _ => None,
    });
    let target = match (failed, &backend.target) {
        (Some(fail), _) => Err(fail),
        (None, ir::BackendTarget::Fail(fail)) => Err(fail.clone()),
        (None, ir::BackendTarget::Backend(key)) => backends.backend(key).ok_or_else(|| {
            let reason = format!("backend {key} is not part of the configuration");
            Box::new(ir::Fail { status: 500, reason })
        }),
    };
    let extras = || BackendExtras {
        filters: CompiledFilters::compile(&backend.filters),
        mirrors: mirrors(&backend.filters, backends),
    };
    RuleBackend { target, extras: (!backend.filters.is_empty()).then(|| Box::new(extras())) }
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
