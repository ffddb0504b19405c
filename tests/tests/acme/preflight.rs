//! What is found before an order is spent on it.

use sluice_acme::{Dns01, Reason, Rfc2136, Secret, SolverKind, State, Status};
use sluice_tests::acme::{PebbleOptions, World, set, wanted};

fn trouble(status: &Status) -> Option<(Reason, String)> {
    match &status.state {
        State::Waiting { reason, message, until: Some(_) } => Some((*reason, message.clone())),
        State::Failed { reason, message, .. } => Some((*reason, message.clone())),
        _ => None,
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_told_and_ordered_as_soon_as_it_has_one() {
    let world =
        World::with_records(PebbleOptions::default(), "txt.late IN TXT \"hides late from the wildcard\"")
            .await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["late.example.test"])]));
    let status = engine.status("web", "waits", |it| trouble(it).is_some()).await;
    assert_eq!(
        trouble(&status).unwrap(),
        (
            Reason::Dns,
            "DNS: late.example.test has no address; add an A or AAAA record that points to the gateway"
                .to_owned()
        )
    );
    assert_eq!(world.pebble.orders(), 0);
    world.named.update(&format!("update add late.example.test 1 A {}", world.responder.ip())).await;
    engine.issued("web").await;
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_told_by_each_kind_of_probe() {
    let world = World::with_records(PebbleOptions::default(), "away IN A 127.0.0.1").await;
    for (solver, start) in [
        (SolverKind::Http01, "HTTP: away.example.test at 127.0.0.1:10080 can't be reached"),
        (SolverKind::TlsAlpn01, "TLS: away.example.test at 127.0.0.1:10443 can't be reached"),
    ] {
        let issuer = world.issuer(&[solver]);
        let engine = world.engine(set(&issuer, vec![wanted("web", &["away.example.test"])]));
        let status = engine.status("web", "waits", |it| trouble(it).is_some()).await;
        let (reason, message) = trouble(&status).unwrap();
        assert!(reason == Reason::Challenge && message.starts_with(start), "{message}");
        assert!(message.ends_with("does the name lead to this gateway?"), "{message}");
    }
    assert_eq!((world.pebble.orders(), world.responder.shown().len()), (0, 0));
}

#[tokio::test]
async fn caa_records_that_name_another_authority_are_told() {
    let world = World::with_records(
        PebbleOptions::default(),
        "caa IN CAA 0 issue \"other.example\"\nwww.caa IN A 127.0.0.1",
    )
    .await;
    world.front.caa_identities(&["pebble.example"]);
    let issuer = world.issuer(&[SolverKind::Http01]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["www.caa.example.test"])]));
    let status = engine.status("web", "waits", |it| trouble(it).is_some()).await;
    assert_eq!(
        trouble(&status).unwrap().1,
        "DNS: the CAA records of caa.example.test allow other.example, and the authority is pebble.example; \
         add a record for it"
    );
    assert_eq!(world.pebble.orders(), 0);
}

#[tokio::test]
async fn a_wrong_update_key_is_told_and_the_order_goes_on_when_it_is_right() {
    let world = World::start(PebbleOptions::default()).await;
    let SolverKind::Dns01(Dns01::Rfc2136(right)) = world.rfc2136() else { panic!() };
    let wrong = Rfc2136 { key: Secret::new("wrong"), ..right };
    let issuer = world.issuer(&[SolverKind::Dns01(Dns01::Rfc2136(wrong))]);
    let wishes = vec![wanted("web", &["key.example.test"])];
    let engine = world.engine(set(&issuer, wishes.clone()));
    let status = engine.status("web", "waits", |it| trouble(it).is_some()).await;
    let (reason, message) = trouble(&status).unwrap();
    assert_eq!(reason, Reason::Dns);
    assert!(message.contains("is refused") && message.contains("check the key and its rights"), "{message}");
    let issuer = world.issuer(&[world.rfc2136()]);
    engine.wanted.send_replace(std::sync::Arc::new(set(&issuer, wishes)));
    engine.issued("web").await;
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn every_server_of_the_zone_must_show_the_record_before_the_authority_looks() {
    // A second server of the zone that is not there.
    let world = World::with_records(PebbleOptions::default(), "@ IN NS ns2\nns2 IN A 127.0.0.2").await;
    let mut issuer = world.issuer(&[world.rfc2136()]);
    issuer.preflight.dns_wait = std::time::Duration::from_secs(1);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["slow.example.test"])]));
    let status = engine.status("web", "waits", |it| trouble(it).is_some()).await;
    let (reason, message) = trouble(&status).unwrap();
    assert_eq!(reason, Reason::Dns);
    let port = world.named.address().port();
    let place = "_acme-challenge.slow.example.test";
    let start = format!("DNS: 127.0.0.2:{port} does not show the TXT record of {place} after 1 s");
    assert!(message.starts_with(&start), "{message}");
    world.named.update("update delete example.test NS ns2.example.test.").await;
    engine.issued("web").await;
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn without_preflight_nothing_is_probed() {
    let world = World::start(PebbleOptions::default()).await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    issuer.preflight.enabled = false;
    issuer.resolvers = vec!["127.0.0.1:1".parse().unwrap()];
    let engine = world.engine(set(&issuer, vec![wanted("web", &["plain.example.test"])]));
    engine.issued("web").await;
    assert_eq!(world.responder.presented().len(), 1);
}
