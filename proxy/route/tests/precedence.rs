//! The order of precedence, sentence by sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use sluice_ir::{HostPattern, Match};
use sluice_route::Miss;
use support::{With, answer, ask, exact, grpc, prefix, regex, spec, table};

/// The rule of one route that serves a URL.
fn rule_of(rules: Vec<Match>, url: &str) -> usize {
    let rules = rules.into_iter().map(|it| vec![it]).collect();
    let table = table(&[spec("HTTPRoute/ns/a", &["*"], rules)]);
    table.find(&ask(url).request()).map(|found| found.rule().index as usize).unwrap_or(usize::MAX)
}

// HTTPRoute hostnames: "Characters in a matching non-wildcard hostname", "Characters in a matching hostname".
#[test]
fn the_exact_host_beats_the_longest_wildcard_beats_every_host() {
    let all = ["*", "*.com", "*.example.com", "*.b.example.com", "a.b.example.com"];
    let specs: Vec<_> = all.iter().map(|host| spec(host, &[host], vec![vec![prefix("/")]])).collect();
    let table = table(&specs);
    for (host, expected) in [
        ("a.b.example.com", "a.b.example.com"),
        ("z.b.example.com", "*.b.example.com"),
        ("z.y.b.example.com", "*.b.example.com"),
        ("b.example.com", "*.example.com"),
        ("example.com", "*.com"),
        ("com", "*"),
        ("", "*"),
        (".com", "*"),
    ] {
        let ask = ask(&format!("{host}/"));
        assert_eq!(table.find(&ask.request()).unwrap().hostname, &HostPattern::parse(expected), "{host}");
    }
}

// HTTPRoute matches: 404 only "when no rules matching a request have been successfully attached".
#[test]
fn a_host_without_a_matching_rule_leaves_the_request_to_the_next_hostname() {
    let table = table(&[
        spec("HTTPRoute/ns/challenge", &["a.example.com"], vec![vec![exact("/.well-known/x")]]),
        spec("HTTPRoute/ns/site", &["*.example.com"], vec![vec![prefix("/site")]]),
    ]);
    assert_eq!(answer(&table, &ask("a.example.com/.well-known/x")).unwrap(), "HTTPRoute/ns/challenge#0");
    assert_eq!(answer(&table, &ask("a.example.com/site/1")).unwrap(), "HTTPRoute/ns/site#0");
    assert_eq!(answer(&table, &ask("a.example.com/other")), Err(Miss::Rule));
    assert_eq!(answer(&table, &ask("example.com/site")), Err(Miss::Host));
}

#[test]
fn an_exact_path_beats_an_expression_beats_a_longer_prefix() {
    let rules = vec![prefix("/a/b/c"), regex("/a/.*"), exact("/a/b/c"), prefix("/")];
    assert_eq!(rule_of(rules.clone(), "h/a/b/c"), 2);
    assert_eq!(rule_of(rules.clone(), "h/a/b/c/d"), 1);
    assert_eq!(rule_of(rules, "h/b"), 3);
}

#[test]
fn the_longer_expression_and_the_longer_prefix_win() {
    assert_eq!(rule_of(vec![regex("/a.*"), regex("/a[a-z]*/.*")], "h/ab/c"), 1);
    assert_eq!(rule_of(vec![prefix("/a"), prefix("/a/b/"), prefix("/a/b/c")], "h/a/b"), 1);
    assert_eq!(rule_of(vec![prefix("/a"), prefix("/a/b"), prefix("/a/b/c")], "h/a/b/c/"), 2);
}

// HTTPPathMatch, PathPrefix: "matching is done on a path element by element basis", "a trailing / is ignored".
#[test]
fn a_prefix_covers_whole_elements_and_ignores_its_trailing_slash() {
    for written in ["/abc", "/abc/"] {
        let table = table(&[spec("HTTPRoute/ns/a", &["*"], vec![vec![prefix(written)]])]);
        for path in ["/abc", "/abc/", "/abc/def"] {
            let ask = ask(&format!("h{path}"));
            assert_eq!(table.find(&ask.request()).unwrap().matched_prefix_len, Some(4), "{written} {path}");
        }
        for path in ["/abcd", "/ab", "/", "/Abc", "//abc"] {
            assert_eq!(answer(&table, &ask(&format!("h{path}"))), Err(Miss::Rule), "{written} {path}");
        }
    }
    let root = table(&[spec("HTTPRoute/ns/a", &["*"], vec![vec![prefix("/")]])]);
    assert_eq!(root.find(&ask("h/x/y").request()).unwrap().matched_prefix_len, Some(0));
}

#[test]
fn method_beats_headers_beat_query_and_more_beat_fewer() {
    let rules = vec![
        prefix("/a").query("q", "1").query("r", "1"),
        prefix("/a").header("x", "1"),
        prefix("/a").header("x", "1").header("y", "1"),
        prefix("/a").method("GET"),
        prefix("/a/b"),
    ];
    let rules: Vec<_> = rules.into_iter().map(|it| vec![it]).collect();
    let table = table(&[spec("HTTPRoute/ns/a", &["*"], rules)]);
    let rule = |ask: support::Ask| table.find(&ask.request()).map(|found| found.rule().index);
    let full = ask("h/a?q=1&r=1").header("x", "1").header("y", "1");
    assert_eq!(rule(full.clone()), Ok(3));
    assert_eq!(rule(full.method("PUT")), Ok(2));
    assert_eq!(rule(ask("h/a?q=1&r=1").header("x", "1").method("PUT")), Ok(1));
    assert_eq!(rule(ask("h/a?q=1&r=1").method("PUT")), Ok(0));
    assert_eq!(rule(ask("h/a/b?q=1&r=1")), Ok(4));
    assert_eq!(rule(ask("h/a?q=1").method("PUT")), Err(Miss::Rule));
}

#[test]
fn between_equal_matches_the_older_route_then_the_name_then_the_order_decides() {
    let rule = || vec![vec![prefix("/")]];
    let new = spec("HTTPRoute/ns/a", &["*"], rule()).created(2);
    let old = spec("HTTPRoute/ns/b", &["*"], rule()).created(1);
    let named = spec("GRPCRoute/ns/c", &["*"], rule()).created(1);
    assert_eq!(answer(&table(&[new.clone(), old.clone()]), &ask("h/")).unwrap(), "HTTPRoute/ns/b#0");
    assert_eq!(answer(&table(&[named, old]), &ask("h/")).unwrap(), "HTTPRoute/ns/b#0");
    let rules = vec![vec![prefix("/a")], vec![prefix("/"), prefix("/b")], vec![prefix("/b")]];
    let table = table(&[spec("HTTPRoute/ns/a", &["*"], rules)]);
    let ask = ask("h/b");
    let found = table.find(&ask.request()).unwrap();
    assert_eq!((found.rule().index, found.match_index), (1, 1));
}

#[test]
fn header_names_ignore_case_and_repeated_fields_are_joined() {
    let matches = |it: Match, ask: support::Ask| {
        table(&[spec("HTTPRoute/ns/a", &["*"], vec![vec![it]])]).find(&ask.request()).is_ok()
    };
    assert!(matches(prefix("/").header("x-a", "1"), ask("h/").header("X-A", "1")));
    assert!(!matches(prefix("/").header("x-a", "1"), ask("h/").header("X-A", "1").header("X-A", "2")));
    assert!(matches(prefix("/").header("x-a", "1,2"), ask("h/").header("X-A", "1").header("X-A", "2")));
    assert!(matches(prefix("/").header("x-a", "~[0-9,]+"), ask("h/").header("X-A", "1").header("X-A", "2")));
    assert!(!matches(prefix("/").header("x-a", "~[0-9]"), ask("h/").header("X-A", "12")));
}

#[test]
fn the_first_query_parameter_counts_after_decoding() {
    let matches = |it: Match, url: &str| {
        table(&[spec("HTTPRoute/ns/a", &["*"], vec![vec![it]])]).find(&ask(url).request()).is_ok()
    };
    assert!(matches(prefix("/").query("a b", "c+d"), "h/?x&a+b=c%2Bd"));
    assert!(matches(prefix("/").query("a", "1"), "h/?a=1&a=2"));
    assert!(!matches(prefix("/").query("a", "2"), "h/?a=1&a=2"));
    assert!(!matches(prefix("/").query("a", "1"), "h/?A=1"));
    assert!(matches(prefix("/").query("a", ""), "h/?a"));
    assert!(!matches(prefix("/").query("a", ""), "h/"));
    assert!(matches(prefix("/").query("a", "~é.*"), "h/?a=%C3%A9t%C3%A9"));
}

// GRPCRoute matches: "Characters in a matching service", "Characters in a matching method", "Header matches".
#[test]
fn grpc_matches_go_by_service_then_method_then_headers() {
    let rules = [
        grpc("", ""),
        grpc("", "M"),
        grpc("", "~.*"),
        grpc("~p.*", "~.*"),
        grpc("~p.*", "M"),
        grpc("p.S", ""),
        grpc("p.S", "~M.*"),
        grpc("p.S", "M"),
        grpc("p.S", "M").header("v", "2"),
    ];
    let rules: Vec<_> = rules.into_iter().map(|it| vec![it]).collect();
    let table = table(&[spec("GRPCRoute/ns/a", &["*"], rules)]);
    let rule = |ask: support::Ask| table.find(&ask.request()).map(|found| found.rule().index);
    assert_eq!(rule(ask("h/p.S/M").grpc().header("v", "2")), Ok(8));
    assert_eq!(rule(ask("h/p.S/M").grpc()), Ok(7));
    assert_eq!(rule(ask("h/p.S/MM").grpc()), Ok(6));
    assert_eq!(rule(ask("h/p.S/N").grpc()), Ok(5));
    assert_eq!(rule(ask("h/p.T/M").grpc()), Ok(4));
    assert_eq!(rule(ask("h/p.T/N").grpc()), Ok(3));
    assert_eq!(rule(ask("h/q/M").grpc()), Ok(1));
    assert_eq!(rule(ask("h/q/N").grpc()), Ok(2));
    assert_eq!(rule(ask("h/q/N/x").grpc()), Err(Miss::Rule));
    assert_eq!(rule(ask("h/p.S/").grpc()), Err(Miss::Rule));
    assert_eq!(rule(ask("h/p.S/M").method("POST")), Err(Miss::Rule));
}

#[test]
fn grpc_and_http_routes_of_one_host_merge_by_specificity() {
    let table = table(&[
        spec(
            "GRPCRoute/ns/g",
            &["*"],
            vec![vec![grpc("p.S", "M")], vec![grpc("p.S", "")], vec![grpc("", "")]],
        )
        .created(9),
        spec("HTTPRoute/ns/h", &["*"], vec![vec![prefix("/")], vec![prefix("/p.S")], vec![exact("/p.S/M")]]),
    ]);
    let to = |ask: support::Ask| answer(&table, &ask).unwrap();
    assert_eq!(to(ask("h/p.S/M").grpc()), "GRPCRoute/ns/g#0");
    assert_eq!(to(ask("h/p.S/N").grpc()), "GRPCRoute/ns/g#1");
    assert_eq!(to(ask("h/q/N").grpc()), "GRPCRoute/ns/g#2");
    assert_eq!(to(ask("h/p.S/M")), "HTTPRoute/ns/h#2");
    assert_eq!(to(ask("h/p.S/N")), "HTTPRoute/ns/h#1");
    assert_eq!(to(ask("h/assets/app.js")), "HTTPRoute/ns/h#0");
}

#[test]
fn paths_of_manifests_are_compared_in_normal_form() {
    assert_eq!(rule_of(vec![exact("/caf%c3%a9/%7E")], "h/caf%C3%A9/~"), 0);
    assert_eq!(rule_of(vec![prefix("/café/")], "h/caf%C3%A9/x"), 0);
}

#[test]
fn a_miss_names_the_nearest_rules_first() {
    let table = table(&[
        spec(
            "HTTPRoute/ns/shop",
            &["*.example.com"],
            vec![
                vec![prefix("/cart/items").method("POST")],
                vec![prefix("/cart").header("x-v", "2").query("beta", "1")],
            ],
        ),
        spec("HTTPRoute/ns/other", &["a.example.com"], vec![vec![exact("/else")]]),
        spec("HTTPRoute/ns/elsewhere", &["b.test"], vec![vec![exact("/cart/items")]]),
    ]);
    let request = ask("a.example.com/cart/items/7?beta=1");
    assert_eq!(answer(&table, &request), Err(Miss::Rule));
    let misses = table.explain_miss(&request.request());
    let told: Vec<String> = misses
        .iter()
        .map(|miss| {
            let unmet: Vec<String> = miss.unmet.iter().map(ToString::to_string).collect();
            format!("{} rule {} on {}: {}", miss.route, miss.rule_index, miss.hostname, unmet.join("; "))
        })
        .collect();
    assert_eq!(
        told,
        [
            "HTTPRoute/ns/shop rule 0 on *.example.com: method is not POST",
            "HTTPRoute/ns/shop rule 1 on *.example.com: header x-v is not \"2\"",
            "HTTPRoute/ns/other rule 0 on a.example.com: path is not exactly /else",
        ]
    );
    assert!(table.explain_miss(&ask("b.example.org/").request()).is_empty());
}
