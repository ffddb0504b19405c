#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{SessionId, Sessions};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use sluice_ir::{EndpointSetKey, SessionPersistence, SessionToken};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn id() -> SessionId {
    SessionId::of(&EndpointSetKey::new("Service/shop/cart:80"), "10.0.0.7:8080".parse().unwrap())
}

fn sessions(token: SessionToken, timeout_s: Option<u64>) -> Sessions {
    let absolute_timeout = timeout_s.map(Duration::from_secs);
    Sessions::new(&SessionPersistence { name: "Stay-Here".to_owned(), token, absolute_timeout }).unwrap()
}

fn with_cookie(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(value).unwrap())])
}

#[test]
fn the_id_is_the_same_on_every_replica_and_shows_no_address() {
    assert_eq!(id().to_string(), "AvXTY97Jugdec15FPi4vsw");
    assert_eq!(SessionId::parse(&id().to_string()), Some(id()));
    let other = SessionId::of(&EndpointSetKey::new("Service/shop/cart:80"), "10.0.0.8:8080".parse().unwrap());
    assert_ne!(id(), other);
}

#[test]
fn a_session_cookie_has_no_age_and_is_secure_over_tls_only() {
    let sessions = sessions(SessionToken::SessionCookie, None);
    let (name, plain) = sessions.write(id(), false, at(NOW)).unwrap();
    assert_eq!(name, "set-cookie");
    assert_eq!(plain, format!("Stay-Here={}; Path=/; HttpOnly; SameSite=Lax", id()).as_str());
    let (_, tls) = sessions.write(id(), true, at(NOW)).unwrap();
    assert_eq!(tls, format!("Stay-Here={}; Path=/; HttpOnly; SameSite=Lax; Secure", id()).as_str());
}

#[test]
fn a_permanent_cookie_lives_as_long_as_its_timeout() {
    let (_, value) = sessions(SessionToken::PermanentCookie, Some(3600)).write(id(), false, at(NOW)).unwrap();
    assert_eq!(
        value,
        format!("Stay-Here={}.1003600; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600", id()).as_str()
    );
}

#[test]
fn a_cookie_is_found_among_others_by_its_exact_name() {
    let sessions = sessions(SessionToken::SessionCookie, None);
    let text = format!("a=b; stay-here=no; Stay-Here={}; Stay-Here=later", id());
    assert_eq!(sessions.read(&with_cookie(&text), at(NOW)), Some(id()));
    let mut split = with_cookie("a=b");
    split.append(COOKIE, HeaderValue::from_str(&format!("Stay-Here=\"{}\"", id())).unwrap());
    assert_eq!(sessions.read(&split, at(NOW)), Some(id()));
    assert_eq!(sessions.read(&with_cookie("stay-here=x"), at(NOW)), None);
}

#[test]
fn a_header_session_comes_back_as_it_was_given() {
    let sessions = sessions(SessionToken::Header, None);
    let (name, value) = sessions.write(id(), true, at(NOW)).unwrap();
    assert_eq!(sessions.read(&HeaderMap::from_iter([(name, value)]), at(NOW)), Some(id()));
}

#[test]
fn a_session_ends_at_its_absolute_timeout() {
    let sessions = sessions(SessionToken::Header, Some(60));
    let (name, value) = sessions.write(id(), true, at(NOW)).unwrap();
    let headers = HeaderMap::from_iter([(name, value)]);
    assert_eq!(sessions.read(&headers, at(NOW + 59)), Some(id()));
    assert_eq!(sessions.read(&headers, at(NOW + 60)), None);
}

#[test]
fn a_token_without_end_is_refused_once_the_rule_has_a_timeout() {
    let headers = with_cookie(&format!("Stay-Here={}", id()));
    assert_eq!(sessions(SessionToken::SessionCookie, Some(60)).read(&headers, at(NOW)), None);
}

#[test]
fn a_name_that_is_no_token_is_refused() {
    let rule =
        SessionPersistence { name: "a; b".to_owned(), token: SessionToken::Header, absolute_timeout: None };
    assert!(Sessions::new(&rule).is_none());
}

proptest! {
    #[test]
    fn whatever_a_client_sends_never_panics(text in "[ -~]{0,120}", timeout_s in prop::option::of(0_u64..100)) {
        for token in [SessionToken::Header, SessionToken::SessionCookie] {
            let sessions = sessions(token, timeout_s);
            let mut headers = with_cookie(&format!("Stay-Here={text}"));
            headers.insert("stay-here", HeaderValue::from_str(&text).unwrap());
            prop_assert_eq!(sessions.read(&headers, at(NOW)), None);
        }
    }
}
