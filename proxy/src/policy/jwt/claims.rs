//! What a verified token says of who asks, as authorization reads it (Istio: `request.auth.*`).

use super::json::Json;
use crate::policy::Token;
use std::borrow::Cow;
use std::sync::Arc;

/// Claims whose text is a list of words in any case (Istio; RFC 8693 §4.2).
const ALWAYS_SPACED: [&str; 2] = ["scope", "permission"];

/// The claims of a token that has been verified.
#[derive(Debug, PartialEq)]
pub(crate) struct Claims {
    principal: Box<str>,
    audiences: Vec<Box<str>>,
    payload: Json,
    /// Further claims whose text is a list of words.
    spaced: Arc<[Box<str>]>,
}

impl Claims {
    pub(super) fn new(
        issuer: &str,
        subject: &str,
        audiences: Vec<Box<str>>,
        payload: Json,
        spaced: Arc<[Box<str>]>,
    ) -> Self {
        Self { principal: format!("{issuer}/{subject}").into(), audiences, payload, spaced }
    }

    /// The text of a claim that is one string, whole number or boolean.
    pub(crate) fn text(&self, path: &[String]) -> Option<Cow<'_, str>> {
        self.payload.claim(path)?.to_text()
    }

    fn is_spaced(&self, path: &[String]) -> bool {
        let [name] = path else { return false };
        ALWAYS_SPACED.contains(&name.as_str()) || self.spaced.iter().any(|it| **it == **name)
    }
}

impl Token for Claims {
    fn principal(&self) -> &str {
        &self.principal
    }

    fn audience(&self, seen: &mut dyn FnMut(&str) -> bool) -> bool {
        self.audiences.iter().any(|it| seen(it))
    }

    fn presenter(&self) -> Option<&str> {
        self.payload.get("azp").and_then(Json::text)
    }

    /// The texts of a string are itself, or its words; those of a list are its strings. Anything else has none, as in Istio.
    /// Allocates nothing.
    fn claim(&self, path: &[String], seen: &mut dyn FnMut(&str) -> bool) -> bool {
        match self.payload.at(path) {
            Some(Json::Text(text)) if self.is_spaced(path) => {
                text.split(' ').filter(|it| !it.is_empty()).any(seen)
            }
            Some(Json::Text(text)) => seen(text),
            Some(Json::List(list)) => list.iter().filter_map(Json::text).any(seen),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Claims, Json};
    use crate::policy::Token;
    use std::sync::Arc;

    #[test]
    fn claims_are_read_as_authorization_asks_for_them() {
        let payload = br#"{"azp":"web","scope":"read  write","roles":["a",1,"b c"],"deep":{"er":["x"],"n":1},
                           "teams":"red blue","plain":"red blue","realm.name":"r"}"#;
        let spaced = Arc::from([Box::from("teams")]);
        let claims =
            Claims::new("https://id/a", "u", vec!["x".into()], Json::parse(payload).unwrap(), spaced);
        assert_eq!(claims.principal(), "https://id/a/u");
        assert_eq!(claims.presenter(), Some("web"));
        let texts = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|it| (*it).to_owned()).collect();
            let mut texts = Vec::new();
            claims.claim(&path, &mut |text| {
                texts.push(text.to_owned());
                false
            });
            texts
        };
        assert_eq!(texts(&["scope"]), ["read", "write"]);
        assert_eq!(texts(&["roles"]), ["a", "b c"]);
        assert_eq!(texts(&["deep", "er"]), ["x"]);
        assert_eq!(texts(&["teams"]), ["red", "blue"]);
        assert_eq!(texts(&["plain"]), ["red blue"]);
        assert_eq!(texts(&["realm.name"]), ["r"]);
        assert!(texts(&["deep"]).is_empty() && texts(&["deep", "n"]).is_empty() && texts(&[]).is_empty());
        assert!(claims.claim(&["roles".to_owned()], &mut |it| it == "a"));
    }
}
