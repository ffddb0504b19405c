//! Near endpoints come first, through a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::{Stand, eventually, manifests};
use std::collections::BTreeMap;
use std::time::Duration;

/// Endpoints of one host in these places, a route to it, and a rule.
fn world(places: &[&str], policy: &str) -> String {
    let endpoints: Vec<_> = (1..).zip(places).map(|(index, place)| endpoint(index, place)).collect();
    format!(
        "{}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app}}
spec:
  hosts: [app.internal]
  resolution: STATIC
  ports: [{{name: http, number: 80, protocol: HTTP}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app}}
spec: {{host: app.internal, trafficPolicy: {policy}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: app}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: app.internal, port: 80}}]
",
        manifests::GATEWAY,
        endpoints.join(", ")
    )
}

fn endpoint(index: usize, place: &str) -> String {
    match place {
        "" => format!("{{address: 10.0.0.{index}}}"),
        place => format!("{{address: 10.0.0.{index}, locality: {place}}}"),
    }
}

async fn stand(places: &[&str], policy: &str) -> Stand {
    let stand = Stand::start(&world(places, policy)).await;
    stand.set_locality("eu/a/1");
    stand
}

/// How many of so many answers came from each endpoint, by its position.
async fn shares(stand: &Stand, count: usize) -> BTreeMap<usize, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let answer = stand.get("http://a.example/").await;
        assert_eq!(answer.status, 200);
        let name = answer.backend().unwrap().to_owned();
        *shares.entry(name.rsplit('#').next().unwrap().parse().unwrap()).or_default() += 1;
    }
    shares
}

/// Has every endpoint of a level fail until it is left out: requests go wherever health says.
async fn fail(stand: &Stand) {
    stand.get("http://a.example/status/500").await;
}

const EJECTION: &str =
    "outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 60s, maxEjectionPercent: 100}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_the_nearest_place_and_on_while_that_fails() {
    let places = ["us/a", "eu/b", "eu/a/2", "eu/a/1", ""];
    let stand = stand(&places, &format!("{{{EJECTION}}}")).await;
    for nearest in [3, 2, 1] {
        assert_eq!(shares(&stand, 10).await, BTreeMap::from([(nearest, 10)]));
        fail(&stand).await;
    }
    let rest = shares(&stand, 40).await;
    assert_eq!(rest.keys().copied().collect::<Vec<_>>(), [0, 4], "everywhere else is as far: {rest:?}");
    fail(&stand).await;
    fail(&stand).await;
    assert_eq!(stand.get("http://a.example/").await.status, 503, "nobody is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_comes_back_is_first_again() {
    let policy =
        "{outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 300ms, maxEjectionPercent: 100}}";
    let stand = stand(&["us", "eu"], policy).await;
    fail(&stand).await;
    assert_eq!(shares(&stand, 5).await, BTreeMap::from([(0, 5)]));
    let back = eventually("the near place is back", || async {
        shares(&stand, 1).await == BTreeMap::from([(1, 1)])
    });
    assert!(back.await < Duration::from_secs(5));
    assert_eq!(shares(&stand, 10).await, BTreeMap::from([(1, 10)]));
}

/// Two of four are healthy: they take 1.4 times their half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_place_can_not_take_spills_to_the_next() {
    let places = ["eu/a/1", "eu/a/1", "eu/a/1", "eu/a/1", "us"];
    let stand = stand(&places, &format!("{{loadBalancer: {{simple: ROUND_ROBIN}}, {EJECTION}}}")).await;
    fail(&stand).await;
    assert_eq!(shares(&stand, 30).await.get(&4), None, "three of four take all");
    fail(&stand).await;
    let spilled = shares(&stand, 300).await.get(&4).copied().unwrap_or_default();
    assert!((55..=130).contains(&spilled), "{spilled} of 300, where 90 are expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_stand_in_as_the_rule_says() {
    let policy =
        format!("{{loadBalancer: {{localityLbSetting: {{failover: [{{from: eu, to: ap}}]}}}}, {EJECTION}}}");
    let stand = stand(&["us", "eu", "ap"], &policy).await;
    for next in [1, 2, 0] {
        assert_eq!(shares(&stand, 10).await, BTreeMap::from([(next, 10)]));
        fail(&stand).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_go_by_place_and_elsewhere_goes_nothing() {
    let policy =
        "{loadBalancer: {localityLbSetting: {distribute: [{from: 'eu/*', to: {'eu/*': 75, us: 25}}]}}}";
    let stand = stand(&["us", "eu/a", "ap", "eu/b"], policy).await;
    let found = shares(&stand, 400).await;
    assert_eq!(found.get(&2), None, "{found:?}");
    assert!((60..=145).contains(&found[&0]), "{found:?}, where 100 of 400 are expected in us");
    assert!(found[&1] > 80 && found[&3] > 80, "{found:?}");
    stand.set_locality("us");
    assert!(shares(&stand, 60).await.len() > 3, "nothing is said of requests from there");
}

/// The same keys go to the same endpoints within the nearest place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_stay_within_the_nearest_place() {
    let policy = format!("{{loadBalancer: {{consistentHash: {{useSourceIp: true}}}}, {EJECTION}}}");
    let stand = stand(&["us", "eu/a/1", "eu/a/1", "us"], &policy).await;
    let found = shares(&stand, 10).await;
    let (first, _) = found.first_key_value().unwrap();
    assert!(found.len() == 1 && [1, 2].contains(first), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_of_its_own_all_are_alike_to_a_gateway() {
    let stand = Stand::start(&world(&["us", "eu"], &format!("{{{EJECTION}}}"))).await;
    assert_eq!(shares(&stand, 40).await.len(), 2);
    stand.set_locality("eu");
    assert_eq!(shares(&stand, 10).await, BTreeMap::from([(1, 10)]), "it learns where it is while it runs");
}
