//! What data planes say, and what the controller makes of it.

use crate::controller::{Controller, Trust};
use crate::raw::Raw;
use crate::world::{self, two_gateways};
use sluice_controller::serve::GatewaySync;
use sluice_ir::{self as ir, ResourceKind};
use sluice_tests::eventually;

async fn sync(controller: &Controller, what: &str, wanted: impl Fn(&GatewaySync) -> bool) -> GatewaySync {
    let gateway = ir::GatewayKey::new("shop/web");
    eventually(what, || async { wanted(&controller.distributor.sync(&gateway)) }).await;
    controller.distributor.sync(&gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_programmed_when_its_listeners_are_acknowledged_and_no_sooner() {
    let (trust, before) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &before).await;
    let start = controller.distributor.sync(&ir::GatewayKey::new("shop/web"));
    assert!(!start.programmed && start.settling);
    let mut changes = controller.distributor.changes();
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let batch = raw.batch().await.expect("a batch");
    let sent = sync(&controller, "it is connected", |it| it.connected == 1).await;
    assert!(!sent.programmed && !sent.settling && sent.in_sync == 0, "{sent:?}");
    raw.answer(&batch, &[]);
    sync(&controller, "it is programmed", |it| it.programmed && it.in_sync == 1).await;
    assert!(changes.has_changed().unwrap());
    // A route is no matter of the Gateway; a listener is.
    let listener = world::listener_key("shop/web", "http");
    let with_route = world::with(
        before.clone(),
        [ir::Resource::Route(world::route("shop/more", &[listener], &["shop/app"], 1))],
    );
    changes.borrow_and_update();
    controller.publish(&before, &with_route);
    let batch = raw.batch().await.expect("a batch");
    let behind = controller.distributor.sync(&ir::GatewayKey::new("shop/web"));
    assert!(behind.programmed && behind.in_sync == 0, "{behind:?}");
    raw.answer(&batch, &[]);
    sync(&controller, "it is in sync", |it| it.in_sync == 1).await;
    assert!(!changes.has_changed().unwrap(), "what statuses show has not changed");
    let with_listener =
        world::with(with_route.clone(), [ir::Resource::Listener(world::http("shop/web", "more", 81))]);
    controller.publish(&with_route, &with_listener);
    assert!(!controller.distributor.sync(&ir::GatewayKey::new("shop/web")).programmed);
    raw.acknowledged().await;
    sync(&controller, "it is programmed again", |it| it.programmed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_kept_with_the_object_that_caused_it_until_it_is_mended() {
    let (trust, before) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &before).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let batch = raw.batch().await.expect("a batch");
    let route = ResourceKind::Route.key("HTTPRoute/shop/app");
    let listener = ResourceKind::Listener.key("Gateway/shop/web/http");
    raw.answer(&batch, &[(route, "unknown variant"), (listener, "address already in use")]);
    let told =
        sync(&controller, "it is told", |it| it.proxies.first().is_some_and(|it| !it.refusals.is_empty()));
    let told = told.await;
    let refusals: Vec<_> = told.proxies[0]
        .refusals
        .iter()
        .map(|it| (it.resource.as_str(), it.origin.as_deref().unwrap_or_default(), it.message.as_str()))
        .collect();
    assert_eq!(
        refusals,
        [
            ("Route HTTPRoute/shop/app", "HTTPRoute shop/app", "unknown variant"),
            ("Listener Gateway/shop/web/http", "Gateway shop/web section \"http\"", "address already in use"),
        ]
    );
    assert!(!told.programmed && told.in_sync == 0, "{told:?}");
    // The next batch is answered without a word of them.
    let now = world::with(before.clone(), [ir::Resource::Listener(world::http("shop/web", "http", 8080))]);
    controller.publish(&before, &now);
    raw.acknowledged().await;
    let mended = sync(&controller, "it is mended", |it| it.programmed && it.in_sync == 1).await;
    assert!(mended.proxies[0].refusals.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_plane_that_comes_again_does_not_make_its_gateway_flap() {
    let (trust, all) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &all).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    raw.acknowledged().await;
    sync(&controller, "it is programmed", |it| it.programmed).await;
    let mut changes = controller.distributor.changes();
    changes.borrow_and_update();
    let has = raw.has.clone();
    // The connection breaks.
    drop(raw);
    let again = Raw::connect(&controller, &trust, "shop/web-sluice", "shop/web", has).await;
    let mut again = again.expect("a stream");
    again.acknowledged().await;
    sync(&controller, "it is in sync again", |it| it.in_sync == 1 && it.connected == 1).await;
    assert!(!changes.has_changed().unwrap(), "{:?}", controller.distributor.all());
}
