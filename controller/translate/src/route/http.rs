//! Reads an HTTPRoute into the model of routes.

use super::auth::raw_auth;
use super::cors::raw_cors;
use super::faults::Faults;
use super::filters::{self, Place, RawFilter, RawPath, RawRedirect, raw_backend, raw_headers, raw_mirror};
use super::matches;
use super::rule_status::{self, parent_ref};
use super::timing::{self, RawSession};
use crate::model::{BackendModel, Meta, RouteModel, RuleExtras, RuleModel};
use sluice_crds::httproutes::{
    HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersExternalAuthProtocol as BackendAuthProtocol,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType as BackendRedirectPathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme as BackendScheme,
    HttpRouteRulesBackendRefsFiltersType as BackendFilterType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType as BackendRewritePathType, HttpRouteRulesFilters,
    HttpRouteRulesFiltersExternalAuthProtocol as AuthProtocol,
    HttpRouteRulesFiltersRequestRedirectPathType as RedirectPathType,
    HttpRouteRulesFiltersRequestRedirectScheme as Scheme, HttpRouteRulesFiltersType as FilterType,
    HttpRouteRulesFiltersUrlRewritePathType as RewritePathType,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType as Lifetime,
    HttpRouteRulesSessionPersistenceType as SessionType,
};
use sluice_crds::{HttpRoute, Kind};
use sluice_ir::{Match, RouteKind};

macro_rules! filter_kind {
    ($it:expr, $type:ident) => {
        match $it {
            $type::RequestHeaderModifier => "RequestHeaderModifier",
            $type::ResponseHeaderModifier => "ResponseHeaderModifier",
            $type::RequestMirror => "RequestMirror",
            $type::RequestRedirect => "RequestRedirect",
            $type::UrlRewrite => "URLRewrite",
            $type::ExtensionRef => "ExtensionRef",
            $type::Cors => "CORS",
            $type::ExternalAuth => "ExternalAuth",
        }
    };
}

macro_rules! raw_path {
    ($it:expr, $type:ident) => {
        $it.as_ref().map(|it| RawPath {
            is_prefix: it.r#type == $type::ReplacePrefixMatch,
            full: it.replace_full_path.clone(),
            prefix: it.replace_prefix_match.clone(),
        })
    };
}

macro_rules! raw_filter {
    ($it:expr, $type:ident, $redirect_path:ident, $rewrite_path:ident, $scheme:ident, $auth:ident) => {{
        let it = $it;
        RawFilter {
            kind: filter_kind!(it.r#type, $type),
            request_headers: raw_headers!(it.request_header_modifier),
            response_headers: raw_headers!(it.response_header_modifier),
            mirror: raw_mirror!(it.request_mirror),
            redirect: it.request_redirect.as_ref().map(|it| RawRedirect {
                scheme: it.scheme.as_ref().map(|it| match it {
                    $scheme::Http => "http",
                    $scheme::Https => "https",
                }),
                hostname: it.hostname.clone(),
                path: raw_path!(it.path, $redirect_path),
                port: it.port,
                status: it.status_code,
            }),
            rewrite: it
                .url_rewrite
                .as_ref()
                .map(|it| (it.hostname.clone(), raw_path!(it.path, $rewrite_path))),
            cors: raw_cors!(it.cors),
            auth: raw_auth!(it.external_auth, $auth),
            extension: it
                .extension_ref
                .as_ref()
                .map(|it| (it.group.clone(), it.kind.clone(), it.name.clone())),
        }
    }};
}

fn rule_filter(it: &HttpRouteRulesFilters) -> RawFilter {
    raw_filter!(it, FilterType, RedirectPathType, RewritePathType, Scheme, AuthProtocol)
}

fn backend_filter(it: &HttpRouteRulesBackendRefsFilters) -> RawFilter {
    raw_filter!(
        it,
        BackendFilterType,
        BackendRedirectPathType,
        BackendRewritePathType,
        BackendScheme,
        BackendAuthProtocol
    )
}

/// Reads an HTTPRoute.
pub(crate) fn read(it: &HttpRoute) -> RouteModel {
    let meta = Meta::read(Kind::HttpRoute, &it.metadata);
    let mut faults = Faults::default();
    let hostnames = rule_status::hostnames(it.spec.hostnames.as_deref().unwrap_or_default(), &mut faults);
    let default_rules = [HttpRouteRules::default()];
    let written = it.spec.rules.as_deref().filter(|it| !it.is_empty()).unwrap_or(&default_rules);
    let mut rules = Vec::with_capacity(written.len());
    for index in 0..written.len() {
        faults.rule = Some(u32::try_from(index).unwrap_or(u32::MAX));
        rules.extend(rule(written, &meta, index, &mut faults));
    }
    RouteModel {
        kind: RouteKind::Http,
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
fn rule(rules: &[HttpRouteRules], meta: &Meta, index: usize, faults: &mut Faults) -> Option<RuleModel> {
    let it = rules.get(index)?;
    let field = format!("spec.rules[{index}]");
    let before = faults.hard_count();
    let written = it.matches.as_deref().unwrap_or_default();
    let mut read: Vec<Match> = Vec::with_capacity(written.len().max(1));
    for (position, it) in written.iter().enumerate() {
        read.push(matches::http(it, &format!("{field}.matches[{position}]"), faults));
    }
    if read.is_empty() {
        read.push(Match::default());
    }
    if faults.hard_count() > before {
        return None;
    }
    let earlier = rules.iter().take(index).map(|it| it.name.as_ref());
    rule_status::unique_name(it.name.as_ref(), earlier, &field, faults);
    let backends = it.backend_refs.as_deref().unwrap_or_default();
    let place = Place {
        list: format!("{field}.filters"),
        is_rule: true,
        has_backends: !backends.is_empty(),
        matches: &read,
    };
    let filters = filters::read(it.filters.iter().flatten().map(rule_filter).collect(), &place, faults);
    let timeouts = it.timeouts.as_ref();
    let timeouts = timing::timeouts(
        timeouts.and_then(|it| it.request.as_ref()),
        timeouts.and_then(|it| it.backend_request.as_ref()),
        &format!("{field}.timeouts"),
        faults,
    );
    let retry = it.retry.as_ref().map(|it| {
        timing::retry(it.attempts, it.backoff.as_ref(), it.codes.as_ref(), &format!("{field}.retry"), faults)
    });
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
    let backends: Vec<BackendModel> = backends
        .iter()
        .enumerate()
        .map(|(position, it)| backend(it, &format!("{field}.backendRefs[{position}]"), &read, faults))
        .collect();
    rule_status::warn_if_idle(&backends, &filters, &field, faults);
    let extras = RuleExtras {
        name: it.name.as_deref().map(Into::into),
        filters,
        timeouts,
        retry,
        session_persistence,
        refused: faults.latest_hard(before),
    };
    Some(RuleModel {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        matches: read.into(),
        backends: backends.into(),
        extras: extras.boxed(),
    })
}

fn backend(
    it: &HttpRouteRulesBackendRefs,
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
