//! JSON as tokens and key sets may have it: strictly RFC 8259, every name of an object once (RFC 7519 §4 lets a reader
//! refuse duplicates, and readers that take different ones of two are how claims are forged), nested to a bound.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// How deep lists and objects may stand within each other.
const DEEPEST: u8 = 16;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction and exponent that has room.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Box<str>),
    /// An array.
    List(Box<[Json]>),
    /// An object, sorted by name.
    Object(Box<[(Box<str>, Json)]>),
}

impl Json {
    /// Reads exactly one value; `None`: it is none, or one of those that are refused.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Value { left: DEEPEST }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(value)
    }

    /// The member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let at = members.binary_search_by(|(it, _)| (**it).cmp(name)).ok()?;
        members.get(at).map(|it| &it.1)
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A claim by its path. It may have dots in its own name, as those with a URI for a name have: that is looked for first.
    pub(crate) fn claim(&self, path: &[String]) -> Option<&Self> {
        let dotted = || self.get(&path.join("."));
        if path.len() > 1 { dotted().or_else(|| self.at(path)) } else { self.at(path) }
    }

    /// The text of what is one value and no number with a fraction: strings, whole numbers and booleans.
    pub(crate) fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Integer(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(bool) => Some(Cow::Borrowed(if *bool { "true" } else { "false" })),
            Self::Null | Self::Float(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// What stands behind some names, one within the other.
    pub(crate) fn at(&self, path: &[impl AsRef<str>]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.get(name.as_ref()))
    }
}

struct Value {
    left: u8,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let left = self.left.checked_sub(1).ok_or_else(|| A::Error::custom("too deep"))?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self { left })? {
            items.push(item);
        }
        Ok(Json::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let left = self.left.checked_sub(1).ok_or_else(|| A::Error::custom("too deep"))?;
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        while let Some(name) = from.next_key::<String>()? {
            members.push((name.into(), from.next_value_seed(Self { left })?));
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        if members.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(A::Error::custom("a name stands twice"));
        }
        Ok(Json::Object(members.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Json;

    #[test]
    fn what_two_readers_could_read_differently_is_not_read() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"a":1} "#.repeat(2).as_str(),
            r#"{"a":1}}"#,
            "{\"a\":1}\0",
            "\u{feff}{\"a\":1}",
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"b\nc\"}",
            "",
        ] {
            assert_eq!(Json::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Json::parse(b"{\"a\":\"\xff\"}"), None);
        let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        assert!(Json::parse(nested(16).as_bytes()).is_some());
        assert!(Json::parse(nested(17).as_bytes()).is_none());
        assert!(Json::parse(nested(100_000).as_bytes()).is_none());
    }

    #[test]
    fn members_are_found_by_their_whole_name() {
        let value = Json::parse(br#"{"b":{"c":[1,2.5]},"a":"x\u0000","n":18446744073709551615}"#).unwrap();
        assert_eq!(value.at(&["b", "c"]), Some(&Json::List([Json::Integer(1), Json::Float(2.5)].into())));
        assert_eq!(value.get("a").unwrap().text(), Some("x\0"));
        assert_eq!(value.get("n"), Some(&Json::Float(1.844_674_407_370_955_2e19)));
        assert_eq!((value.get("A"), value.at(&["a", "b"])), (None, None));
    }
}
