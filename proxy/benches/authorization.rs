//! What AuthorizationPolicies cost a request, in instructions, beside rules that have nothing to do with it. The bench fails
//! when that grows with their number.
//!
//! `cargo bench -p sluice-proxy --bench authorization`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callgrind;

use callgrind::Case;
use http::HeaderMap;
use sluice_ir::{
    Authorization, AuthorizationAction, AuthorizationRule, Operation, Origin, PathValue, Selector, Source,
    ValueMatch, Values,
};
use sluice_proxy::policy::{AuthorizationRuntime, Facts, Peer, RequestFacts};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

/// The most that 10,000 other rules may cost, beside 10.
const MOST_GROWTH: f64 = 1.1;

const CASES: [Case; 3] = [
    ("10 other rules", |rounds| check(10, rounds)),
    ("1,000 other rules", |rounds| check(1_000, rounds)),
    ("10,000 other rules", |rounds| check(10_000, rounds)),
];

fn exact(text: String) -> Values<ValueMatch> {
    Values { any: vec![ValueMatch::Exact(text)], none: Vec::new() }
}

/// One caller may do one thing.
fn rule(account: &str, method: &str, path: String) -> AuthorizationRule {
    AuthorizationRule {
        from: vec![Source { principals: exact(format!("td/ns/shop/sa/{account}")), ..Source::default() }],
        to: vec![Operation {
            methods: exact(method.to_owned()),
            paths: Values { any: vec![PathValue::Value(ValueMatch::Prefix(path))], none: Vec::new() },
            ..Operation::default()
        }],
        ..AuthorizationRule::default()
    }
}

fn policy(name: &str, action: AuthorizationAction, rules: Vec<AuthorizationRule>) -> Arc<Authorization> {
    let origin = Origin::new("AuthorizationPolicy", "shop", name);
    Arc::new(Authorization { origin, selector: Selector::default(), action, is_dry_run: false, rules })
}

/// A request that the last rule lets in, beside so many others of ALLOW and as many of DENY.
fn check(others: u32, rounds: u64) {
    let other = |number: u32| rule(&format!("caller-{number}"), "GET", format!("/other/{number}/"));
    let denied = |number: u32| rule(&format!("caller-{number}"), "POST", format!("/denied/{number}/"));
    let allowed = (0..others).map(other).chain([rule("web", "GET", "/orders/".to_owned())]);
    let policies = [
        policy("callers", AuthorizationAction::Allow, allowed.collect()),
        policy("refused", AuthorizationAction::Deny, (0..others).map(denied).collect()),
    ];
    let runtime = AuthorizationRuntime::compile(&policies, None, &|_| None).expect("policies");
    let (paths, headers) = ([Cow::Borrowed("/orders/items")], HeaderMap::new());
    let address = [10, 0, 0, 1].into();
    let facts = Facts {
        peer: Some(Peer::of("spiffe://td/ns/shop/sa/web")),
        source: address,
        remote: address,
        destination: address,
        port: 8080,
        server_name: None,
        request: Some(RequestFacts {
            method: "GET",
            host: "orders.shop",
            host_name: "orders.shop",
            paths: &paths,
            headers: &headers,
            token: None,
        }),
    };
    for _ in 0..rounds {
        assert!(black_box(&runtime).check(black_box(&facts)).verdict.is_allowed());
    }
}

fn main() {
    let counts = callgrind::count(&CASES);
    assert!(counts[2] <= MOST_GROWTH * counts[0], "it grows with rules that do not matter: {counts:?}");
}
