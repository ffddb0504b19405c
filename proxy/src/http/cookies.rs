//! Cookies of HTTP/2 come in crumbs: one field each, so that they compress better. Behind us they are one field again.

use http::header::{COOKIE, HeaderValue};
use pingora_error::Result;
use pingora_http::RequestHeader;

/// Joins several Cookie fields with `; ` (RFC 9113 §8.2.3). Costs one look-up when there is at most one.
pub(super) fn join(header: &mut RequestHeader) -> Result<()> {
    let mut crumbs = header.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return Ok(()) };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Parts that are valid values make a valid value.
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        header.insert_header(COOKIE, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn crumbs_become_one_field_in_their_order() {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        join(&mut header).unwrap();
        assert!(!header.headers.contains_key(COOKIE));
        for crumb in ["a=1", "b=2; c=3", "d=4"] {
            header.append_header("cookie", crumb).unwrap();
        }
        join(&mut header).unwrap();
        let fields: Vec<_> = header.headers.get_all(COOKIE).iter().collect();
        assert_eq!(fields, ["a=1; b=2; c=3; d=4"]);
    }
}
