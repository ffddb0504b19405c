//! Which answers are compressed, and the body of one that is.

use super::coding::{Encoder, Flush, preferred};
use crate::upstream::{Permit, Permits};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName};
use sluice_ir::{self as ir, CodingLevel};
use std::io;
use std::sync::Arc;

/// Fields that tell of the bytes of a body as they were before its coding changed (RFC 9530, RFC 2616 §14.15).
pub(crate) const OF_THE_BYTES: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Compiled [`ir::Compression`].
pub(crate) struct Compression {
    settings: ir::Compression,
    permits: Arc<Permits>,
}

impl Compression {
    /// Bodies that are under way count on when the settings change.
    pub(crate) fn compile(it: &ir::Compression, before: Option<&Self>) -> Self {
        let permits = before.map_or_else(|| Permits::new(it.most_at_once), |before| before.permits.clone());
        permits.set_limit(it.most_at_once);
        Self { settings: it.clone(), permits }
    }

    /// Whether answers of the path stay as they are.
    pub(crate) fn is_exempt(&self, path: &str) -> bool {
        let below = |prefix: &String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.settings.exempt_paths.iter().any(below)
    }

    /// Whether an answer with this head is compressed for clients that like it.
    pub(crate) fn takes(&self, status: u16, headers: &HeaderMap) -> bool {
        let is_whole =
            !matches!(status, 100..=199 | 204..=206 | 304) && !headers.contains_key(header::CONTENT_RANGE);
        is_whole
            && !is_coded(headers)
            && !has_directive(headers, b"no-transform")
            // What follows the body would be lost.
            && !headers.contains_key(header::TRAILER)
            && length(headers).is_none_or(|length| length > 0 && length >= self.settings.least_bytes)
            && headers.get(header::CONTENT_TYPE).is_some_and(|it| self.is_listed(it.as_bytes()))
    }

    fn is_listed(&self, value: &[u8]) -> bool {
        let kind = media_type(value);
        let whole_kind = |range: &str| {
            let kind_of = range.strip_suffix('*')?.as_bytes();
            Some(kind.get(..kind_of.len())?.eq_ignore_ascii_case(kind_of))
        };
        !is_grpc(kind)
            && self.settings.types.iter().any(|range| {
                kind.eq_ignore_ascii_case(range.as_bytes()) || whole_kind(range).unwrap_or(false)
            })
    }

    /// The coding that the client of this request likes best.
    pub(crate) fn wanted(&self, request: &HeaderMap) -> Option<CodingLevel> {
        let accepted = request.get_all(header::ACCEPT_ENCODING).iter().map(|it| it.as_bytes());
        let offered = &self.settings.codings;
        offered.get(preferred(accepted, offered.iter().map(|it| it.coding))?).copied()
    }

    /// Begins with a body; `None`: too many are under way, or there is no memory for it.
    pub(crate) fn begin(&self, coding: CodingLevel, headers: &HeaderMap) -> Option<Compressing> {
        let permit = self.permits.try_acquire()?;
        let left = length(headers);
        let kind = headers.get(header::CONTENT_TYPE).map(|it| media_type(it.as_bytes()));
        let is_stream = kind.is_some_and(|it| it.eq_ignore_ascii_case(b"text/event-stream"));
        let encoder = Encoder::new(coding).ok()?;
        Some(Compressing {
            encoder,
            coding: coding.coding,
            left,
            flushes: left.is_none() || is_stream,
            _permit: permit,
        })
    }
}

/// The body of an answer on its way into a coding.
pub(crate) struct Compressing {
    encoder: Encoder,
    /// Which.
    pub(crate) coding: ir::Coding,
    /// Bytes that are still to go in, where that is known.
    left: Option<u64>,
    /// Whether each piece goes out at once: nobody knows when the next one comes.
    flushes: bool,
    _permit: Permit,
}

impl Compressing {
    /// What goes out for a piece that comes in; `None`: nothing.
    ///
    /// # Errors
    /// When the coder fails.
    pub(crate) fn next(&mut self, piece: &[u8], is_last: bool) -> io::Result<Option<Bytes>> {
        if self.encoder.is_over() {
            return Ok(None);
        }
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        // The end is not always told: an answer out of a cache ends with its last byte.
        let flush = match (is_last || self.left == Some(0), self.flushes) {
            (true, _) => Flush::End,
            (false, true) if !piece.is_empty() => Flush::Now,
            (false, _) => Flush::No,
        };
        let out = self.encoder.encode(piece, flush)?;
        Ok(Some(out).filter(|out| !out.is_empty()))
    }
}

/// gRPC compresses its messages itself; gRPC-Web is a body like any other.
fn is_grpc(kind: &[u8]) -> bool {
    let begins = |prefix: &[u8]| kind.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    begins(b"application/grpc") && !begins(b"application/grpc-web")
}

/// Without parameters.
fn media_type(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body is in a coding already.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.flat_map(|it| it.as_bytes().split(|byte| *byte == b',')).any(|it| {
        let it = it.trim_ascii();
        !it.is_empty() && !it.eq_ignore_ascii_case(b"identity")
    })
}

/// Whether `Cache-Control` has a directive, with or without a value.
pub(crate) fn has_directive(headers: &HeaderMap, directive: &[u8]) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    values.flat_map(|it| it.as_bytes().split(|byte| *byte == b',')).any(|it| {
        let name = it.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(directive)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Compression;
    use http::header::{HeaderMap, HeaderName};
    use sluice_ir as ir;

    fn compression(exempt: &[&str]) -> Compression {
        let it = ir::Compression {
            codings: vec![ir::CodingLevel { coding: ir::Coding::Gzip, level: 5 }],
            types: vec!["text/*".to_owned(), "application/json".to_owned(), "application/*".to_owned()],
            least_bytes: 100,
            exempt_paths: exempt.iter().map(|it| (*it).to_owned()).collect(),
            most_at_once: 2,
        };
        Compression::compile(&it, None)
    }

    fn headers(fields: &str) -> HeaderMap {
        let fields = fields.split('|').filter_map(|it| it.split_once(": "));
        fields.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn whole_answers_of_listed_types_are_taken() {
        let it = compression(&[]);
        for (status, fields, expected) in [
            (200, "content-type: text/html; charset=utf-8", true),
            (200, "content-type: Application/JSON|content-length: 100", true),
            (404, "content-type: text/plain|content-encoding: identity", true),
            (200, "content-type: application/grpc-web+proto", true),
            (200, "content-type: application/grpc+proto", false),
            (200, "content-type: image/png", false),
            (200, "content-type: textual/plain", false),
            (200, "", false),
            (200, "content-type: text/plain|content-length: 99", false),
            (200, "content-type: text/plain|content-length: 0", false),
            (206, "content-type: text/plain", false),
            (204, "content-type: text/plain", false),
            (304, "content-type: text/plain", false),
            (101, "content-type: text/plain", false),
            (200, "content-type: text/plain|content-range: bytes 0-1/2", false),
            (200, "content-type: text/plain|content-encoding: br", false),
            (200, "content-type: text/plain|content-encoding: identity, gzip", false),
            (200, "content-type: text/plain|cache-control: public, No-Transform", false),
            (200, "content-type: text/plain|cache-control: public", true),
            (200, "content-type: text/plain|trailer: x-sum", false),
        ] {
            assert_eq!(it.takes(status, &headers(fields)), expected, "{status} {fields}");
        }
    }

    #[test]
    fn exempt_paths_go_by_whole_elements() {
        let it = compression(&["/account", "/a/b"]);
        for (path, expected) in [
            ("/account", true),
            ("/account/", true),
            ("/account/x", true),
            ("/accounts", false),
            ("/", false),
            ("/a", false),
            ("/a/b/c", true),
            ("/x/account", false),
        ] {
            assert_eq!(it.is_exempt(path), expected, "{path}");
        }
        assert!(compression(&[""]).is_exempt("/anything"), "the root is above everything");
    }

    #[test]
    fn no_more_bodies_are_compressed_at_one_time_than_may_be() {
        let it = compression(&[]);
        let coding = it.wanted(&headers("accept-encoding: gzip")).unwrap();
        let known = headers("content-length: 3|content-type: text/plain");
        let mut first = it.begin(coding, &known).unwrap();
        let _second = it.begin(coding, &HeaderMap::new()).unwrap();
        assert!(it.begin(coding, &known).is_none());
        // The length is known, so its last byte is the end.
        assert!(first.next(b"ab", false).unwrap().is_none_or(|it| it.len() < 12));
        assert!(first.next(b"c", false).unwrap().is_some());
        assert!(first.next(b"", true).unwrap().is_none());
        drop(first);
        assert!(it.begin(coding, &known).is_some());
    }
}
