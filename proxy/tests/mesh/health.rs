//! Health checks of endpoints that are workloads of the mesh: as requests are sent there, in the mesh's TLS, by the own
//! identity and to nobody but the workload.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict, until};
use sluice_ir::{self as ir, ListenerProtocol};
use sluice_proxy::upstream::HealthState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A workload that takes nothing but the mesh's TLS.
async fn server(ca: &Ca) -> Sidecar {
    let server = Sidecar::beside(app::http().await, Some(ca.issue("cart", &[ca]))).await;
    server.govern(strict).await;
    server
}

/// The Service of that workload, asked again and again.
fn service(to: SocketAddr, probe: ir::HealthProbe) -> Service {
    let health = ir::HealthCheck {
        origin: ir::Origin::new("HealthCheckPolicy", "shop", "cart"),
        probe,
        port: None,
        is_plain: false,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(2),
        jitter_percent: 0,
        unhealthy_after: 1,
        healthy_after: 1,
        starts_pending: true,
        min_healthy_percent: 1,
    };
    Service { health: Some(health), ..Service::new("10.96.0.1", ListenerProtocol::Http, to) }
}

fn http() -> ir::HealthProbe {
    ir::HealthProbe::Http {
        is_head: false,
        path: "/healthz".to_owned(),
        host: "cart.shop.svc.cluster.local".to_owned(),
        statuses: vec![ir::StatusRange { first: 200, last: 299 }],
    }
}

/// What checks say of the only endpoint, and why.
fn health(client: &Sidecar) -> Option<(HealthState, Option<String>)> {
    let pools = client.proxy.endpoints();
    let health = pools.iter().flat_map(|it| &it.endpoints).find_map(|it| it.health.clone())?;
    Some((health.state, health.failure))
}

fn is(client: &Sidecar, state: HealthState) -> bool {
    health(client).is_some_and(|it| it.0 == state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_workload_is_asked_in_the_meshs_tls_by_the_own_identity() {
    let ca = Ca::new("root");
    for probe in [http(), ir::HealthProbe::Tcp] {
        let server = server(&ca).await;
        let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
        client.govern(|_| {}).await;
        client.apply(service(server.inbound(), probe.clone()).resources()).await;
        until("it is well", || is(&client, HealthState::Healthy)).await;
        assert!(!server.counts("plaintext_refused"), "{probe:?}: nobody asked in the clear");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_workloads_policies_say_of_the_asker_is_the_answer() {
    let ca = Ca::new("root");
    let server = server(&ca).await;
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    client.apply(service(server.inbound(), http()).resources()).await;
    until("it is well", || is(&client, HealthState::Healthy)).await;
    let principal = ir::ValueMatch::Exact("cluster.local/ns/shop/sa/web".to_owned());
    let source = ir::Source {
        principals: ir::Values { any: vec![principal], none: Vec::new() },
        ..ir::Source::default()
    };
    let policy = Arc::new(ir::Authorization {
        origin: ir::Origin::new("AuthorizationPolicy", "shop", "not-web"),
        selector: ir::Selector::default(),
        action: ir::AuthorizationAction::Deny,
        is_dry_run: false,
        rules: vec![ir::AuthorizationRule { from: vec![source], to: Vec::new(), when: Vec::new() }],
    });
    server
        .govern(|it| {
            strict(it);
            it.authorization = vec![policy];
        })
        .await;
    until("it refuses", || {
        health(&client) == Some((HealthState::Unhealthy, Some("answered 403".to_owned())))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_else_at_the_address_is_not_well() {
    let ca = Ca::new("root");
    let server = server(&ca).await;
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    let of_other = Service { account: Some("other"), ..service(server.inbound(), http()) };
    client.apply(of_other.resources()).await;
    until("it is found out", || is(&client, HealthState::Unhealthy)).await;
    let why = health(&client).unwrap().1.unwrap();
    assert!(why.contains("certificate"), "{why}");
    // The controller learns who is there: the same address, another workload.
    client.apply(service(server.inbound(), http()).resources()).await;
    until("it is well", || is(&client, HealthState::Healthy)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_identity_nobody_is_asked_and_nobody_is_unwell() {
    let ca = Ca::new("root");
    let server = server(&ca).await;
    let client = Sidecar::start(None).await;
    client.govern(|_| {}).await;
    client.apply(service(server.inbound(), http()).resources()).await;
    let asked =
        || client.proxy.endpoints().iter().filter_map(|it| it.checks).any(|it| it.passed + it.failed > 0);
    assert!(is(&client, HealthState::Pending) && !asked());
    client.identity.send_replace(Some(ca.issue("web", &[&ca])));
    until("it is well", || is(&client, HealthState::Healthy)).await;
    let pools = client.proxy.endpoints();
    assert!(pools.iter().filter_map(|it| it.checks).all(|it| it.failed == 0), "it was not asked before");
}

/// What is no workload of the mesh is asked in the clear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_outside_of_the_mesh_is_asked_in_the_clear() {
    let client = Sidecar::start(None).await;
    client.govern(|_| {}).await;
    let outside = Service { account: None, ..service(app::http().await, http()) };
    client.apply(outside.resources()).await;
    until("it is well", || is(&client, HealthState::Healthy)).await;
}
