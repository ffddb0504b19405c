#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Upstreams;
use crate::upstream::{Answer, EndpointPool, Pace, ResolveError, Resolver};
use parking_lot::Mutex;
use sluice_ir::{
    AskedHosts, BackendKey, Balancing, Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState,
    Origin,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

type Sets = BTreeMap<EndpointSetKey, Arc<EndpointSet>>;

const FAST: Pace = Pace {
    shortest: Duration::from_millis(2),
    longest: Duration::from_millis(5),
    longest_retry: Duration::from_millis(5),
    timeout: Duration::from_secs(5),
};

fn key(name: &str) -> EndpointSetKey {
    EndpointSetKey::new(name)
}

fn sets(all: &[(&str, &[&str])]) -> Sets {
    let endpoint = |text: &&str| {
        let address = text.parse().map(EndpointAddress::Socket).unwrap_or_else(|_| {
            let (host, port) = text.split_once(':').unwrap();
            EndpointAddress::Dns { host: host.to_owned(), port: port.parse().unwrap() }
        });
        Endpoint { address, state: EndpointState::Ready, weight: 1, topology: None, workload: None }
    };
    let set = |(name, endpoints): &(&str, &[&str])| {
        let origin = Origin::new("Service", "shop", *name);
        let endpoints = endpoints.iter().map(endpoint).collect();
        (
            key(name),
            Arc::new(EndpointSet {
                key: key(name),
                origin,
                endpoints,
                is_external: false,
                takes_first: false,
                asked: None,
            }),
        )
    };
    all.iter().map(set).collect()
}

fn addresses(pool: &EndpointPool) -> Vec<String> {
    let mut all: Vec<_> = pool.snapshot().endpoints.iter().map(|it| it.address.to_string()).collect();
    all.sort();
    all
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
}

type Reply = Result<Vec<&'static str>, ResolveError>;

/// A resolver whose answers the test changes, and how often it was asked.
#[derive(Clone, Default)]
struct Zone {
    answers: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    fn set(&self, host: &str, answer: Reply) {
        self.answers.lock().insert(host.to_owned(), answer);
    }

    fn resolver(&self) -> Resolver {
        let zone = self.clone();
        let ask = move |host: Arc<str>| {
            zone.asked.fetch_add(1, Ordering::SeqCst);
            let answer = zone.answers.lock().get(&*host).cloned();
            async move {
                match answer {
                    Some(Ok(texts)) => {
                        let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
                        Ok(Answer { addresses, ttl: Duration::ZERO })
                    }
                    Some(Err(error)) => Err(error),
                    None => std::future::pending().await,
                }
            }
        };
        Resolver::new(ask, FAST)
    }
}

#[test]
fn pools_keep_their_identity_and_state_while_their_key_exists() {
    let upstreams = Upstreams::new(Zone::default().resolver());
    upstreams.apply(&sets(&[("a", &["10.0.0.1:80"]), ("b", &["10.0.0.2:80"])]));
    let a = upstreams.pool(&key("a")).unwrap();
    let held = a.pick(Balancing::Random, &[], None).unwrap();
    upstreams.apply(&sets(&[("a", &["10.0.0.1:80", "10.0.0.3:80"]), ("c", &[])]));
    assert!(Arc::ptr_eq(&a, &upstreams.pool(&key("a")).unwrap()));
    assert_eq!(addresses(&a), ["10.0.0.1:80", "10.0.0.3:80"]);
    assert_eq!(a.snapshot().endpoints.iter().map(|it| it.in_flight).sum::<u32>(), 1);
    assert!(upstreams.pool(&key("b")).is_none() && upstreams.pool(&key("c")).unwrap().is_empty());
    drop(held);
    let keys: Vec<_> = upstreams.snapshot().into_iter().map(|pool| pool.key).collect();
    assert_eq!(keys, [key("a"), key("c")]);
}

#[test]
fn permits_are_one_object_while_somebody_holds_them() {
    let upstreams = Upstreams::new(Zone::default().resolver());
    let backend = BackendKey::new("Service/shop/cart:80");
    let permits = upstreams.permits(&backend, 1);
    let held = permits.try_acquire().unwrap();
    assert!(upstreams.permits(&backend, 1).try_acquire().is_none());
    assert!(upstreams.permits(&backend, 2).try_acquire().is_some());
    drop((held, permits));
    assert_eq!(upstreams.permits(&backend, 1).in_use(), 0);
}

#[tokio::test]
async fn a_pool_of_a_name_is_empty_until_the_first_answer() {
    let zone = Zone::default();
    let upstreams = Upstreams::new(zone.resolver());
    upstreams.apply(&sets(&[("a", &["db.test:5432", "10.0.0.9:80"])]));
    let pool = upstreams.pool(&key("a")).unwrap();
    assert_eq!(addresses(&pool), ["10.0.0.9:80"]);
    let soon = tokio::time::Instant::now() + Duration::from_millis(20);
    assert!(!upstreams.wait_first(soon).await);
    // The question that hangs belongs to the old name; a new set asks anew.
    zone.set("db2.test", Ok(vec!["10.1.0.1", "fd00::1", "10.1.0.1"]));
    upstreams.apply(&sets(&[("a", &["db2.test:5432"])]));
    assert!(upstreams.wait_first(tokio::time::Instant::now() + Duration::from_secs(10)).await);
    assert_eq!(addresses(&pool), ["10.1.0.1:5432", "[fd00::1]:5432"]);
}

#[tokio::test]
async fn a_sidecar_looks_up_no_name_of_what_goes_where_it_was_going() {
    let zone = Zone::default();
    let hosts = AskedHosts { names: None, networks: Vec::new(), port: 443, original: true };
    let mut all = sets(&[("none", &["corp.test:443"]), ("dns", &["db.test:5432"])]);
    let none = all.get_mut(&key("none")).unwrap();
    *none = Arc::new(EndpointSet { asked: Some(Box::new(hosts)), ..EndpointSet::clone(none) });
    let (sidecar, gateway) = (Upstreams::of_sidecar(zone.resolver()), Upstreams::new(zone.resolver()));
    sidecar.apply(&all);
    gateway.apply(&all);
    let names = |it: &Upstreams| it.state.lock().hosts.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&sidecar), BTreeSet::from(["db.test".into()]));
    assert_eq!(names(&gateway), BTreeSet::from(["corp.test".into(), "db.test".into()]));
}

#[tokio::test]
async fn many_sets_of_one_name_share_one_task_that_ends_with_the_last() {
    let zone = Zone::default();
    let upstreams = Upstreams::new(zone.resolver());
    upstreams.apply(&sets(&[("a", &["db.test:1"]), ("b", &["db.test:2", "db.test:3"])]));
    eventually("one question", || zone.asked.load(Ordering::SeqCst) == 1).await;
    tokio::task::yield_now().await;
    assert_eq!(zone.asked.load(Ordering::SeqCst), 1, "the question hangs, and no other task asks");
    zone.set("db.test", Ok(vec!["10.0.0.1"]));
    assert_eq!(upstreams.state.lock().hosts.len(), 1);
    upstreams.apply(&sets(&[("b", &["db.test:2"])]));
    assert_eq!(upstreams.state.lock().hosts.len(), 1);
    upstreams.apply(&Sets::new());
    assert!(upstreams.state.lock().hosts.is_empty());
    assert!(upstreams.wait_first(tokio::time::Instant::now()).await);
}

#[tokio::test]
async fn new_addresses_reach_every_pool_of_the_name() {
    let zone = Zone::default();
    zone.set("db.test", Ok(vec!["10.0.0.1"]));
    let upstreams = Upstreams::new(zone.resolver());
    upstreams.apply(&sets(&[("a", &["db.test:1"]), ("b", &["db.test:2"])]));
    let (a, b) = (upstreams.pool(&key("a")).unwrap(), upstreams.pool(&key("b")).unwrap());
    eventually("first addresses", || addresses(&a) == ["10.0.0.1:1"]).await;
    zone.set("db.test", Ok(vec!["10.0.0.2", "10.0.0.1"]));
    eventually("new addresses", || {
        addresses(&a) == ["10.0.0.1:1", "10.0.0.2:1"] && addresses(&b) == ["10.0.0.1:2", "10.0.0.2:2"]
    })
    .await;
}

#[tokio::test]
async fn a_failure_keeps_the_last_good_addresses_and_asks_on() {
    let zone = Zone::default();
    zone.set("db.test", Ok(vec!["10.0.0.1"]));
    let upstreams = Upstreams::new(zone.resolver());
    upstreams.apply(&sets(&[("a", &["db.test:1"])]));
    let pool = upstreams.pool(&key("a")).unwrap();
    eventually("addresses", || addresses(&pool) == ["10.0.0.1:1"]).await;
    zone.set("db.test", Err(ResolveError::Failed("down".to_owned())));
    let asked = zone.asked.load(Ordering::SeqCst);
    eventually("five more questions", || zone.asked.load(Ordering::SeqCst) > asked + 5).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:1"]);
    zone.set("db.test", Err(ResolveError::NoSuchName { ttl: None }));
    eventually("a name that is really gone", || pool.is_empty()).await;
}

#[tokio::test]
async fn a_name_that_fails_does_not_keep_the_gateway_from_being_ready() {
    let zone = Zone::default();
    zone.set("no.test", Err(ResolveError::Failed("down".to_owned())));
    let upstreams = Upstreams::new(zone.resolver());
    upstreams.apply(&sets(&[("a", &["no.test:1"])]));
    assert!(upstreams.wait_first(tokio::time::Instant::now() + Duration::from_secs(10)).await);
    assert!(upstreams.pool(&key("a")).unwrap().pick(Balancing::Random, &[], None).is_none());
}

#[tokio::test]
async fn a_name_of_the_internet_that_leads_inside_has_no_such_endpoint() {
    let zone = Zone::default();
    zone.set("api.example.com", Ok(vec!["10.0.0.1", "203.0.113.7", "::ffff:169.254.169.254"]));
    zone.set("app.localhost", Ok(vec!["127.0.0.1"]));
    let upstreams = Upstreams::new(zone.resolver());
    let mut all = sets(&[
        ("outside", &["api.example.com:443", "app.localhost:80"]),
        ("inside", &["api.example.com:443"]),
    ]);
    let outside = all.get_mut(&key("outside")).unwrap();
    *outside = Arc::new(EndpointSet { is_external: true, ..EndpointSet::clone(outside) });
    upstreams.apply(&all);
    let (inside, outside) =
        (upstreams.pool(&key("inside")).unwrap(), upstreams.pool(&key("outside")).unwrap());
    eventually("the names are resolved", || addresses(&inside).len() == 3).await;
    eventually("only what may stand for it does", || {
        addresses(&outside) == ["127.0.0.1:80", "203.0.113.7:443"]
    })
    .await;
    // The answer changes to nothing but the inside: nobody is left.
    zone.set("api.example.com", Ok(vec!["127.0.0.1"]));
    eventually("the lie is not used", || addresses(&outside) == ["127.0.0.1:80"]).await;
}
