//! The one form of a request path that is matched, authorised and forwarded alike.
//!
//! [`normalize`] does what RFC 3986 §6.2.2 calls syntax-based normalisation: percent-encoded unreserved characters are
//! decoded, other triplets get upper-case digits, dot segments (also `%2e`) are removed without ever leaving the root.
//! Raw bytes outside ASCII are percent-encoded. What changes the meaning for some backends stays as sent: `%2F`, `%5C`,
//! `//`, `\` and `;`. What no honest client sends is refused.

use crate::query::hex;
use std::borrow::Cow;

/// Why a path is refused (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// Neither starts with `/` nor is the `*` of OPTIONS.
    #[error("path does not start with a slash")]
    NotAbsolute,
    /// A raw control byte or space.
    #[error("path contains a control byte or space")]
    Control,
    /// `%00`.
    #[error("path contains an encoded NUL")]
    Nul,
    /// `%` without two hexadecimal digits.
    #[error("path contains a percent sign without two hexadecimal digits")]
    Escape,
    /// `#` or `?`: the end of a path, so that it can't be part of one.
    #[error("path contains a raw \"#\" or \"?\"")]
    Delimiter,
}

/// What a byte means for [`normalize`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Dot,
    Percent,
    High,
    Delimiter,
    Control,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'.' => Class::Dot,
            b'%' => Class::Percent,
            b'#' | b'?' => Class::Delimiter,
            0..=b' ' | 0x7F => Class::Control,
            0x80.. => Class::High,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
};

/// Brings a path, without its query, into normal form; a path in normal form is borrowed after a single scan.
///
/// ```
/// use sluice_route::path::normalize;
/// assert_eq!(normalize("/shop/./x/%2e%2e/caf%c3%a9%7E")?, "/shop/caf%C3%A9~");
/// assert_eq!(normalize("/../../etc")?, "/etc");
/// assert_eq!(normalize("/a%2fb//c")?, "/a%2Fb//c");
/// # Ok::<(), sluice_route::path::Reject>(())
/// ```
///
/// # Errors
/// See [`Reject`].
pub fn normalize(path: &str) -> Result<Cow<'_, str>, Reject> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return if path == "*" { Ok(Cow::Borrowed(path)) } else { Err(Reject::NotAbsolute) };
    }
    let mut index = 0;
    while let Some(skipped) =
        bytes[index..].iter().position(|byte| CLASSES[usize::from(*byte)] != Class::Plain)
    {
        index += skipped;
        let is_normal = match CLASSES[usize::from(bytes[index])] {
            Class::Plain => true,
            Class::Dot => bytes[index - 1] != b'/' || !is_dot_segment(&bytes[index..]),
            Class::Percent => {
                let value = triplet(&bytes[index..])?;
                let is_upper = |digit: u8| !digit.is_ascii_lowercase();
                !is_unreserved(value) && is_upper(bytes[index + 1]) && is_upper(bytes[index + 2])
            }
            Class::High => false,
            Class::Delimiter => return Err(Reject::Delimiter),
            Class::Control => return Err(Reject::Control),
        };
        if !is_normal {
            return rebuild(path).map(Cow::Owned);
        }
        index += 1;
    }
    Ok(Cow::Borrowed(path))
}

/// Whether the text begins with `.` or `..` as a whole segment.
fn is_dot_segment(rest: &[u8]) -> bool {
    matches!(rest, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

/// RFC 3986 §5.2.4, segment by segment.
fn rebuild(path: &str) -> Result<String, Reject> {
    let mut out = String::with_capacity(path.len() + 16);
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        let start = out.len();
        out.push('/');
        push_segment(segment, &mut out)?;
        ends_in_dots = match &out[start + 1..] {
            "." => {
                out.truncate(start);
                true
            }
            ".." => {
                out.truncate(start);
                out.truncate(out.rfind('/').unwrap_or(0));
                true
            }
            _ => false,
        };
    }
    if ends_in_dots {
        out.push('/');
    }
    Ok(out)
}

fn push_segment(segment: &str, out: &mut String) -> Result<(), Reject> {
    let mut rest = segment.as_bytes();
    while let Some(&byte) = rest.first() {
        let mut taken = 1;
        match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Dot => out.push(char::from(byte)),
            Class::High => push_triplet(byte, out),
            Class::Percent => {
                let value = triplet(rest)?;
                if is_unreserved(value) {
                    out.push(char::from(value))
                } else {
                    push_triplet(value, out)
                }
                taken = 3;
            }
            Class::Delimiter => return Err(Reject::Delimiter),
            Class::Control => return Err(Reject::Control),
        }
        rest = &rest[taken..];
    }
    Ok(())
}

/// The value of the triplet at the front.
fn triplet(rest: &[u8]) -> Result<u8, Reject> {
    let digit = |index: usize| rest.get(index).and_then(|digit| hex(*digit)).ok_or(Reject::Escape);
    match digit(1)? << 4 | digit(2)? {
        0 => Err(Reject::Nul),
        value => Ok(value),
    }
}

fn push_triplet(value: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(value >> 4)]));
    out.push(char::from(DIGITS[usize::from(value & 15)]));
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Reject, normalize};
    use proptest::prelude::*;
    use std::borrow::Cow;

    #[test]
    fn a_normal_path_is_borrowed() {
        for path in [
            "/",
            "/a/b.c/d..e/...",
            "/.well-known/x",
            "/a%2Fb%25",
            "//",
            "/a;v=1/@:!$&'()*+,=",
            "*",
            "/..a/.b",
        ] {
            assert!(matches!(normalize(path).unwrap(), Cow::Borrowed(same) if same == path), "{path}");
        }
    }

    #[test]
    fn dot_segments_go_in_every_spelling_and_never_leave_the_root() {
        for (path, expected) in [
            ("/a/./b", "/a/b"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/../../b", "/b"),
            ("/..", "/"),
            ("/.", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a//../b", "/a/b"),
            ("/a/..%2Fb", "/a/..%2Fb"),
            ("/a/%252e%252e/b", "/a/%252e%252e/b"),
            ("/%2e%2e/%2e%2e/etc/passwd", "/etc/passwd"),
        ] {
            assert_eq!(normalize(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn triplets_get_one_spelling() {
        for (path, expected) in [
            ("/%41%7a%2D%5f", "/Az-_"),
            ("/a%2fb", "/a%2Fb"),
            ("/%c3%A9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/%0a", "/%0A"),
        ] {
            assert_eq!(normalize(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_no_honest_client_sends_is_refused() {
        for (path, expected) in [
            ("", Reject::NotAbsolute),
            ("a/b", Reject::NotAbsolute),
            ("**", Reject::NotAbsolute),
            ("/a b", Reject::Control),
            ("/a\r\nb", Reject::Control),
            ("/a\x7f", Reject::Control),
            ("/../\0", Reject::Control),
            ("/a%00", Reject::Nul),
            ("/./%00", Reject::Nul),
            ("/a%", Reject::Escape),
            ("/a%2", Reject::Escape),
            ("/a%zz", Reject::Escape),
            ("/%41%+1", Reject::Escape),
            ("/a#b", Reject::Delimiter),
            ("/./a?b", Reject::Delimiter),
        ] {
            assert_eq!(normalize(path).unwrap_err(), expected, "{path:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn normalising_twice_changes_nothing_and_no_dot_segment_is_left(path in "/([ab./%]|%2[eEfF5]|%c3|é|\\.\\./|;){0,24}") {
            if let Ok(once) = normalize(&path) {
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."), "{once}");
                prop_assert!(matches!(normalize(&once), Ok(Cow::Borrowed(twice)) if twice == once), "{once}");
            }
        }

        #[test]
        fn any_text_is_answered(path in any::<String>()) {
            if let Ok(Cow::Owned(once)) = normalize(&path) {
                prop_assert!(once.is_ascii());
                prop_assert_ne!(once, path);
            }
        }
    }
}
