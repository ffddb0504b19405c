//! The matches of one hostname pattern, arranged by path.
//!
//! The exact path and every prefix are hash look-ups: a prefix is tried at the slashes of the path, from the longest to
//! the shortest, and never deeper than the deepest prefix there is. Expressions stand under the whole elements that each
//! of their texts begins with and are found the same way; only those without such elements are tried by every request.
//! What a look-up yields are the few candidates of that very path, best first.
//!
//! Most hosts have matches at one spot only: such a table is a comparison, and as small as one.

use crate::candidate::Candidate;
use crate::compile::{CompiledMatch, Place};
use crate::condition::Probe;
use crate::leaf::Leaf;
use crate::prefixes::Prefixes;
use crate::table::TableRoute;
use crate::trie::{Keyed, Trie};
use sluice_ir::{HostPattern, RouteKey};
use std::collections::HashSet;
use std::sync::Arc;

/// The table of one hostname pattern.
pub(crate) struct HostTable<R> {
    pub(crate) pattern: HostPattern,
    paths: Paths<R>,
}

/// The matches of a host.
enum Paths<R> {
    /// None yet, or none any more.
    Empty,
    /// All at one spot, as on most hosts.
    One(Kind, Leaf<R>),
    /// At several spots; a table that became one stays one.
    Many(Box<Tables<R>>),
}

/// What a spot's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The whole path.
    Exact,
    /// The elements that an expression's texts begin with.
    Regex,
    /// A prefix without its trailing slash.
    Prefix,
}

/// The matches of a host by kind.
struct Tables<R> {
    exact: Trie<Leaf<R>>,
    /// `None`: no expression, as on most hosts.
    regexes: Option<Box<Prefixes<R>>>,
    prefixes: Prefixes<R>,
}

/// Where candidates stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    kind: Kind,
    text: Arc<str>,
}

/// An edited spot of a host. One without a new candidate only loses those of touched routes.
pub(crate) struct Note<R> {
    pub(crate) host: HostPattern,
    pub(crate) spot: Spot,
    pub(crate) added: Option<Candidate<R>>,
}

impl Spot {
    pub(crate) fn of(it: &CompiledMatch) -> Self {
        match &it.place {
            Place::Exact(path) => Self { kind: Kind::Exact, text: path.clone() },
            Place::Prefix(prefix) => Self { kind: Kind::Prefix, text: prefix.clone() },
            Place::Regex(regex) => Self { kind: Kind::Regex, text: regex.lead_elements() },
        }
    }
}

impl<R> HostTable<R> {
    pub(crate) fn new(pattern: HostPattern) -> Self {
        Self { pattern, paths: Paths::Empty }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.paths, Paths::Empty)
    }
}

impl<R: TableRoute> HostTable<R> {
    /// The best candidate.
    pub(crate) fn find(&self, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        match &self.paths {
            Paths::Empty => None,
            Paths::One(kind, leaf) => leaf.find(*kind, probe),
            Paths::Many(tables) => tables.find(probe),
        }
    }

    /// Drops the candidates of touched routes at the edited spots and puts the new ones in. Notes of one spot stand
    /// together.
    pub(crate) fn edit(&mut self, edit: &[Note<R>], touched: &HashSet<RouteKey>) {
        // First what only goes: a route that moved from one spot to another leaves a table of one spot.
        for comes in [false, true] {
            let spots = edit.chunk_by(|a, b| a.spot == b.spot);
            for notes in spots.filter(|notes| notes.iter().any(|note| note.added.is_some()) == comes) {
                let Some(spot) = notes.first().map(|note| note.spot.clone()) else { continue };
                let added = notes.iter().filter_map(|note| note.added.clone()).collect();
                self.edit_spot(spot, added, touched);
            }
        }
    }

    fn edit_spot(&mut self, spot: Spot, added: Vec<Candidate<R>>, touched: &HashSet<RouteKey>) {
        self.paths = match std::mem::replace(&mut self.paths, Paths::Empty) {
            Paths::Empty => Paths::one(spot.kind, Leaf::new(spot.text), added, touched),
            Paths::One(kind, leaf) if kind == spot.kind && leaf.path == spot.text => {
                Paths::one(kind, leaf, added, touched)
            }
            // The note of a route that was here too: nothing comes to this spot.
            Paths::One(kind, leaf) if added.is_empty() => Paths::One(kind, leaf),
            Paths::One(kind, leaf) => {
                let mut tables = Box::new(Tables::default());
                tables.put(kind, leaf);
                tables.edit(spot, added, touched);
                Paths::Many(tables)
            }
            Paths::Many(mut tables) => {
                tables.edit(spot, added, touched);
                if tables.is_empty() { Paths::Empty } else { Paths::Many(tables) }
            }
        };
    }
}

impl<R: TableRoute> Paths<R> {
    fn one(kind: Kind, mut leaf: Leaf<R>, added: Vec<Candidate<R>>, touched: &HashSet<RouteKey>) -> Self {
        leaf.candidates.edit(added, touched);
        if leaf.candidates.is_empty() { Self::Empty } else { Self::One(kind, leaf) }
    }
}

impl<R: TableRoute> Tables<R> {
    fn find(&self, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        let path = probe.request.path;
        if let Some(leaf) = self.exact.get(path)
            && let Some(found) = leaf.candidates.first_met(probe)
        {
            return Some(found);
        }
        if let Some(regexes) = &self.regexes
            && let Some(found) = regexes.find_regex(path, probe)
        {
            return Some(found);
        }
        self.prefixes.visit(path, |candidates| candidates.first_met(probe))
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.regexes.is_none() && self.prefixes.is_empty()
    }

    /// Takes over what stood alone.
    fn put(&mut self, kind: Kind, leaf: Leaf<R>) {
        match kind {
            Kind::Exact => self.exact.set(leaf),
            Kind::Regex => self.regexes.get_or_insert_default().put(leaf),
            Kind::Prefix => self.prefixes.put(leaf),
        }
    }

    fn edit(&mut self, spot: Spot, added: Vec<Candidate<R>>, touched: &HashSet<RouteKey>) {
        match spot.kind {
            Kind::Exact => Leaf::edit_in(&mut self.exact, spot.text, added, touched),
            Kind::Regex => {
                let mut regexes = self.regexes.take().unwrap_or_default();
                regexes.edit(spot.text, added, touched);
                self.regexes = (!regexes.is_empty()).then_some(regexes);
            }
            Kind::Prefix => self.prefixes.edit(spot.text, added, touched),
        }
    }
}

impl<R> Keyed for HostTable<R> {
    fn key(&self) -> &str {
        match &self.pattern {
            HostPattern::Any => "",
            HostPattern::Wildcard(suffix) => suffix,
            HostPattern::Exact(host) => host,
        }
    }
}

impl<R> Clone for HostTable<R> {
    fn clone(&self) -> Self {
        Self { pattern: self.pattern.clone(), paths: self.paths.clone() }
    }
}

impl<R> Clone for Paths<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(kind, leaf) => Self::One(*kind, leaf.clone()),
            Self::Many(tables) => Self::Many(tables.clone()),
        }
    }
}

impl<R> Clone for Tables<R> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), regexes: self.regexes.clone(), prefixes: self.prefixes.clone() }
    }
}

impl<R> Default for Tables<R> {
    fn default() -> Self {
        Self { exact: Trie::default(), regexes: None, prefixes: Prefixes::default() }
    }
}
