//! Who may answer for a certificate (RFC 6960 §4.2.2.2), and which answers are stapled.

#![allow(clippy::unwrap_used)]

use super::{Good, Refused, judge};
use crate::staple::need::Need;
use crate::staple::pki::{Authority, GOOD, NOON_S, UNKNOWN, need, response, revoked};
use crate::staple::request::CertId;
use rcgen::ExtendedKeyUsagePurpose::{OcspSigning, ServerAuth};

struct World {
    authority: Authority,
    need: Need,
    id: CertId,
}

fn world() -> World {
    let authority = Authority::new();
    let need = need(&authority.must_staple("http://ocsp.test/"));
    let id = CertId::of(&need).unwrap();
    World { authority, need, id }
}

#[test]
fn the_issuer_answers_itself() {
    let World { authority, need, id } = world();
    let good = response(authority.key(), &id, GOOD, &[]);
    let day_s = 24 * 3600;
    let expected = Good { until_s: NOON_S + day_s / 2, refresh_s: NOON_S };
    assert_eq!(judge(&good, &need, &id, NOON_S), Ok(expected));
    assert_eq!(judge(&good, &need, &id, NOON_S - day_s), Err(Refused::Time));
    assert_eq!(judge(&good, &need, &id, NOON_S + day_s), Err(Refused::Time));
}

#[test]
fn a_responder_that_the_issuer_has_certified_for_it_answers_in_its_place() {
    let World { authority, need, id } = world();
    let delegate = authority.delegate(OcspSigning, 2027);
    let told = |along: &[&_]| judge(&response(&delegate.key, &id, GOOD, along), &need, &id, NOON_S);
    assert!(told(&[&delegate]).is_ok());
    // Others may come along, in any order.
    assert!(told(&[&authority.delegate(ServerAuth, 2027), &delegate]).is_ok());
    // Its certificate must come along: nobody knows it otherwise.
    assert_eq!(told(&[]), Err(Refused::Signature));
}

#[test]
fn nobody_else_answers() {
    let World { authority, need, id } = world();
    let other = Authority::new();
    let cases = [
        ("a certificate of the issuer for another purpose", authority.delegate(ServerAuth, 2027)),
        ("a responder of another authority with the same name", other.delegate(OcspSigning, 2027)),
        ("a responder whose certificate has ended", authority.delegate(OcspSigning, 2026)),
    ];
    for (who, delegate) in cases {
        let told = response(&delegate.key, &id, GOOD, &[&delegate]);
        assert_eq!(judge(&told, &need, &id, NOON_S), Err(Refused::Signature), "{who}");
    }
    let told = response(other.key(), &id, GOOD, &[]);
    assert_eq!(judge(&told, &need, &id, NOON_S), Err(Refused::Signature), "another authority");
    // One that may answer, and has signed something else.
    let delegate = authority.delegate(OcspSigning, 2027);
    let told = response(other.key(), &id, GOOD, &[&delegate]);
    assert_eq!(judge(&told, &need, &id, NOON_S), Err(Refused::Signature), "another key");
}

#[test]
fn only_a_fresh_and_good_answer_about_this_certificate_is_stapled() {
    let World { authority, need, id } = world();
    let told = |status: &[u8]| response(authority.key(), &id, status, &[]);
    assert_eq!(judge(&told(&revoked()), &need, &id, NOON_S), Err(Refused::Revoked));
    assert_eq!(judge(&told(UNKNOWN), &need, &id, NOON_S), Err(Refused::Unknown));
    // What was said once is not believed for ever: neither the good nor the bad.
    assert_eq!(judge(&told(&revoked()), &need, &id, NOON_S + 24 * 3600), Err(Refused::Time));
    let other = CertId { serial: vec![0x77], ..id.clone() };
    let told = response(authority.key(), &other, GOOD, &[]);
    assert_eq!(judge(&told, &need, &id, NOON_S), Err(Refused::Other));
    // OCSPResponse with status tryLater and nothing else.
    assert_eq!(judge(&[0x30, 3, 0x0a, 1, 3], &need, &id, NOON_S), Err(Refused::Status(3)));
    assert_eq!(judge(b"<html>", &need, &id, NOON_S), Err(Refused::Malformed));
}
