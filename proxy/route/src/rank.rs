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
    /// The rank of a match whose prefix, if it is one, has lost its trailing slash.
    pub(crate) fn of(it: &Match) -> Self {
        let (tier, path_chars, grpc) = match &it.path {
            PathMatch::Exact(_) => (Tier::Exact, 0, NO_GRPC),
            PathMatch::Regex(pattern) => (Tier::Regex, chars(pattern), NO_GRPC),
            PathMatch::Prefix(prefix) => (Tier::Prefix, chars(prefix), NO_GRPC),
            PathMatch::Grpc(call) => grpc_rank(call),
        };
        Self {
            tier,
            path_chars,
            grpc,
            has_method: it.method.is_some() || matches!(it.path, PathMatch::Grpc(_)),
            headers: count(it.headers.len()),
            query: count(it.query.len()),
        }
    }
}

const NO_GRPC: (Part, Part) = (Part::Absent, Part::Absent);

fn grpc_rank(call: &GrpcMethodMatch) -> (Tier, u32, (Part, Part)) {
    match (part(call.service.as_ref()), part(call.method.as_ref())) {
        (Part::Exact(_), Part::Exact(_)) => (Tier::Exact, 0, NO_GRPC),
        (Part::Exact(service_chars), method) => (Tier::Prefix, service_chars + 1, (Part::Absent, method)),
        (service, method) => (Tier::Prefix, 0, (service, method)),
    }
}

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
