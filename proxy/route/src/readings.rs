//! What may become of a normal path behind us: how it is written for backends ([`written`]), the one spelling that policies
//! compare by ([`spelled`]), and every way in which a backend might read it ([`of`]).
//!
//! Backends differ: some decode `%2F` before they look for their handler, some take `\` for `/`, merge slashes, drop what
//! follows a `;`, or decode twice. A policy that is to keep somebody out of `/admin` must know of each of them.

use crate::path::normalize;
use crate::query::hex;
use sluice_ir::PathNormalization;
use std::borrow::Cow;

/// So often is a path decoded again at most.
const ROUNDS: usize = 4;

/// The path as routes match it and backends get it. `path` is in normal form, and so is the result.
pub fn written(path: Cow<'_, str>, how: PathNormalization) -> Cow<'_, str> {
    use PathNormalization as P;
    let slashes = match how {
        P::EveryReading => return path,
        P::Base | P::MergeSlashes => Slashes::Back,
        P::DecodeAndMergeSlashes => Slashes::Decoded,
    };
    let merges = how != P::Base;
    let concerns = |path: &str| {
        path.contains('\\') || (merges && path.contains("//")) || with_slashes(path, slashes) != path
    };
    if !concerns(&path) {
        return path;
    }
    let path = without_dots(&with_slashes(&path, slashes));
    Cow::Owned(if merges { merged(&path) } else { path })
}

/// Which bytes are slashes besides the slash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slashes {
    /// `\`.
    Back,
    /// `\`, `%2F` and `%5C`.
    Decoded,
}

/// The one spelling of a path: what may stand in a segment as it is stands so (RFC 3986 `pchar`), everything else is
/// percent-encoded with capital digits. Also of a part of a path; dot segments stay.
pub fn spelled(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|it| it == b'/' || is_pchar(it)) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len() + 8);
    let bytes = path.as_bytes();
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let decoded = (byte == b'%').then(|| triplet(bytes.get(index..)?)).flatten();
        let (value, taken) = match decoded {
            Some(value) => (value, 3),
            None => (byte, 1),
        };
        // An encoded slash is no slash.
        if is_pchar(value) || (value == b'/' && taken == 1) {
            out.push(char::from(value));
        } else {
            push_triplet(value, &mut out);
        }
        index += taken;
    }
    Cow::Owned(out)
}

/// Every way to read a normal path, each spelled and each once; the first is the path itself. Nearly all paths have only
/// that one, at the cost of a scan.
pub fn of(path: &str) -> Vec<Cow<'_, str>> {
    let mut all = vec![spelled(path)];
    if !is_ambiguous(path) {
        return all;
    }
    let mut add = |reading: String| {
        if !all.iter().any(|known| *known == reading) {
            all.push(Cow::Owned(reading));
        }
    };
    for peeled in peeled(path) {
        // Parameters may be dropped before encoded slashes are seen, or after.
        for early in both(&peeled, without_parameters) {
            for divided in both(&early, |it| with_slashes(it, Slashes::Decoded).into_owned()) {
                for bare in both(&divided, without_parameters) {
                    for read in
                        [without_dots(&bare), merged(&without_dots(&bare)), without_dots(&merged(&bare))]
                    {
                        add(spelled(&read).into_owned());
                    }
                }
            }
        }
    }
    all
}

/// A text as it is, and changed where the change makes a difference.
fn both(text: &str, change: impl Fn(&str) -> String) -> impl Iterator<Item = String> {
    let changed = Some(change(text)).filter(|it| it != text);
    std::iter::once(text.to_owned()).chain(changed)
}

/// Whether somebody might read the path otherwise than it is written.
fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().any(|(index, byte)| match byte {
        b'\\' | b';' => true,
        b'/' => bytes.get(index + 1) == Some(&b'/'),
        b'%' => matches!(triplet(bytes.get(index..).unwrap_or_default()), Some(b'/' | b'\\' | b'%' | b';')),
        _ => false,
    })
}

/// The path, and what it is when it is decoded once more, twice more and so on, as long as that makes a difference.
fn peeled(path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    let mut raw = path.to_owned();
    for _ in 0..ROUNDS {
        let next = peeled_once(&raw);
        if next == raw {
            break;
        }
        // What comes to light is brought into normal form, and is read as it is where it has none.
        let normal = normalize(&next).map(std::borrow::Cow::into_owned);
        all.push(normal.unwrap_or_else(|_| next.clone()));
        raw = next;
    }
    all
}

/// `%25` before two hexadecimal digits is the percent sign that they make a triplet with.
fn peeled_once(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find("%25") {
        let (before, after) = rest.split_at(at + 3);
        let digits = after.as_bytes();
        let is_triplet = digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit);
        out.push_str(if is_triplet { before.get(..at + 1).unwrap_or(before) } else { before });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn with_slashes(path: &str, slashes: Slashes) -> Cow<'_, str> {
    let is_other = |part: &str| {
        slashes == Slashes::Decoded && (part.eq_ignore_ascii_case("%2F") || part.eq_ignore_ascii_case("%5C"))
    };
    if !(path.contains('\\') || (slashes == Slashes::Decoded && path.contains('%'))) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let taken = match rest.get(..3) {
            Some(part) if is_other(part) => {
                out.push('/');
                3
            }
            _ => {
                out.push(if first == '\\' { '/' } else { first });
                first.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) }
}

/// What follows a `;` up to the next slash is gone.
fn without_parameters(path: &str) -> String {
    let plain = path.replace("%3B", ";");
    let bare = plain.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    bare.collect::<Vec<_>>().join("/")
}

/// RFC 3986 §5.2.4. Segments are taken as they are: `%2e` was decoded before.
fn without_dots(path: &str) -> String {
    if !path.split('/').any(|segment| segment == "." || segment == "..") {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        ends_in_dots = false;
        match segment {
            "." => ends_in_dots = true,
            ".." => {
                out.truncate(out.rfind('/').unwrap_or(0));
                ends_in_dots = true;
            }
            other => {
                out.push('/');
                out.push_str(other);
            }
        }
    }
    if ends_in_dots || out.is_empty() {
        out.push('/');
    }
    out
}

/// Neighbouring slashes become one.
fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for it in path.chars() {
        if it != '/' || !out.ends_with('/') {
            out.push(it);
        }
    }
    out
}

fn triplet(rest: &[u8]) -> Option<u8> {
    Some(hex(*rest.get(1)?)? << 4 | hex(*rest.get(2)?)?)
}

fn push_triplet(value: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(value >> 4)]));
    out.push(char::from(DIGITS[usize::from(value & 15)]));
}

/// RFC 3986 §3.3, less the triplets.
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{of, spelled, written};
    use crate::path::normalize;
    use proptest::prelude::*;
    use sluice_ir::PathNormalization as P;
    use std::borrow::Cow;

    #[test]
    fn a_plain_path_has_one_reading_that_costs_nothing() {
        for path in ["/", "/a/b.c", "/a@b:c!$&'()*+,=", "/.well-known/x"] {
            let all = of(path);
            assert!(matches!(all.as_slice(), [Cow::Borrowed(same)] if *same == path), "{path}");
        }
        assert_eq!(of("/caf%C3%A9%20x"), ["/caf%C3%A9%20x"]);
    }

    #[test]
    fn what_a_backend_might_reach_is_among_the_readings() {
        for (path, reached) in [
            ("/x/..%2Fadmin", "/admin"),
            ("/x/..%5Cadmin", "/admin"),
            ("/x\\..\\admin", "/admin"),
            ("//admin", "/admin"),
            // The normal form, which is what backends get, has taken the empty segment for one (RFC 3986 §5.2.4).
            ("/x//../admin", "/x/admin"),
            ("/%2Fadmin", "/admin"),
            ("/admin;a=b", "/admin"),
            ("/admin;/x", "/admin/x"),
            ("/x/..;/admin", "/admin"),
            ("/admin%2F..;/x", "/admin/..;/x"),
            ("/%2561dmin", "/admin"),
            ("/x/%252e%252e/admin", "/admin"),
            ("/x/%252e%252e%252fadmin", "/admin"),
            ("/x/%25252e%25252e%25252fadmin", "/admin"),
            ("/admin%3Bx", "/admin"),
            ("/p;%2Fq/..%2Fadmin", "/admin"),
            ("/admin%252F..%25252Fx", "/admin/..%252Fx"),
        ] {
            let normal = normalize(path).unwrap();
            let all = of(&normal);
            assert!(all.iter().any(|it| it == reached), "{path}: {all:?}");
            assert_eq!(all[0], spelled(&normal));
        }
    }

    #[test]
    fn there_is_one_spelling() {
        for (path, expected) in [
            ("/%40a%3a", "/@a:"),
            ("/a\\b", "/a%5Cb"),
            ("/a%2fb", "/a%2Fb"),
            ("/a^{}", "/a%5E%7B%7D"),
            ("/é*", "/%C3%A9*"),
        ] {
            assert_eq!(spelled(path), expected);
        }
    }

    #[test]
    fn paths_are_written_as_the_mesh_says() {
        let path = "/a\\b//c%2F..%5Cd";
        let write = |how| written(normalize(path).unwrap(), how).into_owned();
        assert_eq!(write(P::EveryReading), path);
        assert_eq!(write(P::Base), "/a/b//c%2F..%5Cd");
        assert_eq!(write(P::MergeSlashes), "/a/b/c%2F..%5Cd");
        assert_eq!(write(P::DecodeAndMergeSlashes), "/a/b/d");
        assert!(matches!(written(Cow::Borrowed("/a/b"), P::DecodeAndMergeSlashes), Cow::Borrowed("/a/b")));
    }

    proptest! {
        #[test]
        fn readings_are_few_and_what_is_written_stays(path in "/([ab./;\\\\]|%2[5fFeE]|%5[cC]|61|%3b){0,16}") {
            if let Ok(normal) = normalize(&path) {
                let all = of(&normal);
                prop_assert!(all.len() <= 120, "{}", all.len());
                for how in [P::Base, P::MergeSlashes, P::DecodeAndMergeSlashes] {
                    let once = written(normal.clone(), how).into_owned();
                    prop_assert!(once.starts_with('/'));
                    prop_assert_eq!(&written(Cow::Borrowed(once.as_str()), how), &once);
                    prop_assert_eq!(&normalize(&once).unwrap(), &once);
                }
            }
        }
    }
}
