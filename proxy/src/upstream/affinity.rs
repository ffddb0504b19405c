//! The key of consistent hashing (`consistentHash` of a DestinationRule): what of a request decides where it goes.

use super::hash_table::hash;
use super::random;
use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};
use sluice_ir::{HashCookie, HashKey};
use std::net::IpAddr;

/// What a request says of its key.
#[derive(Debug)]
pub enum Key {
    /// The hash.
    Is(u64),
    /// It has none: any endpoint will do.
    None,
    /// It has none, and its answer brings this cookie.
    Given(u64, HeaderValue),
}

/// Finds keys; built with the snapshot.
#[derive(Clone, Debug)]
pub struct Affinity {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Header(HeaderName),
    /// The name; what follows the value of one that is given, if any is.
    Cookie(String, Option<String>),
    Address,
    Parameter(String),
}

impl Affinity {
    /// `None` for a header name that is no token.
    pub fn new(key: &HashKey) -> Option<Self> {
        let source = match key {
            HashKey::Header(name) => Source::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            HashKey::Cookie(cookie) => Source::Cookie(cookie.name.clone(), attributes(cookie)),
            HashKey::SourceIp => Source::Address,
            HashKey::Query(name) => Source::Parameter(name.clone()),
        };
        Some(Self { source })
    }

    /// The key of a request; `client` is its address. Allocates only for a cookie that is given.
    pub fn of_request(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        client: impl FnOnce() -> IpAddr,
    ) -> Key {
        let key = match &self.source {
            Source::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
            Source::Cookie(name, _) => cookie(headers, name),
            Source::Address => return Key::Is(of_address(client())),
            Source::Parameter(name) => query.and_then(|query| parameter(query, name)),
        };
        match (key, &self.source) {
            (Some(key), _) => Key::Is(hash(key)),
            (None, Source::Cookie(name, Some(attributes))) => given(name, attributes),
            (None, _) => Key::None,
        }
    }

    /// The key of a connection that is carried whole: only its address is known.
    pub fn of_connection(&self, client: IpAddr) -> Option<u64> {
        matches!(self.source, Source::Address).then(|| of_address(client))
    }
}

fn of_address(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(it) => hash(&it.octets()),
        IpAddr::V6(it) => hash(&it.octets()),
    }
}

/// A new key. It names nobody and opens nothing: a client that knows another's meets the same endpoint.
fn given(name: &str, attributes: &str) -> Key {
    let value = format!("{:016x}{:016x}", random::below(u64::MAX), random::below(u64::MAX));
    match HeaderValue::from_str(&format!("{name}={value}{attributes}")) {
        Ok(field) => Key::Given(hash(value.as_bytes()), field),
        Err(_) => Key::None,
    }
}

/// What follows the value of a cookie (RFC 6265 §4.1.1); `None`: none is given.
fn attributes(cookie: &HashCookie) -> Option<String> {
    let seconds = cookie.ttl?.as_secs();
    let mut text = String::new();
    if seconds > 0 {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    text.push_str(&format!("; Path={}; HttpOnly", cookie.path.as_deref().unwrap_or("/")));
    for (name, value) in &cookie.attributes {
        text.push_str(&format!("; {name}"));
        if !value.is_empty() {
            text.push_str(&format!("={value}"));
        }
    }
    Some(text)
}

/// The value of the first cookie of that name (RFC 6265 §5.4), over all Cookie fields (RFC 9113 §8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').as_bytes())
    })
}

/// The value of the first parameter of that name, both as they are written.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a [u8]> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Affinity, Key, hash};
    use http::HeaderMap;
    use sluice_ir::{HashCookie, HashKey};
    use std::net::IpAddr;
    use std::time::Duration;

    fn key(key: &HashKey, headers: &[(&'static str, &str)], query: Option<&str>) -> Key {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Affinity::new(key).unwrap().of_request(&headers, query, || IpAddr::from([192, 0, 2, 1]))
    }

    fn is(found: &Key, text: &str) -> bool {
        matches!(found, Key::Is(it) if *it == hash(text.as_bytes()))
    }

    #[test]
    fn a_request_has_its_key_where_the_rule_says() {
        let header = HashKey::Header("x-user".to_owned());
        assert!(is(&key(&header, &[("x-user", "ann")], None), "ann"));
        assert!(matches!(key(&header, &[("x-other", "ann")], None), Key::None));
        let query = HashKey::Query("user".to_owned());
        assert!(is(&key(&query, &[], Some("a=b&user=ann&user=bob")), "ann"));
        assert!(matches!(key(&query, &[], Some("users=ann&user")), Key::None));
        assert!(matches!(key(&query, &[], None), Key::None));
        let (plain, mapped) = (IpAddr::from([192, 0, 2, 1]), "::ffff:192.0.2.1".parse().unwrap());
        let address = Affinity::new(&HashKey::SourceIp).unwrap();
        assert_eq!(address.of_connection(plain), address.of_connection(mapped));
        assert!(
            matches!(key(&HashKey::SourceIp, &[], None), Key::Is(it) if Some(it) == address.of_connection(plain))
        );
        assert_eq!(Affinity::new(&header).unwrap().of_connection(plain), None);
        assert!(Affinity::new(&HashKey::Header("no name".to_owned())).is_none());
    }

    #[test]
    fn a_cookie_is_given_where_the_rule_has_a_time_for_it() {
        let cookie = |ttl: Option<u64>| {
            HashKey::Cookie(HashCookie {
                name: "user".to_owned(),
                path: Some("/shop".to_owned()),
                ttl: ttl.map(Duration::from_secs),
                attributes: vec![
                    ("SameSite".to_owned(), "Lax".to_owned()),
                    ("Secure".to_owned(), String::new()),
                ],
            })
        };
        assert!(is(&key(&cookie(None), &[("cookie", "a=b; user=ann")], None), "ann"));
        assert!(matches!(key(&cookie(None), &[("cookie", "a=b")], None), Key::None));
        let Key::Given(hashed, field) = key(&cookie(Some(60)), &[], None) else { panic!() };
        let field = field.to_str().unwrap();
        let (pair, rest) = field.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=60; Path=/shop; HttpOnly; SameSite=Lax; Secure");
        let again = key(&cookie(Some(60)), &[("cookie", pair)], None);
        assert!(matches!(again, Key::Is(it) if it == hashed), "the cookie leads to the same place");
        let Key::Given(_, session) = key(&cookie(Some(0)), &[], None) else { panic!() };
        assert!(!session.to_str().unwrap().contains("Max-Age"));
    }
}
