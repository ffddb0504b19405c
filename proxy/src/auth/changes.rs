//! What an authoriser changes of a request that it lets go on, and of the answer to it.

use http::{HeaderName, HeaderValue};
use sluice_route::form_decoded;
use std::borrow::Cow;

/// Changes, each list in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Fields of the request that the backend sees.
    pub(crate) request: Vec<Edit>,
    /// Fields of the answer that the client sees.
    pub(crate) answer: Vec<Edit>,
    /// Query parameters that are set, once each.
    pub(crate) query_set: Vec<(String, String)>,
    /// Names of query parameters that go.
    pub(crate) query_remove: Vec<String>,
}

/// A change of one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// In place of all fields of the name.
    Set(HeaderName, HeaderValue),
    /// One field more.
    Add(HeaderName, HeaderValue),
    /// Where there is none of the name.
    AddIfAbsent(HeaderName, HeaderValue),
    /// Where there is one of the name.
    SetIfPresent(HeaderName, HeaderValue),
    /// All fields of the name go.
    Remove(HeaderName),
}

impl Changes {
    /// Most changes of one verdict.
    pub(crate) const MOST: usize = 128;

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.request.len() + self.answer.len() + self.query_set.len() + self.query_remove.len()
    }

    /// The query as it is now; `None`: as it was. Parameters that are not named stay as they are written.
    pub(crate) fn query(&self, query: Option<&str>) -> Option<String> {
        if self.query_set.is_empty() && self.query_remove.is_empty() {
            return None;
        }
        let named = |pair: &str| {
            let name = form_decoded(pair.split('=').next().unwrap_or_default().as_bytes());
            let name = String::from_utf8_lossy(&name);
            self.query_set.iter().any(|(it, _)| *it == name) || self.query_remove.iter().any(|it| *it == name)
        };
        let kept = query.unwrap_or_default().split('&').filter(|it| !it.is_empty() && !named(it));
        let mut pairs: Vec<Cow<'_, str>> = kept.map(Cow::Borrowed).collect();
        for (name, value) in &self.query_set {
            pairs.push(Cow::Owned(format!("{}={}", encoded(name), encoded(value))));
        }
        Some(pairs.join("&"))
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Changes;

    #[test]
    fn parameters_are_set_once_and_removed_however_they_are_written() {
        let changes = Changes {
            query_set: vec![("user id".to_owned(), "a&b=c".to_owned())],
            query_remove: vec!["token".to_owned()],
            ..Changes::default()
        };
        let now = changes.query(Some("x=1&tok%65n=secret&user+id=forged&y&user%20id=2&z=%zz"));
        assert_eq!(now.as_deref(), Some("x=1&y&z=%zz&user%20id=a%26b%3Dc"));
        assert_eq!(changes.query(None).as_deref(), Some("user%20id=a%26b%3Dc"));
        assert_eq!(Changes::default().query(Some("a=b")), None);
    }
}
