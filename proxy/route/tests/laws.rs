//! Laws: the search equals the reference matcher, an edit equals a build. Small alphabets, so that routes collide.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sluice_ir::{HostPattern, Match, RouteKey};
use sluice_route::RouteTable;
use support::reference::{self, Winner};
use support::{Ask, Spec, TestRoute, With, ask, exact, grpc, prefix, regex, table};

const HOSTS: [&str; 8] = ["*", "*.c", "*.b.c", "*.a.b.c", "c", "b.c", "a.b.c", "x.b.c"];
const ASKED_HOSTS: [&str; 9] = ["c", "b.c", "a.b.c", "x.b.c", "x.a.b.c", "y.x.a.b.c", "d", "x..b.c", ".b.c"];
const ELEMENTS: [&str; 6] = ["", "a", "b", "p.S", "M", "%41"];
const PATTERNS: [&str; 7] =
    ["/.*", "/a(/.*)?", "/a|/ab|/a/b", "/[ab]/[ab]", "(/a)+", "(?i)/A/B", "/p\\.S/.*"];

fn path() -> impl Strategy<Value = String> {
    vec(select(&ELEMENTS[..5]), 0..4).prop_map(|elements| format!("/{}", elements.join("/")))
}

fn written_path() -> impl Strategy<Value = String> {
    vec(select(&ELEMENTS[..]), 0..4).prop_map(|elements| format!("/{}", elements.join("/")))
}

fn conditions(it: Match, method: Option<&str>, headers: &[(&str, &str)], query: &[(&str, &str)]) -> Match {
    let it = method.into_iter().fold(it, With::method);
    let it = headers.iter().fold(it, |it, (name, value)| it.header(name, value));
    query.iter().fold(it, |it, (name, value)| it.query(name, value))
}

fn one_match() -> impl Strategy<Value = Match> {
    let service = select(&["", "p.S", "a", "~p.*", "~[a-z]"][..]);
    let method = select(&["", "M", "b", "~M|b", "~.*"][..]);
    let path = prop_oneof![
        3 => written_path().prop_map(|path| exact(&path)),
        5 => written_path().prop_map(|path| prefix(&path)),
        2 => select(&PATTERNS[..]).prop_map(regex),
        2 => (service, method).prop_map(|(service, method)| grpc(service, method)),
    ];
    let http_method = prop_oneof![3 => Just(None), 1 => Just(Some("GET")), 1 => Just(Some("POST"))];
    let headers = subsequence(&[("x", "1"), ("y", "~[12]"), ("z", "1,2")][..], 0..=2);
    let query = subsequence(&[("q", "1"), ("r r", "~a.*"), ("s", "")][..], 0..=2);
    let conditions_or_none = prop_oneof![3 => Just(None), 2 => (http_method, headers, query).prop_map(Some)];
    (path, conditions_or_none).prop_map(|(it, more)| match more {
        None => it,
        Some((method, headers, query)) => conditions(it, method, &headers, &query),
    })
}

fn route() -> impl Strategy<Value = Spec> {
    let key =
        select(&["HTTPRoute/n/a", "HTTPRoute/n/b", "GRPCRoute/n/b", "HTTPRoute/m/c", "GRPCRoute/m/d"][..]);
    let hosts = subsequence(&HOSTS[..], 1..=3);
    (key, 0_i64..3, hosts, vec(vec(one_match(), 1..4), 1..4)).prop_map(|(key, created_s, hosts, rules)| {
        Spec {
            key: key.to_owned(),
            created_s,
            hosts: hosts.into_iter().map(HostPattern::parse).collect(),
            rules,
        }
    })
}

fn question() -> impl Strategy<Value = Ask> {
    let query = select(&["", "q=1", "q=2&q=1", "r+r=a%20", "s&q=1&r%20r=ab", "%71=1"][..]);
    let headers = subsequence(&[("x", "1"), ("y", "2"), ("z", "1"), ("z", "2")][..], 0..=4);
    let method = select(&["GET", "POST", "get"][..]);
    (select(&ASKED_HOSTS[..]), path(), query, headers, method, any::<bool>()).prop_map(
        |(host, path, query, headers, method, is_grpc)| {
            let asked = ask(&format!("{host}{path}?{query}")).method(method);
            let asked = headers.into_iter().fold(asked, |asked, (name, value)| asked.header(name, value));
            if is_grpc { asked.grpc() } else { asked }
        },
    )
}

/// The last route of each key.
fn last_of_each_key(routes: &[Spec]) -> Vec<Spec> {
    let is_last = |index: usize| routes[index + 1..].iter().all(|later| later.key != routes[index].key);
    (0..routes.len()).filter(|index| is_last(*index)).map(|index| routes[index].clone()).collect()
}

fn found(table: &RouteTable<TestRoute>, ask: &Ask) -> Result<Winner, sluice_route::Miss> {
    table.find(&ask.request()).map(|found| {
        let (key, rule_index) = (found.route.key.clone(), found.rule().index);
        assert_eq!(*found.target(), format!("{key}#{rule_index}"));
        Winner {
            route: key,
            rule_index,
            match_index: found.match_index,
            hostname: found.hostname.clone(),
            matched_prefix_len: found.matched_prefix_len,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_search_equals_the_reference(routes in vec(route(), 1..6), asked in vec(question(), 1..12)) {
        let routes = last_of_each_key(&routes);
        let table = table(&routes);
        for ask in &asked {
            let expected = reference::find(&routes, ask);
            prop_assert_eq!(found(&table, ask), expected.clone(), "{:?}", ask);
            if expected.is_err() {
                let misses = table.explain_miss(&ask.request());
                prop_assert_eq!(misses.is_empty(), expected == Err(sluice_route::Miss::Host));
                prop_assert!(misses.iter().all(|miss| !miss.unmet.is_empty()));
            }
        }
    }

    #[test]
    fn edits_equal_a_build_from_scratch(
        steps in vec((vec(route(), 0..3), subsequence(&["HTTPRoute/n/a", "GRPCRoute/n/b", "HTTPRoute/m/c"][..], 0..=2)), 1..8),
        asked in vec(question(), 1..8),
    ) {
        let mut edited = RouteTable::new();
        let mut all: Vec<Spec> = Vec::new();
        for (upserts, removals) in steps {
            let keys: Vec<RouteKey> = removals.iter().map(|key| RouteKey::new(*key)).collect();
            let before = edited.clone();
            edited = edited.with(upserts.iter().map(Spec::entry).collect(), &keys);
            let before_all = std::mem::take(&mut all);
            all = before_all.iter().filter(|spec| !removals.contains(&spec.key.as_str())).cloned().collect();
            all.extend(upserts);
            all = last_of_each_key(&all);
            let built = table(&all);
            prop_assert_eq!(edited.len(), built.len());
            for ask in &asked {
                prop_assert_eq!(found(&edited, ask), found(&built, ask), "{:?}", ask);
                prop_assert_eq!(found(&before, ask), reference::find(&before_all, ask), "old table changed: {:?}", ask);
            }
        }
    }
}
