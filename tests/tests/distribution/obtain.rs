//! Names of handshakes: a data plane asks the replica that it is connected to, which passes the question on to the one
//! that leads.

use crate::controller::{Controller, NAME, Trust};
use crate::peers::hears;
use crate::world::two_gateways;
use sluice_controller::acme::Offers;
use sluice_controller::serve::{Names, Others};
use sluice_ir as ir;
use sluice_tests::acme::{Responder, Running, settings, start};
use sluice_tests::eventually;
use sluice_translate::OnDemandListener;
use sluice_xds::connect::Connection;
use sluice_xds::obtain::{ObtainRequest, obtain};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Code, Status};

/// An engine that has no issuer: it says so of every name.
async fn engine(folder: &std::path::Path) -> Running {
    let store = Arc::new(sluice_acme::FolderStore::open(folder).unwrap());
    let challenges = Arc::new(Responder::start().await);
    start(store, challenges, settings("leader"), sluice_acme::WantedSet::default())
}

/// `shop/web` takes names below `example.com`.
fn offers() -> Arc<Offers> {
    let reference = |kind, name: &str| sluice_crds::ObjectRef::new(kind, "shop", name);
    Arc::new(Offers::new(&[OnDemandListener {
        key: ir::OnDemandKey::new("shop/shop/ca"),
        gateway: reference(sluice_crds::Kind::Gateway, "web"),
        hostname: ir::HostPattern::parse("*.example.com"),
        issuer: reference(sluice_crds::Kind::CertificateIssuer, "ca"),
        namespace: "shop".to_owned(),
        names: None,
    }]))
}

async fn ask(trust: &Trust, to: &Controller, token: &str, request: ObtainRequest) -> Status {
    let address = format!("https://{}", to.address).parse().unwrap();
    let authorities = trust.root.certificate().as_bytes();
    let connection = Connection::open(&address, Some(NAME), authorities).await.expect("a connection");
    obtain(connection.service(), token, request).await.expect_err("nobody issues")
}

fn name(gateway: &str, name: &str) -> ObtainRequest {
    ObtainRequest { gateway: gateway.to_owned(), name: name.to_owned(), passed_on: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_reaches_the_engine_through_any_replica() {
    let (trust, all, folder) = (Trust::new(), two_gateways(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path()).await;
    let (leads, of_leader) = watch::channel(Some(engine.handle.clone()));
    let (_offers, of_offers) = watch::channel(offers());
    let names = Names::new(of_offers.clone(), of_leader, Others::default());
    let leader = Controller::with_names(&trust, "leader", &all, names).await;
    let (others, nobody) = (Others::default(), watch::channel(None).1);
    let other =
        Controller::with_names(&trust, "other", &all, Names::new(of_offers, nobody, others.clone())).await;

    // Before the replicas know each other.
    let status = ask(&trust, &other, "shop/web-sluice", name("shop/web", "a.example.com")).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let _told = hears(&trust, &other, &leader, others);
    for controller in [&leader, &other] {
        eventually("the engine answers", || async {
            let status = ask(&trust, controller, "shop/web-sluice", name("shop/web", "a.example.com")).await;
            status.code() == Code::Unavailable && status.message().contains("issuer shop/ca takes no names")
        })
        .await;
        let status = ask(&trust, controller, "shop/web-sluice", name("shop/web", "a.other.test")).await;
        assert!(status.message().contains("no listener of Gateway shop/web takes a.other.test"), "{status}");
    }

    // Nobody leads.
    leads.send_replace(None);
    let status = ask(&trust, &other, "shop/web-sluice", name("shop/web", "a.example.com")).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_plane_asks_for_its_own_gateway_alone_and_passes_nothing_on() {
    let (trust, all, folder) = (Trust::new(), two_gateways(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path()).await;
    let (_leads, of_leader) = watch::channel(Some(engine.handle.clone()));
    let (_offers, of_offers) = watch::channel(offers());
    let names = Names::new(of_offers, of_leader, Others::default());
    let leader = Controller::with_names(&trust, "leader", &all, names).await;
    let wanted = name("shop/web", "a.example.com");
    let status = ask(&trust, &leader, "bank/web-sluice", wanted.clone()).await;
    assert!(status.code() == Code::PermissionDenied && status.message().contains("may not"), "{status}");
    let passed_on = ObtainRequest { passed_on: true, ..wanted.clone() };
    let status = ask(&trust, &leader, "shop/web-sluice", passed_on).await;
    assert!(status.message().contains("only replicas of the controller"), "{status}");
    let status = ask(&trust, &leader, "nonsense", wanted).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}
