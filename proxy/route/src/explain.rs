//! Why no rule matched: for people, not for the request path.

use crate::candidate::Candidate;
use crate::compile::{CompiledMatch, Place};
use crate::condition::{Probe, Request, call_met, header_met, query_met};
use crate::pattern::Text;
use crate::table::{RouteEntry, RouteTable, TableRoute};
use sluice_ir::{HostPattern, RouteKey};
use std::fmt;

/// A match that did not hold, and what it lacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The route.
    pub route: RouteKey,
    /// Position of the rule in the manifest.
    pub rule_index: u32,
    /// Position of the match in the rule.
    pub match_index: u32,
    /// The route's hostname that the request's host matched.
    pub hostname: HostPattern,
    /// How many conditions held.
    pub met: usize,
    /// The conditions that did not hold, path first; never empty.
    pub unmet: Vec<Unmet>,
    /// Whole elements that the request's path has in common with the match's, from the left.
    pub shared_elements: usize,
}

/// One condition that a request did not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The path: what was expected, with its kind.
    Path(String),
    /// The method that was expected.
    Method(String),
    /// The request is no gRPC call: other content type, or a path that is not `/SERVICE/METHOD`.
    GrpcCall,
    /// The gRPC service or method: what was expected.
    GrpcName(String),
    /// A header that is absent or has another value.
    Header {
        /// Lower case.
        name: String,
        /// What was expected.
        expected: String,
    },
    /// A query parameter that is absent or has another value.
    Query {
        /// As compared.
        name: String,
        /// What was expected.
        expected: String,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(expected) => write!(f, "path is not {expected}"),
            Self::Method(expected) => write!(f, "method is not {expected}"),
            Self::GrpcCall => {
                f.write_str("not a gRPC call (content-type application/grpc and path /SERVICE/METHOD)")
            }
            Self::GrpcName(expected) => write!(f, "gRPC {expected}"),
            Self::Header { name, expected } => write!(f, "header {name} is not {expected}"),
            Self::Query { name, expected } => write!(f, "query parameter {name} is not {expected}"),
        }
    }
}

impl<R: TableRoute> RouteTable<R> {
    /// For each rule that answers for the request's host the match that came nearest: fewest unmet conditions first,
    /// then most path elements in common, then most conditions met, then the more specific hostname, then by precedence.
    /// Empty for [`Miss::Host`](crate::Miss::Host). Walks over all routes and allocates: not for the request path.
    pub fn explain_miss(&self, request: &Request<'_>) -> Vec<NearMiss> {
        let mut probe = Probe::new(*request);
        let mut misses = Vec::new();
        let mut hosts = Vec::new();
        self.try_hosts(request.host, |table| {
            hosts.push(&table.pattern);
            None::<()>
        });
        for host in hosts {
            let mut rules = Vec::new();
            self.routes.for_each(&mut |route| {
                if route.hostnames.contains(host) {
                    rules.extend(nearest_of_rules(route, host, &mut probe));
                }
            });
            rules.sort_by(|(a, _), (b, _)| a.precedence(b));
            misses.extend(rules.into_iter().map(|(_, miss)| miss));
        }
        misses.sort_by_key(NearMiss::distance);
        misses
    }
}

impl NearMiss {
    /// The smaller, the nearer.
    fn distance(&self) -> impl Ord + use<> {
        (self.unmet.len(), usize::MAX - self.shared_elements, usize::MAX - self.met)
    }
}

/// The nearest match of each rule of a route; rules that match are left out.
fn nearest_of_rules<R: TableRoute>(
    entry: &RouteEntry<R>,
    hostname: &HostPattern,
    probe: &mut Probe<'_>,
) -> Vec<(Candidate<R>, NearMiss)> {
    let mut nearest: Vec<(Candidate<R>, NearMiss)> = Vec::new();
    for candidate in Candidate::all_of(&entry.route) {
        let compiled = candidate.compiled();
        let unmet = unmet_of(compiled, probe);
        let conditions = condition_count(compiled);
        let miss = NearMiss {
            route: entry.route.key().clone(),
            rule_index: candidate.rule().index,
            match_index: candidate.match_index(),
            hostname: hostname.clone(),
            met: conditions.saturating_sub(unmet.len()),
            shared_elements: shared_elements(compiled, probe.request.path),
            unmet,
        };
        match nearest.last_mut() {
            Some(last) if last.1.rule_index == miss.rule_index => {
                if miss.distance() < last.1.distance() {
                    *last = (candidate, miss);
                }
            }
            _ => nearest.push((candidate, miss)),
        }
    }
    nearest.retain(|(_, miss)| !miss.unmet.is_empty());
    nearest
}

fn condition_count(it: &CompiledMatch) -> usize {
    1 + it.conditions.as_ref().map_or(0, |it| it.count())
}

fn unmet_of(it: &CompiledMatch, probe: &mut Probe<'_>) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    if !path_met(&it.place, probe.request.path) {
        unmet.push(Unmet::Path(describe_place(&it.place)));
    }
    let Some(it) = &it.conditions else { return unmet };
    if let Some(method) = it.method.as_deref().filter(|method| *method != probe.request.method) {
        unmet.push(Unmet::Method(method.to_owned()));
    }
    if let Some(test) = it.call.as_ref().filter(|test| !call_met(test, probe)) {
        unmet.push(match probe.call() {
            None => Unmet::GrpcCall,
            Some(_) => Unmet::GrpcName(describe_call(test.service.as_ref(), test.method.as_ref())),
        });
    }
    for test in it.headers.iter().filter(|test| !header_met(test, probe.request.headers)) {
        unmet.push(Unmet::Header { name: test.name.to_string(), expected: describe(&test.value) });
    }
    for test in &it.query {
        if !query_met(test, probe) {
            unmet.push(Unmet::Query { name: test.name.to_string(), expected: describe(&test.value) });
        }
    }
    unmet
}

fn path_met(place: &Place, path: &str) -> bool {
    match place {
        Place::Exact(exact) => **exact == *path,
        Place::Regex(regex) => regex.is_match(path.as_bytes()),
        Place::Prefix(prefix) if prefix.is_empty() => true,
        Place::Prefix(prefix) => {
            path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

fn shared_elements(it: &CompiledMatch, path: &str) -> usize {
    let text = match &it.place {
        Place::Exact(text) | Place::Prefix(text) => text,
        Place::Regex(_) => return 0,
    };
    text.split('/').skip(1).zip(path.split('/').skip(1)).take_while(|(a, b)| a == b).count()
}

fn describe_place(place: &Place) -> String {
    match place {
        Place::Exact(exact) => format!("exactly {exact}"),
        Place::Prefix(prefix) => format!("{prefix} or below"),
        Place::Regex(regex) => format!("like the regular expression {}", regex.source()),
    }
}

fn describe_call(service: Option<&Text>, method: Option<&Text>) -> String {
    let parts = [("service", service), ("method", method)].into_iter();
    let parts = parts.filter_map(|(name, text)| Some(format!("{name} is not {}", describe(text?))));
    parts.collect::<Vec<_>>().join(" or ")
}

fn describe(text: &Text) -> String {
    match text {
        Text::Exact(exact) => format!("{exact:?}"),
        Text::Regex(regex) => format!("like the regular expression {}", regex.source()),
    }
}
