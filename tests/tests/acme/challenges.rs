//! Certificates by each kind of challenge, from authorities with different habits.

use crate::resume::certificate;
use sluice_acme::{AccountBinding, IssuerState, KeyType, Secret, SolverKind, State};
use sluice_tests::acme::{ACCOUNT_KEY, ISSUER, PebbleOptions, World, set, wanted};
use std::time::Duration;

#[tokio::test]
async fn http_01_proves_several_names_and_leaves_nothing_behind() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let names = ["www.example.test", "example.test", "shop.example.test"];
    let engine = world.engine(set(&issuer, vec![wanted("web", &names)]));
    let status = engine.issued("web").await;
    assert_eq!(status.names, ["example.test", "shop.example.test", "www.example.test"]);
    let data = certificate(&world, "web").await.unwrap();
    assert!(data.get("tls.crt").unwrap().matches("BEGIN CERTIFICATE").count() >= 2);
    assert!(data.get("tls.key").unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!((world.pebble.orders(), world.pebble.accounts()), (1, 1));
    assert_eq!(world.responder.shown(), []);
    let issuers = engine.handle.issuers();
    let state = issuers.borrow().values().next().cloned().unwrap();
    assert!(matches!(state, IssuerState::Ready { account } if account.starts_with("https://")));
}

#[tokio::test]
async fn tls_alpn_01_proves_a_name() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::TlsAlpn01]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["tls.example.test"])]));
    engine.issued("web").await;
    assert!(world.responder.presented().len() >= 2, "the probe and the challenge");
    assert_eq!(world.responder.shown(), []);
}

#[tokio::test]
async fn two_certificates_of_one_host_do_not_take_each_others_answer() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::TlsAlpn01]);
    let wishes = ["one", "two", "three"].map(|it| wanted(it, &["same.example.test"]));
    let engine = world.engine(set(&issuer, wishes.to_vec()));
    for key in ["one", "two", "three"] {
        engine.issued(key).await;
    }
    assert_eq!(world.pebble.orders(), 3);
}

#[tokio::test]
async fn dns_01_proves_a_wildcard_together_with_its_domain_and_cleans_the_zone() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01, world.rfc2136()]);
    // Both are proven at one name, with two values.
    let names = ["*.wild.example.test", "wild.example.test"];
    let mut issuer = issuer;
    issuer.solvers.remove(0);
    let engine = world.engine(set(&issuer, vec![wanted("web", &names)]));
    engine.issued("web").await;
    assert_eq!(world.named.texts("_acme-challenge.wild.example.test").await, Vec::<String>::new());
    assert_eq!(world.named.said().matches("adding an RR").count(), 2, "{}", world.named.said());
}

#[tokio::test]
async fn a_wildcard_takes_the_dns_solver_although_another_one_comes_first() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01, world.rfc2136()]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["*.example.test", "www.example.test"])]));
    engine.issued("web").await;
    // The probe and the challenge of the name that is no wildcard.
    assert_eq!(world.responder.presented().len(), 2);
}

#[tokio::test]
async fn a_challenge_name_that_is_an_alias_is_proven_in_the_zone_it_leads_to() {
    let records = "_acme-challenge.alias IN CNAME alias._validation.example.test.";
    let world = World::with_records(PebbleOptions::default(), records).await;
    let issuer = world.issuer(&[world.rfc2136()]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["alias.example.test"])]));
    engine.issued("web").await;
    assert!(world.named.said().contains("adding an RR at 'alias._validation.example.test'"));
}

#[tokio::test]
async fn a_wildcard_without_a_dns_solver_says_what_is_missing_and_orders_nothing() {
    let world = World::start(PebbleOptions::default()).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["*.example.test"])]));
    let status = engine.status("web", "fails", |it| matches!(it.state, State::Failed { .. })).await;
    let State::Failed { message, .. } = status.state else { panic!() };
    assert!(message.contains(&format!("give issuer {ISSUER} a DNS-01 solver for example.test")), "{message}");
    assert_eq!(world.pebble.orders(), 0);
}

#[tokio::test]
async fn an_authority_that_wants_an_external_account_gets_it_or_the_issuer_says_so() {
    let options = PebbleOptions { needs_account_key: true, ..PebbleOptions::default() };
    let world = World::start(options).await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    let certificates = vec![wanted("web", &["bound.example.test"])];
    let engine = world.engine(set(&issuer, certificates.clone()));
    let waits = |it: &sluice_acme::Status| matches!(&it.state, State::Waiting { until: Some(_), .. });
    let status = engine.status("web", "waits for the issuer", waits).await;
    let State::Waiting { message, .. } = status.state else { panic!() };
    assert!(message.contains("wants an external account binding"), "{message}");
    issuer.account_binding = Some(binding());
    engine.wanted.send_replace(std::sync::Arc::new(set(&issuer, certificates)));
    engine.issued("web").await;
    assert_eq!(world.pebble.accounts(), 1);
}

fn binding() -> AccountBinding {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(ACCOUNT_KEY.1).unwrap();
    AccountBinding { key_id: ACCOUNT_KEY.0.to_owned(), key: Secret::new(key) }
}

#[tokio::test]
async fn refused_nonces_and_slow_looks_are_all_the_same() {
    let options = PebbleOptions {
        refused_nonces: 30,
        slow_look: Some(Duration::from_secs(3)),
        ..PebbleOptions::default()
    };
    let world = World::start(options).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let engine = world.engine(set(&issuer, vec![wanted("one", &["a.example.test", "b.example.test"])]));
    engine.issued("one").await;
}

#[tokio::test]
async fn a_name_that_is_proven_needs_no_challenge_again() {
    let world = World::start(PebbleOptions { reused_authorizations: 100, ..PebbleOptions::default() }).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let first = vec![wanted("one", &["a.example.test"])];
    let engine = world.engine(set(&issuer, first.clone()));
    engine.issued("one").await;
    let proven = world.responder.presented().len();
    // The same name again: it needs only the probe.
    let both = [first, vec![wanted("two", &["a.example.test", "b.example.test"])]].concat();
    engine.wanted.send_replace(std::sync::Arc::new(set(&issuer, both)));
    engine.issued("two").await;
    let presented = world.responder.presented();
    assert_eq!(presented.len(), proven + 3, "two probes and one challenge: {presented:?}");
}

#[tokio::test]
async fn rsa_keys_are_made_when_asked_for_and_a_new_key_type_renews() {
    let world = World::start(PebbleOptions::default()).await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    let certificates = vec![wanted("web", &["rsa.example.test"])];
    issuer.key_type = KeyType::Rsa2048;
    let engine = world.engine(set(&issuer, certificates.clone()));
    let first = engine.issued("web").await.current.unwrap();
    let key = certificate(&world, "web").await.unwrap().get("tls.key").unwrap().to_owned();
    assert!(key.len() > 1500, "an RSA key is long: {}", key.len());
    issuer.key_type = KeyType::EcdsaP384;
    engine.wanted.send_replace(std::sync::Arc::new(set(&issuer, certificates)));
    let is_new = |it: &sluice_acme::Status| {
        it.current.as_ref().is_some_and(|now| now.fingerprint != first.fingerprint)
    };
    engine.status("web", "is renewed", is_new).await;
    let key = certificate(&world, "web").await.unwrap().get("tls.key").unwrap().to_owned();
    assert!(key.len() < 500, "an ECDSA key is short: {}", key.len());
    assert_eq!(world.pebble.orders(), 2);
}
