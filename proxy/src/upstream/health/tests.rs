//! Checks of real sockets, and what pools make of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{CheckParts, HealthState};
use crate::mesh::Own;
use crate::upstream::{EndpointPool, Resolver, Upstreams};
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Three bad ones take out, two good ones take in; asked every second.
pub(super) fn check() -> ir::HealthCheck {
    ir::HealthCheck {
        origin: ir::Origin::new("HealthCheckPolicy", "shop", "cart"),
        probe: ir::HealthProbe::Http {
            is_head: false,
            path: "/healthz".to_owned(),
            host: "cart.test".to_owned(),
            statuses: vec![ir::StatusRange { first: 200, last: 299 }],
        },
        port: None,
        is_plain: false,
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        jitter_percent: 0,
        unhealthy_after: 3,
        healthy_after: 2,
        starts_pending: false,
        min_healthy_percent: 1,
    }
}

/// An HTTP server that answers as it is told, and counts.
struct Server {
    address: SocketAddr,
    is_good: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(is_good: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_good, asked) = (Arc::new(AtomicBool::new(is_good)), Arc::new(AtomicUsize::new(0)));
        let (good, count) = (is_good.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let len = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..len]).into_owned();
                if len > 0 {
                    assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
                    assert!(head.contains("host: cart.test\r\n"), "{head}");
                }
                let status = if good.load(SeqCst) { "204 No Content" } else { "503 Unwell" };
                drop(stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await);
                count.fetch_add(1, SeqCst);
            }
        });
        Self { address, is_good, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn backend(key: &str, set: &str, health: Option<ir::HealthCheck>) -> ir::Backend {
    ir::Backend {
        key: ir::BackendKey::new(key),
        origin: ir::Origin::new("Service", "shop", "cart"),
        protocol: ir::BackendProtocol::Http1,
        endpoints: ir::EndpointSetKey::new(set),
        tls: None,
        policy: None,
        health: health.map(Box::new),
        mesh: ir::MeshTls::Off,
    }
}

/// Sets with these endpoints.
fn sets(all: &[(&str, &[SocketAddr])]) -> BTreeMap<ir::EndpointSetKey, Arc<ir::EndpointSet>> {
    let endpoint = |address: &SocketAddr| ir::Endpoint {
        address: ir::EndpointAddress::Socket(*address),
        state: ir::EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: None,
    };
    let set = |(key, addresses): &(&str, &[SocketAddr])| {
        let key = ir::EndpointSetKey::new(*key);
        let set = ir::EndpointSet {
            key: key.clone(),
            origin: ir::Origin::new("Service", "shop", "cart"),
            endpoints: addresses.iter().map(endpoint).collect(),
            is_external: false,
            takes_first: false,
            asked: None,
        };
        (key, Arc::new(set))
    };
    all.iter().map(set).collect()
}

fn upstreams() -> Arc<Upstreams> {
    Upstreams::new(Resolver::system())
}

fn pool(upstreams: &Upstreams, key: &str) -> Arc<EndpointPool> {
    upstreams.pool(&ir::EndpointSetKey::new(key)).unwrap()
}

fn has(upstreams: &Upstreams, pool: &EndpointPool, backend: &ir::Backend) {
    let own = &Own::nobody();
    pool.set_check(upstreams.check(CheckParts { backend, certificate: Ok(None), own }));
}

/// The states of the pool's endpoints, in its order.
fn states(pool: &EndpointPool) -> Vec<HealthState> {
    pool.snapshot().endpoints.iter().map(|it| it.health.as_ref().unwrap().state).collect()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn picks(pool: &EndpointPool, count: usize) -> Vec<SocketAddr> {
    let all = (0..count).map(|_| pool.pick(ir::Balancing::RoundRobin, &[], None).unwrap().address);
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn an_endpoint_that_is_not_well_gets_nothing_until_it_is_well_again() {
    let (good, bad) = (Server::start(true).await, Server::start(false).await);
    let upstreams = upstreams();
    upstreams.apply(&sets(&[("a", &[good.address, bad.address])]));
    let pool = pool(&upstreams, "a");
    has(&upstreams, &pool, &backend("a", "a", Some(check())));
    until("one is out", || states(&pool).contains(&HealthState::Unhealthy)).await;
    assert_eq!(picks(&pool, 20), [good.address]);
    let shown = pool.snapshot();
    let health = shown.endpoints.iter().find(|it| it.address == bad.address).unwrap().health.clone().unwrap();
    assert_eq!(health.failure.as_deref(), Some("answered 503"));
    assert_eq!(health.policy, "HealthCheckPolicy shop/cart");
    // Two good checks, a second apart.
    bad.is_good.store(true, SeqCst);
    until("it is in again", || !states(&pool).contains(&HealthState::Unhealthy)).await;
    assert_eq!(picks(&pool, 20).len(), 2);
    assert!(shown.checks.unwrap().failed >= 1);
}

#[tokio::test]
async fn all_are_used_when_none_is_healthy_unless_the_policy_says_never() {
    let servers = [Server::start(false).await, Server::start(false).await];
    let addresses = servers.each_ref().map(|it| it.address);
    let upstreams = upstreams();
    upstreams.apply(&sets(&[("a", &addresses)]));
    let pool = pool(&upstreams, "a");
    let mut spec = check();
    has(&upstreams, &pool, &backend("a", "a", Some(spec.clone())));
    let all_out = || states(&pool).iter().all(|it| *it == HealthState::Unhealthy);
    until("both are out", all_out).await;
    assert_eq!(picks(&pool, 20).len(), 2);
    // Another policy: what is known stays known, from the first moment on.
    spec.min_healthy_percent = 0;
    has(&upstreams, &pool, &backend("a", "a", Some(spec)));
    assert!(all_out());
    assert!(pool.pick(ir::Balancing::RoundRobin, &[], None).is_none());
    // No policy: they are as if nobody had ever asked.
    pool.set_check(None);
    assert_eq!(picks(&pool, 20).len(), 2);
}

#[tokio::test]
async fn an_endpoint_is_asked_once_for_all_pools_that_have_it() {
    let server = Server::start(true).await;
    let upstreams = upstreams();
    let addresses = [server.address];
    upstreams.apply(&sets(&[("a", &addresses), ("b", &addresses)]));
    let pools = ["a", "b"].map(|key| pool(&upstreams, key));
    for (pool, key) in pools.iter().zip(["a", "b"]) {
        has(&upstreams, pool, &backend(key, key, Some(check())));
    }
    let is_known = |pool: &Arc<EndpointPool>| states(pool) == [HealthState::Healthy];
    until("both know it", || pools.iter().all(is_known)).await;
    assert_eq!(server.asked(), 1);
    // With one of them gone the other is asked on.
    upstreams.apply(&sets(&[("b", &addresses)]));
    assert_eq!(states(&pools[1]), [HealthState::Healthy]);
    until("it is asked again", || server.asked() == 2).await;
}

#[tokio::test]
async fn an_endpoint_that_leaves_is_asked_no_more_although_a_request_holds_it() {
    let (stays, leaves) = (Server::start(true).await, Server::start(true).await);
    let upstreams = upstreams();
    upstreams.apply(&sets(&[("a", &[leaves.address])]));
    let pool = pool(&upstreams, "a");
    has(&upstreams, &pool, &backend("a", "a", Some(check())));
    until("it is asked", || leaves.asked() == 1).await;
    let _held = pool.pick(ir::Balancing::RoundRobin, &[], None).unwrap();
    upstreams.apply(&sets(&[("a", &[stays.address])]));
    until("the other is asked twice", || stays.asked() == 2).await;
    assert_eq!(leaves.asked(), 1);
}

#[tokio::test]
async fn a_new_endpoint_that_is_pending_gets_nothing_before_its_first_good_check() {
    let server = Server::start(true).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstreams = upstreams();
    let spec = ir::HealthCheck { starts_pending: true, ..check() };
    upstreams.apply(&sets(&[("a", &[server.address])]));
    let pool = pool(&upstreams, "a");
    has(&upstreams, &pool, &backend("a", "a", Some(spec)));
    until("it is healthy", || states(&pool) == [HealthState::Healthy]).await;
    upstreams.apply(&sets(&[("a", &[server.address, silent.local_addr().unwrap()])]));
    assert!(states(&pool).contains(&HealthState::Pending));
    assert_eq!(picks(&pool, 20), [server.address]);
    until("its check fails", || states(&pool).contains(&HealthState::Unhealthy)).await;
    let shown = pool.snapshot();
    let reasons: Vec<_> =
        shown.endpoints.iter().filter_map(|it| it.health.as_ref()?.failure.clone()).collect();
    assert_eq!(reasons, ["no answer within 500ms"]);
}

#[tokio::test]
async fn a_recovery_that_checks_see_ends_a_rest() {
    let (good, bad) = (Server::start(true).await, Server::start(false).await);
    let upstreams = upstreams();
    upstreams.apply(&sets(&[("a", &[good.address, bad.address])]));
    let pool = pool(&upstreams, "a");
    let long = crate::upstream::EjectPolicy { after: 1, base: Duration::from_secs(3_600) };
    while let Some(picked) = pool.pick(ir::Balancing::RoundRobin, &[], None) {
        if picked.address == bad.address {
            picked.failed(std::time::Instant::now(), long);
            break;
        }
    }
    assert_eq!(picks(&pool, 20), [good.address]);
    let spec = ir::HealthCheck { healthy_after: 1, ..check() };
    has(&upstreams, &pool, &backend("a", "a", Some(spec)));
    until("it is out", || states(&pool).contains(&HealthState::Unhealthy)).await;
    bad.is_good.store(true, SeqCst);
    until("it is healthy", || !states(&pool).contains(&HealthState::Unhealthy)).await;
    until("it gets requests", || picks(&pool, 20).len() == 2).await;
}
