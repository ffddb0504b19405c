//! The compiled form says what a slow and obvious one says, and looks at few rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod reference;

use super::{AuthorizationRuntime, Facts, Judged, Peer, RequestFacts, Token, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_ir::{
    Attribute, Authorization, AuthorizationAction, AuthorizationRule, Condition, Operation, Origin,
    PathValue, Segment, Selector, Source, ValueMatch, Values,
};
use sluice_route::readings;
use std::net::IpAddr;
use std::sync::Arc;

/// A request of a small universe, so that it and the policies meet.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    peer: Option<&'static str>,
    source: IpAddr,
    remote: IpAddr,
    port: u16,
    server_name: Option<&'static str>,
    request: Option<Asked>,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    token: Option<Claims>,
}

#[derive(Clone, Debug)]
pub(super) struct Claims {
    principal: &'static str,
    audiences: Vec<&'static str>,
    presenter: Option<&'static str>,
    groups: Vec<&'static str>,
}

impl Token for Claims {
    fn principal(&self) -> &str {
        self.principal
    }

    fn audience(&self, seen: &mut dyn FnMut(&str) -> bool) -> bool {
        self.audiences.iter().any(|it| seen(it))
    }

    fn presenter(&self) -> Option<&str> {
        self.presenter
    }

    fn claim(&self, path: &[String], seen: &mut dyn FnMut(&str) -> bool) -> bool {
        path == ["groups"] && self.groups.iter().any(|it| seen(it))
    }
}

const PEERS: [&str; 4] = ["td/ns/shop/sa/web", "td/ns/shop/sa/job", "old/ns/edge/sa/web", "td/odd"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const HOSTS: [&str; 4] = ["a.test", "a.test:80", "b.test", "a.test."];
const PATHS: [&str; 10] = ["/", "/a", "/a/b", "/a/b/c", "/b", "/a%2Fb", "//a", "/x/..%2Fa", "/a;x", "/%40a"];
const FIELDS: [(&str, &str); 4] = [("x-user", "a"), ("x-user", "b"), ("x-team", "a"), ("x-user", "a,b")];
const GROUPS: [&str; 3] = ["a", "b", "c"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.1.1", "fd00::1", "::ffff:10.0.0.1"];

fn claims() -> impl Strategy<Value = Claims> {
    let principals = select(&["https://i/s", "https://i/t"][..]);
    let words = || vec(select(&GROUPS[..]), 0..3);
    (principals, words(), option::of(select(&GROUPS[..])), words()).prop_map(
        |(principal, audiences, presenter, groups)| Claims { principal, audiences, presenter, groups },
    )
}

fn sample() -> impl Strategy<Value = Sample> {
    let asked = (
        select(&METHODS[..]),
        select(&HOSTS[..]),
        select(&PATHS[..]),
        vec(select(&FIELDS[..]), 0..3),
        option::of(claims()),
    );
    let asked =
        asked.prop_map(|(method, host, path, fields, token)| Asked { method, host, path, fields, token });
    let address = || select(&ADDRESSES[..]).prop_map(|it| it.parse().unwrap());
    let peers = option::of(select(&PEERS[..]));
    let names = option::of(select(&["a.test", "b.test"][..]));
    let request = prop_oneof![4 => asked.prop_map(Some), 1 => Just(None)];
    (peers, address(), address(), select(&[80_u16, 443][..]), names, request).prop_map(
        |(peer, source, remote, port, server_name, request)| Sample {
            peer,
            source,
            remote,
            port,
            server_name,
            request,
        },
    )
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = ValueMatch> {
    (select(values), 0..6_u8, 0..4_usize).prop_map(|(text, form, cut)| {
        let cut = cut.min(text.len());
        match form {
            0..=2 => ValueMatch::Exact(text.to_owned()),
            3 => ValueMatch::Prefix(text[..text.len() - cut].to_owned()),
            4 => ValueMatch::Suffix(text[cut..].to_owned()),
            _ => ValueMatch::Present,
        }
    })
}

fn values<T: std::fmt::Debug + Clone>(
    one: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Values<T>> {
    let lists = (vec(one.clone(), 0..3), vec(one, 0..2));
    prop_oneof![
        3 => Just(Values::default()),
        2 => lists.prop_map(|(any, none)| Values { any, none }),
    ]
}

fn network() -> impl Strategy<Value = ipnet::IpNet> + Clone {
    select(&["10.0.0.0/24", "10.0.0.0/8", "fd00::/8", "10.0.1.1/32"][..]).prop_map(|it| it.parse().unwrap())
}

fn path() -> impl Strategy<Value = PathValue> + Clone {
    let segment = prop_oneof![
        Just(Segment::One),
        select(&["a", "b", "@a"][..]).prop_map(|it| Segment::Literal(it.to_owned()))
    ];
    let template =
        (vec(segment.clone(), 1..3), option::of(vec(segment, 0..2))).prop_map(|(mut before, after)| {
            if let Some(after) = after {
                before.push(Segment::Rest);
                before.extend(after.into_iter().filter(|it| *it != Segment::One));
            }
            PathValue::Template(before)
        });
    let value = (select(&PATHS[..]), 0..6_u8).prop_map(|(text, form)| {
        PathValue::Value(match form {
            0..=2 => ValueMatch::Exact(text.to_owned()),
            3 => ValueMatch::Prefix(text.to_owned()),
            4 => ValueMatch::Suffix(text.to_owned()),
            _ => ValueMatch::Present,
        })
    });
    let boxed = prop_oneof![2 => value, 1 => template];
    boxed.boxed()
}

fn source() -> impl Strategy<Value = Source> {
    let accounts = select(&["shop/web", "edge/web", "shop/job"][..]).prop_map(str::to_owned);
    let namespace =
        prop_oneof![text(&["shop", "edge"]), Just(ValueMatch::Parts(vec!["s".to_owned(), "p".to_owned()]))];
    (
        values(text(&PEERS).boxed()),
        values(text(&["https://i/s", "https://i/t"]).boxed()),
        values(namespace.boxed()),
        values(accounts.boxed()),
        values(network().boxed()),
        values(network().boxed()),
        values(text(&["td", "old"]).boxed()),
    )
        .prop_map(
            |(
                principals,
                request_principals,
                namespaces,
                service_accounts,
                addresses,
                remote_addresses,
                trust_domains,
            )| Source {
                principals,
                request_principals,
                namespaces,
                service_accounts,
                addresses,
                remote_addresses,
                trust_domains,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    let ports = select(&[80_u16, 443][..]);
    (
        values(text(&HOSTS).boxed()),
        values(ports.boxed()),
        values(text(&METHODS).boxed()),
        values(path().boxed()),
    )
        .prop_map(|(hosts, ports, methods, paths)| Operation { hosts, ports, methods, paths })
}

fn condition() -> impl Strategy<Value = Condition> {
    let texts = || values(text(&["a", "b", "a,b"]).boxed());
    let plain = |attribute: Attribute, values: BoxedStrategy<Values<ValueMatch>>| {
        values.prop_map(move |values| Condition { attribute: attribute.clone(), values }).boxed()
    };
    let networks = || values(network().prop_map(ValueMatch::Network).boxed()).boxed();
    prop_oneof![
        plain(Attribute::Header("x-user".to_owned()), texts().boxed()),
        plain(Attribute::SourceAddress, networks()),
        plain(Attribute::RemoteAddress, networks()),
        plain(Attribute::DestinationAddress, networks()),
        plain(Attribute::SourceNamespace, values(text(&["shop", "edge"]).boxed()).boxed()),
        plain(Attribute::SourcePrincipal, values(text(&PEERS).boxed()).boxed()),
        plain(
            Attribute::SourceServiceAccount,
            values(
                select(&["shop/web", "edge/web"][..]).prop_map(|it| ValueMatch::Exact(it.to_owned())).boxed()
            )
            .boxed()
        ),
        plain(Attribute::SourceTrustDomain, values(text(&["td", "old"]).boxed()).boxed()),
        plain(Attribute::RequestPrincipal, values(text(&["https://i/s", "https://i/t"]).boxed()).boxed()),
        plain(Attribute::Audiences, texts().boxed()),
        plain(Attribute::Presenter, texts().boxed()),
        plain(Attribute::Claim(vec!["groups".to_owned()]), texts().boxed()),
        plain(
            Attribute::DestinationPort,
            values(select(&["80", "443"][..]).prop_map(|it| ValueMatch::Exact(it.to_owned())).boxed())
                .boxed()
        ),
        plain(Attribute::ServerName, values(text(&["a.test", "b.test"]).boxed()).boxed()),
    ]
}

fn rule() -> impl Strategy<Value = AuthorizationRule> {
    (vec(source(), 0..3), vec(operation(), 0..3), vec(condition(), 0..2))
        .prop_map(|(from, to, when)| AuthorizationRule { from, to, when })
}

fn policies() -> impl Strategy<Value = Vec<Arc<Authorization>>> {
    let actions = prop_oneof![
        3 => Just(AuthorizationAction::Allow),
        2 => Just(AuthorizationAction::Deny),
        1 => Just(AuthorizationAction::Audit),
    ];
    vec((actions, prop::bool::weighted(0.3), vec(rule(), 0..4)), 0..6).prop_map(|all| {
        let policy = |(index, (action, is_dry_run, rules)): (usize, (_, _, _))| {
            let origin = Origin::new("AuthorizationPolicy", "shop", index.to_string());
            Arc::new(Authorization { origin, selector: Selector::default(), action, is_dry_run, rules })
        };
        all.into_iter().enumerate().map(policy).collect()
    })
}

/// What the compiled form says of a sample.
fn judge(runtime: &AuthorizationRuntime, sample: &Sample) -> Judged {
    let mut headers = HeaderMap::new();
    for (name, value) in sample.request.iter().flat_map(|it| &it.fields) {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let paths = sample.request.as_ref().map(|it| readings::of(it.path)).unwrap_or_default();
    let request = sample.request.as_ref().map(|it| RequestFacts {
        method: it.method,
        host: it.host,
        host_name: reference::host_name(it.host),
        paths: &paths,
        headers: &headers,
        token: it.token.as_ref().map(|it| it as &dyn Token),
    });
    runtime.check(&Facts {
        peer: sample.peer.map(Peer::of),
        source: sample.source,
        remote: sample.remote,
        destination: "10.0.0.9".parse().unwrap(),
        port: sample.port,
        server_name: sample.server_name,
        request,
    })
}

fn compile(policies: &[Arc<Authorization>]) -> Option<Arc<AuthorizationRuntime>> {
    AuthorizationRuntime::compile(policies, None, &|_| None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_compiled_form_equals_the_obvious_one(policies in policies(), samples in vec(sample(), 1..4)) {
        let Some(runtime) = compile(&policies) else { return Ok(()) };
        for sample in &samples {
            prop_assert_eq!(judge(&runtime, sample), reference::judge(&policies, sample), "{:?}", sample);
        }
    }

    #[test]
    fn what_is_taken_over_says_the_same(first in policies(), second in policies(), sample in sample()) {
        let before = compile(&first);
        let after = AuthorizationRuntime::compile(&second, before.as_deref(), &|_| None);
        let Some((after, anew)) = after.zip(compile(&second)) else { return Ok(()) };
        prop_assert_eq!(judge(&after, &sample), judge(&anew, &sample));
    }
}

fn request(method: &'static str, path: &'static str) -> Sample {
    Sample {
        peer: Some(PEERS[0]),
        source: "10.0.0.1".parse().unwrap(),
        remote: "10.0.0.1".parse().unwrap(),
        port: 80,
        server_name: None,
        request: Some(Asked { method, host: "a.test", path, fields: Vec::new(), token: None }),
    }
}

fn policy(name: &str, action: AuthorizationAction, rules: Vec<AuthorizationRule>) -> Arc<Authorization> {
    let origin = Origin::new("AuthorizationPolicy", "shop", name);
    Arc::new(Authorization { origin, selector: Selector::default(), action, is_dry_run: false, rules })
}

fn to(method: &str, path: &str) -> AuthorizationRule {
    let any = |value: ValueMatch| Values { any: vec![value], none: Vec::new() };
    AuthorizationRule {
        to: vec![Operation {
            methods: any(ValueMatch::Exact(method.to_owned())),
            paths: Values {
                any: vec![PathValue::Value(ValueMatch::Exact(path.to_owned()))],
                none: Vec::new(),
            },
            ..Operation::default()
        }],
        ..AuthorizationRule::default()
    }
}

#[test]
fn an_empty_policy_lets_nobody_in_and_an_empty_rule_everybody() {
    let verdict =
        |policies: &[Arc<Authorization>]| judge(&compile(policies).unwrap(), &request("GET", "/")).verdict;
    let nobody = policy("nobody", AuthorizationAction::Allow, Vec::new());
    let everybody = policy("everybody", AuthorizationAction::Allow, vec![AuthorizationRule::default()]);
    let never = policy("never", AuthorizationAction::Deny, Vec::new());
    let always = policy("always", AuthorizationAction::Deny, vec![AuthorizationRule::default()]);
    assert_eq!(verdict(std::slice::from_ref(&nobody)), Verdict::Unmatched);
    assert_eq!(verdict(&[nobody, everybody.clone()]), Verdict::Allowed);
    assert_eq!(verdict(std::slice::from_ref(&never)), Verdict::Allowed);
    assert!(
        matches!(verdict(&[everybody, never, always]), Verdict::Denied(rule) if &*rule.origin().name == "always")
    );
}

#[test]
fn rules_that_have_nothing_to_do_with_a_request_are_not_looked_at() {
    let rules: Vec<_> =
        (0..1000).map(|it| to("GET", &format!("/other/{it}"))).chain([to("GET", "/a")]).collect();
    let index = super::index::Index::new(rules.iter());
    let sample = request("GET", "/a");
    let paths = readings::of("/a");
    let headers = HeaderMap::new();
    let facts = Facts {
        peer: None,
        source: sample.source,
        remote: sample.remote,
        destination: sample.source,
        port: 80,
        server_name: None,
        request: Some(RequestFacts {
            method: "GET",
            host: "a.test",
            host_name: "a.test",
            paths: &paths,
            headers: &headers,
            token: None,
        }),
    };
    let mut seen = Vec::new();
    index.each(&facts, "/a", |it| seen.push(it));
    assert_eq!(seen, [1000]);
}

#[test]
fn rules_of_one_path_are_told_apart_by_their_principals() {
    let rule = |peer: String| AuthorizationRule {
        from: vec![Source {
            principals: Values { any: vec![ValueMatch::Exact(peer)], none: Vec::new() },
            ..Source::default()
        }],
        ..to("GET", "/a")
    };
    let rules: Vec<_> = (0..1000).map(|it| rule(format!("td/ns/shop/sa/{it}"))).collect();
    let index = super::index::Index::new(rules.iter());
    let paths = readings::of("/a");
    let headers = HeaderMap::new();
    let address = "10.0.0.1".parse().unwrap();
    let facts = Facts {
        peer: Some(Peer::of("td/ns/shop/sa/7")),
        source: address,
        remote: address,
        destination: address,
        port: 80,
        server_name: None,
        request: Some(RequestFacts {
            method: "GET",
            host: "a.test",
            host_name: "a.test",
            paths: &paths,
            headers: &headers,
            token: None,
        }),
    };
    let mut seen = Vec::new();
    index.each(&facts, "/a", |it| seen.push(it));
    assert_eq!(seen, [7]);
}

/// `cargo test -p sluice-proxy --lib --release authorization::tests::what_a -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn what_a_request_costs_beside_rules_that_have_nothing_to_do_with_it() {
    for count in [10, 1_000, 10_000] {
        let rules =
            (0..count).map(|it| to("GET", &format!("/other/{it}"))).chain([to("GET", "/a")]).collect();
        let denied = (0..count).map(|it| to("POST", &format!("/denied/{it}"))).collect();
        let runtime = compile(&[
            policy("allow", AuthorizationAction::Allow, rules),
            policy("deny", AuthorizationAction::Deny, denied),
        ])
        .unwrap();
        let sample = request("GET", "/a");
        let began = std::time::Instant::now();
        let times = 100_000;
        for _ in 0..times {
            assert!(judge(&runtime, std::hint::black_box(&sample)).verdict.is_allowed());
        }
        eprintln!("{count} other rules of each action: {} ns a request", began.elapsed().as_nanos() / times);
    }
}
