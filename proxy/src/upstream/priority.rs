//! Which endpoints come first by their places (`localityLbSetting` of a DestinationRule): a plan that parts the
//! endpoints of a pool into levels, and the choice of a level by health. Numbers only; endpoints are the pool's affair.
//!
//! Failover: level 0 is nearest. A level takes all requests while at least 72 % of its endpoints are healthy (1 / 1.4),
//! less below that; the next one takes what it leaves. Shares: each level takes its percentage, less when it is not
//! healthy in the same sense, and the others the rest in proportion. The numbers are Envoy's.

use sluice_ir::{Ejection, Failover, Locality, LocalityPolicy, Topology, WantedLabel};

/// Levels of one pool; what lies further away than that is one level.
pub(super) const MOST_LEVELS: usize = 16;

/// Hundredths: how much more a level's endpoints can take than their share.
const OVERPROVISIONED: usize = 140;

/// Steps by place alone: the same sub-zone, zone, region, the region that stands in, any other.
const STEPS: usize = 5;

/// How the endpoints of a pool are parted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) order: Order,
    /// The level of each endpoint, in the order in which they were given; `None`: it gets nothing.
    pub(super) levels: Vec<Option<usize>>,
    /// How many levels there are; at most [`MOST_LEVELS`].
    pub(super) count: usize,
}

/// What levels are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The first comes first.
    Failover,
    /// Percent of each.
    Shares(Vec<u8>),
}

/// Endpoints of a level: how many are healthy, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) healthy: usize,
    pub(super) all: usize,
}

/// Where a choice begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The level.
    pub(super) level: usize,
    /// Whether so few of its endpoints are healthy that all are used.
    pub(super) uses_all: bool,
}

/// Parts endpoints for a data plane at `own`; `None`: all are alike.
pub(super) fn plan(policy: &LocalityPolicy, own: &Locality, endpoints: &[Option<&Topology>]) -> Option<Plan> {
    match policy {
        LocalityPolicy::Failover(failover) => {
            let steps: Vec<usize> = endpoints.iter().map(|it| step(failover, own, *it)).collect();
            let mut distinct = steps.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let level = |step: &usize| distinct.partition_point(|it| it < step).min(MOST_LEVELS - 1);
            let levels = steps.iter().map(|it| Some(level(it))).collect();
            let count = distinct.len().min(MOST_LEVELS);
            (count > 1).then_some(Plan { order: Order::Failover, levels, count })
        }
        LocalityPolicy::Distribute(all) => {
            let to = &all.iter().find(|it| it.from.matches(own))?.to;
            let to = to.get(..MOST_LEVELS).unwrap_or(to);
            let unknown = Locality::default();
            let level = |it: &Option<&Topology>| {
                let place = it.map_or(&unknown, |it| &it.locality);
                let fitting = to.iter().enumerate().filter(|(_, (pattern, _))| pattern.matches(place));
                // The most specific one says.
                fitting.max_by_key(|(_, (pattern, _))| pattern.0.len()).map(|(level, _)| level)
            };
            Some(Plan {
                order: Order::Shares(to.iter().map(|it| it.1).collect()),
                levels: endpoints.iter().map(level).collect(),
                count: to.len(),
            })
        }
    }
}

/// How many steps an endpoint is away.
fn step(policy: &Failover, own: &Locality, endpoint: Option<&Topology>) -> usize {
    let unknown = Topology::default();
    let endpoint = endpoint.unwrap_or(&unknown);
    let by_place = place_step(policy, own, &endpoint.locality);
    if policy.labels.is_empty() {
        return by_place;
    }
    let has = |wanted: &&WantedLabel| {
        let own = || own.label(&wanted.name);
        // A label of places that neither side knows is alike.
        let wanted_value = wanted.value.as_deref().or_else(own);
        let is_of_places = endpoint.locality.label(&wanted.name).is_some();
        let known = endpoint.label(&wanted.name).or(is_of_places.then_some(""));
        wanted_value.is_some() && known == wanted_value
    };
    let by_labels = policy.labels.len() - policy.labels.iter().take_while(has).count();
    if policy.regions.is_empty() { by_labels } else { by_labels * STEPS + by_place }
}

fn place_step(policy: &Failover, own: &Locality, endpoint: &Locality) -> usize {
    // A zone whose region is not known is the one of the same name.
    let is_own_zone = endpoint.region.is_empty() && !own.zone.is_empty() && own.zone == endpoint.zone;
    if own.region != endpoint.region && !is_own_zone {
        let stands_in = policy.regions.get(&own.region);
        return match stands_in {
            Some(region) if *region != endpoint.region => 4,
            _ => 3,
        };
    }
    match (own.zone == endpoint.zone, own.subzone == endpoint.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

impl Health {
    /// Percent of what the level would have to take that it can take.
    fn percent(self) -> usize {
        let Self { healthy, all } = self;
        (healthy * OVERPROVISIONED).checked_div(all).map_or(0, |percent| percent.min(100))
    }

    fn panics(self, rule: &Ejection) -> bool {
        self.all > 0 && self.healthy * 100 < usize::from(rule.health_percent) * self.all
    }
}

/// The level that a choice begins at. `roll` gives a number below its argument: at random, or by a request's key, so
/// that the same keys move when health does.
pub(super) fn start(
    order: &Order,
    health: &[Health],
    rule: Option<&Ejection>,
    roll: impl Fn(u64) -> u64,
) -> Start {
    let total = health.iter().map(|it| it.percent()).sum::<usize>().min(100);
    let panics = |it: &Health| total < 100 && rule.is_some_and(|rule| it.panics(rule));
    // All are as good as gone: everybody is asked, in proportion.
    let everywhere = total < 100 && health.iter().all(|it| it.all == 0 || panics(it));
    let share = |index: usize, it: &Health| -> u64 {
        let whole = match order {
            Order::Failover if everywhere => it.all,
            Order::Failover => {
                let before: usize = health.iter().take(index).map(|it| it.percent()).sum();
                it.percent().min(100_usize.saturating_sub(before))
            }
            Order::Shares(shares) => {
                let percent = shares.get(index).copied().map_or(0, usize::from);
                let able = if everywhere { if it.all == 0 { 0 } else { 100 } } else { it.percent() };
                percent * able
            }
        };
        u64::try_from(whole).unwrap_or(u64::MAX)
    };
    let shares = || health.iter().enumerate().map(|(index, it)| share(index, it));
    let sum: u64 = shares().sum();
    let mut at = if sum == 0 { 0 } else { roll(sum) };
    let mut level = 0;
    for (index, share) in shares().enumerate() {
        if at < share {
            level = index;
            break;
        }
        at -= share;
    }
    Start { level, uses_all: health.get(level).is_some_and(panics) }
}

#[cfg(test)]
#[path = "priority_tests.rs"]
mod tests;
