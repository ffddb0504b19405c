//! Names of handshakes.

use sluice_acme::{Item, OnDemand, Refused, Scope, SolverKind, Status, WantedSet};
use sluice_tests::acme::{Allow, ISSUER, PebbleOptions, Running, World, key_of, set, wanted};
use std::sync::Arc;
use std::time::Duration;

async fn world(change: impl FnOnce(&mut OnDemand)) -> (World, Running, Allow) {
    let (world, allow) = (World::start(PebbleOptions::default()).await, Allow::start().await);
    let engine = engine(&world, &allow, change, |set| set).await;
    (world, engine, allow)
}

/// An engine whose issuer asks the endpoint.
async fn engine(
    world: &World,
    allow: &Allow,
    change: impl FnOnce(&mut OnDemand),
    more: impl FnOnce(WantedSet) -> WantedSet,
) -> Running {
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    let mut on_demand = OnDemand::new(allow.url());
    change(&mut on_demand);
    issuer.on_demand = Some(on_demand);
    let engine = world.engine(more(set(&issuer, Vec::new())));
    // The loop has taken the issuer in when its state is shown.
    let mut issuers = engine.handle.issuers();
    issuers.wait_for(|it| !it.is_empty()).await.unwrap();
    engine
}

async fn ask(engine: &Running, name: &str) -> Result<(), Refused> {
    let issuer = sluice_acme::IssuerName::new(ISSUER);
    engine.handle.on_demand(key_of(name), issuer, name.to_owned(), Scope::new("shop/gateway")).await
}

#[tokio::test]
async fn many_handshakes_for_one_allowed_name_make_one_question_and_one_order() {
    let (world, engine, allow) = world(|_| {}).await;
    let asked = (0..50).map(|_| ask(&engine, "good.example.test"));
    for outcome in futures::future::join_all(asked).await {
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!((world.pebble.orders(), allow.questions()), (1, 1));
    assert!(
        world
            .store()
            .read(&sluice_acme::Item::Certificate(key_of("good.example.test")))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_stream_of_unknown_names_makes_no_order_and_each_name_is_asked_for_once() {
    let (world, engine, allow) = world(|_| {}).await;
    for round in 0..3 {
        for n in 0..300 {
            let refused = ask(&engine, &format!("bad-{n}.example.test")).await.unwrap_err();
            assert!(matches!(refused, Refused::NotAllowed(_)), "{round} {refused}");
        }
    }
    assert_eq!(allow.questions(), 300);
    for odd in ["*.example.test", "localhost", "10.0.0.1", "Good.example.test"] {
        assert!(matches!(ask(&engine, odd).await, Err(Refused::Name(_))), "{odd}");
    }
    assert_eq!(world.pebble.orders(), 0);
    assert!(engine.handle.statuses().borrow().is_empty());
}

#[tokio::test]
async fn budgets_and_the_number_of_names_hold_whoever_asks() {
    let (world, engine, _) = world(|it| it.per_window = 2).await;
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    assert_eq!(ask(&engine, "good-2.example.test").await, Ok(()));
    let refused = ask(&engine, "good-3.example.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Quota(it) if it.contains("orders on demand")), "{refused}");
    // One that is there is served all the same.
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    assert_eq!(world.pebble.orders(), 2);
}

#[tokio::test]
async fn no_more_names_are_held_than_allowed() {
    let (_world, engine, _) = world(|it| it.max_names = 1).await;
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    let refused = ask(&engine, "good-2.example.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Quota(it) if it.contains("holds 1 names")), "{refused}");
}

#[tokio::test]
async fn a_name_that_failed_is_refused_at_once_and_not_tried_in_the_background() {
    let (world, engine, allow) = world(|it| it.refused_for = Duration::from_secs(60)).await;
    let refused = ask(&engine, "good.nowhere.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Failed(it) if it.contains("good.nowhere.test")), "{refused}");
    let again = ask(&engine, "good.nowhere.test").await.unwrap_err();
    assert_eq!(again, refused);
    assert_eq!((world.pebble.orders(), allow.questions()), (0, 1));
    sluice_tests::eventually("nothing is kept of it", || async {
        engine.handle.statuses().borrow().is_empty()
    })
    .await;
}

#[tokio::test]
async fn the_next_engine_keeps_what_handshakes_asked_for_until_it_is_not_allowed() {
    let options = PebbleOptions { validity: Duration::from_secs(12), ..PebbleOptions::default() };
    let (world, allow) = (World::start(options).await, Allow::start().await);
    let first = engine(&world, &allow, |_| {}, |set| set).await;
    assert_eq!(ask(&first, "good.example.test").await, Ok(()));
    drop(first);
    let held = || vec![wanted("good.example.test", &["good.example.test"])];
    let second =
        engine(&world, &allow, |it| it.allowed_for = Duration::ZERO, |set| WantedSet { held: held(), ..set })
            .await;
    let has_one = |it: &Status| it.current.is_some();
    let old = second.status("good.example.test", "it is kept", has_one).await.current.unwrap().fingerprint;
    assert_eq!(world.pebble.orders(), 1);
    // It is renewed though no handshake asks.
    let is_new = |it: &Status| it.current.as_ref().is_some_and(|it| it.fingerprint != old);
    second.status("good.example.test", "it is renewed", is_new).await;
    assert_eq!(world.pebble.orders(), 2);
    allow.close();
    sluice_tests::eventually("it is not kept any more", || async {
        second.handle.statuses().borrow().is_empty()
    })
    .await;
    assert_eq!(world.pebble.orders(), 2);
    // The certificate serves until its end; then the engine that finds it takes it away.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let set = (**second.wanted.borrow()).clone();
    second.wanted.send_replace(Arc::new(WantedSet { held: Vec::new(), ..set.clone() }));
    second.wanted.send_replace(Arc::new(set));
    let item = Item::Certificate(key_of("good.example.test"));
    sluice_tests::eventually("it is taken away", || async {
        world.store().read(&item).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_taken_out_of_the_store_is_given_up_and_asked_for_anew() {
    let (world, engine, _) = world(|_| {}).await;
    assert_eq!(ask(&engine, "good.example.test").await, Ok(()));
    let before = (**engine.wanted.borrow()).clone();
    let held = vec![wanted("good.example.test", &["good.example.test"])];
    engine.wanted.send_replace(Arc::new(WantedSet { held, ..before.clone() }));
    let item = Item::Certificate(key_of("good.example.test"));
    let entry = world.store().read(&item).await.unwrap().unwrap();
    world.store().delete(&item, &entry.version).await.unwrap();
    engine.wanted.send_replace(Arc::new(before));
    sluice_tests::eventually("it is given up", || async { engine.handle.statuses().borrow().is_empty() })
        .await;
    assert_eq!(ask(&engine, "good.example.test").await, Ok(()));
    assert_eq!(world.pebble.orders(), 2);
}
