#![allow(clippy::unwrap_used)]
use super::*;

const ANYBODY: Asker = Asker { is_authorized: false, has_cookie: false };
const TTL: Option<Duration> = Some(Duration::from_secs(30));

fn response(status: u16, fields: &str) -> ResponseHeader {
    let mut response = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields.split('|').filter_map(|it| it.split_once(": ")) {
        response.append_header(name.to_owned(), value).unwrap();
    }
    response
}

fn headers(fields: &str) -> HeaderMap {
    response(200, fields).headers.clone()
}

/// Seconds that it is fresh.
fn fresh(fields: &str, asker: Asker, ttl: Option<Duration>) -> Result<u64, NotKept> {
    let now = SystemTime::now();
    let meta = kept(&response(200, fields), asker, ttl, now)?;
    Ok(meta.fresh_until().duration_since(now).unwrap_or_default().as_secs())
}

#[test]
fn answers_are_kept_as_long_as_they_say() {
    for (fields, expected) in [
        ("cache-control: max-age=60", Ok(60)),
        ("cache-control: max-age=60, s-maxage=10", Ok(10)),
        ("cache-control: public", Err(NotKept::Never)),
        ("cache-control: max-age=60|age: 20", Ok(40)),
        ("cache-control: max-age=60|age: 90", Err(NotKept::Never)),
        ("cache-control: max-age=60|age: 90|etag: \"a\"", Ok(0)),
        ("cache-control: no-cache|etag: \"a\"", Ok(0)),
        ("cache-control: no-cache", Err(NotKept::Never)),
        ("cache-control: max-age=0|last-modified: Mon, 01 Jan 2024 00:00:00 GMT", Ok(0)),
        ("expires: Mon, 01 Jan 2024 00:00:00 GMT", Err(NotKept::Never)),
        ("expires: 0|etag: \"a\"", Ok(0)),
        ("", Err(NotKept::Never)),
        ("cache-control: private, max-age=60", Err(NotKept::Never)),
        ("cache-control: no-store, max-age=60", Err(NotKept::Never)),
        ("cache-control: max-age=60|set-cookie: a=b", Err(NotKept::Never)),
        ("cache-control: max-age=60|vary: *", Err(NotKept::Never)),
        ("cache-control: max-age=60|vary: accept, *", Err(NotKept::Never)),
        ("cache-control: max-age=60|vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", Err(NotKept::Never)),
        ("cache-control: max-age=60|content-range: bytes 0-1/2", Err(NotKept::Never)),
    ] {
        assert_eq!(fresh(fields, ANYBODY, None), expected, "{fields}");
    }
    let late = "expires: Fri, 01 Jan 2100 00:00:00 GMT|age: 100";
    assert!(fresh(late, ANYBODY, None).unwrap() > 1_000_000);
}

#[test]
fn a_default_holds_for_200_that_say_nothing() {
    assert_eq!(fresh("", ANYBODY, TTL), Ok(30));
    assert_eq!(fresh("age: 10", ANYBODY, TTL), Ok(20));
    assert_eq!(fresh("cache-control: max-age=60", ANYBODY, TTL), Ok(60));
    assert_eq!(fresh("cache-control: private", ANYBODY, TTL), Err(NotKept::Never));
    assert_eq!(fresh("expires: 0", ANYBODY, TTL), Err(NotKept::Never));
    let not_found = kept(&response(404, ""), ANYBODY, TTL, SystemTime::now());
    assert_eq!(not_found.err(), Some(NotKept::Never));
    let with_cookie = Asker { has_cookie: true, ..ANYBODY };
    assert_eq!(fresh("", with_cookie, TTL), Err(NotKept::Now));
    assert_eq!(fresh("cache-control: max-age=60", with_cookie, TTL), Ok(60));
}

/// RFC 9111 §3.5.
#[test]
fn answers_to_those_who_are_named_are_kept_only_when_they_are_for_all() {
    let named = Asker { is_authorized: true, ..ANYBODY };
    for (fields, expected) in [
        ("cache-control: max-age=60", Err(NotKept::Now)),
        ("cache-control: public, max-age=60", Ok(60)),
        ("cache-control: s-maxage=60", Ok(60)),
        ("cache-control: max-age=60, must-revalidate", Ok(60)),
        ("", Err(NotKept::Now)),
    ] {
        assert_eq!(fresh(fields, named, TTL), expected, "{fields}");
        assert_eq!(is_for_authorized(&headers(fields)), expected.is_ok(), "{fields}");
    }
}

#[test]
fn statuses_that_say_everything_are_kept_and_no_others() {
    let of = |status| kept(&response(status, "cache-control: max-age=60"), ANYBODY, None, SystemTime::now());
    for status in [200, 203, 204, 301, 302, 307, 308, 404, 410] {
        assert!(of(status).is_ok(), "{status}");
    }
    for status in [206, 304, 401, 403, 429, 500, 502, 503, 504] {
        assert_eq!(of(status).err(), Some(NotKept::Now), "{status}");
    }
}

#[test]
fn fields_of_one_hop_are_not_kept() {
    let fields =
        "cache-control: max-age=60|connection: x-hop|x-hop: 1|transfer-encoding: chunked|age: 1|x-kept: 1";
    let meta = kept(&response(200, fields), ANYBODY, None, SystemTime::now()).unwrap();
    let mut names: Vec<_> = meta.headers().keys().map(|it| it.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["cache-control", "x-kept"]);
    assert!(meta.age() >= Duration::from_secs(1));
    let fields = "cache-control: max-age=60, private=\"x-own\"|x-own: 1";
    let private = kept(&response(200, fields), ANYBODY, None, SystemTime::now());
    assert!(private.is_err() || !private.unwrap().headers().contains_key("x-own"));
}

#[test]
fn variants_are_told_apart_by_the_fields_that_vary_names() {
    let of = |vary: &str, request: &str, compresses| variance(&headers(vary), &headers(request), compresses);
    assert_eq!(of("", "accept: a", false), None);
    assert_eq!(of("vary: accept", "accept: a", false), of("vary: Accept", "accept: a|x: y", false));
    assert_ne!(of("vary: accept", "accept: a", false), of("vary: accept", "accept: b", false));
    assert_ne!(of("vary: accept", "", false), of("vary: accept", "accept: ", false), "absent is not empty");
    assert_eq!(of("vary: a, b", "a: 1|b: 2", false), of("vary: b|vary: a", "b: 2|a: 1", false));
    let (gzip, none) = ("accept-encoding: gzip", "");
    assert_ne!(of("vary: accept-encoding", gzip, false), of("vary: accept-encoding", none, false));
    assert_eq!(of("vary: accept-encoding", gzip, true), None);
    let coded = "vary: accept-encoding|content-encoding: gzip";
    assert_ne!(of(coded, gzip, true), of(coded, none, true));
}

#[test]
fn what_is_not_to_be_kept_is_not_asked_for() {
    for (method, fields, expected) in [
        (Method::GET, "", true),
        (Method::HEAD, "", true),
        (Method::POST, "", false),
        (Method::OPTIONS, "", false),
        (Method::GET, "cache-control: no-cache", true),
        (Method::GET, "cache-control: no-store", false),
    ] {
        assert_eq!(may_use(&method, &headers(fields)), expected, "{method} {fields}");
    }
}

#[test]
fn no_two_lists_of_parts_run_into_one() {
    assert_ne!(name(&[b"a", b"/b"]), name(&[b"a/", b"b"]));
    assert_ne!(name(&[b"", b"ab"]), name(&[b"ab", b""]));
}
