//! Query parameters, split once and compared without decoding into a buffer.
//!
//! Names and values are form-encoded (WHATWG URL §5.1): `&` separates, `+` is a space, `%XX` a byte; a broken `%` stands
//! for itself. Of several parameters with one name the first counts (Gateway API HTTPQueryParamMatch: "recommended").

use std::borrow::Cow;

/// Parameters that are kept after the first look; further ones are found by splitting the rest again.
const KEPT: usize = 16;

/// A query string, split.
pub(crate) struct Query<'a> {
    params: [Param<'a>; KEPT],
    len: usize,
    rest: &'a [u8],
}

impl<'a> Query<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut query = Self { params: [(b"", b""); KEPT], len: 0, rest: text.as_bytes() };
        while query.len < KEPT {
            let Some((param, rest)) = next_param(query.rest) else { break };
            query.params[query.len] = param;
            query.len += 1;
            query.rest = rest;
        }
        query
    }

    /// The value of the first parameter of that name, still encoded.
    pub(crate) fn first(&self, name: &str) -> Option<&'a [u8]> {
        let kept = self.params[..self.len].iter().find(|(raw, _)| decodes_to(raw, name));
        if let Some((_, value)) = kept {
            return Some(value);
        }
        let mut rest = self.rest;
        while let Some(((raw, value), after)) = next_param(rest) {
            if decodes_to(raw, name) {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// A parameter's name and value, both as received.
type Param<'a> = (&'a [u8], &'a [u8]);

/// The first parameter and what follows; empty ones are skipped.
#[inline]
fn next_param(mut text: &[u8]) -> Option<(Param<'_>, &[u8])> {
    while !text.is_empty() {
        let (param, rest) = split(text, b'&');
        if !param.is_empty() {
            return Some((split(param, b'='), rest));
        }
        text = rest;
    }
    None
}

/// Parameters are short: a plain loop beats a vectorised search.
#[inline]
fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == at) {
        Some(index) => (&text[..index], &text[index + 1..]),
        None => (text, b""),
    }
}

/// Whether the encoded text means `plain`.
pub(crate) fn decodes_to(raw: &[u8], plain: &str) -> bool {
    // Decoding never lengthens.
    raw.len() >= plain.len() && Decoded(raw).eq(plain.bytes())
}

/// The decoded bytes of a name or value as forms write it (WHATWG URL §5.1); allocates only when something is encoded.
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr2(b'%', b'+', raw) {
        None => Cow::Borrowed(raw),
        Some(_) => Cow::Owned(Decoded(raw).collect()),
    }
}

struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, skip) = match *self.0 {
            [] => return None,
            [b'+', ..] => (b' ', 1),
            [b'%', high, low, ..] => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [byte, ..] => (byte, 1),
        };
        self.0 = &self.0[skip..];
        Some(byte)
    }
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, decode, decodes_to};

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let query = Query::parse("a=1&&b&a=2&c=x=y&%61b=3&=v");
        assert_eq!(query.first("a"), Some(&b"1"[..]));
        assert_eq!(query.first("b"), Some(&b""[..]));
        assert_eq!(query.first("c"), Some(&b"x=y"[..]));
        assert_eq!(query.first("ab"), Some(&b"3"[..]));
        assert_eq!(query.first(""), Some(&b"v"[..]));
        assert_eq!(query.first("d"), None);
    }

    #[test]
    fn parameters_beyond_the_kept_ones_are_found() {
        let text = (0..100).map(|i| format!("p{i}={i}")).collect::<Vec<_>>().join("&");
        let query = Query::parse(&text);
        for i in [0, 15, 16, 17, 99] {
            assert_eq!(query.first(&format!("p{i}")), Some(i.to_string().as_bytes()));
        }
        assert_eq!(query.first("p100"), None);
    }

    #[test]
    fn form_encoding_is_undone_and_broken_triplets_stand_for_themselves() {
        assert!(decodes_to(b"a+b%2Bc%C3%A9", "a b+cé"));
        assert!(decodes_to(b"100%", "100%"));
        assert!(decodes_to(b"%zz%4", "%zz%4"));
        assert!(!decodes_to(b"ab", "a"));
        assert!(!decodes_to(b"a", "ab"));
        assert_eq!(&*decode(b"x%20y"), b"x y");
        assert_eq!(&*decode(b"xy"), b"xy");
    }
}
