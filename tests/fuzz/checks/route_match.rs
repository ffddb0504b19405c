//! Bytes become a table, edits of it and requests; the search must equal the reference matcher.
//!
//! A byte chooses from a small alphabet, so that routes collide; paths, hosts and queries can also be raw text.

use crate::support::reference::{self, Winner};
use crate::support::{Ask, Spec, TestRoute, With, ask, compiled, exact, grpc, prefix, regex};
use sluice_ir::{HostPattern, Match, RouteKey};
use sluice_route::{Miss, RouteTable};

const KEYS: [&str; 4] = ["HTTPRoute/n/a", "HTTPRoute/n/b", "GRPCRoute/n/b", "GRPCRoute/m/c"];
const HOSTS: [&str; 8] = ["*", "*.c", "*.b.c", "*.a.b.c", "c", "b.c", "a.b.c", "x.b.c"];
const ELEMENTS: [&str; 8] = ["", "a", "b", "p.S", "M", "%41", "%2f", ".."];
const PATTERNS: [&str; 8] =
    ["/.*", "/a(/.*)?", "/a|/ab|/a/b", "/[ab]/[ab]", "(/a)+", "(?i)/A/B", "/p\\.S/.*", "/a/b/?"];
const NAMES: [&str; 4] = ["", "p.S", "~p.*", "~[a-z]|M"];
const MAX_ROUTES: usize = 6;
const MAX_REQUESTS: usize = 4;

/// Panics when the search and the reference differ.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut specs: Vec<Spec> = Vec::new();
    let mut table = RouteTable::new();
    for _ in 0..=bytes.below(MAX_ROUTES) {
        let key = bytes.of(&KEYS);
        specs.retain(|spec| spec.key != key);
        if bytes.below(8) == 7 {
            table = table.with(Vec::new(), &[RouteKey::new(key)]);
        } else {
            let spec = route(key, &mut bytes);
            table = table.with(vec![spec.entry()], &[]);
            specs.push(spec);
        }
    }
    assert_eq!(table.len(), specs.len());
    for _ in 0..=bytes.below(MAX_REQUESTS) {
        let ask = request(&mut bytes);
        assert_eq!(found(&table, &ask), reference::find(&specs, &ask), "{ask:?}\n{specs:#?}");
    }
}

fn found(table: &RouteTable<TestRoute>, ask: &Ask) -> Result<Winner, Miss> {
    let found = table.find(&ask.request())?;
    Ok(Winner {
        route: found.route.key.clone(),
        rule_index: found.rule().index,
        match_index: found.match_index,
        hostname: found.hostname.clone(),
        matched_prefix_len: found.matched_prefix_len,
    })
}

fn route(key: &str, bytes: &mut Bytes<'_>) -> Spec {
    let created_s = bytes.below(3) as i64;
    let mut hosts: Vec<HostPattern> =
        (0..=bytes.below(3)).map(|_| HostPattern::parse(bytes.of(&HOSTS))).collect();
    hosts.sort();
    hosts.dedup();
    let rules =
        (0..=bytes.below(3)).map(|_| (0..=bytes.below(3)).map(|_| one_match(bytes)).collect()).collect();
    Spec { key: key.to_owned(), created_s, hosts, rules }
}

/// A match that compiles.
fn one_match(bytes: &mut Bytes<'_>) -> Match {
    let mut it = match bytes.below(4) {
        0 => exact(&path(bytes)),
        1 => prefix(&path(bytes)),
        2 => regex(bytes.of(&PATTERNS)),
        _ => grpc(bytes.of(&NAMES), bytes.of(&NAMES)),
    };
    let more = bytes.below(256);
    if more & 3 == 3 {
        it = it.method(bytes.of(&["GET", "POST"]));
    }
    if more & 12 == 12 {
        it = it.header("x", bytes.of(&["1", "~[12]", "1,2"]));
    }
    if more & 48 == 48 {
        it = it.query(bytes.of(&["q", "r r", ""]), bytes.of(&["1", "~a.*", ""]));
    }
    if compiled(&it).is_some() { it } else { Match::default() }
}

fn path(bytes: &mut Bytes<'_>) -> String {
    match bytes.below(5) {
        4 => format!("/{}", bytes.text()),
        elements => (0..elements).map(|_| format!("/{}", bytes.of(&ELEMENTS))).collect(),
    }
}

fn request(bytes: &mut Bytes<'_>) -> Ask {
    let mut asked = ask("/");
    asked.host = match bytes.below(4) {
        0 => bytes.text(),
        1 => format!("x.{}", bytes.of(&HOSTS)),
        _ => bytes.of(&HOSTS).to_owned(),
    };
    asked.path = path(bytes);
    asked.query = match bytes.below(4) {
        0 => None,
        1 => Some(bytes.text()),
        _ => Some(bytes.of(&["q=1", "q=2&q=1", "r+r=a%20", "&=&r%20r", "%71=1"]).to_owned()),
    };
    asked = asked.method(bytes.of(&["GET", "POST", ""]));
    for _ in 0..bytes.below(3) {
        asked = asked.header("X", bytes.of(&["1", "2", ""]));
    }
    if bytes.below(2) == 1 { asked.grpc() } else { asked }
}

/// Input that runs out as zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }

    /// Up to 31 bytes, as text.
    fn text(&mut self) -> String {
        let len = self.below(32).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
