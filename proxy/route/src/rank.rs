//! How specific a match is, apart from its hostname: the larger [`Rank`] wins (see the crate's page for the order).

use sluice_ir::{GrpcMethodMatch, Match, PathMatch, StringMatch};

/// Fields in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    tier: Tier,
    /// Characters of the prefix without its trailing slash, or of the regular expression.
    path_chars: u32,
    /// Service and method patterns of a gRPC match that ranks as a prefix.
    grpc: (Part, Part),
    has_method: bool,
    headers: u32,
    query: u32,
}

/// Kind of path match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Prefix,
    Regex,
    Exact,
}

/// Service or method of a gRPC match, with its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Absent,
    Regex(u32),
    Exact(u32),
}

impl Rank {
    /// The rank of a match whose path is in the form that is compared: a prefix has lost its trailing slash.
    pub(crate) fn of(it: &Match, path: &PathMatch) -> Self {
        let place = match path {
            PathMatch::Exact(_) => Self::of_exact_path(),
            PathMatch::Regex(pattern) => Self::of_regex(pattern),
            PathMatch::Prefix(prefix) => Self::of_prefix(prefix),
            PathMatch::Grpc(call) => Self::of_call(call),
        };
        Self {
            has_method: it.method.is_some() || matches!(path, PathMatch::Grpc(_)),
            headers: count(it.headers.len()),
            query: count(it.query.len()),
            ..place
        }
    }

    /// Of an exact path and nothing else.
    pub(crate) fn of_exact_path() -> Self {
        Self::of_place(Tier::Exact, 0, NO_GRPC)
    }

    /// Of a prefix, without its trailing slash, and nothing else.
    pub(crate) fn of_prefix(prefix: &str) -> Self {
        Self::of_place(Tier::Prefix, chars(prefix), NO_GRPC)
    }

    /// Of a regular expression and nothing else.
    pub(crate) fn of_regex(pattern: &str) -> Self {
        Self::of_place(Tier::Regex, chars(pattern), NO_GRPC)
    }

    fn of_call(call: &GrpcMethodMatch) -> Self {
        match (part(call.service.as_ref()), part(call.method.as_ref())) {
            (Part::Exact(_), Part::Exact(_)) => Self::of_exact_path(),
            (Part::Exact(service_chars), method) => {
                Self::of_place(Tier::Prefix, service_chars + 1, (Part::Absent, method))
            }
            (service, method) => Self::of_place(Tier::Prefix, 0, (service, method)),
        }
    }

    fn of_place(tier: Tier, path_chars: u32, grpc: (Part, Part)) -> Self {
        Self { tier, path_chars, grpc, has_method: false, headers: 0, query: 0 }
    }
}

const NO_GRPC: (Part, Part) = (Part::Absent, Part::Absent);

fn part(text: Option<&StringMatch>) -> Part {
    match text {
        None => Part::Absent,
        Some(StringMatch::Regex(pattern)) => Part::Regex(chars(pattern)),
        Some(StringMatch::Exact(exact)) => Part::Exact(chars(exact)),
    }
}

fn chars(text: &str) -> u32 {
    count(text.chars().count())
}

/// Bounded by what a manifest can hold; saturates.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX - 1)
}
