//! Endpoints of one state, perhaps parted into levels by their places. Levels are groups of their own, with weights and
//! tables, so that choosing within one costs what choosing among all does.

use super::endpoint::Endpoint;
use super::outlier;
use super::pool::{Group, Place};
use super::priority::{self, Health, MOST_LEVELS, Order, Start};
use super::random;
use ahash::AHashMap;
use sluice_ir::{Ejection, HashTable, Locality, LocalityPolicy};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a pool is arranged by, besides its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// How hashes find endpoints.
    pub(super) table: Option<HashTable>,
    /// Which places come first.
    pub(super) locality: Option<LocalityPolicy>,
    /// Where this data plane runs, if it knows.
    pub(super) own: Option<Arc<Locality>>,
}

/// Endpoints of one state.
#[derive(Debug, Default)]
pub(super) struct Tier {
    /// All of them.
    pub(super) all: Group,
    levels: Option<Levels>,
}

#[derive(Debug)]
struct Levels {
    order: Order,
    groups: Vec<Group>,
}

impl Tier {
    /// From places in their order. Turns go on from where `before` was.
    pub(super) fn build(places: Vec<Place>, by: &Arrangement, before: &Self) -> Self {
        let plan = by.locality.as_ref().zip(by.own.as_deref()).and_then(|(policy, own)| {
            let topologies: Vec<_> = places.iter().map(|it| it.topology.as_deref()).collect();
            priority::plan(policy, own, &topologies)
        });
        let levels = plan.map(|plan| {
            let mut parts: Vec<Vec<Place>> = (0..plan.count).map(|_| Vec::new()).collect();
            for (place, level) in places.iter().zip(&plan.levels) {
                if let Some(part) = level.and_then(|it| parts.get_mut(it)) {
                    part.push(place.again());
                }
            }
            let turns = |index: usize| {
                let group = before.levels.as_ref().and_then(|it| it.groups.get(index));
                group.map_or(0, Group::turns)
            };
            let parts = parts.into_iter().enumerate();
            let groups = parts.map(|(index, it)| Group::build(it, by.table.as_ref(), turns(index))).collect();
            Levels { order: plan.order, groups }
        });
        Self { all: Group::build(places, by.table.as_ref(), before.all.turns()), levels }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.places.is_empty()
    }

    /// The level of each endpoint that is in one.
    pub(super) fn levels(&self) -> AHashMap<SocketAddr, usize> {
        let groups = self.levels.iter().flat_map(|it| it.groups.iter().enumerate());
        groups
            .flat_map(|(level, it)| it.places.iter().map(move |place| (place.endpoint.address, level)))
            .collect()
    }

    /// Whether the place of any endpoint is known.
    pub(super) fn knows_places(&self) -> bool {
        self.all.places.iter().any(|it| it.topology.as_ref().is_some_and(|it| !it.locality.is_empty()))
    }

    /// Where a choice begins. `healthy` says who is; without it everybody is, and nobody is looked at.
    pub(super) fn start(
        &self,
        healthy: Option<&dyn Fn(&Endpoint) -> bool>,
        rule: Option<&Ejection>,
        key: Option<u64>,
    ) -> Start {
        let roll = |sum: u64| match key {
            Some(key) => key % sum,
            None => random::below(sum),
        };
        let Some(Levels { order, groups }) = &self.levels else {
            let uses_all = healthy.zip(rule).is_some_and(|(healthy, rule)| {
                outlier::uses_all(rule, self.all.count(healthy), self.all.places.len())
            });
            return Start { level: 0, uses_all };
        };
        if healthy.is_none() && *order == Order::Failover {
            return Start { level: 0, uses_all: false };
        }
        let mut health = [Health::default(); MOST_LEVELS];
        for (health, group) in health.iter_mut().zip(groups) {
            let all = group.places.len();
            *health = Health { healthy: healthy.map_or(all, |healthy| group.count(healthy)), all };
        }
        let health = health.get(..groups.len()).unwrap_or(&health);
        priority::start(order, health, rule.filter(|_| healthy.is_some()), roll)
    }

    /// Looks into the level that a choice begins at, then into the others in their order; without levels once into all.
    pub(super) fn find<'a>(
        &'a self,
        first: usize,
        look: impl Fn(&'a Group) -> Option<&'a Place>,
    ) -> Option<&'a Place> {
        let Some(Levels { groups, .. }) = &self.levels else { return look(&self.all) };
        let others = || groups.iter().enumerate().filter(|(index, _)| *index != first).map(|it| it.1);
        groups.get(first).and_then(&look).or_else(|| others().find_map(&look))
    }
}
