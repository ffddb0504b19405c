//! Reads a GRPCRoute into the model of routes.

use super::faults::Faults;
use super::filters::{self, Place, RawFilter, raw_backend, raw_headers, raw_mirror};
use super::matches;
use super::rule_status::{self, parent_ref};
use super::timing::{self, RawSession};
use crate::model::{BackendModel, Meta, RouteModel, RuleExtras, RuleModel};
use sluice_crds::grpcroutes::{
    GrpcRouteRules, GrpcRouteRulesBackendRefs, GrpcRouteRulesBackendRefsFilters,
    GrpcRouteRulesBackendRefsFiltersType as BackendFilterType, GrpcRouteRulesFilters,
    GrpcRouteRulesFiltersType as FilterType,
    GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType as Lifetime,
    GrpcRouteRulesSessionPersistenceType as SessionType,
};
use sluice_crds::{GrpcRoute, Kind};
use sluice_ir::{Match, PathMatch, RouteKind};

macro_rules! raw_filter {
    ($it:expr, $type:ident) => {{
        let it = $it;
        RawFilter {
            kind: match it.r#type {
                $type::RequestHeaderModifier => "RequestHeaderModifier",
                $type::ResponseHeaderModifier => "ResponseHeaderModifier",
                $type::RequestMirror => "RequestMirror",
                $type::ExtensionRef => "ExtensionRef",
            },
            request_headers: raw_headers!(it.request_header_modifier),
            response_headers: raw_headers!(it.response_header_modifier),
            mirror: raw_mirror!(it.request_mirror),
            extension: it
                .extension_ref
                .as_ref()
                .map(|it| (it.group.clone(), it.kind.clone(), it.name.clone())),
            ..RawFilter::default()
        }
    }};
}

fn rule_filter(it: &GrpcRouteRulesFilters) -> RawFilter {
    raw_filter!(it, FilterType)
}

fn backend_filter(it: &GrpcRouteRulesBackendRefsFilters) -> RawFilter {
    raw_filter!(it, BackendFilterType)
}

/// Reads a GRPCRoute.
pub(crate) fn read(it: &GrpcRoute) -> RouteModel {
    let meta = Meta::read(Kind::GrpcRoute, &it.metadata);
    let mut faults = Faults::default();
    let hostnames = rule_status::hostnames(it.spec.hostnames.as_deref().unwrap_or_default(), &mut faults);
    let default_rules = [GrpcRouteRules::default()];
    let written = it.spec.rules.as_deref().filter(|it| !it.is_empty()).unwrap_or(&default_rules);
    let mut rules = Vec::with_capacity(written.len());
    for index in 0..written.len() {
        faults.rule = Some(u32::try_from(index).unwrap_or(u32::MAX));
        rules.extend(rule(written, &meta, index, &mut faults));
    }
    RouteModel {
        kind: RouteKind::Grpc,
        parents: it.spec.parent_refs.iter().flatten().map(|it| parent_ref!(it)).collect(),
        hostnames,
        rules: rules.into(),
        rule_count: u32::try_from(written.len()).unwrap_or(u32::MAX),
        faults: faults.list.into(),
        wants_default_gateways: it.spec.use_default_gateways.is_some(),
        meta,
    }
}

/// Reads the rule at `index`; `None` when its matches can't be used.
fn rule(rules: &[GrpcRouteRules], meta: &Meta, index: usize, faults: &mut Faults) -> Option<RuleModel> {
    let it = rules.get(index)?;
    let field = format!("spec.rules[{index}]");
    let before = faults.hard_count();
    let mut read: Vec<Match> = Vec::new();
    for (position, it) in it.matches.iter().flatten().enumerate() {
        read.push(matches::grpc(it, &format!("{field}.matches[{position}]"), faults));
    }
    if read.is_empty() {
        read.push(Match { path: PathMatch::Grpc(Box::default()), ..Match::default() });
    }
    if faults.hard_count() > before {
        return None;
    }
    let earlier = rules.iter().take(index).map(|it| it.name.as_ref());
    rule_status::unique_name(it.name.as_ref(), earlier, &field, faults);
    let place = Place { list: format!("{field}.filters"), is_rule: true, has_backends: true, matches: &read };
    let filters = filters::read(it.filters.iter().flatten().map(rule_filter).collect(), &place, faults);
    let session_persistence = it.session_persistence.as_ref().map(|it| {
        let raw = RawSession {
            name: it.session_name.as_ref(),
            is_header: it.r#type == Some(SessionType::Header),
            is_permanent: it.cookie_config.as_ref().and_then(|it| it.lifetime_type.as_ref())
                == Some(&Lifetime::Permanent),
            absolute_timeout: it.absolute_timeout.as_ref(),
            has_idle_timeout: it.idle_timeout.is_some(),
        };
        let owner = format!("{} rule {index}", meta.reference);
        timing::session(&raw, &owner, &format!("{field}.sessionPersistence"), faults)
    });
    let mut backends = Vec::new();
    for (position, it) in it.backend_refs.iter().flatten().enumerate() {
        backends.push(backend(it, &format!("{field}.backendRefs[{position}]"), &read, faults));
    }
    rule_status::warn_if_idle(&backends, &filters, &field, faults);
    let extras = RuleExtras {
        name: it.name.as_deref().map(Into::into),
        filters,
        session_persistence,
        refused: faults.latest_hard(before),
        ..RuleExtras::default()
    };
    Some(RuleModel {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        matches: read.into(),
        backends: backends.into(),
        extras: extras.boxed(),
    })
}

fn backend(
    it: &GrpcRouteRulesBackendRefs,
    field: &str,
    matches: &[Match],
    faults: &mut Faults,
) -> BackendModel {
    let place = Place { list: format!("{field}.filters"), is_rule: false, has_backends: false, matches };
    BackendModel {
        reference: raw_backend!(it),
        weight: rule_status::weight(it.weight, field, faults),
        filters: filters::read(it.filters.iter().flatten().map(backend_filter).collect(), &place, faults)
            .into(),
    }
}
