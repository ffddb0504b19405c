//! Tables of consistent hashing: the same key finds the same endpoint in every data plane, and few keys move when an
//! endpoint comes or goes. Built when the endpoints or the rule change, never by a request.
//!
//! The hash is XXH64 with seed 0, which is the same on every machine and in every version.

use sluice_ir::HashTable;
use std::net::SocketAddr;
use xxhash_rust::xxh64::xxh64;

/// Most entries of a ring, whatever weights and numbers of endpoints ask for.
const LONGEST_RING: u64 = 1 << 20;

/// The hash of a key.
pub(super) fn hash(key: &[u8]) -> u64 {
    xxh64(key, 0)
}

/// Positions of endpoints by hash.
#[derive(Debug)]
pub(super) enum Table {
    /// Points on a circle, by hash; a key belongs to the next one.
    Ring(Box<[(u64, u32)]>),
    /// Slots; a key belongs to the one of its remainder.
    Slots(Box<[u32]>),
}

impl Table {
    /// For endpoints with these addresses and weights. The order does not matter for who gets what.
    pub(super) fn build(kind: &HashTable, endpoints: &[(SocketAddr, u32)]) -> Self {
        match kind {
            HashTable::Ring { least } => Self::Ring(ring(u64::from(*least), endpoints)),
            HashTable::Maglev { size } => Self::Slots(maglev(*size, endpoints)),
        }
    }

    /// The position of the first endpoint for that hash that fits. Costs a search and a few looks.
    pub(super) fn find(&self, hash: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fits = |position: u32| Some(position as usize).filter(|it| fits(*it));
        match self {
            Self::Ring(points) => {
                let start = points.partition_point(|it| it.0 < hash);
                let (before, after) = points.split_at(start);
                after.iter().chain(before).find_map(|it| fits(it.1))
            }
            Self::Slots(slots) => {
                let start = usize::try_from(hash % u64::try_from(slots.len().max(1)).ok()?).ok()?;
                let (before, after) = slots.split_at(start);
                after.iter().chain(before).find_map(|it| fits(*it))
            }
        }
    }
}

/// Each endpoint has points in proportion to its weight, at least one. For each unit of weight they are a power of two:
/// an endpoint that comes or goes seldom changes how many the others have, which would move their keys.
fn ring(least: u64, endpoints: &[(SocketAddr, u32)]) -> Box<[(u64, u32)]> {
    let weights: u64 = endpoints.iter().map(|it| u64::from(it.1)).sum();
    let weights = weights.max(1);
    let unit = least.clamp(1, LONGEST_RING).div_ceil(weights).next_power_of_two();
    let is_long = unit.saturating_mul(weights) > LONGEST_RING;
    let mut points = Vec::new();
    for (position, (address, weight)) in (0_u32..).zip(endpoints) {
        let weight = u64::from(*weight);
        let count = if is_long { (LONGEST_RING * weight / weights).max(1) } else { unit * weight };
        points.extend((0..count).map(|number| (hash(format!("{address}_{number}").as_bytes()), position)));
    }
    points.sort_unstable_by_key(|it| (it.0, endpoints.get(it.1 as usize).map(|it| it.0)));
    points.into()
}

/// Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4: endpoints take turns to
/// claim the next free slot of their own permutation; a lighter one sits turns out.
fn maglev(size: u32, endpoints: &[(SocketAddr, u32)]) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let length = u64::from(size.max(2));
    let most = endpoints.iter().map(|it| u64::from(it.1)).max().unwrap_or(1).max(1);
    // In the order of the addresses, so that every data plane fills the same table.
    let mut order: Vec<u32> = (0_u32..).take(endpoints.len()).collect();
    order.sort_by_key(|it| endpoints.get(*it as usize).map(|it| it.0));
    let mut claims: Vec<Claim> = order
        .into_iter()
        .filter_map(|position| {
            let (address, weight) = endpoints.get(position as usize)?;
            let name = address.to_string();
            let skip = xxh64(name.as_bytes(), 1) % (length - 1) + 1;
            Some(Claim {
                position,
                weight: u64::from(*weight),
                next: hash(name.as_bytes()) % length,
                skip,
                due: 0,
            })
        })
        .collect();
    let mut slots = vec![FREE; length as usize];
    let mut left = if claims.is_empty() { 0 } else { length };
    let mut turn = 0_u64;
    while left > 0 {
        turn += 1;
        for claim in &mut claims {
            if left == 0 {
                break;
            }
            if turn * claim.weight < claim.due {
                continue;
            }
            claim.due += most;
            loop {
                let at = claim.next as usize;
                claim.next = (claim.next + claim.skip) % length;
                if let Some(slot) = slots.get_mut(at).filter(|it| **it == FREE) {
                    *slot = claim.position;
                    left -= 1;
                    break;
                }
            }
        }
    }
    if claims.is_empty() { Box::default() } else { slots.into() }
}

/// An endpoint that fills a table.
struct Claim {
    position: u32,
    weight: u64,
    next: u64,
    skip: u64,
    /// It has a turn when as much weight as this has gone by.
    due: u64,
}

#[cfg(test)]
#[path = "hash_table_tests.rs"]
mod tests;
