//! Endpoints to choose among, and the choice: by load, in turns, at random, or by a hash.
//!
//! In: places with their weights. Out: one of those that the caller takes. A choice takes no lock and allocates nothing.

use crate::upstream::endpoint::Endpoint;
use crate::upstream::hash_table::Table;
use crate::upstream::random;
use crate::upstream::weights::Weights;
use sluice_ir::{Balancing, HashTable, Topology};
use std::sync::Arc;

/// Random draws before the list is walked instead; walking starts at a random place.
const DRAWS: usize = 8;

/// Endpoints to choose among.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Group {
    pub(in crate::upstream) places: Vec<Place>,
    weights: Weights,
    /// Who belongs to which hash; where a rule asks for it.
    table: Option<Table>,
}

/// An endpoint among others.
#[derive(Debug)]
pub(in crate::upstream) struct Place {
    pub(in crate::upstream) endpoint: Arc<Endpoint>,
    pub(super) weight: u32,
    pub(in crate::upstream) topology: Option<Arc<Topology>>,
}

impl Place {
    pub(in crate::upstream) fn again(&self) -> Self {
        let Self { endpoint, weight, topology } = self;
        Self { endpoint: endpoint.clone(), weight: *weight, topology: topology.clone() }
    }
}

impl Group {
    /// Turns go on from that many.
    pub(in crate::upstream) fn build(places: Vec<Place>, kind: Option<&HashTable>, turns: u64) -> Self {
        let weights: Vec<_> = places.iter().map(|place| place.weight).collect();
        let table = kind.map(|kind| {
            let places = places.iter().map(|place| (place.endpoint.address, place.weight));
            Table::build(kind, &places.collect::<Vec<_>>())
        });
        Self { weights: Weights::continuing(&weights, turns), table, places }
    }

    /// Turns that were taken.
    pub(in crate::upstream) fn turns(&self) -> u64 {
        self.weights.picks()
    }

    /// Whom a key belongs to, among those that fit.
    pub(super) fn by_hash(&self, key: u64, fits: impl Fn(&Endpoint) -> bool) -> Option<&Place> {
        let fits = |index: usize| self.places.get(index).is_some_and(|place| fits(&place.endpoint));
        self.places.get(self.table.as_ref()?.find(key, fits)?)
    }

    /// How many fit. Costs a look at each.
    pub(in crate::upstream) fn count(&self, fits: &dyn Fn(&Endpoint) -> bool) -> usize {
        self.places.iter().filter(|place| fits(&place.endpoint)).count()
    }

    /// How many do not rest. Costs a look at each.
    pub(super) fn healthy(&self, now_ms: u64) -> usize {
        self.places.iter().filter(|place| !place.endpoint.rests_at(now_ms)).count()
    }

    pub(super) fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.places.iter().any(|place| Arc::ptr_eq(&place.endpoint, endpoint))
    }

    pub(super) fn choose(&self, how: Balancing, fits: impl Fn(&Endpoint) -> bool) -> Option<&Place> {
        let fits = |index: usize| self.places.get(index).is_some_and(|place| fits(&place.endpoint));
        if self.places.len() <= 1 {
            return self.places.first().filter(|_| fits(0));
        }
        let index = match how {
            Balancing::LeastRequest => self.less_loaded(fits),
            Balancing::RoundRobin => self.draw(|| self.weights.next(), &fits),
            Balancing::Random => self.draw(|| self.weights.random(), &fits),
        };
        self.places.get(index?)
    }

    /// Power of two choices: of two that are drawn by weight, the one with fewer requests for its weight. Load alone
    /// would never let a light one work while nobody is busy; drawing alone would not see load.
    fn less_loaded(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let first = self.draw(|| self.weights.random(), &fits)?;
        let other = self.draw(|| self.weights.random(), &|index| index != first && fits(index));
        let (Some(a), Some(b)) = (self.places.get(first), other.and_then(|other| self.places.get(other)))
        else {
            return Some(first);
        };
        let load = |place: &Place, weight: u32| u64::from(place.endpoint.in_flight()) * u64::from(weight);
        if load(a, b.weight) <= load(b, a.weight) { Some(first) } else { other }
    }

    /// Draws until an index fits, at most [`DRAWS`] times, then takes the next that fits from a random place on.
    fn draw(&self, draw: impl Fn() -> Option<usize>, fits: &impl Fn(usize) -> bool) -> Option<usize> {
        let drawn = (0..DRAWS).filter_map(|_| draw()).find(|index| fits(*index));
        drawn.or_else(|| {
            let (count, start) = (self.places.len(), random::index(self.places.len()));
            (start..count).chain(0..start).find(|index| fits(*index))
        })
    }
}
