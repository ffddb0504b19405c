//! The small languages inside fields: host names, header fields, paths, durations, regular expressions. Each function
//! says in words what is wrong.

use regex_syntax::hir::{Hir, HirKind};
use std::net::IpAddr;
use std::time::Duration;

/// Largest regular expression, in bytes of its text.
const REGEX_BYTES: usize = 1024;
/// Largest regular expression, in states after its counted repetitions are written out.
const REGEX_STATES: u64 = 20_000;

/// A DNS name, lower case, perhaps with a wildcard as first label (Gateway API Hostname).
pub(crate) fn hostname(text: &str, allow_wildcard: bool) -> Result<(), String> {
    let rest = match text.strip_prefix("*.") {
        Some(_) if !allow_wildcard => {
            return Err(format!("{text:?} has a wildcard, which is not allowed here"));
        }
        Some(rest) => rest,
        None => text,
    };
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an IP address, not a host name"));
    }
    if text.len() > 253 {
        return Err(format!("host name has {} bytes, at most 253 are allowed", text.len()));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if rest.split('.').all(is_label) {
        return Ok(());
    }
    if text.contains(':') || text.contains('/') {
        return Err(format!("{text:?} is no host name: leave out scheme, port and path"));
    }
    if text.bytes().any(|it| it.is_ascii_uppercase()) {
        return Err(format!("{text:?} is no host name: write it in lower case"));
    }
    Err(format!("{text:?} is no host name: labels of letters, digits and '-', joined by '.'"))
}

/// A URI with a scheme and something after it (RFC 3986 §3), as subject alternative names have it.
pub(crate) fn absolute_uri(text: &str) -> Result<(), String> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|it: char| it.is_ascii_alphabetic())
            && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
    };
    match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && !rest.is_empty() => {}
        _ => {
            return Err(format!(
                "{text:?} is no URI: write scheme and name, as spiffe://example.com/ns/shop"
            ));
        }
    }
    if text.len() > 253 || !text.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(format!("{text:?} is no URI: at most 253 printable ASCII characters"));
    }
    Ok(())
}

/// A header field name (RFC 9110 §5.1).
pub(crate) fn header_name(text: &str) -> Result<(), String> {
    let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(is_token) {
        return Err(format!("{text:?} is no header name: use letters, digits and '-'"));
    }
    Ok(())
}

/// A header field value (RFC 9110 §5.5).
pub(crate) fn header_value(text: &str) -> Result<(), String> {
    if text.bytes().any(|it| (it < b' ' && it != b'\t') || it == 0x7f) {
        return Err(format!("{text:?} has control characters, which a header value must not have"));
    }
    if text != text.trim_matches([' ', '\t']) {
        return Err(format!("{text:?} begins or ends with a space, which a header value can't"));
    }
    Ok(())
}

/// The path of an Exact or PathPrefix match (HTTPPathMatch).
pub(crate) fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} must begin with '/'"));
    }
    for bad in ["//", "/./", "/../", "%2f", "%2F", "%00", "#", "?"] {
        if text.contains(bad) {
            return Err(format!("{text:?} must not contain {bad:?}"));
        }
    }
    for bad in ["/..", "/."] {
        if text.ends_with(bad) {
            return Err(format!("{text:?} must not end with {bad:?}"));
        }
    }
    path_characters(text)
}

/// The path of a redirect or rewrite.
pub(crate) fn path_characters(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let is_escape = byte == b'%'
            && bytes.get(index + 1..index + 3).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
        if !is_escape && !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@/".contains(&byte) {
            return Err(format!("{text:?} has a character that a path can't have; write it as %XX"));
        }
        index += if is_escape { 3 } else { 1 };
    }
    Ok(())
}

/// A duration (GEP-2257): up to four times one to five digits and `h`, `m`, `s` or `ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; for example 10s, 500ms, 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if digits == 0 || digits > 5 {
            return Err(wrong());
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (part, after) = if let Some(after) = after.strip_prefix("ms") {
            (Duration::from_millis(number), after)
        } else if let Some(after) = after.strip_prefix('s') {
            (Duration::from_secs(number), after)
        } else if let Some(after) = after.strip_prefix('m') {
            (Duration::from_secs(number * 60), after)
        } else if let Some(after) = after.strip_prefix('h') {
            (Duration::from_secs(number * 3600), after)
        } else {
            return Err(wrong());
        };
        total += part;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
    }
    Err(wrong())
}

/// A regular expression (RE2's syntax: no look-around, no back references), bounded in size.
pub(crate) fn regex(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a regular expression must not be empty".to_owned());
    }
    if text.len() > REGEX_BYTES {
        return Err(format!(
            "regular expression has {} bytes, at most {REGEX_BYTES} are allowed",
            text.len()
        ));
    }
    let hir = regex_syntax::ParserBuilder::new().nest_limit(50).build().parse(text).map_err(|error| {
        let kind = match &error {
            regex_syntax::Error::Parse(it) => it.kind().to_string(),
            regex_syntax::Error::Translate(it) => it.kind().to_string(),
            other => other.to_string(),
        };
        format!("regular expression {text:?} can't be read: {kind}")
    })?;
    let states = states(&hir);
    if states > REGEX_STATES {
        return Err(format!("regular expression {text:?} is too large once its repetitions are written out"));
    }
    Ok(())
}

/// How many states an automaton of the expression has, about.
fn states(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(it) => it.0.len() as u64,
        HirKind::Class(regex_syntax::hir::Class::Unicode(it)) => it.ranges().len() as u64,
        HirKind::Class(regex_syntax::hir::Class::Bytes(it)) => it.ranges().len() as u64,
        HirKind::Capture(it) => states(&it.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(states).fold(1, u64::saturating_add)
        }
        HirKind::Repetition(it) => {
            let times = u64::from(it.max.unwrap_or(it.min).max(1));
            states(&it.sub).saturating_mul(times)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{duration, header_name, header_value, hostname, path, regex};
    use std::time::Duration;

    #[test]
    fn durations_are_those_of_gep_2257() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert_eq!(duration("1s1s1s1s").unwrap(), Duration::from_secs(4));
        for bad in ["", "10", "1.5s", "-1s", "123456s", "1us", "1s1s1s1s1s", "s", "1 s", "1sx"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_are_lower_case_labels() {
        for good in ["a", "a.example.com", "*.example.com", "localhost", "1.example.com"] {
            assert_eq!(hostname(good, true), Ok(()), "{good}");
        }
        for bad in ["", "*", "A.com", "a..b", "-a.com", "a:80", "1.2.3.4", "http://a", "a.*.com", "*a.com"] {
            assert!(hostname(bad, true).is_err(), "{bad}");
        }
        assert!(hostname("*.a.com", false).is_err());
    }

    #[test]
    fn headers_paths_and_regular_expressions_are_checked() {
        assert!(header_name("X-A").is_ok() && header_name("X A").is_err() && header_name("").is_err());
        assert!(header_value("a b").is_ok() && header_value("a\nb").is_err() && header_value(" a").is_err());
        assert!(path("/a%20b").is_ok());
        for bad in ["a", "/a//b", "/a/../b", "/a/..", "/a#b", "/a b", "/a%2Fb", "/a%00", "/a%zz"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert!(regex("^/v[0-9]+$").is_ok());
        for bad in ["(", "a(?=b)", "(a)\\1", "a{1000}{1000}", ""] {
            assert!(regex(bad).is_err(), "{bad}");
        }
    }
}
