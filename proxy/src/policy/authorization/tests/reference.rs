//! The slow and obvious form: every rule of every policy, as the manifest has it, for every reading of the path.

use super::super::{Judged, PolicyRule, Token, Verdict};
use super::{Asked, Claims, Sample};
use sluice_ir::{
    Attribute, Authorization, AuthorizationAction, AuthorizationRule, Condition, Operation, PathValue,
    Segment, Source, ValueMatch, Values,
};
use sluice_route::readings;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn host_name(host: &str) -> &str {
    host.split(':').next().unwrap().trim_end_matches('.')
}

pub(super) fn judge(policies: &[Arc<Authorization>], sample: &Sample) -> Judged {
    let of = |action: AuthorizationAction, is_dry: Option<bool>| -> Vec<&Arc<Authorization>> {
        let is_meant = |it: &&Arc<Authorization>| {
            it.action == action && is_dry.is_none_or(|is_dry| is_dry == it.is_dry_run)
        };
        policies.iter().filter(is_meant).collect()
    };
    let paths: Vec<String> = match &sample.request {
        Some(asked) => readings::of(asked.path).into_iter().map(|it| it.into_owned()).collect(),
        None => vec![String::new()],
    };
    let denies = |all: Vec<&Arc<Authorization>>| {
        paths
            .iter()
            .find_map(|path| first(&all, sample, path, true))
            .map_or(Verdict::Allowed, Verdict::Denied)
    };
    let allows = |all: Vec<&Arc<Authorization>>| match paths
        .iter()
        .all(|path| first(&all, sample, path, false).is_some())
    {
        true => Verdict::Allowed,
        false => Verdict::Unmatched,
    };
    let allow = of(AuthorizationAction::Allow, Some(false));
    let mut verdict = denies(of(AuthorizationAction::Deny, Some(false)));
    if verdict.is_allowed() && !allow.is_empty() {
        verdict = allows(allow);
    }
    let dry_deny = of(AuthorizationAction::Deny, Some(true));
    let dry_allow = of(AuthorizationAction::Allow, Some(true));
    let audit = of(AuthorizationAction::Audit, None);
    Judged {
        verdict,
        audited: paths.iter().find_map(|path| first(&audit, sample, path, true)),
        dry_deny: (!dry_deny.is_empty()).then(|| denies(dry_deny)),
        dry_allow: (!dry_allow.is_empty()).then(|| allows(dry_allow)),
    }
}

fn first(policies: &[&Arc<Authorization>], sample: &Sample, path: &str, refuses: bool) -> Option<PolicyRule> {
    policies.iter().find_map(|policy| {
        let mut kept = 0;
        for rule in &policy.rules {
            let Some(rule) = seen(rule, sample, refuses) else { continue };
            if fits(&rule, sample, path, refuses) {
                return Some(PolicyRule { policy: (*policy).clone(), index: kept });
            }
            kept += 1;
        }
        None
    })
}

/// The rule as a connection meets it, or a request.
fn seen(rule: &AuthorizationRule, sample: &Sample, refuses: bool) -> Option<AuthorizationRule> {
    if sample.request.is_some() {
        return Some(rule.clone());
    }
    let is_of_requests = |it: &Condition| {
        matches!(
            it.attribute,
            Attribute::Header(_)
                | Attribute::RequestPrincipal
                | Attribute::Audiences
                | Attribute::Presenter
                | Attribute::Claim(_)
        )
    };
    let mut bare = rule.clone();
    bare.when.retain(|it| !is_of_requests(it));
    for source in &mut bare.from {
        source.request_principals = Values::default();
    }
    for operation in &mut bare.to {
        operation.hosts = Values::default();
        operation.methods = Values::default();
        operation.paths = Values::default();
    }
    (refuses || bare == *rule).then_some(bare)
}

fn fits(rule: &AuthorizationRule, sample: &Sample, path: &str, refuses: bool) -> bool {
    let from = rule.from.is_empty() || rule.from.iter().any(|it| source(it, sample));
    let to = rule.to.is_empty() || rule.to.iter().any(|it| operation(it, sample, path, refuses));
    from && to && rule.when.iter().all(|it| condition(it, sample, refuses))
}

/// `fits(value, is_loose)`.
fn holds<T>(values: &Values<T>, refuses: bool, fits: impl Fn(&T, bool) -> bool) -> bool {
    (values.any.is_empty() || values.any.iter().any(|it| fits(it, refuses)))
        && !values.none.iter().any(|it| fits(it, !refuses))
}

fn text(value: &ValueMatch, text: &str) -> bool {
    match value {
        ValueMatch::Exact(it) => it == text,
        ValueMatch::Prefix(it) => text.starts_with(it.as_str()),
        ValueMatch::Suffix(it) => text.ends_with(it.as_str()),
        ValueMatch::Present => !text.is_empty(),
        ValueMatch::Parts(parts) => {
            let [first, last] = parts.as_slice() else { panic!("{parts:?}") };
            text.len() >= first.len() + last.len()
                && text.starts_with(first.as_str())
                && text.ends_with(last.as_str())
        }
        ValueMatch::Network(_) => false,
    }
}

fn texts(values: &Values<ValueMatch>, value: Option<&str>) -> bool {
    holds(values, true, |it, _| value.is_some_and(|value| text(it, value)))
}

fn addresses(values: &Values<ipnet::IpNet>, address: IpAddr) -> bool {
    holds(values, true, |it, _| it.contains(&address.to_canonical()))
}

/// Trust domain, namespace, `NAMESPACE/ACCOUNT`.
fn parts(peer: &str) -> (&str, Option<&str>, Option<String>) {
    match peer.split('/').collect::<Vec<_>>().as_slice() {
        [domain, "ns", namespace, "sa", account] => {
            (domain, Some(namespace), Some(format!("{namespace}/{account}")))
        }
        all => (all[0], None, None),
    }
}

fn token(sample: &Sample) -> Option<&Claims> {
    sample.request.as_ref()?.token.as_ref()
}

fn source(it: &Source, sample: &Sample) -> bool {
    let of_peer = sample.peer.map(parts);
    let account = of_peer.as_ref().and_then(|it| it.2.as_deref());
    texts(&it.principals, sample.peer)
        && texts(&it.request_principals, token(sample).map(|it| it.principal()))
        && texts(&it.namespaces, of_peer.as_ref().and_then(|it| it.1))
        && holds(&it.service_accounts, true, |it, _| account == Some(it.as_str()))
        && addresses(&it.addresses, sample.source)
        && addresses(&it.remote_addresses, sample.remote)
        && texts(&it.trust_domains, of_peer.as_ref().map(|it| it.0))
}

fn operation(it: &Operation, sample: &Sample, path: &str, refuses: bool) -> bool {
    let request = sample.request.as_ref();
    let host = |value: &ValueMatch, is_loose: bool| {
        request.is_some_and(|it| text(value, it.host) || is_loose && text(value, host_name(it.host)))
    };
    holds(&it.hosts, refuses, host)
        && holds(&it.ports, refuses, |it, _| *it == sample.port)
        && texts(&it.methods, request.map(|it| it.method))
        && holds(&it.paths, refuses, |it, _| request.is_some() && path_fits(it, path))
}

fn path_fits(value: &PathValue, path: &str) -> bool {
    let spell = |it: &str| readings::spelled(it).into_owned();
    match value {
        PathValue::Value(value) => {
            let spelled = match value {
                ValueMatch::Exact(it) => ValueMatch::Exact(spell(it)),
                ValueMatch::Prefix(it) => ValueMatch::Prefix(spell(it)),
                ValueMatch::Suffix(it) => ValueMatch::Suffix(spell(it)),
                other => other.clone(),
            };
            text(&spelled, path)
        }
        PathValue::Template(wanted) => {
            let Some(path) = path.strip_prefix('/') else { return false };
            segments(wanted, &path.split('/').collect::<Vec<_>>())
        }
    }
}

fn segments(wanted: &[Segment], path: &[&str]) -> bool {
    match (wanted, path) {
        ([], []) => true,
        ([Segment::Rest, after @ ..], _) => (1..=path.len()).any(|taken| segments(after, &path[taken..])),
        ([Segment::One, after @ ..], [first, rest @ ..]) => !first.is_empty() && segments(after, rest),
        ([Segment::Literal(text), after @ ..], [first, rest @ ..]) => {
            readings::spelled(text) == *first && segments(after, rest)
        }
        _ => false,
    }
}

fn condition(it: &Condition, sample: &Sample, refuses: bool) -> bool {
    let peer = sample.peer.map(parts);
    let networks = |address: IpAddr| {
        holds(&it.values, true, |it, _| match it {
            ValueMatch::Network(network) => network.contains(&address.to_canonical()),
            _ => false,
        })
    };
    let many = |all: &[&str]| holds(&it.values, true, |it, _| all.iter().any(|value| text(it, value)));
    match &it.attribute {
        Attribute::Header(name) => {
            let asked: Option<&Asked> = sample.request.as_ref();
            let lines: Vec<&str> = asked
                .map(|it| it.fields.iter().filter(|it| it.0 == name).map(|it| it.1).collect())
                .unwrap_or_default();
            holds(&it.values, refuses, |it, is_loose| {
                !lines.is_empty()
                    && (text(it, &lines.join(",")) || is_loose && lines.iter().any(|line| text(it, line)))
            })
        }
        Attribute::SourceAddress => networks(sample.source),
        Attribute::RemoteAddress => networks(sample.remote),
        Attribute::DestinationAddress => networks("10.0.0.9".parse().unwrap()),
        Attribute::SourceNamespace => texts(&it.values, peer.as_ref().and_then(|it| it.1)),
        Attribute::SourcePrincipal => texts(&it.values, sample.peer),
        Attribute::SourceServiceAccount => texts(&it.values, peer.as_ref().and_then(|it| it.2.as_deref())),
        Attribute::SourceTrustDomain => texts(&it.values, peer.as_ref().map(|it| it.0)),
        Attribute::RequestPrincipal => texts(&it.values, token(sample).map(|it| it.principal())),
        Attribute::Audiences => many(&token(sample).map(|it| it.audiences.clone()).unwrap_or_default()),
        Attribute::Presenter => texts(&it.values, token(sample).and_then(|it| it.presenter())),
        Attribute::Claim(_) => many(&token(sample).map(|it| it.groups.clone()).unwrap_or_default()),
        Attribute::DestinationPort => texts(&it.values, Some(&sample.port.to_string())),
        Attribute::ServerName => texts(&it.values, sample.server_name),
    }
}
