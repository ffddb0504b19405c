//! Which request bodies are unpacked.

use super::coding::{Bounds, Decoder};
use crate::upstream::{Permit, Permits};
use http::header::{self, HeaderMap, HeaderValue};
use sluice_ir::{self as ir, Coding};
use std::sync::Arc;

/// Compiled [`ir::Decompression`].
pub(crate) struct Decompression {
    settings: ir::Decompression,
    permits: Arc<Permits>,
    /// What a client is told that sent something else.
    pub(crate) accepted: HeaderValue,
}

/// What becomes of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It goes on as it is.
    Forward,
    /// It is unpacked.
    Unpack(Coding),
    /// The request is refused.
    Refuse,
}

impl Decompression {
    /// Bodies that are under way count on when the settings change.
    pub(crate) fn compile(it: &ir::Decompression, before: Option<&Self>) -> Self {
        let permits = before.map_or_else(|| Permits::new(it.most_at_once), |before| before.permits.clone());
        permits.set_limit(it.most_at_once);
        let tokens: Vec<_> = it.codings.iter().map(|it| it.token()).collect();
        let accepted = HeaderValue::from_str(&tokens.join(", "));
        let accepted = accepted.unwrap_or_else(|_| HeaderValue::from_static("identity"));
        Self { settings: it.clone(), permits, accepted }
    }

    /// What becomes of a body with these fields. Several codings, one on the other, are refused in any case: each layer
    /// multiplies what the others unfold, and nothing but attacks uses them.
    pub(crate) fn plan(&self, request: &HeaderMap) -> Plan {
        let fields = request.get_all(header::CONTENT_ENCODING).iter();
        let codings = fields.flat_map(|it| it.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut codings = codings.filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case(b"identity"));
        let Some(first) = codings.next() else { return Plan::Forward };
        if codings.next().is_some() {
            return Plan::Refuse;
        }
        let known = self.settings.codings.iter().find(|it| {
            let legacy = **it == Coding::Gzip && first.eq_ignore_ascii_case(b"x-gzip");
            legacy || first.eq_ignore_ascii_case(it.token().as_bytes())
        });
        match known {
            Some(coding) => Plan::Unpack(*coding),
            None if self.settings.refuses_others => Plan::Refuse,
            None => Plan::Forward,
        }
    }

    /// The right to unpack a body; `None`: too many are under way.
    pub(crate) fn permit(&self) -> Option<Permit> {
        self.permits.try_acquire()
    }

    /// What unpacks one body, of at most `limit` bytes; `None`: there is no memory for it.
    pub(crate) fn decoder(&self, coding: Coding, limit: Option<u64>) -> Option<Decoder> {
        let most_bytes = limit.map_or(self.settings.most_bytes, |limit| limit.min(self.settings.most_bytes));
        Decoder::new(coding, Bounds { most_bytes, most_ratio: self.settings.most_ratio }).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Decompression, Plan};
    use http::header::{CONTENT_ENCODING, HeaderMap};
    use sluice_ir::{self as ir, Coding};

    #[test]
    fn a_coding_alone_is_unpacked_and_a_stack_refused() {
        let plan = |fields: &str, refuses_others| {
            let it = ir::Decompression {
                codings: vec![Coding::Gzip, Coding::Zstd],
                most_bytes: 10,
                most_ratio: 10,
                refuses_others,
                most_at_once: 1,
            };
            let it = Decompression::compile(&it, None);
            assert_eq!(it.accepted, "gzip, zstd");
            let mut headers = HeaderMap::new();
            for field in fields.split('|') {
                headers.append(CONTENT_ENCODING, field.parse().unwrap());
            }
            it.plan(&headers)
        };
        for refuses in [false, true] {
            assert_eq!(plan("gzip", refuses), Plan::Unpack(Coding::Gzip));
            assert_eq!(plan("X-GZIP", refuses), Plan::Unpack(Coding::Gzip));
            assert_eq!(plan("identity, zstd", refuses), Plan::Unpack(Coding::Zstd));
            assert_eq!(plan("identity", refuses), Plan::Forward);
            assert_eq!(plan("", refuses), Plan::Forward);
            for stack in ["gzip, gzip", "gzip|gzip", "deflate, br"] {
                assert_eq!(plan(stack, refuses), Plan::Refuse, "{stack}");
            }
            let other = if refuses { Plan::Refuse } else { Plan::Forward };
            assert_eq!(plan("br", refuses), other);
            assert_eq!(plan("deflate", refuses), other);
        }
    }
}
