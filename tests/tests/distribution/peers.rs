//! Replicas of the controller tell each other of their data planes: the one that writes statuses knows of all.

use crate::controller::{Controller, NAME, Trust};
use crate::raw::{Raw, Versions};
use crate::world::{self, two_gateways};
use sluice_controller::serve::{GatewaySync, Others, PeerOptions, follow};
use sluice_ir::{self as ir, ResourceKind};
use sluice_tests::eventually;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Makes `one` hear of the data planes of `other`, until the guard is dropped.
pub(crate) fn hears(trust: &Trust, one: &Controller, other: &Controller, others: Others) -> DropGuard {
    let token_file = trust.folder().join("replica");
    std::fs::write(&token_file, "sluice-system/sluice-controller\n").unwrap();
    let authority = String::from_utf8(trust.root.certificate().as_bytes().to_vec()).unwrap();
    let options = PeerOptions {
        namespace: "sluice-system".to_owned(),
        service: "sluice-controller".to_owned(),
        port: other.address.port(),
        replica: "leader".to_owned(),
        server_name: NAME.to_owned(),
        token_file,
        authorities: watch::channel(authority).1,
        others,
    };
    let stop = CancellationToken::new();
    tokio::spawn(follow(other.address, one.distributor.clone(), options, stop.clone()));
    stop.drop_guard()
}

async fn sync(controller: &Controller, what: &str, wanted: impl Fn(&GatewaySync) -> bool) -> GatewaySync {
    let gateway = ir::GatewayKey::new("shop/web");
    eventually(what, || async { wanted(&controller.distributor.sync(&gateway)) }).await;
    controller.distributor.sync(&gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_programmed_only_when_the_data_planes_of_every_replica_have_acknowledged() {
    let (trust, before) = (Trust::new(), two_gateways());
    let leader = Controller::replica(&trust, "leader", &before).await;
    let other = Controller::replica(&trust, "other", &before).await;
    let _told = hears(&trust, &leader, &other, Others::default());
    let mut near = Raw::of(&leader, &trust, "shop/web").await;
    near.acknowledged().await;
    let far = Raw::named("far", &other, &trust, "shop/web-sluice", "shop/web", Versions::new()).await;
    let mut far = far.expect("a stream");
    let batch = far.batch().await.expect("a batch");
    let told = sync(&leader, "both are known", |it| it.connected == 2).await;
    assert!(!told.programmed && told.in_sync == 1, "{told:?}");
    far.answer(&batch, &[]);
    let told = sync(&leader, "both have acknowledged", |it| it.programmed && it.in_sync == 2).await;
    let replicas: Vec<_> = told.proxies.iter().map(|it| it.replica.as_str()).collect();
    assert!(replicas.contains(&"leader") && replicas.contains(&"other"), "{replicas:?}");

    // The leader knows of a new listener first: what the far one has is no longer the newest.
    let now = world::with(before.clone(), [ir::Resource::Listener(world::http("shop/web", "more", 81))]);
    leader.publish(&before, &now);
    near.acknowledged().await;
    let near_has_it = |it: &GatewaySync| it.proxies.iter().all(|it| it.in_sync());
    let behind = sync(&leader, "the near one has it", near_has_it).await;
    assert!(!behind.programmed, "{behind:?}");
    other.publish(&before, &now);
    let batch = far.batch().await.expect("a batch");
    assert!(!leader.distributor.sync(&ir::GatewayKey::new("shop/web")).programmed);

    // It refuses: the leader says so with the object that caused it.
    let listener = ResourceKind::Listener.key("Gateway/shop/web/more");
    far.answer(&batch, &[(listener, "address already in use")]);
    let refused = |it: &GatewaySync| it.proxies.iter().any(|it| !it.refusals.is_empty());
    let told = sync(&leader, "the refusal is told", refused).await;
    let refusal = told.proxies.iter().flat_map(|it| &it.refusals).next().expect("a refusal");
    assert_eq!(refusal.origin.as_deref(), Some("Gateway shop/web section \"more\""));
    assert_eq!(refusal.message, "address already in use");
    assert!(!told.programmed, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_planes_of_a_replica_that_is_gone_are_forgotten_after_a_moment() {
    let (trust, all) = (Trust::new(), two_gateways());
    let leader = Controller::replica(&trust, "leader", &all).await;
    let other = Controller::replica(&trust, "other", &all).await;
    let _told = hears(&trust, &leader, &other, Others::default());
    let mut far = Raw::of(&other, &trust, "shop/web").await;
    far.acknowledged().await;
    sync(&leader, "it is known", |it| it.programmed && it.connected == 1).await;
    drop((far, other));
    sync(&leader, "it is forgotten", |it| it.connected == 0 && !it.programmed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_replicas_of_the_controller_may_ask() {
    let (trust, all) = (Trust::new(), two_gateways());
    let refusal = async |controller: &Controller, token: &str| {
        let address = format!("https://{}", controller.address).parse().unwrap();
        let authorities = trust.root.certificate().as_bytes();
        let connection = sluice_xds::connect::Connection::open(&address, Some(NAME), authorities);
        let connection = connection.await.expect("a connection");
        let request = sluice_xds::peers::WatchRequest::default();
        let answer = sluice_xds::peers::watch(connection.service(), token, request, 1 << 20).await;
        answer.err().map(|status| status.code())
    };
    let denied = Some(tonic::Code::PermissionDenied);
    let replica = Controller::replica(&trust, "leader", &all).await;
    assert_eq!(refusal(&replica, "sluice-system/sluice-controller").await, None);
    assert_eq!(refusal(&replica, "shop/web-sluice").await, denied);
    assert_eq!(refusal(&replica, "shop/sluice-controller").await, denied);
    // One that has no others is asked by nobody.
    let alone = Controller::start(&trust, &all).await;
    assert_eq!(refusal(&alone, "sluice-system/sluice-controller").await, denied);
}
