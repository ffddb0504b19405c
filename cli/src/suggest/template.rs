//! From paths to templates: segments that name one thing of many become `{*}`.

use std::collections::{BTreeMap, BTreeSet};

/// The operator for one segment.
const ONE: &str = "{*}";
/// Hexadecimal text that is so long is an identifier.
const HEX_LEN: usize = 16;
/// Text of letters and digits that is so long is one.
const TOKEN_LEN: usize = 20;

/// The templates of some paths, by path. First what looks like an identifier is generalised; then segments that differ where all
/// else is the same, when there are more than `most`.
pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a str>, most: usize) -> BTreeMap<&'a str, String> {
    let mut templates: BTreeMap<&str, Vec<String>> =
        paths.into_iter().map(|it| (it, generalised(it))).collect();
    let longest = templates.values().map(Vec::len).max().unwrap_or_default();
    for position in 0..longest {
        // By everything but the segment at this place.
        let mut alike: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for segments in templates.values() {
            if let Some(segment) = segments.get(position) {
                alike.entry(without(segments, position)).or_default().insert(segment.clone());
            }
        }
        for segments in templates.values_mut().filter(|it| position < it.len()) {
            let is_many = alike.get(&without(segments, position)).is_some_and(|it| it.len() > most);
            if let Some(segment) = segments.get_mut(position).filter(|it| is_many && !it.is_empty()) {
                ONE.clone_into(segment);
            }
        }
    }
    templates.into_iter().map(|(path, segments)| (path, format!("/{}", segments.join("/")))).collect()
}

fn without(segments: &[String], position: usize) -> Vec<String> {
    let mut key = segments.to_vec();
    if let Some(segment) = key.get_mut(position) {
        "*".clone_into(segment);
    }
    key
}

fn generalised(path: &str) -> Vec<String> {
    let segments = path.trim_start_matches('/').split('/');
    segments
        .map(|it| if is_identifier(it) || is_no_literal(it) { ONE.to_owned() } else { it.to_owned() })
        .collect()
}

/// What a template can't have in a literal segment, nor plain text at its ends.
fn is_no_literal(segment: &str) -> bool {
    segment.contains(['*', '{', '}'])
}

/// Whether a segment names one thing of many: a number, a UUID, a hash, a token.
fn is_identifier(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let is_hex = bytes.len() >= HEX_LEN
        && bytes.iter().all(u8::is_ascii_hexdigit)
        && bytes.iter().any(u8::is_ascii_digit);
    let is_token = bytes.len() >= TOKEN_LEN
        && bytes.iter().all(|it| it.is_ascii_alphanumeric() || b"-_=.~".contains(it))
        && bytes.iter().filter(|it| it.is_ascii_digit()).count() >= 4
        && bytes.iter().any(u8::is_ascii_alphabetic);
    is_number || is_uuid(segment) || is_hex || is_token || is_mail(segment)
}

fn is_uuid(segment: &str) -> bool {
    let lens: Vec<usize> = segment.split('-').map(str::len).collect();
    lens == [8, 4, 4, 4, 12] && segment.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit())
}

fn is_mail(segment: &str) -> bool {
    let split = segment.split_once('@').or_else(|| segment.split_once("%40"));
    split.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::{is_identifier, of};

    #[test]
    fn identifiers_are_told_from_words() {
        for it in [
            "7",
            "20261130",
            "123e4567-e89b-12d3-a456-426614174000",
            "d41d8cd98f00b204e9800998ecf8427e",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0",
            "alice@example.com",
        ] {
            assert!(is_identifier(it), "{it}");
        }
        for it in [
            "",
            "cart",
            "v1",
            "2fa",
            "index.html",
            "deadbeef",
            "recommendations-by-customer",
            "favicon.ico",
            "@me",
        ] {
            assert!(!is_identifier(it), "{it}");
        }
    }

    #[test]
    fn what_differs_too_often_in_one_place_is_one_thing_of_many() {
        let names: Vec<String> =
            (0..12).map(|it| format!("/users/name{}/cart", char::from(b'a' + it))).collect();
        let all = of(names.iter().map(String::as_str).chain(["/users/me", "/orders/7/items/8", "/"]), 10);
        assert_eq!(all["/users/namea/cart"], "/users/{*}/cart");
        assert_eq!(all["/users/me"], "/users/me");
        assert_eq!(all["/orders/7/items/8"], "/orders/{*}/items/{*}");
        assert_eq!(all["/"], "/");
        let few = of(names.iter().take(10).map(String::as_str), 10);
        assert_eq!(few["/users/namea/cart"], "/users/namea/cart");
    }
}
