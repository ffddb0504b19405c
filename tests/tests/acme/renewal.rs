//! Renewal: by age, by the authority's wish, and what the order says then.

use crate::resume::certificate;
use sluice_acme::{Budgets, SolverKind, State, Status, WantedSet};
use sluice_tests::acme::{PebbleOptions, World, key_of, set, wanted};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn fingerprint(status: &Status) -> Option<&str> {
    status.current.as_ref().map(|it| it.fingerprint.as_str())
}

#[tokio::test]
async fn a_certificate_of_seconds_is_renewed_before_each_end_and_costs_no_budget_of_its_domain() {
    let options = PebbleOptions { validity: Duration::from_secs(8), ..PebbleOptions::default() };
    let world = World::start(options).await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    issuer.budgets = Budgets { per_domain: 1, ..Budgets::default() };
    let engine = world.engine(set(&issuer, vec![wanted("web", &["short.example.test"])]));
    let mut last = engine.issued("web").await;
    for _ in 0..3 {
        let old = last.clone();
        let State::Valid { next_renewal } = old.state else { panic!("{old:?}") };
        let next = engine.status("web", "is renewed", |it| {
            assert!(it.current.is_some(), "there is always a valid one: {it:?}");
            fingerprint(it) != fingerprint(&old)
        });
        let next = next.await;
        let ended = old.current.as_ref().unwrap().not_after;
        assert!(SystemTime::now() < ended && SystemTime::now() >= next_renewal);
        last = next;
        last = engine
            .status("web", "rests", |it| {
                matches!(it.state, State::Valid { .. }) && fingerprint(it) == fingerprint(&last)
            })
            .await;
    }
    assert_eq!(world.pebble.orders(), 4);
}

#[tokio::test]
async fn the_authoritys_window_decides_and_the_order_names_what_it_replaces() {
    let world = World::start(PebbleOptions::default()).await;
    let far = SystemTime::now() + Duration::from_secs(3600 * 24 * 20);
    world.front.window(&text(far), &text(far));
    let issuer = world.issuer(&[SolverKind::Http01]);
    let wishes = set(&issuer, vec![wanted("web", &["ari.example.test"])]);
    let engine = world.engine(wishes.clone());
    let is_far = |it: &Status| matches!(it.state, State::Valid { next_renewal } if near(next_renewal, far));
    engine.status("web", "is renewed when the authority says", is_far).await;
    drop(engine);
    // In the past: at once (RFC 9773 §4.2), but once: an authority that errs is not asked for ever.
    world.front.window("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    let engine = world.engine(wishes);
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let is_new = |it: &Status| matches!(it.state, State::Valid { next_renewal } if near(next_renewal, soon));
    engine.status("web", "rests for an hour after it was renewed", is_new).await;
    // What came at the door counts a request again whose nonce was refused.
    assert_eq!(world.pebble.orders(), 2);
    let asked = world.front.asked();
    assert!(asked.first().unwrap().get("replaces").is_none());
    assert!(asked.last().unwrap()["replaces"].as_str().unwrap().contains('.'));
}

fn near(a: SystemTime, b: SystemTime) -> bool {
    let apart = a.duration_since(b).or_else(|_| b.duration_since(a)).unwrap();
    apart < Duration::from_secs(20)
}

/// RFC 3339.
fn text(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let timestamp =
        std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]).output();
    String::from_utf8(timestamp.unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_profile_is_asked_for_and_one_that_is_not_offered_is_told() {
    let world = World::start(PebbleOptions::default()).await;
    world.front.profiles(&["shortlived"]);
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    issuer.profile = Some("longlived".to_owned());
    let wishes = vec![wanted("web", &["profile.example.test"])];
    let engine = world.engine(set(&issuer, wishes.clone()));
    let waits = |it: &Status| matches!(it.state, State::Waiting { until: Some(_), .. });
    let status = engine.status("web", "waits", waits).await;
    let State::Waiting { message, .. } = status.state else { panic!() };
    assert!(
        message.contains("the authority has no profile \"longlived\" (profiles: shortlived)"),
        "{message}"
    );
    issuer.profile = Some("shortlived".to_owned());
    engine.wanted.send_replace(std::sync::Arc::new(set(&issuer, wishes)));
    engine.issued("web").await;
    assert_eq!(world.front.asked()[0]["profile"], "shortlived");
}

#[tokio::test]
async fn a_certificate_that_was_deleted_is_made_again_and_a_foreign_one_stays() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let present = set(&issuer, vec![wanted("web", &["again.example.test"])]);
    let missing = WantedSet { missing: [key_of("web")].into(), ..present.clone() };
    let engine = world.engine(present.clone());
    let first = engine.issued("web").await;
    let item = sluice_acme::Item::Certificate(key_of("web"));
    let entry = world.store().read(&item).await.unwrap().unwrap();
    world.store().delete(&item, &entry.version).await.unwrap();
    engine.wanted.send_replace(Arc::new(missing.clone()));
    let is_new = |it: &Status| it.current.is_some() && fingerprint(it) != fingerprint(&first);
    engine.status("web", "is made again", is_new).await;
    let mut foreign = certificate(&world, "web").await.unwrap();
    foreign.0.remove("acme.json");
    let entry = world.store().read(&item).await.unwrap().unwrap();
    world.store().write(&item, &foreign, Some(&entry.version)).await.unwrap();
    // It is there again, which is seen when the other wish is.
    let other = wanted("other", &["other.example.test"]);
    let certificates = [present.certificates, vec![other]].concat();
    let present = WantedSet { certificates, missing: Default::default(), ..missing.clone() };
    engine.wanted.send_replace(Arc::new(present));
    engine.issued("other").await;
    engine.wanted.send_replace(Arc::new(missing));
    let status = engine.status("web", "is left alone", |it| matches!(it.state, State::Failed { .. })).await;
    let State::Failed { reason, message, .. } = status.state else { panic!() };
    assert!(reason == sluice_acme::Reason::Secret && message.contains("was not made by Sluice"), "{message}");
    assert_eq!(world.pebble.orders(), 3);
}
