//! The matcher as the standard words it: slow, linear, no shared code with the table but the normal form of paths.

use super::{Ask, Spec};
use regex_automata::meta::Regex;
use sluice_ir::{HostPattern, Match, PathMatch, RouteKey, StringMatch};
use sluice_route::{Miss, path::normalize};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;

/// What the search is expected to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    pub route: RouteKey,
    pub rule_index: u32,
    pub match_index: u32,
    pub hostname: HostPattern,
    pub matched_prefix_len: Option<usize>,
}

/// Collects all that match, orders them as the standard says, takes the first.
pub fn find(specs: &[Spec], ask: &Ask) -> Result<Winner, Miss> {
    let mut any_host = false;
    let mut winners = Vec::new();
    for spec in specs {
        for hostname in spec.hosts.iter().filter(|host| host.matches(&ask.host)) {
            any_host = true;
            for (rule_index, matches) in (0_u32..).zip(&spec.rules) {
                for (match_index, it) in (0_u32..).zip(matches) {
                    if !holds(it, ask) {
                        continue;
                    }
                    let name = spec.key.split_once('/').map(|(_, name)| name.to_owned());
                    let order = (
                        Reverse(host_order(hostname)),
                        Reverse(match_order(it)),
                        (spec.created_s, name, spec.key.clone(), rule_index, match_index),
                    );
                    let matched_prefix_len = match &it.path {
                        PathMatch::Prefix(prefix) => Some(bare_prefix(prefix).len()),
                        _ => None,
                    };
                    let route = RouteKey::new(spec.key.as_str());
                    let hostname = hostname.clone();
                    winners.push((
                        order,
                        Winner { route, rule_index, match_index, hostname, matched_prefix_len },
                    ));
                }
            }
        }
    }
    winners.sort_by(|(a, _), (b, _)| a.cmp(b));
    match winners.into_iter().next() {
        Some((_, winner)) => Ok(winner),
        None if any_host => Err(Miss::Rule),
        None => Err(Miss::Host),
    }
}

/// "Characters in a matching non-wildcard hostname", then "characters in a matching hostname".
fn host_order(host: &HostPattern) -> (usize, usize) {
    match host {
        HostPattern::Exact(host) => (host.len(), host.len()),
        HostPattern::Wildcard(suffix) => (0, suffix.len() + 2),
        HostPattern::Any => (0, 0),
    }
}

/// Exact, then expressions, then the longest prefix; then method, headers, query parameters.
fn match_order(it: &Match) -> impl Ord + use<> {
    let exact = |text: &Option<StringMatch>| match text {
        Some(StringMatch::Exact(text)) => Some(text.chars().count()),
        _ => None,
    };
    let part = |text: &Option<StringMatch>| match text {
        Some(StringMatch::Exact(text)) => (2, text.chars().count()),
        Some(StringMatch::Regex(text)) => (1, text.chars().count()),
        None => (0, 0),
    };
    let none = ((0, 0), (0, 0));
    let path = match &it.path {
        PathMatch::Exact(_) => (3, 0, none),
        PathMatch::Regex(pattern) => (2, pattern.chars().count(), none),
        PathMatch::Prefix(prefix) => (1, bare_prefix(prefix).chars().count(), none),
        PathMatch::Grpc(call) => match (exact(&call.service), exact(&call.method)) {
            (Some(_), Some(_)) => (3, 0, none),
            (Some(service), None) => (1, service + 1, ((0, 0), part(&call.method))),
            (None, _) => (1, 0, (part(&call.service), part(&call.method))),
        },
    };
    let has_method = it.method.is_some() || matches!(it.path, PathMatch::Grpc(_));
    (path, has_method, it.headers.len(), it.query.len())
}

fn holds(it: &Match, ask: &Ask) -> bool {
    path_holds(&it.path, ask)
        && it.method.as_ref().is_none_or(|method| **method == *ask.method)
        && it.headers.iter().all(|header| {
            let values: Vec<&[u8]> =
                ask.headers.get_all(&header.name).iter().map(|value| value.as_bytes()).collect();
            !values.is_empty() && string_holds(&header.value, &values.join(&b","[..]))
        })
        && it.query.iter().all(|query| {
            let params =
                ask.query.as_deref().unwrap_or_default().split('&').filter(|param| !param.is_empty());
            let mut params = params.map(|param| param.split_once('=').unwrap_or((param, "")));
            let first = params.find(|(name, _)| form_decoded(name) == query.name.as_bytes());
            first.is_some_and(|(_, value)| string_holds(&query.value, &form_decoded(value)))
        })
}

fn path_holds(path: &PathMatch, ask: &Ask) -> bool {
    match path {
        PathMatch::Exact(exact) => normalize(exact).unwrap() == ask.path,
        PathMatch::Regex(pattern) => whole(pattern, ask.path.as_bytes()),
        PathMatch::Prefix(prefix) => {
            let prefix = bare_prefix(prefix);
            prefix.is_empty() || ask.path == prefix || ask.path.starts_with(&format!("{prefix}/"))
        }
        PathMatch::Grpc(call) => {
            let content_type =
                ask.headers.get("content-type").map(|value| value.as_bytes().to_ascii_lowercase());
            let elements: Vec<&str> = ask.path.split('/').collect();
            let ["", service, method] = elements[..] else { return false };
            content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
                && !service.is_empty()
                && !method.is_empty()
                && call.service.as_ref().is_none_or(|text| string_holds(text, service.as_bytes()))
                && call.method.as_ref().is_none_or(|text| string_holds(text, method.as_bytes()))
        }
    }
}

/// Without its trailing slash.
fn bare_prefix(prefix: &str) -> String {
    let prefix = normalize(prefix).unwrap();
    prefix.strip_suffix('/').unwrap_or(&prefix).to_owned()
}

fn string_holds(text: &StringMatch, value: &[u8]) -> bool {
    match text {
        StringMatch::Exact(exact) => exact.as_bytes() == value,
        StringMatch::Regex(pattern) => whole(pattern, value),
    }
}

/// Compiled once per thread: compiling is what takes the time of these tests.
fn whole(pattern: &str, value: &[u8]) -> bool {
    thread_local!(static REGEXES: RefCell<HashMap<String, Regex>> = RefCell::default());
    REGEXES.with_borrow_mut(|regexes| {
        let regex = regexes.entry(pattern.to_owned());
        regex.or_insert_with(|| Regex::new(&format!("^(?:{pattern})$")).unwrap()).is_match(value)
    })
}

fn form_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let triplet = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let triplet = triplet.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (byte, triplet.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &after[2..];
            }
            _ => {
                out.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    out
}
