//! Tables of any size for benches and measuring tests.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::expect_used)]

use http::{HeaderMap, HeaderName, HeaderValue};
use sluice_ir::{HeaderMatch, HostPattern, Match, PathMatch, RouteKey, StringMatch};
use sluice_route::{CompiledMatch, Request, RouteEntry, RouteTable, RuleEntry, TableRoute};
use std::sync::Arc;

/// A route with one target for each rule.
#[derive(Clone, Debug)]
pub struct NumberedRoute {
    pub key: RouteKey,
    pub created_s: i64,
    pub rules: Vec<RuleEntry<u64>>,
}

impl TableRoute for NumberedRoute {
    type Target = u64;

    fn key(&self) -> &RouteKey {
        &self.key
    }

    fn created_s(&self) -> i64 {
        self.created_s
    }

    fn rules(&self) -> &[RuleEntry<u64>] {
        &self.rules
    }
}

/// How routes differ.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One route `/` per host.
    Hosts,
    /// One route `/` per wildcard host.
    Wildcards,
    /// One prefix of three elements per route, all on one host.
    Prefixes,
    /// One exact path per route, all on one host.
    Exacts,
    /// One expression per route, all on one host.
    Regexes,
    /// One host per route, with a method, a header and a query parameter each.
    Conditions,
}

/// Route number `index`.
pub fn entry(shape: Shape, index: usize) -> RouteEntry<NumberedRoute> {
    let one_host = || HostPattern::Exact("shop.example.com".into());
    let host = || HostPattern::Exact(host(index).into());
    let (host, path) = match shape {
        Shape::Hosts | Shape::Conditions => (host(), PathMatch::Prefix("/".into())),
        Shape::Wildcards => (
            HostPattern::Wildcard(format!("tenant-{index}.example.com").into()),
            PathMatch::Prefix("/".into()),
        ),
        Shape::Prefixes => (one_host(), PathMatch::Prefix(path(index).into())),
        Shape::Exacts => (one_host(), PathMatch::Exact(path(index).into())),
        Shape::Regexes => (one_host(), PathMatch::Regex(format!("{}/v[0-9]+/.*", path(index)).into())),
    };
    let mut it = Match { path, ..Match::default() };
    if let Shape::Conditions = shape {
        it.method = Some("GET".into());
        it.headers.push(HeaderMatch { name: "x-version".into(), value: StringMatch::Exact("2".into()) });
        it.query.push(sluice_ir::QueryMatch { name: "beta".into(), value: StringMatch::Exact("yes".into()) });
    }
    let route = NumberedRoute {
        key: RouteKey::new(format!("HTTPRoute/shop/route-{index}")),
        created_s: 1_700_000_000,
        rules: vec![RuleEntry {
            index: 0,
            matches: [CompiledMatch::compile(&it).expect("a valid match")].into(),
            target: index as u64,
        }],
    };
    RouteEntry { route: Arc::new(route), hostnames: [host].into() }
}

pub fn host(index: usize) -> String {
    format!("app-{index}.example.com")
}

pub fn path(index: usize) -> String {
    format!("/api/{}/resource-{index}", index % 50)
}

pub fn table(shape: Shape, routes: usize) -> RouteTable<NumberedRoute> {
    RouteTable::build((0..routes).map(|index| entry(shape, index)))
}

/// A request that route number `index` serves.
pub struct Ask {
    host: String,
    path: String,
    headers: HeaderMap,
}

pub fn ask(shape: Shape, index: usize) -> Ask {
    let (host, path) = match shape {
        Shape::Hosts | Shape::Conditions => (host(index), "/api/v1/users/17".to_owned()),
        Shape::Wildcards => (format!("www.tenant-{index}.example.com"), "/api/v1/users/17".to_owned()),
        Shape::Prefixes => ("shop.example.com".to_owned(), format!("{}/users/17", path(index))),
        Shape::Exacts => ("shop.example.com".to_owned(), path(index)),
        Shape::Regexes => ("shop.example.com".to_owned(), format!("{}/v1/x", path(index))),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("host", "example.com"), ("user-agent", "curl/8.0"), ("accept", "*/*"), ("x-version", "2")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ask { host, path, headers }
}

impl Ask {
    pub fn request(&self) -> Request<'_> {
        let (host, path, headers) = (&*self.host, &*self.path, &self.headers);
        Request { host, path, query: Some("a=1&beta=yes"), method: "GET", headers }
    }
}
