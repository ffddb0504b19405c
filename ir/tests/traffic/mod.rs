//! Random settings of TrafficPolicies.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sluice_ir::*;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The settings of one level, mostly none. Boxed, as each setting is: all of them together are more than a thread's stack.
pub(crate) fn settings() -> BoxedStrategy<Option<Box<TrafficSettings>>> {
    let some = (given(clients()), given(limits()), given(rates()), given(timeouts()), given(faults()));
    let bodies = (given(decompression()), given(cache()), given(compression()));
    let auth = given(ext_auth());
    let resilience = (given(buffer()), given(concurrency()), given(hedging()));
    let some =
        (some, bodies, resilience, auth).prop_map(|(some, bodies, resilience, ext_auth)| TrafficSettings {
            ext_auth,
            clients: some.0,
            limits: some.1,
            rate_limit: some.2,
            timeouts: some.3,
            faults: some.4,
            decompression: bodies.0,
            cache: bodies.1,
            compression: bodies.2,
            buffer: resilience.0,
            concurrency: resilience.1,
            hedging: resilience.2,
        });
    prop_oneof![3 => Just(None), 1 => some.prop_map(TrafficSettings::boxed)].boxed()
}

/// The settings of a route's rules, mostly none.
pub(crate) fn of_route() -> BoxedStrategy<Option<Box<RouteTraffic>>> {
    let settings = || settings().prop_map(|it| it.map(|it| *it).unwrap_or_default());
    let rules = proptest::collection::btree_map(any::<u32>(), settings(), 0..3);
    Strategy::boxed((settings(), rules).prop_map(|(all, rules)| RouteTraffic { all, rules }.boxed()))
}

fn given<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Setting<T>> {
    let policy = "[a-z]{1,5}".prop_map(|name| Origin::new("TrafficPolicy", "shop", name));
    option::of((policy, value).prop_map(|(policy, value)| Arc::new(Given { policy, value }))).boxed()
}

fn range() -> impl Strategy<Value = ipnet::IpNet> {
    (any::<IpAddr>(), 0..33_u8).prop_map(|(address, prefix)| ipnet::IpNet::new(address, prefix).unwrap())
}

fn clients() -> impl Strategy<Value = ClientRules> {
    (option::of(vec(range(), 0..3)), vec(range(), 0..3)).prop_map(|(allow, deny)| ClientRules { allow, deny })
}

fn limits() -> impl Strategy<Value = RequestLimits> {
    (option::of(any::<u64>()), option::of(any::<u32>()), option::of(any::<u32>())).prop_map(
        |(request_body_bytes, request_headers, request_header_bytes)| RequestLimits {
            request_body_bytes,
            request_headers,
            request_header_bytes,
        },
    )
}

fn rates() -> impl Strategy<Value = RateLimits> {
    let keys = prop_oneof![
        Just(RateKey::ClientAddress),
        "[a-z]{1,5}".prop_map(RateKey::Header),
        Just(RateKey::Path),
        Just(RateKey::Method),
    ];
    let rule = ("[a-z]{1,5}", any::<u32>(), 0..100_000_u64, any::<u32>(), vec(keys, 0..3), any::<u32>());
    let rule = rule.prop_map(|(name, requests, per, burst, key, most_keys)| RateRule {
        name,
        requests,
        per: Duration::from_millis(per),
        burst,
        key,
        most_keys,
    });
    let rules = || vec(rule.clone(), 0..3);
    (rules(), option::of(global(rules())), any::<bool>()).prop_map(|(local, global, tells)| RateLimits {
        local,
        global,
        tells,
    })
}

fn global(rules: impl Strategy<Value = Vec<RateRule>>) -> impl Strategy<Value = GlobalRates> {
    let password = option::of(vec(any::<u8>(), 0..9).prop_map(Password::new));
    let words = (option::of("[a-z]{0,5}"), password, option::of("[a-z]{1,5}"));
    let tls = option::of("[a-z]{1,5}".prop_map(|name| {
        Box::new(UpstreamTls {
            origin: Origin::new("TrafficPolicy", "shop", "a"),
            server_name: name,
            subject_names: Vec::new(),
            trust: Trust::System,
            revocations: None,
            certificate: None,
        })
    }));
    let server = ("[a-z]{1,5}", any::<u16>(), any::<u16>(), words, tls).prop_map(
        |(host, port, database, (username, password, fail), tls)| RateServer {
            host,
            port,
            database,
            key_prefix: "sluice".to_owned(),
            username,
            password,
            tls,
            fail,
        },
    );
    let on_failure = prop_oneof![Just(OnRateFailure::Allow), Just(OnRateFailure::Deny)];
    (rules, server, 1..1_000_u64, on_failure).prop_map(|(rules, server, ms, on_failure)| GlobalRates {
        rules,
        server,
        timeout: Duration::from_millis(ms),
        on_failure,
    })
}

fn faults() -> impl Strategy<Value = Faults> {
    let header = ("[a-z]{1,5}", "[a-z]{0,5}")
        .prop_map(|(name, value)| HeaderMatch { name, value: StringMatch::Exact(value) });
    let of = (0..50_u32, vec(header, 0..2)).prop_map(|(numerator, headers)| FaultSelector {
        fraction: Ratio { numerator, denominator: 50 },
        headers,
    });
    let delay = (0..60_000_u64, of.clone())
        .prop_map(|(ms, of)| FaultDelay { duration: Duration::from_millis(ms), of });
    let abort = (400..600_u16, 1..17_u8, of).prop_map(|(status, grpc_status, of)| FaultAbort {
        status,
        grpc_status,
        of,
    });
    (option::of(delay), option::of(abort)).prop_map(|(delay, abort)| Faults { delay, abort })
}

fn buffer() -> impl Strategy<Value = RequestBuffer> {
    any::<u64>().prop_map(|max_bytes| RequestBuffer { max_bytes })
}

fn concurrency() -> impl Strategy<Value = AdaptiveConcurrency> {
    (any::<u32>(), any::<u32>(), any::<u32>(), 0..3_600_000_u64).prop_map(
        |(min_requests, max_requests, latency_increase_percent, ms)| AdaptiveConcurrency {
            min_requests,
            max_requests,
            latency_increase_percent,
            probe_interval: Duration::from_millis(ms),
        },
    )
}

fn hedging() -> impl Strategy<Value = Hedging> {
    (0..60_000_u64, any::<u32>(), any::<u32>(), vec("[A-Z]{1,5}", 0..3)).prop_map(
        |(ms, extra_tries, percent, methods)| Hedging {
            delay: Duration::from_millis(ms),
            extra_tries,
            percent,
            methods,
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let time = || option::of((0..10_000_000_u64).prop_map(Duration::from_millis));
    (time(), time()).prop_map(|(request, backend_request)| Timeouts { request, backend_request })
}

fn coding() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::Gzip), Just(Coding::Brotli), Just(Coding::Zstd)]
}

fn decompression() -> impl Strategy<Value = Decompression> {
    (vec(coding(), 1..4), any::<u64>(), any::<u32>(), any::<bool>(), any::<u32>()).prop_map(
        |(codings, most_bytes, most_ratio, refuses_others, most_at_once)| Decompression {
            codings,
            most_bytes,
            most_ratio,
            refuses_others,
            most_at_once,
        },
    )
}

fn compression() -> impl Strategy<Value = Compression> {
    let codings = (coding(), 1..13_u8).prop_map(|(coding, level)| CodingLevel { coding, level });
    let words = || vec("[a-z]{1,5}", 0..3);
    (vec(codings, 1..4), words(), any::<u64>(), words(), any::<u32>()).prop_map(
        |(codings, types, least_bytes, exempt_paths, most_at_once)| Compression {
            codings,
            types,
            least_bytes,
            exempt_paths,
            most_at_once,
        },
    )
}

fn cache() -> impl Strategy<Value = Cache> {
    let ttl = option::of((0..10_000_000_u64).prop_map(Duration::from_millis));
    (any::<u64>(), any::<u64>(), ttl, any::<bool>()).prop_map(
        |(most_bytes, most_object_bytes, default_ttl, tells)| Cache {
            most_bytes,
            most_object_bytes,
            default_ttl,
            tells,
        },
    )
}

fn ext_auth() -> impl Strategy<Value = ExtAuth> {
    let ask = authorizer().prop_map(|it| ExtAuth::Ask(Box::new(it)));
    prop_oneof![1 => Just(ExtAuth::Off), 4 => ask]
}

pub(crate) fn authorizer() -> BoxedStrategy<Authorizer> {
    let names = || vec("[a-z]{1,5}", 0..3);
    let http = ("(/[a-z]{1,5})?", names())
        .prop_map(|(prefix, response_headers)| AuthProtocol::Http { prefix, response_headers });
    let grpc = proptest::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3)
        .prop_map(|context| AuthProtocol::Grpc { context });
    let target = prop_oneof![
        "[a-z]{1,5}".prop_map(|name| BackendTarget::Backend(BackendKey::new(name))),
        "[a-z]{1,5}".prop_map(|reason| BackendTarget::Fail(Box::new(Fail { status: 500, reason }))),
    ];
    let protocol = prop_oneof![http, grpc];
    let all = (target, protocol, names(), any::<u32>(), 0..60_000_u64, any::<bool>(), 400..600_u16).prop_map(
        |(target, protocol, request_headers, body_bytes, ms, allows_on_failure, failure_status)| Authorizer {
            target,
            protocol,
            request_headers,
            body_bytes,
            timeout: Duration::from_millis(ms),
            allows_on_failure,
            failure_status,
        },
    );
    all.boxed()
}
