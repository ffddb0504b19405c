//! Budgets, limits of the authority, and bad names that must not hold up good ones.

use sluice_acme::{Budgets, Reason, SolverKind, State, Status};
use sluice_tests::acme::{Orders, PebbleOptions, World, set, settings, start, wanted};
use std::time::{Duration, SystemTime};

fn waits(status: &Status, reason: Reason) -> bool {
    matches!(&status.state, State::Waiting { reason: it, until: Some(_), .. } if *it == reason)
}

#[tokio::test]
async fn a_used_up_budget_makes_no_order_says_until_when_and_survives_a_restart() {
    let world = World::start(PebbleOptions::default()).await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    issuer.budgets = Budgets { per_domain: 2, ..Budgets::default() };
    let wishes = ["a", "b", "c"].map(|it| wanted(it, &[&format!("{it}.example.test")]));
    let engine = world.engine(set(&issuer, wishes[..2].to_vec()));
    engine.issued("a").await;
    engine.issued("b").await;
    drop(engine);
    let engine = world.engine(set(&issuer, wishes.to_vec()));
    let status = engine.status("c", "waits for the budget", |it| waits(it, Reason::Quota)).await;
    let State::Waiting { message, until, .. } = status.state else { panic!() };
    assert_eq!(message, "the budget of 2 certificates of example.test within 7 days is used up");
    assert!(until.unwrap() > SystemTime::now() + Duration::from_secs(6 * 24 * 3600));
    assert_eq!(world.pebble.orders(), 2);
}

#[tokio::test]
async fn a_limit_of_the_authority_is_waited_for_as_long_as_it_says() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    world.front.orders(Orders::Limited(Duration::from_secs(3)));
    let started = SystemTime::now();
    let engine = world.engine(set(&issuer, vec![wanted("web", &["limited.example.test"])]));
    let status = engine.status("web", "waits for the limit", |it| waits(it, Reason::Quota)).await;
    let State::Waiting { message, .. } = status.state else { panic!() };
    assert_eq!(message, "the authority says rateLimited: too many orders of this test");
    engine.issued("web").await;
    assert!(started.elapsed().unwrap() >= Duration::from_secs(3));
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn bad_names_wait_by_themselves_and_hold_up_nobody() {
    let options =
        PebbleOptions { refused_domain: Some("bad.example.test".to_owned()), ..PebbleOptions::default() };
    let world = World::start(options).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let mut wishes: Vec<_> =
        (0..6).map(|n| wanted(&format!("refused-{n}"), &[&format!("n{n}.bad.example.test")])).collect();
    wishes.extend((0..6).map(|n| wanted(&format!("nowhere-{n}"), &[&format!("n{n}.elsewhere.test")])));
    wishes.push(wanted("odd", &["Not A Name"]));
    wishes.push(wanted("good", &["good.example.test"]));
    let mut settings = settings("engine");
    // One at a time: whoever holds the place longest would hold up all.
    settings.parallel_orders = 1;
    settings.backoff = (Duration::from_secs(3600), Duration::from_secs(7200));
    let engine = start(world.store(), world.challenges(), settings, set(&issuer, wishes));
    engine.issued("good").await;
    let failed = |it: &Status| matches!(it.state, State::Failed { .. });
    let status = engine.status("refused-0", "fails", failed).await;
    let State::Failed { reason, message, .. } = status.state else { panic!() };
    assert_eq!(reason, Reason::Name, "{message}");
    engine.status("nowhere-0", "waits for DNS", |it| waits(it, Reason::Dns)).await;
    engine.status("odd", "fails", failed).await;
    let orders = world.pebble.orders();
    // Another engine on the same store honours the pauses.
    drop(engine);
    let engine = world.engine(set(&issuer, vec![wanted("refused-0", &["n0.bad.example.test"])]));
    engine.status("refused-0", "still fails", failed).await;
    assert_eq!(world.pebble.orders(), orders);
}
