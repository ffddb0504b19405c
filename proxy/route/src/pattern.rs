//! Texts to compare with: exact, or a regular expression that must cover the whole text.

use regex_automata::Input;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;
use regex_syntax::hir::{Hir, HirKind, Look};
use sluice_ir::StringMatch;
use std::sync::Arc;

/// Largest compiled size of one expression; the same bound as the `regex` crate's.
const MAX_NFA_BYTES: usize = 10 << 20;
/// Scratch memory of one expression and thread for determinising on the fly.
const HYBRID_CACHE_BYTES: usize = 256 << 10;

/// Why an expression can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("{0}")]
    Syntax(Box<regex_syntax::Error>),
    #[error("compiles to more than {limit} bytes", limit = MAX_NFA_BYTES)]
    Size,
    #[error("{0}")]
    Build(Box<BuildError>),
}

/// A regular expression, compiled; linear in the text it is matched with.
#[derive(Clone, Debug)]
pub(crate) struct WholeRegex {
    regex: Regex,
    /// What every matching text begins with: spares most texts the search.
    lead: Box<[u8]>,
    source: Box<str>,
}

impl WholeRegex {
    pub(crate) fn compile(source: &str) -> Result<Self, PatternError> {
        let hir = syntax::parse(source).map_err(|error| PatternError::Syntax(Box::new(error)))?;
        let lead = lead_of(&hir).into();
        // Anchors are put around the parsed expression, not around its text, so that `a|ab` and `(?x) a # b` keep
        // their meaning.
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let config =
            Config::new().nfa_size_limit(Some(MAX_NFA_BYTES)).hybrid_cache_capacity(HYBRID_CACHE_BYTES);
        let regex = Regex::builder().configure(config).build_from_hir(&whole).map_err(|error| match error
            .size_limit()
        {
            Some(_) => PatternError::Size,
            None => PatternError::Build(Box::new(error)),
        })?;
        Ok(Self { regex, lead, source: source.into() })
    }

    /// Whether the whole text matches. Allocates scratch memory the first time on a thread, later nothing.
    #[inline]
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        text.starts_with(&self.lead) && self.regex.is_match(Input::new(text))
    }

    /// The whole path elements that every matching path begins with: `/api` for `/api/v[0-9]+`.
    pub(crate) fn lead_elements(&self) -> Arc<str> {
        let lead = str::from_utf8(&self.lead).unwrap_or_default();
        lead.rfind('/').map_or("", |end| &lead[..end]).into()
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

/// Literal bytes at the front; empty when there are none or they are not certain.
fn lead_of(hir: &Hir) -> Vec<u8> {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.to_vec(),
        HirKind::Capture(capture) => lead_of(&capture.sub),
        HirKind::Concat(parts) => {
            let mut lead = Vec::new();
            for part in parts {
                match part.kind() {
                    HirKind::Literal(literal) => lead.extend_from_slice(&literal.0),
                    HirKind::Look(Look::Start) => {}
                    _ => {
                        lead.extend(lead_of(part));
                        break;
                    }
                }
            }
            lead
        }
        HirKind::Empty
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Alternation(_) => Vec::new(),
    }
}

/// A compiled [`StringMatch`].
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Exact(Arc<str>),
    Regex(Box<WholeRegex>),
}

impl Text {
    pub(crate) fn compile(text: &StringMatch) -> Result<Self, PatternError> {
        Ok(match text {
            StringMatch::Exact(exact) => Self::Exact(exact.as_str().into()),
            StringMatch::Regex(pattern) => Self::Regex(Box::new(WholeRegex::compile(pattern)?)),
        })
    }

    #[inline]
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{PatternError, WholeRegex};

    #[test]
    fn an_expression_must_cover_the_whole_text() {
        for (pattern, yes, no) in [
            ("/a|/ab", "/ab", "/abc"),
            ("a|ab", "ab", "xab"),
            ("(?x) /a [0-9]+ # digits", "/a17", "/a"),
            ("(?i)/API/.*", "/api/x", "/app"),
            ("/v[0-9]+(/.*)?", "/v1", "/v"),
            ("(/x)+", "/x/x", "/"),
            ("^/anchored$", "/anchored", "/anchored/"),
            ("(?:/p/(q))?", "", "/p/"),
        ] {
            let regex = WholeRegex::compile(pattern).unwrap();
            assert!(regex.is_match(yes.as_bytes()), "{pattern} {yes}");
            assert!(!regex.is_match(no.as_bytes()), "{pattern} {no}");
        }
    }

    #[test]
    fn the_lead_is_what_is_certain() {
        for (pattern, lead) in [
            ("/api/v[0-9]+", "/api/v"),
            ("/a?", "/"),
            ("a|b", ""),
            ("(/x/)y*", "/x/"),
            ("(?i)/a", "/"),
            ("^/q.*", "/q"),
        ] {
            assert_eq!(&*WholeRegex::compile(pattern).unwrap().lead, lead.as_bytes(), "{pattern}");
        }
    }

    #[test]
    fn the_elements_of_the_lead_end_before_its_last_slash() {
        for (pattern, elements) in
            [("/api/v[0-9]+", "/api"), ("/a/b/.*", "/a/b"), ("/a", ""), ("a/", "a"), ("", "")]
        {
            assert_eq!(&*WholeRegex::compile(pattern).unwrap().lead_elements(), elements, "{pattern}");
        }
    }

    #[test]
    fn a_bad_or_huge_expression_is_an_error() {
        assert!(matches!(WholeRegex::compile("("), Err(PatternError::Syntax(_))));
        assert!(matches!(WholeRegex::compile("(?:a{1000}){1000}{1000}"), Err(PatternError::Size)));
    }
}
