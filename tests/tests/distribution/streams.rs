//! What is sent when: order, size, flow and resumption.

use crate::controller::{Controller, Trust};
use crate::raw::{Raw, Versions};
use crate::world::{self, listener_key, scope, two_gateways};
use sluice_ir as ir;
use sluice_tests::eventually;
use std::net::SocketAddr;

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], number))
}

fn moved(before: &ir::Snapshot, number: u16) -> ir::Snapshot {
    world::with(before.clone(), [ir::Resource::EndpointSet(world::endpoints("shop/app", &[address(number)]))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_pod_costs_one_message_with_one_resource_and_only_for_who_uses_it() {
    let (trust, mut now) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &now).await;
    let mut shop = Raw::of(&controller, &trust, "shop/web").await;
    let mut bank = Raw::of(&controller, &trust, "bank/web").await;
    shop.acknowledged().await;
    bank.acknowledged().await;
    for number in 1..20 {
        let next = moved(&now, number);
        controller.publish(&now, &next);
        now = next;
        let batch = shop.acknowledged().await;
        assert_eq!(batch.responses.len(), 1);
        assert_eq!(batch.upserts(), ["EndpointSet Service/shop/app:80"]);
        assert!(batch.responses[0].resources[0].resource.as_ref().unwrap().value.len() < 250);
    }
    // The other one hears of its own change next, and of nothing before.
    let next = world::with(now.clone(), world::service("bank/app", address(7)));
    controller.publish(&now, &next);
    assert_eq!(bank.acknowledged().await.upserts(), ["EndpointSet Service/bank/app:80"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pointed_at_comes_before_and_goes_after_what_points_at_it() {
    let (trust, all) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &all).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let kinds = |keys: Vec<String>| {
        let mut kinds: Vec<_> = keys.iter().map(|key| key.split(' ').next().unwrap().to_owned()).collect();
        kinds.dedup();
        kinds
    };
    let order = ["Certificate", "EndpointSet", "Backend", "Gateway", "Listener", "Route"];
    assert_eq!(kinds(raw.acknowledged().await.upserts()), order);
    controller.publish(&all, &ir::Snapshot::default());
    let removals = kinds(raw.acknowledged().await.removals());
    assert_eq!(removals, order.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_before_the_first_translation_is_complete() {
    let (trust, all) = (Trust::new(), two_gateways());
    let controller = Controller::at(&trust, "127.0.0.1:0".parse().unwrap()).await;
    let partial = world::with(ir::Snapshot::default(), [ir::Resource::Gateway(world::gateway("shop/web"))]);
    controller.publish(&ir::Snapshot::default(), &partial);
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let gateway = ir::GatewayKey::new("shop/web");
    eventually("it has come", || async { controller.distributor.sync(&gateway).connected == 1 }).await;
    controller.publish(&partial, &all);
    controller.distributor.set_complete();
    // The first batch is the whole: no part of it was sent before.
    raw.acknowledged().await;
    assert_eq!(raw.snapshot, scope(&all, "shop/web"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_stream_goes_on_where_the_one_before_ended_at_any_replica() {
    let (trust, before) = (Trust::new(), two_gateways());
    let one = Controller::start(&trust, &before).await;
    let mut raw = Raw::of(&one, &trust, "shop/web").await;
    raw.acknowledged().await;
    let mut now = moved(&before, 9);
    now.routes.remove(&ir::RouteKey::new("HTTPRoute/common/both"));
    let other = Controller::start(&trust, &now).await;
    let (has, snapshot) = (raw.has.clone(), raw.snapshot.clone());
    drop(raw);
    let again = Raw::connect(&other, &trust, "shop/web-sluice", "shop/web", has).await;
    let mut again = again.expect("a stream");
    again.snapshot = snapshot;
    let batch = again.acknowledged().await;
    assert_eq!(batch.upserts(), ["EndpointSet Service/shop/app:80"]);
    let gone = [
        "Route HTTPRoute/common/both",
        "Backend Service/common/both:80",
        "EndpointSet Service/common/both:80",
    ];
    assert_eq!(batch.removals(), gone);
    assert_eq!(again.snapshot, scope(&now, "shop/web"));
    // Who has everything hears one word: that it has everything.
    let has = again.has.clone();
    let third = Raw::connect(&other, &trust, "shop/web-sluice", "shop/web", has).await;
    let batch = third.expect("a stream").acknowledged().await;
    assert_eq!((batch.responses.len(), batch.upserts().len(), batch.removals().len()), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_data_plane_gets_the_newest_of_each_and_nothing_in_between() {
    let (trust, mut now) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &now).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let first = raw.batch().await.expect("a batch");
    // Not answered yet.
    for number in 1..=1000 {
        let next = moved(&now, number);
        controller.publish(&now, &next);
        now = next;
    }
    let sync = controller.distributor.sync(&ir::GatewayKey::new("shop/web"));
    assert!(sync.proxies[0].behind < 30, "{sync:?}");
    raw.answer(&first, &[]);
    assert_eq!(raw.acknowledged().await.upserts(), ["EndpointSet Service/shop/app:80"]);
    assert_eq!(raw.snapshot, scope(&now, "shop/web"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_configuration_comes_in_parts_and_counts_when_the_last_is_there() {
    let trust = Trust::new();
    let listener = world::listener_key("shop/web", "http");
    let route = |number| {
        ir::Resource::Route(world::route(
            &format!("shop/r{number}"),
            std::slice::from_ref(&listener),
            &["shop/app"],
            1,
        ))
    };
    let all = world::with(two_gateways(), (0..5000).map(route));
    let controller = Controller::start(&trust, &all).await;
    let connected = Raw::connect(&controller, &trust, "shop/web-sluice", "shop/web", Versions::new()).await;
    let mut raw = connected.expect("a stream");
    let batch = raw.acknowledged().await;
    assert!(batch.responses.len() > 5, "{}", batch.responses.len());
    assert!(batch.responses.iter().all(|response| response.resources.len() <= 1000));
    assert_eq!(raw.snapshot, scope(&all, "shop/web"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_counts_when_every_data_plane_of_its_gateway_has_acknowledged_it() {
    let (trust, before) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &before).await;
    let gateway = ir::GatewayKey::new("shop/web");
    let challenge = world::challenge("shop/web", "shop.example", "abc");
    let answers = || controller.distributor.answers(&challenge);
    assert_eq!(answers().unwrap_err(), "the challenge is on its way to the controller");
    let now = world::with(before.clone(), [ir::Resource::Challenge(challenge.clone())]);
    controller.publish(&before, &now);
    assert_eq!(answers().unwrap_err(), "Gateway shop/web has no data plane that is connected");
    let mut other = Raw::of(&controller, &trust, "bank/web").await;
    other.acknowledged().await;
    assert!(!String::from_utf8_lossy(&other.bytes).contains("abc.thumbprint"));
    assert!(answers().is_err(), "another Gateway's data planes are not asked");
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    let batch = raw.batch().await.expect("a batch");
    let missing = "1 of 1 data planes of Gateway shop/web have not acknowledged the challenge";
    assert_eq!(answers().unwrap_err(), missing);
    // A listener that can't be served says nothing of the challenge.
    let listener = ir::ResourceKey::Listener(listener_key("shop/web", "https"));
    raw.answer(&batch, &[(listener, "its port is taken")]);
    eventually("it counts", || async { answers().is_ok() }).await;
    assert!(!controller.distributor.sync(&gateway).programmed);
    controller.publish(&now, &before);
    raw.acknowledged().await;
    assert!(answers().is_err());
}
