//! Limits that several gateways count together, in a real Redis server that dies, hangs, asks for a password or speaks TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::future::join_all;
use sluice_tests::backends::Backends;
use sluice_tests::pki::{Pki, Wish};
use sluice_tests::{Answer, Ask, RedisServer, Sluice, Stand, Wire, eventually, manifests};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const URL: &str = "http://a.example/";

/// A route to `backend` with a policy of these `rateLimit` fields.
fn route(name: &str, path: &str, backend: SocketAddr, rate_limit: &str) -> String {
    let (address, port) = (backend.ip(), backend.port());
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.test]
  resolution: STATIC
  ports: [{{name: http, number: 80, protocol: HTTP}}]
  endpoints: [{{address: {address}, ports: {{http: {port}}}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - matches: [{{path: {{value: {path}}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: {name}.test, port: 80}}]
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}}}
spec:
  targetRefs: [{{kind: HTTPRoute, name: {name}}}]
  rateLimit: {rate_limit}
"
    )
}

/// `global` with one rule for everybody: `requests` in an hour.
fn global(server: SocketAddr, requests: u32, more: &str) -> String {
    format!(
        "{{global: {{redis: {{address: \"{server}\"}}, rules: [{{requests: {requests}, per: 1h}}], {more}}}}}"
    )
}

/// A secret with these keys.
fn secret(name: &str, data: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: Opaque\nstringData: {{{data}}}\n"
    )
}

async fn stand(rate_limit: &str, more: &str) -> Stand {
    let mut stand = Stand::empty(sluice_tests::Endpoints::AsWritten).await;
    let backend = stand.echo("app").await;
    stand.apply(&[manifests::GATEWAY, &route("app", "/", backend, rate_limit), more].concat()).await;
    stand
}

fn metric(text: &str, start: &str) -> u64 {
    let line = text.lines().find_map(|it| it.strip_prefix(start));
    line.map_or(0, |it| it.trim().parse().unwrap())
}

fn metrics(stand: &Stand) -> String {
    stand.gateway().proxy().metrics().encode()
}

/// Waits until the gateway has a connection to its server, or has none.
async fn counts(stand: &Stand, wanted: bool) -> Duration {
    let is = |text: String| {
        text.lines().any(|it| it.starts_with("sluice_rate_limit_server_up") && it.ends_with(" 1"))
    };
    eventually("the server counts, or does not", || async { is(metrics(stand)) == wanted }).await
}

/// So many requests over one connection; how many got each of 200 and 429.
async fn burst(address: SocketAddr, count: usize) -> (usize, usize) {
    let mut wire = Wire::connect(address).await;
    let ask = Ask::get(URL);
    let mut statuses = Vec::with_capacity(count);
    for _ in 0..count {
        statuses.push(wire.ask(&ask).await.status);
    }
    let of = |status| statuses.iter().filter(|it| **it == status).count();
    assert_eq!(of(200) + of(429), count, "{statuses:?}");
    (of(200), of(429))
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// The figure: two gateways in a race for one budget. Then the server dies under them, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_a_budget_and_bear_the_servers_death() {
    const LIMIT: usize = 500;
    let mut redis = RedisServer::start(&[]).await;
    let mut backends = Backends::default();
    let backend = backends.start("app".to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let open = global(redis.address(), LIMIT as u32, "timeout: 1s");
    let closed = global(redis.address(), 1, "timeout: 1s, onFailure: Deny");
    write(folder.path(), "gateway.yaml", manifests::GATEWAY);
    write(folder.path(), "open.yaml", &route("open", "/", backend, &open));
    write(folder.path(), "closed.yaml", &route("closed", "/closed", backend, &closed));
    let gateways = [Sluice::run(folder.path(), &[]).await, Sluice::run(folder.path(), &[]).await];

    let started = Instant::now();
    let clients = gateways.iter().flat_map(|it| [it.address(80); 4]).map(|it| burst(it, LIMIT / 4));
    let results = join_all(clients).await;
    let passed: usize = results.iter().map(|it| it.0).sum();
    println!(
        "two gateways, {} requests in {:?}: {passed} passed of a limit of {LIMIT}",
        2 * LIMIT,
        started.elapsed()
    );
    assert!((LIMIT..=LIMIT + LIMIT / 100).contains(&passed), "{passed}");
    for half in results.chunks(4) {
        assert!(half.iter().map(|it| it.0).sum::<usize>() > 0, "one gateway took all: {results:?}");
    }

    // One request for both in the closed one.
    let ask_closed = Ask::get("http://a.example/closed");
    assert_eq!(gateways[0].request(&ask_closed).await.status, 200);
    assert_eq!(gateways[1].request(&ask_closed).await.status, 429);

    redis.kill().await;
    for gateway in &gateways {
        let open = gateway.request(&Ask::get(URL)).await;
        assert_eq!((open.status, open.header("ratelimit")), (200, None), "fail open");
        let closed = gateway.request(&ask_closed).await;
        assert_eq!((closed.status, closed.header("retry-after")), (503, Some("1")), "fail closed");
        assert!(closed.text().contains("rate_uncounted"));
    }
    // A dead server costs a request nothing.
    let started = Instant::now();
    assert_eq!(burst(gateways[0].address(80), 50).await, (50, 0));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?} for 50 requests", started.elapsed());

    redis.restart().await;
    for (gateway, expected) in gateways.iter().zip([200, 429]) {
        let mut answer: Option<Answer> = None;
        while answer.as_ref().is_none_or(|it| it.status == 503) {
            answer = Some(gateway.request(&ask_closed).await);
        }
        assert_eq!(answer.unwrap().status, expected, "it counts again, from the beginning");
    }
    for gateway in gateways {
        let told = gateway.said();
        assert!(told.contains("the server does not count") && told.contains("the server counts"), "{told}");
        assert!(gateway.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_tell_of_local_and_global_rules_and_keys_tell_nothing() {
    let redis = RedisServer::start(&[]).await;
    let limits = format!(
        "{{local: {{rules: [{{name: here, requests: 100, per: 1m}}]}}, global: {{timeout: 1s, \
         redis: {{address: \"{}\", keyPrefix: \"edge:\", database: 3}}, \
         rules: [{{name: per-client, requests: 60, per: 1m, burst: 3, key: [{{type: ClientAddress}}, {{type: Header, name: x-user}}]}}, \
         {{name: all, requests: 1000000, per: 1s}}]}}}}",
        redis.address()
    );
    let stand = stand(&limits, "").await;
    let ask = |user: &str| Ask::get(URL).header("x-user", user);
    let answer = stand.request(&ask("alice")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.joined("ratelimit").unwrap(),
        "\"here\";r=99;t=1, \"per-client\";r=2;t=1, \"all\";r=999999;t=1"
    );
    assert_eq!(
        answer.joined("ratelimit-policy").unwrap(),
        "\"here\";q=100;w=60, \"per-client\";q=60;w=60, \"all\";q=1000000;w=1"
    );
    let mut last = answer;
    for _ in 0..3 {
        last = stand.request(&ask("alice")).await;
    }
    assert_eq!((last.status, last.header("retry-after")), (429, Some("1")));
    assert!(last.joined("ratelimit").unwrap().ends_with("\"per-client\";r=0;t=3"), "{last:?}");
    assert_eq!(stand.request(&ask("bob")).await.status, 200, "another key");

    let keys = redis.ask("SELECT 3\r\nKEYS *").await;
    // Two clients; the key of the rule for all lasts for a microsecond.
    assert!((2..=3).contains(&keys.matches("edge:").count()), "{keys}");
    assert!(!keys.contains("alice") && !keys.contains("127.") && !keys.contains("user"), "{keys}");
    let key = keys.lines().find(|it| it.starts_with("edge:")).unwrap().trim().to_owned();
    let ttl = redis.ask(&format!("SELECT 3\r\nPTTL {key}")).await;
    let ttl: i64 = ttl.lines().find_map(|it| it.strip_prefix(':')).unwrap().parse().unwrap();
    assert!((-2..=4_000).contains(&ttl), "a key ends when its allowance is whole again: {ttl}");
    let text = metrics(&stand);
    let of = |result: &str| {
        metric(
            &text,
            &format!("sluice_rate_limit_global_requests_total{{policy=\"default/app\",result=\"{result}\"}}"),
        )
    };
    assert_eq!((of("allowed"), of("refused"), of("failed_allowed"), of("failed_denied")), (4, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_comes_back_steadily_by_the_servers_clock() {
    let redis = RedisServer::start(&[]).await;
    let limits = format!(
        "{{global: {{timeout: 1s, redis: {{address: \"{}\"}}, rules: [{{requests: 10, per: 1s, burst: 2}}]}}}}",
        redis.address()
    );
    let stand = stand(&limits, "").await;
    let started = Instant::now();
    let mut passed = 0;
    while started.elapsed() < Duration::from_millis(1_500) {
        let answer = stand.get(URL).await;
        assert!(matches!(answer.status, 200 | 429));
        passed += u32::from(answer.status == 200);
        // A script that was forgotten is brought along again.
        if passed == 5 {
            redis.ask("SCRIPT FLUSH").await;
        }
    }
    let most = 2 + (started.elapsed().as_millis() / 100) as u32;
    assert!(passed <= most && passed >= 5, "{passed} of at most {most}");
    let errors =
        metric(&metrics(&stand), "sluice_rate_limit_failures_total{policy=\"default/app\",reason=\"error\"}");
    assert_eq!(errors, 0);
}

/// A time that is further ahead than a burst can be was written before the server's clock went back, or by somebody
/// else; and what is no number counts as nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_values_in_the_server_lock_nobody_out_for_longer_than_a_burst() {
    let redis = RedisServer::start(&[]).await;
    let limits = format!(
        "{{global: {{timeout: 1s, redis: {{address: \"{}\"}}, rules: [{{requests: 2, per: 1s}}]}}}}",
        redis.address()
    );
    let stand = stand(&limits, "").await;
    // A key lasts for half a second after its first request.
    let key = loop {
        stand.get(URL).await;
        let keys = redis.ask("KEYS *").await;
        if let Some(key) = keys.lines().find(|it| it.starts_with("sluice:")) {
            break key.trim().to_owned();
        }
    };
    redis.ask(&format!("SET {key} 999999999999999")).await;
    eventually("requests pass again", || async { stand.get(URL).await.status == 200 }).await;
    redis.ask(&format!("SET {key} nonsense")).await;
    assert_eq!(stand.get(URL).await.status, 200);
    redis.ask(&format!("DEL {key}\r\nLPUSH {key} a")).await;
    assert_eq!(stand.get(URL).await.status, 200, "an error of the server lets through");
    let errors =
        metric(&metrics(&stand), "sluice_rate_limit_failures_total{policy=\"default/app\",reason=\"error\"}");
    assert!(errors >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_a_few_requests_the_timeout_and_the_others_nothing() {
    const TIMEOUT: Duration = Duration::from_millis(100);
    let redis = RedisServer::start(&[]).await;
    let stand = stand(&global(redis.address(), 1_000, "timeout: 100ms"), "").await;
    counts(&stand, true).await;
    assert!(stand.get(URL).await.header("ratelimit").is_some());
    redis.signal("STOP").await;
    let started = Instant::now();
    for _ in 0..40 {
        let answer = stand.get(URL).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
    let took = started.elapsed();
    println!("40 requests while the server hangs: {took:?}");
    assert!(took >= TIMEOUT && took < 20 * TIMEOUT, "{took:?}");
    let text = metrics(&stand);
    let of = |reason: &str| {
        metric(
            &text,
            &format!("sluice_rate_limit_failures_total{{policy=\"default/app\",reason=\"{reason}\"}}"),
        )
    };
    assert!(of("timeout") >= 1 && of("timeout") <= 6 && of("down") >= 30, "{text}");
    redis.signal("CONT").await;
    counts(&stand, true).await;
    assert!(stand.get(URL).await.header("ratelimit").is_some());
}

/// A user with the rights that the page of traffic policies names.
const USER: &[&str] =
    &["gateway", "on", ">other-word", "~edge:*", "+eval", "+evalsha", "+time", "+get", "+set"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_a_secret_and_shows_nowhere() {
    let redis =
        RedisServer::start(&[["--requirepass", "open-sesame", "--user"].as_slice(), USER].concat()).await;
    let limits = |more: &str| {
        format!(
            "{{global: {{timeout: 1s, onFailure: Deny, redis: {{address: \"{}\", keyPrefix: edge{more}}}, \
             rules: [{{requests: 5, per: 1h}}]}}}}",
            redis.address()
        )
    };
    let mut backends = Backends::default();
    let backend = backends.start("app".to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = limits(", credentialsRef: {name: redis}");
    write(folder.path(), "gateway.yaml", manifests::GATEWAY);
    write(folder.path(), "secret.yaml", &secret("redis", "password: wrong-word"));
    write(folder.path(), "route.yaml", &route("app", "/", backend, &limits("")));
    let gateway = Sluice::run(folder.path(), &[]).await;
    let told = |text: &'static str| {
        let gateway = &gateway;
        async move { eventually(text, || async { gateway.said().contains(text) }).await }
    };
    told("it asks for a password: set credentialsRef").await;
    assert_eq!(gateway.request(&Ask::get(URL)).await.status, 503);
    write(folder.path(), "route.yaml", &route("app", "/", backend, &credentials));
    told("it refuses user or password (WRONGPASS)").await;
    assert_eq!(gateway.request(&Ask::get(URL)).await.status, 503);
    for data in ["password: open-sesame", "username: gateway, password: other-word"] {
        write(folder.path(), "secret.yaml", &secret("redis", data));
        let counted = || async {
            let answer = gateway.request(&Ask::get(URL)).await;
            answer.joined("ratelimit").is_some_and(|it| it.contains("r=4"))
        };
        // Another password, other keys: the count begins anew.
        eventually(data, counted).await;
    }
    let mut admin = Wire::connect(gateway.admin()).await;
    let dump = admin.ask(&Ask::get("http://admin/debug/snapshot")).await.text();
    let said = gateway.said();
    for word in ["wrong-word", "open-sesame", "other-word"] {
        assert!(!said.contains(word) && !dump.contains(word), "{word}: {said}\n{dump}");
    }
    assert!(dump.contains("(hidden)"), "{dump}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_verifies_the_server_and_shows_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Pki::named("first");
    let wish = |names: &[&str], signed_by: &str| Wish {
        signed_by: signed_by.to_owned(),
        names: names.iter().map(|it| (*it).to_owned()).collect(),
        uris: Vec::new(),
    };
    let (certificate, key) = wish(&["redis.test"], "first").pem();
    let (own_certificate, own_key) = wish(&["gateway.test"], "first").pem();
    write(folder.path(), "tls.crt", &certificate);
    write(folder.path(), "tls.key", &key);
    write(folder.path(), "ca.crt", authority.pem());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let arguments = [
        "--tls-cert-file",
        &path("tls.crt"),
        "--tls-key-file",
        &path("tls.key"),
        "--tls-ca-cert-file",
        &path("ca.crt"),
    ];
    let redis = RedisServer::start_tls(&arguments).await;
    let limits = |server_name: &str| {
        format!(
            "{{global: {{timeout: 1s, onFailure: Deny, rules: [{{requests: 5, per: 1h}}], \
             redis: {{address: \"{}\", tls: {{serverName: {server_name}, secretRef: {{name: redis}}}}}}}}}}",
            redis.address()
        )
    };
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let keys = |authority: &str, own: bool| {
        let own = match own {
            true => format!(", tls.crt: {}, tls.key: {}", quoted(&own_certificate), quoted(&own_key)),
            false => String::new(),
        };
        secret("redis", &format!("ca.crt: {}{own}", quoted(authority)))
    };
    let good = stand(&limits("redis.test"), &keys(authority.pem(), true)).await;
    counts(&good, true).await;
    let answer = good.get(URL).await;
    assert_eq!((answer.status, answer.header("ratelimit").is_some()), (200, true));
    let second = Pki::named("second");
    for (name, limits, secret) in [
        ("another name", limits("other.test"), keys(authority.pem(), true)),
        ("another authority", limits("redis.test"), keys(second.pem(), true)),
        ("no certificate of ours", limits("redis.test"), keys(authority.pem(), false)),
        ("no Secret", limits("redis.test"), String::new()),
    ] {
        let bad = stand(&limits, &secret).await;
        assert_eq!(bad.get(URL).await.status, 503, "{name}");
        assert_eq!(
            metric(
                &metrics(&bad),
                "sluice_rate_limit_global_requests_total{policy=\"default/app\",result=\"allowed\"}"
            ),
            0
        );
    }
}

/// A policy of a route that says `disabled` takes its route out of what its Gateway limits, and of its faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_more_specific_policy_switches_limits_off() {
    let redis = RedisServer::start(&[]).await;
    let gateway_policy = format!(
        "
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: all}}
spec:
  targetRefs: [{{kind: Gateway, name: web}}]
  rateLimit: {}
  faults: {{abort: {{status: 418}}}}
",
        global(redis.address(), 1, "timeout: 1s")
    );
    let free = "{disabled: true}\n  faults: {disabled: true}";
    let stand = stand(free, &gateway_policy).await;
    for _ in 0..3 {
        let answer = stand.get(URL).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}
