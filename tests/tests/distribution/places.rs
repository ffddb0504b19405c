//! Where a data plane runs: it says on which node, the controller says where that is.

use crate::controller::{Controller, Trust};
use crate::world;
use sluice_ir as ir;
use sluice_proxy::sync::{SyncClient, SyncOptions};
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions, snapshot::BindPlan};
use sluice_tests::{PORT_OFFSET, eventually, loopback, soon};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn place(text: &str) -> ir::Locality {
    text.parse().unwrap()
}

/// A data plane that has its first configuration.
async fn connected(options: SyncOptions, stop: &CancellationToken) -> Arc<Proxy> {
    let plan =
        BindPlan { bind: loopback(), port_offset: PORT_OFFSET, cluster_ports: false, is_captured: false };
    let proxy = Proxy::new(ProxyOptions {
        plan,
        resolver: Resolver::system(),
        log: AccessLogger::stdout(),
        identity: None,
        mesh: None,
    })
    .unwrap();
    let client = SyncClient::start(proxy.clone(), options).await;
    let mut state = client.state();
    tokio::spawn(client.run(stop.clone()));
    soon("the first configuration", state.wait_for(|state| state.connected)).await.unwrap();
    proxy
}

#[tokio::test]
async fn the_controller_tells_a_data_plane_where_its_node_is() {
    let trust = Trust::new();
    let all = world::with(ir::Snapshot::default(), vec![ir::Resource::Gateway(world::gateway("shop/web"))]);
    let controller = Controller::start(&trust, &all).await;
    controller.distributor.place("node-a", Some(place("eu/a")));
    let stop = CancellationToken::new();
    let options = |host: Option<&str>| {
        let options = trust.options(controller.address, "shop/web");
        let node = format!("web-{}", host.unwrap_or("nowhere"));
        SyncOptions { host: host.map(str::to_owned), node, ..options }
    };
    let there = connected(options(Some("node-a")), &stop).await;
    assert_eq!(there.locality().as_deref(), Some(&place("eu/a")), "with the first batch");
    for host in [None, Some("node-b")] {
        let nobody = connected(options(host), &stop).await;
        assert_eq!(nobody.locality(), None, "{host:?}");
    }
    // The label of the node changes: it is told with what comes next.
    controller.distributor.place("node-a", Some(place("eu/b/7")));
    let more = world::with(all.clone(), vec![ir::Resource::Listener(world::http("shop/web", "http", 80))]);
    controller.publish(&all, &more);
    eventually("the new place", || async { there.locality().as_deref() == Some(&place("eu/b/7")) }).await;
    // One that is gone takes nothing back: the data plane still runs there.
    controller.distributor.place("node-a", None);
    controller.publish(&more, &all);
    eventually("the change", || async { there.snapshot() == all }).await;
    assert_eq!(there.locality().as_deref(), Some(&place("eu/b/7")));
    stop.cancel();
}
