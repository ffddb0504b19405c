//! What becomes of a certificate's staple, try by try.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::{News, Stapler};
use crate::staple::pki::{Authority, NOON_S, certificate, need};
use crate::staple::response::{Good, Refused};
use crate::staple::standing::{Failure, without_asking};
use futures::FutureExt as _;
use sluice_ir::{Certificate, CertificateKey, Delta, Resource, ResourceKey};
use sluice_translate::{StapleReason, StapleStanding};
use std::sync::Arc;

const URL: &str = "http://ocsp.test/";

fn key() -> CertificateKey {
    CertificateKey::new("Secret/edge/web")
}

/// What the certificate goes out with.
fn attached(stapler: &Stapler, certificate: &Arc<Certificate>) -> Option<Vec<u8>> {
    let delta = Delta { upserts: vec![Resource::Certificate(certificate.clone())], removals: Vec::new() };
    match &stapler.attach(&delta).upserts[..] {
        [Resource::Certificate(it)] => it.staple.as_ref().map(|it| it.expose().to_vec()),
        other => panic!("{other:?}"),
    }
}

fn news(stapler: &Stapler) -> Option<News> {
    stapler.news().now_or_never()
}

/// How the certificate stands, which is news, and whether it goes out again.
fn standing(stapler: &Stapler) -> (StapleReason, String, bool) {
    let News { changed, mut standings } = news(stapler).unwrap();
    let StapleStanding { reason, message } = standings.remove(&key()).unwrap();
    (reason, message, changed.contains(&key()))
}

fn good(until_s: i64) -> Result<(Vec<u8>, Good), Failure> {
    Ok((vec![1], Good { until_s, refresh_s: NOON_S }))
}

#[test]
fn a_good_response_is_kept_while_others_fail_until_its_end() {
    let chain = Authority::new().must_staple(URL);
    let (need, certificate) = (need(&chain), certificate(&chain));
    let stapler = Stapler::default();
    assert_eq!(attached(&stapler, &certificate), None);
    assert_eq!(
        standing(&stapler),
        (StapleReason::Pending, "the OCSP response is being fetched".to_owned(), false)
    );
    assert!(news(&stapler).is_none());

    stapler.settle(&key(), &need, good(NOON_S + 100), NOON_S);
    assert_eq!(standing(&stapler), (StapleReason::Stapled, String::new(), true));
    assert_eq!(attached(&stapler, &certificate), Some(vec![1]));

    let refused = || Err(Failure::Refused(Refused::Unknown));
    stapler.settle(&key(), &need, refused(), NOON_S + 1);
    let why = "OCSP responder http://ocsp.test/: the responder does not know the certificate";
    let message = format!("the last response is still good; {why}");
    assert_eq!(standing(&stapler), (StapleReason::Stapled, message, false));
    // The same once more is no news: nobody writes a status for it.
    stapler.settle(&key(), &need, refused(), NOON_S + 2);
    assert!(news(&stapler).is_none());

    stapler.expire(NOON_S + 100);
    assert_eq!(standing(&stapler), (StapleReason::Unknown, why.to_owned(), true));
    assert_eq!(attached(&stapler, &certificate), None);
}

#[test]
fn a_revoked_certificate_is_never_shown_with_an_older_good_response() {
    let chain = Authority::new().must_staple(URL);
    let (need, certificate) = (need(&chain), certificate(&chain));
    let stapler = Stapler::default();
    attached(&stapler, &certificate);
    stapler.settle(&key(), &need, good(NOON_S + 1000), NOON_S);
    assert!(news(&stapler).is_some());
    stapler.settle(&key(), &need, Err(Failure::Refused(Refused::Revoked)), NOON_S + 1);
    let message = "OCSP responder http://ocsp.test/: the certificate is revoked".to_owned();
    assert_eq!(standing(&stapler), (StapleReason::Revoked, message, true));
    assert_eq!(attached(&stapler, &certificate), None);
    // It was only on hold.
    stapler.settle(&key(), &need, good(NOON_S + 1000), NOON_S + 2);
    assert_eq!(standing(&stapler), (StapleReason::Stapled, String::new(), true));
}

#[test]
fn what_no_responder_could_help_is_told_without_asking_and_forgotten_with_the_certificate() {
    let chain = Authority::new().must_staple(URL);
    let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap_or(&chain);
    let alone = certificate(leaf);
    let stapler = Stapler::default();
    assert_eq!(attached(&stapler, &alone), None);
    let message = "it must be stapled and tls.crt lacks its issuer".to_owned();
    assert_eq!(standing(&stapler), (StapleReason::NoIssuer, message, false));
    let known = without_asking([&alone, &certificate(&chain)]);
    assert_eq!(known[&key()].reason, StapleReason::NoIssuer);

    attached(&stapler, &alone);
    assert!(news(&stapler).is_none());
    stapler.attach(&Delta { upserts: Vec::new(), removals: vec![ResourceKey::Certificate(key())] });
    assert!(news(&stapler).unwrap().standings.is_empty());
}

#[test]
fn a_url_of_any_length_is_shown_in_part() {
    let chain = Authority::new().must_staple(&format!("http://ocsp.test/{}", "a".repeat(100_000)));
    let stapler = Stapler::default();
    attached(&stapler, &certificate(&chain));
    stapler.settle(&key(), &need(&chain), Err(Failure::Responder(anyhow::anyhow!("no route"))), NOON_S);
    let (reason, message, _) = standing(&stapler);
    assert_eq!(reason, StapleReason::ResponderFailed);
    assert!(message.ends_with("aaa…: no route") && message.chars().count() < 300, "{message}");
}
