//! Short ways to write routes and requests.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod reference;

use http::{HeaderMap, HeaderName, HeaderValue};
use sluice_ir::{
    GrpcMethodMatch, HeaderMatch, HostPattern, Match, PathMatch, QueryMatch, RouteKey, StringMatch,
};
use sluice_route::{CompiledMatch, Miss, Request, RouteEntry, RouteTable, RuleEntry, TableRoute};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A route with one target for each rule.
#[derive(Clone, Debug)]
pub struct TestRoute {
    pub key: RouteKey,
    pub created_s: i64,
    pub rules: Vec<RuleEntry<String>>,
}

impl TableRoute for TestRoute {
    type Target = String;

    fn key(&self) -> &RouteKey {
        &self.key
    }

    fn created_s(&self) -> i64 {
        self.created_s
    }

    fn rules(&self) -> &[RuleEntry<String>] {
        &self.rules
    }
}

/// A route before it is compiled; the target of a rule is `NAME#RULE`.
#[derive(Clone, Debug)]
pub struct Spec {
    pub key: String,
    pub created_s: i64,
    pub hosts: Vec<HostPattern>,
    pub rules: Vec<Vec<Match>>,
}

pub fn spec(key: &str, hosts: &[&str], rules: Vec<Vec<Match>>) -> Spec {
    let hosts = hosts.iter().map(|host| HostPattern::parse(host)).collect();
    Spec { key: key.to_owned(), created_s: 0, hosts, rules }
}

impl Spec {
    pub fn created(mut self, created_s: i64) -> Self {
        self.created_s = created_s;
        self
    }

    pub fn entry(&self) -> RouteEntry<TestRoute> {
        let rules = (0_u32..).zip(&self.rules).map(|(index, matches)| RuleEntry {
            index,
            matches: matches.iter().map(|it| compiled(it).unwrap()).collect(),
            target: format!("{}#{index}", self.key),
        });
        let route = TestRoute {
            key: RouteKey::new(self.key.as_str()),
            created_s: self.created_s,
            rules: rules.collect(),
        };
        RouteEntry { route: Arc::new(route), hostnames: self.hosts.clone().into() }
    }
}

/// Compiled once per thread: compiling expressions is what takes the time of random tests.
pub fn compiled(it: &Match) -> Option<CompiledMatch> {
    const MOST: usize = 10_000;
    thread_local!(static COMPILED: RefCell<HashMap<String, Option<CompiledMatch>>> = RefCell::default());
    COMPILED.with_borrow_mut(|known| {
        if known.len() > MOST {
            known.clear();
        }
        known.entry(format!("{it:?}")).or_insert_with(|| CompiledMatch::compile(it).ok()).clone()
    })
}

pub fn table(specs: &[Spec]) -> RouteTable<TestRoute> {
    RouteTable::build(specs.iter().map(Spec::entry))
}

pub fn exact(path: &str) -> Match {
    Match { path: PathMatch::Exact(path.into()), ..Match::default() }
}

pub fn prefix(path: &str) -> Match {
    Match { path: PathMatch::Prefix(path.into()), ..Match::default() }
}

pub fn regex(pattern: &str) -> Match {
    Match { path: PathMatch::Regex(pattern.into()), ..Match::default() }
}

/// `""` leaves a part out, `~` in front makes it an expression.
pub fn grpc(service: &str, method: &str) -> Match {
    let part = |text: &str| (!text.is_empty()).then(|| string(text));
    let path = PathMatch::Grpc(Box::new(GrpcMethodMatch { service: part(service), method: part(method) }));
    Match { path, ..Match::default() }
}

/// `~` in front makes it an expression.
pub fn string(text: &str) -> StringMatch {
    match text.strip_prefix('~') {
        Some(pattern) => StringMatch::Regex(pattern.into()),
        None => StringMatch::Exact(text.into()),
    }
}

pub trait With: Sized {
    fn method(self, method: &str) -> Self;
    fn header(self, name: &str, value: &str) -> Self;
    fn query(self, name: &str, value: &str) -> Self;
}

impl With for Match {
    fn method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(HeaderMatch { name: name.into(), value: string(value) });
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(QueryMatch { name: name.into(), value: string(value) });
        self
    }
}

/// A request that owns its parts.
#[derive(Clone, Debug)]
pub struct Ask {
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    pub method: String,
    pub headers: HeaderMap,
}

/// `http://HOST/PATH?QUERY`, without the scheme.
pub fn ask(url: &str) -> Ask {
    let (rest, query) = match url.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (url, None),
    };
    let slash = rest.find('/').expect("a path");
    let (host, path) = rest.split_at(slash);
    Ask { host: host.into(), path: path.into(), query, method: "GET".into(), headers: HeaderMap::new() }
}

impl Ask {
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn grpc(self) -> Self {
        self.method("POST").header("content-type", "application/grpc+proto")
    }

    pub fn request(&self) -> Request<'_> {
        Request {
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
        }
    }
}

/// The target, or the kind of miss.
pub fn answer(table: &RouteTable<TestRoute>, ask: &Ask) -> Result<String, Miss> {
    table.find(&ask.request()).map(|found| found.target().clone())
}
