//! Where requests carry tokens: header fields, query parameters, cookies. Found here, and taken out here.

use http::header::{COOKIE, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use sluice_ir as ir;
use sluice_route::form_decoded;
use std::borrow::Cow;

/// Most tokens of one request.
pub(super) const MOST_TOKENS: usize = 8;

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A header field, and what stands before the token in it.
    Header(HeaderName, Box<str>),
    /// A query parameter.
    Parameter(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// A token as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presented<'a> {
    pub(super) token: Cow<'a, [u8]>,
    /// Position among the places.
    pub(super) place: usize,
}

/// All places where the rules of a Gateway look.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

impl Places {
    /// The positions of a rule's places; new ones are added. A rule that names none looks where RFC 6750 has tokens.
    pub(super) fn add(&mut self, rule: &ir::JwtRule) -> Vec<usize> {
        let header =
            |it: &ir::TokenHeader| Some(Place::Header(it.name.parse().ok()?, it.prefix.as_str().into()));
        let mut places: Vec<Place> = rule.headers.iter().filter_map(header).collect();
        places.extend(rule.parameters.iter().map(|it| Place::Parameter(it.as_str().into())));
        places.extend(rule.cookies.iter().map(|it| Place::Cookie(it.as_str().into())));
        if rule.headers.is_empty() && rule.parameters.is_empty() && rule.cookies.is_empty() {
            places.push(Place::Header(http::header::AUTHORIZATION, "Bearer ".into()));
            places.push(Place::Parameter("access_token".into()));
        }
        let mut position = |place: Place| {
            let known = self.0.iter().position(|it| *it == place);
            known.unwrap_or_else(|| {
                self.0.push(place);
                self.0.len() - 1
            })
        };
        places.into_iter().map(&mut position).collect()
    }

    /// Every token that a request carries, each as often as it does. Allocates where there is one.
    pub(super) fn find<'a>(&self, headers: &'a HeaderMap, query: Option<&'a str>) -> Vec<Presented<'a>> {
        let mut found = Vec::new();
        for (place, it) in self.0.iter().enumerate() {
            let mut push = |token: Cow<'a, [u8]>| found.push(Presented { token, place });
            match it {
                Place::Header(name, prefix) => {
                    let values = headers.get_all(name).iter();
                    values.filter_map(|it| after(it.as_bytes(), prefix)).for_each(|it| push(it.into()));
                }
                Place::Parameter(name) => {
                    let pairs = query.into_iter().flat_map(|it| it.split('&'));
                    pairs.filter_map(|it| parameter(it, name)).for_each(push);
                }
                Place::Cookie(name) => {
                    cookies(headers).filter_map(|it| cookie(it, name)).for_each(|it| push(it.into()));
                }
            }
        }
        found
    }

    /// Takes the tokens of these places out of the fields; `Some`: the query has changed too, and is this now.
    pub(super) fn strip(
        &self,
        places: &[usize],
        uri: &Uri,
        fields: &mut dyn Strip,
    ) -> Option<Option<String>> {
        let mut query = uri.query().map(Cow::Borrowed);
        for place in places.iter().filter_map(|it| self.0.get(*it)) {
            match place {
                Place::Header(name, prefix) => {
                    fields.keep(name, &|value| after(value.as_bytes(), prefix).is_none())
                }
                Place::Parameter(name) => {
                    let kept = query.as_deref().map(|it| {
                        let pairs = it.split('&').filter(|it| parameter(it, name).is_none());
                        pairs.collect::<Vec<_>>().join("&")
                    });
                    query = kept.filter(|it| !it.is_empty()).map(Cow::Owned);
                }
                Place::Cookie(name) => {
                    let pairs = cookies(fields.headers()).filter(|it| cookie(it, name).is_none());
                    let kept = pairs.collect::<Vec<_>>().join(&b"; "[..]);
                    let value = HeaderValue::from_bytes(&kept).ok().filter(|_| !kept.is_empty());
                    fields.put(&COOKIE, value);
                }
            }
        }
        match query {
            Some(Cow::Borrowed(_)) => None,
            None if uri.query().is_none() => None,
            changed => Some(changed.map(Cow::into_owned)),
        }
    }
}

/// A head that tokens are taken out of.
pub(crate) trait Strip {
    /// Its fields.
    fn headers(&self) -> &HeaderMap;
    /// Keeps those values of a field that are good.
    fn keep(&mut self, name: &HeaderName, is_good: &dyn Fn(&HeaderValue) -> bool);
    /// Gives a field this one value, or none.
    fn put(&mut self, name: &HeaderName, value: Option<HeaderValue>);
}

/// What stands behind the prefix, without spaces around it; `None`: the value does not begin so. Case does not matter, as
/// with every authentication scheme (RFC 9110 §11.1): what a backend could take for a token is looked at. A prefix that
/// ends with a space wants one, or a tab.
fn after<'a>(value: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let word = prefix.trim_end();
    let start = value.get(..word.len())?;
    let rest = value.get(word.len()..)?;
    let is_apart = word.len() == prefix.len() || rest.first().is_none_or(|it| matches!(it, b' ' | b'\t'));
    (start.eq_ignore_ascii_case(word.as_bytes()) && is_apart).then(|| rest.trim_ascii())
}

/// The value of a query parameter of that name.
fn parameter<'a>(pair: &'a str, wanted: &str) -> Option<Cow<'a, [u8]>> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (*form_decoded(name.as_bytes()) == *wanted.as_bytes()).then(|| form_decoded(value.as_bytes()))
}

/// `name=value` of all Cookie fields.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(COOKIE).iter();
    fields.flat_map(|it| it.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

/// The value of a cookie of that name, without quotes (RFC 6265 §4.1.1).
fn cookie<'a>(pair: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?.trim_ascii());
    let quoted = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
    (name == wanted.as_bytes()).then(|| quoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(headers: &[(&str, &str)], parameters: &[&str], cookies: &[&str]) -> ir::JwtRule {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        ir::JwtRule {
            issuer: "i".to_owned(),
            audiences: Vec::new(),
            keys: ir::JwtKeys::Inline(String::new()),
            headers: headers
                .iter()
                .map(|(name, prefix)| ir::TokenHeader {
                    name: (*name).to_owned(),
                    prefix: (*prefix).to_owned(),
                })
                .collect(),
            parameters: owned(parameters),
            cookies: owned(cookies),
            forwards: false,
            payload_header: None,
            claim_headers: Default::default(),
            space_delimited: Vec::new(),
        }
    }

    fn found(places: &Places, fields: &[(&'static str, &str)], query: Option<&str>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let text = |it: Presented<'_>| String::from_utf8_lossy(&it.token).into_owned();
        places.find(&headers, query).into_iter().map(text).collect()
    }

    #[test]
    fn tokens_are_found_in_the_usual_places_in_every_spelling_that_a_backend_may_take() {
        let mut places = Places::default();
        assert_eq!(places.add(&rule(&[], &[], &[])), [0, 1]);
        for value in ["Bearer a", "bearer a", "BEARER   a ", "Bearer\ta"] {
            assert_eq!(found(&places, &[("authorization", value)], None), ["a"], "{value}");
        }
        assert_eq!(found(&places, &[("authorization", "Bearer")], None), [""]);
        for value in ["Basic a", "Bearera", "Bear", ""] {
            assert!(found(&places, &[("authorization", value)], None).is_empty(), "{value}");
        }
        let twice = [("authorization", "Bearer a"), ("authorization", "bearer b")];
        assert_eq!(
            found(&places, &twice, Some("x=1&access_token=c&access%5Ftoken=%64&access_token")),
            ["a", "b", "c", "d", ""]
        );
        assert!(found(&places, &[], Some("accesstoken=1&Access_token=2")).is_empty());
    }

    #[test]
    fn a_rule_that_names_places_looks_only_there() {
        let mut places = Places::default();
        places.add(&rule(&[("x-jwt", ""), ("x-goog", "Token:")], &["t"], &["id"]));
        let fields = [
            ("authorization", "Bearer a"),
            ("x-jwt", " b "),
            ("x-goog", "token:c"),
            ("x-goog", "d"),
            ("cookie", "ids=1; id=\"e\";id=f"),
            ("cookie", "id=g"),
        ];
        assert_eq!(found(&places, &fields, Some("t=h")), ["b", "c", "h", "e", "f", "g"]);
    }

    struct Head(HeaderMap);

    impl Strip for Head {
        fn headers(&self) -> &HeaderMap {
            &self.0
        }

        fn keep(&mut self, name: &HeaderName, is_good: &dyn Fn(&HeaderValue) -> bool) {
            let good: Vec<_> = self.0.get_all(name).iter().filter(|it| is_good(it)).cloned().collect();
            self.0.remove(name);
            for value in good {
                self.0.append(name, value);
            }
        }

        fn put(&mut self, name: &HeaderName, value: Option<HeaderValue>) {
            self.0.remove(name);
            self.0.extend(value.map(|it| (name.clone(), it)));
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest_as_it_was() {
        let mut places = Places::default();
        let all = places.add(&rule(&[("authorization", "Bearer ")], &["t"], &["id"]));
        let mut head = Head(HeaderMap::new());
        for (name, value) in
            [("authorization", "Basic x"), ("authorization", "bearer a"), ("cookie", "a=1; id=2;b=3")]
        {
            head.0.append(name, value.parse().unwrap());
        }
        let uri: Uri = "/x?a=1&t=2&b=%203".parse().unwrap();
        assert_eq!(places.strip(&all, &uri, &mut head), Some(Some("a=1&b=%203".to_owned())));
        assert_eq!(head.0.get_all("authorization").iter().collect::<Vec<_>>(), ["Basic x"]);
        assert_eq!(head.0.get("cookie").unwrap(), "a=1; b=3");
        assert_eq!(places.strip(&all, &"/x?t=2".parse().unwrap(), &mut head), Some(None));
        assert_eq!(places.strip(&all[..1], &uri, &mut head), None);
        assert_eq!(places.strip(&all, &"/x".parse().unwrap(), &mut head), None);
    }
}
