//! Who gets what.

use crate::controller::{Controller, Trust};
use crate::raw::{Raw, Versions};
use crate::world::{self, listener_key, scope, two_gateways};
use sluice_ir as ir;
use sluice_tests::eventually;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_plane_gets_exactly_what_belongs_to_its_gateway() {
    let (trust, all) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &all).await;
    for (own, foreign) in [("shop", "bank"), ("bank", "shop")] {
        let gateway = format!("{own}/web");
        let mut raw = Raw::of(&controller, &trust, &gateway).await;
        raw.acknowledged().await;
        assert_eq!(raw.snapshot, scope(&all, &gateway));
        let came = String::from_utf8_lossy(&raw.bytes).into_owned();
        assert!(came.contains(&format!("private key of {own}/tls")), "its own certificate is missing");
        for never in [format!("{foreign}/"), "private key of common/unused".to_owned()] {
            assert!(!came.contains(&never), "{never} came to {gateway}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_comes_and_goes_with_the_listener_that_names_it() {
    let (trust, before) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &before).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    raw.acknowledged().await;
    // Another Gateway's Secret changes: nothing comes. Then the own listener changes its certificate.
    let mut renewed = (*world::certificate("bank/tls")).clone();
    renewed.private_key = ir::SecretBytes::new(b"another private key".to_vec());
    let changed = world::with(before.clone(), [ir::Resource::Certificate(renewed.into())]);
    controller.publish(&before, &changed);
    let listener = world::https("shop/web", "https", 443, "common/unused");
    let now = world::with(changed.clone(), [ir::Resource::Listener(listener)]);
    controller.publish(&changed, &now);
    let batch = raw.acknowledged().await;
    assert_eq!(batch.upserts(), ["Certificate Secret/common/unused", "Listener Gateway/shop/web/https"]);
    assert_eq!(batch.removals(), ["Certificate Secret/shop/tls"]);
    assert_eq!(raw.snapshot, scope(&now, "shop/web"));
    assert!(!String::from_utf8_lossy(&raw.bytes).contains("another private key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_shown_without_its_attachments_to_other_gateways() {
    let (trust, before) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &before).await;
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    raw.acknowledged().await;
    let in_sync = || controller.distributor.sync(&ir::GatewayKey::new("shop/web")).in_sync == 1;
    eventually("the acknowledgement counts", || async { in_sync() }).await;
    // It moves within the other Gateway: this one hears nothing. Then it leaves this one.
    let elsewhere = [listener_key("shop/web", "http"), listener_key("bank/web", "http")];
    let moved = world::with(
        before.clone(),
        [ir::Resource::Route(world::route("common/both", &elsewhere, &["common/both"], 1))],
    );
    controller.publish(&before, &moved);
    assert!(in_sync());
    let gone = world::with(
        moved.clone(),
        [ir::Resource::Route(world::route("common/both", &elsewhere[1..], &["common/both"], 1))],
    );
    controller.publish(&moved, &gone);
    let batch = raw.acknowledged().await;
    assert!(batch.upserts().is_empty(), "{batch:?}");
    let removed = [
        "Route HTTPRoute/common/both",
        "Backend Service/common/both:80",
        "EndpointSet Service/common/both:80",
    ];
    assert_eq!(batch.removals(), removed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_the_gateways_service_account_gets_nothing() {
    let trust = Trust::new();
    let controller = Controller::start(&trust, &two_gateways()).await;
    let denied = async |token: &str, gateway: &str| match Raw::connect(
        &controller,
        &trust,
        token,
        gateway,
        Versions::new(),
    )
    .await
    {
        Err(status) => status.code(),
        Ok(mut raw) => {
            let status = raw.batch().await.expect_err("nothing is sent");
            assert!(raw.bytes.is_empty());
            status.code()
        }
    };
    assert_eq!(denied("nonsense", "shop/web").await, Code::Unauthenticated);
    assert_eq!(denied("bank/web-sluice", "shop/web").await, Code::PermissionDenied);
    assert_eq!(denied("shop/default", "shop/web").await, Code::PermissionDenied);
    assert_eq!(denied("shop/web-sluice/another-pod", "shop/web").await, Code::PermissionDenied);
    assert_eq!(denied("shop/web-sluice", "shop/unknown").await, Code::Unavailable);
    assert_eq!(denied("shop/web-sluice", "shop").await, Code::InvalidArgument);
    assert_eq!(denied("shop/web-sluice", "shop/web/x").await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_its_service_account_is_no_longer_the_gateways() {
    let trust = Trust::new();
    let controller = Controller::start(&trust, &two_gateways()).await;
    let gateway = ir::GatewayKey::new("shop/web");
    let mut raw = Raw::of(&controller, &trust, "shop/web").await;
    raw.acknowledged().await;
    controller.distributor.set_account(&gateway, Some("another".to_owned()));
    assert_eq!(raw.batch().await.expect_err("the end").code(), Code::Aborted);
    eventually("it is gone", || async { controller.distributor.sync(&gateway).connected == 0 }).await;
}
