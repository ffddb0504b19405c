//! An [`ir::Match`](sluice_ir::Match) made ready: expressions compiled, names parsed, precedence worked out.

use crate::condition::header_met;
use crate::path::{self, Reject};
use crate::pattern::{PatternError, Text, WholeRegex};
use crate::rank::Rank;
use http::{HeaderMap, HeaderName};
use sluice_ir::{GrpcMethodMatch, Match, PathMatch, StringMatch};
use std::borrow::Cow;
use std::sync::Arc;

/// One compiled match of a rule. Compiled once per edit of its route; the tables of all listeners share the route.
#[derive(Clone, Debug)]
pub struct CompiledMatch {
    pub(crate) place: Place,
    /// `None`: the path alone decides, as in most matches.
    pub(crate) conditions: Option<Box<Conditions>>,
}

impl CompiledMatch {
    /// Whether a header has all fields that the match asks for; nothing else is looked at.
    pub fn headers_met(&self, headers: &HeaderMap) -> bool {
        let conditions = self.conditions.as_ref();
        conditions.is_none_or(|it| it.headers.iter().all(|test| header_met(test, headers)))
    }
}

/// What a match asks besides the path.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) call: Option<CallTest>,
    pub(crate) method: Option<Box<str>>,
    pub(crate) headers: Box<[HeaderTest]>,
    pub(crate) query: Box<[QueryTest]>,
    /// Of the whole match.
    rank: Rank,
}

impl Conditions {
    fn boxed(self) -> Option<Box<Self>> {
        (self.count() > 0).then(|| Box::new(self))
    }

    pub(crate) fn count(&self) -> usize {
        let single = usize::from(self.call.is_some()) + usize::from(self.method.is_some());
        single + self.headers.len() + self.query.len()
    }
}

/// Where a host's table keeps a match.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Under the whole path.
    Exact(Arc<str>),
    /// Under the prefix without its trailing slash; `/` is the empty text.
    Prefix(Arc<str>),
    /// In the list of expressions.
    Regex(Arc<WholeRegex>),
}

/// A gRPC call; exact parts that the [`Place`] settles are left out.
#[derive(Clone, Debug)]
pub(crate) struct CallTest {
    pub(crate) service: Option<Text>,
    pub(crate) method: Option<Text>,
}

/// One header.
#[derive(Clone, Debug)]
pub(crate) struct HeaderTest {
    pub(crate) name: HeaderName,
    pub(crate) value: Text,
}

/// One query parameter.
#[derive(Clone, Debug)]
pub(crate) struct QueryTest {
    pub(crate) name: Box<str>,
    pub(crate) value: Text,
}

/// Why a match can't be compiled. The translation lets none of these through; a table built from another source sees
/// them.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A path that no request can have.
    #[error("path {path:?}: {reject}")]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        reject: Reject,
    },
    /// A regular expression that does not compile or grows too large.
    #[error("{field}: regular expression {pattern:?}: {reason}")]
    Pattern {
        /// `path`, `gRPC service`, `gRPC method`, `header NAME` or `query parameter NAME`.
        field: String,
        /// As written.
        pattern: String,
        /// From the compiler of expressions.
        reason: String,
    },
    /// A header name that is no token.
    #[error("header name {name:?} is not valid (letters, digits and !#$%&'*+-.^_`|~)")]
    HeaderName {
        /// As written.
        name: String,
    },
    /// A gRPC service or method with a slash or another byte that does not stand for itself in a path.
    #[error("gRPC name {name:?} is not valid (letters, digits, \"_\" and \".\")")]
    GrpcName {
        /// As written.
        name: String,
    },
}

impl CompiledMatch {
    /// Compiles a match. Paths are normalised as those of requests are, so that `/caf%c3%a9` matches `/caf%C3%A9`.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(it: &Match) -> Result<Self, CompileError> {
        let path = tidy(&it.path)?;
        let (place, call) = place_of(&path)?;
        let headers = it.headers.iter().map(|header| {
            let name = HeaderName::try_from(&header.name)
                .map_err(|_| CompileError::HeaderName { name: header.name.clone() })?;
            Ok(HeaderTest { name, value: text(&header.value, || format!("header {}", header.name))? })
        });
        let query = it.query.iter().map(|query| {
            let value = text(&query.value, || format!("query parameter {}", query.name))?;
            Ok(QueryTest { name: query.name.as_str().into(), value })
        });
        let headers = headers.collect::<Result<_, _>>()?;
        let query = query.collect::<Result<_, _>>()?;
        let rank = Rank::of(it, &path);
        let conditions = Conditions { call, method: it.method.clone(), headers, query, rank };
        Ok(Self { place, conditions: conditions.boxed() })
    }

    /// How specific the match is: worked out when tables are edited, not kept for each of thousands of matches.
    pub(crate) fn rank(&self) -> Rank {
        match (&self.conditions, &self.place) {
            (Some(conditions), _) => conditions.rank,
            (None, Place::Exact(_)) => Rank::of_exact_path(),
            (None, Place::Prefix(prefix)) => Rank::of_prefix(prefix),
            (None, Place::Regex(regex)) => Rank::of_regex(regex.source()),
        }
    }

    /// Whether the path alone decides.
    pub(crate) fn is_bare(&self) -> bool {
        self.conditions.is_none()
    }

    /// Whether only gRPC calls match.
    pub(crate) fn is_call(&self) -> bool {
        self.conditions.as_ref().is_some_and(|it| it.call.is_some())
    }
}

/// Brings a path into the form that is compared and drops parts that are empty. A path that is in that form already
/// keeps its text.
fn tidy(path: &PathMatch) -> Result<PathMatch, CompileError> {
    Ok(match path {
        PathMatch::Exact(exact) => PathMatch::Exact(shared(exact, &normal(exact)?)),
        PathMatch::Prefix(prefix) => {
            // HTTPPathMatch, PathPrefix: "a trailing / is ignored".
            let normal = normal(prefix)?;
            PathMatch::Prefix(shared(prefix, normal.strip_suffix('/').unwrap_or(&normal)))
        }
        PathMatch::Regex(pattern) => PathMatch::Regex(pattern.clone()),
        PathMatch::Grpc(call) => {
            // GRPCMethodMatch: "if left empty or omitted, will match all".
            let filled = |part: &Option<StringMatch>| {
                part.clone().filter(|it| !matches!(it, StringMatch::Exact(name) if name.is_empty()))
            };
            PathMatch::Grpc(Box::new(GrpcMethodMatch {
                service: filled(&call.service),
                method: filled(&call.method),
            }))
        }
    })
}

fn shared(written: &Arc<str>, normal: &str) -> Arc<str> {
    if **written == *normal { written.clone() } else { normal.into() }
}

fn normal(path: &str) -> Result<Cow<'_, str>, CompileError> {
    match path::normalize(path) {
        Ok(normal) if normal.starts_with('/') => Ok(normal),
        Ok(_) => Err(CompileError::Path { path: path.to_owned(), reject: Reject::NotAbsolute }),
        Err(reject) => Err(CompileError::Path { path: path.to_owned(), reject }),
    }
}

fn place_of(path: &PathMatch) -> Result<(Place, Option<CallTest>), CompileError> {
    Ok(match path {
        PathMatch::Exact(exact) => (Place::Exact(exact.clone()), None),
        PathMatch::Prefix(prefix) => (Place::Prefix(prefix.clone()), None),
        PathMatch::Regex(pattern) => {
            let regex = WholeRegex::compile(pattern)
                .map_err(|error| pattern_error("path".into(), pattern, &error))?;
            (Place::Regex(Arc::new(regex)), None)
        }
        PathMatch::Grpc(call) => {
            let (place, call) = place_of_call(call)?;
            (place, Some(call))
        }
    })
}

fn place_of_call(call: &GrpcMethodMatch) -> Result<(Place, CallTest), CompileError> {
    let service = || "gRPC service".to_owned();
    let method = || "gRPC method".to_owned();
    if let Some(StringMatch::Exact(name)) = &call.service {
        let name = grpc_name(name)?;
        if let Some(StringMatch::Exact(method)) = &call.method {
            let path = format!("/{name}/{}", grpc_name(method)?);
            return Ok((Place::Exact(path.into()), CallTest { service: None, method: None }));
        }
        let method = call.method.as_ref().map(|it| text(it, method)).transpose()?;
        return Ok((Place::Prefix(format!("/{name}").into()), CallTest { service: None, method }));
    }
    if let Some(StringMatch::Exact(name)) = &call.method {
        grpc_name(name)?;
    }
    let service = call.service.as_ref().map(|it| text(it, service)).transpose()?;
    let method = call.method.as_ref().map(|it| text(it, method)).transpose()?;
    Ok((Place::Prefix("".into()), CallTest { service, method }))
}

/// A name that looks the same in a path.
fn grpc_name(name: &str) -> Result<&str, CompileError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_dots = matches!(name, "." | "..");
    if name.is_empty() || is_dots || !name.bytes().all(is_plain) {
        return Err(CompileError::GrpcName { name: name.to_owned() });
    }
    Ok(name)
}

fn text(text: &StringMatch, field: impl FnOnce() -> String) -> Result<Text, CompileError> {
    Text::compile(text).map_err(|error| match text {
        StringMatch::Exact(pattern) | StringMatch::Regex(pattern) => pattern_error(field(), pattern, &error),
    })
}

fn pattern_error(field: String, pattern: &str, error: &PatternError) -> CompileError {
    CompileError::Pattern { field, pattern: pattern.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::CompiledMatch;
    use sluice_ir::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, StringMatch};

    fn error_of(it: Match) -> String {
        CompiledMatch::compile(&it).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_error_names_the_field_and_the_text() {
        let path = |path| error_of(Match { path, ..Match::default() });
        assert_eq!(path(PathMatch::Exact("a".into())), "path \"a\": path does not start with a slash");
        assert_eq!(path(PathMatch::Prefix("*".into())), "path \"*\": path does not start with a slash");
        assert_eq!(
            path(PathMatch::Exact("/a?b".into())),
            "path \"/a?b\": path contains a raw \"#\" or \"?\""
        );
        let regex = path(PathMatch::Regex("/(".into()));
        assert!(regex.starts_with("path: regular expression \"/(\": "), "{regex}");
        assert!(regex.contains("unclosed group"), "{regex}");
        let call = GrpcMethodMatch { service: Some(StringMatch::Exact("a/b".into())), method: None };
        assert!(path(PathMatch::Grpc(Box::new(call))).starts_with("gRPC name \"a/b\" is not valid"));
        let header = HeaderMatch { name: "x y".into(), value: StringMatch::Exact(String::new()) };
        assert!(
            error_of(Match { headers: vec![header], ..Match::default() }).starts_with("header name \"x y\"")
        );
    }
}
