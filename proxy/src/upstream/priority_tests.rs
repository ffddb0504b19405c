#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Health, MOST_LEVELS, Order, Plan, plan, start};
use proptest::prelude::*;
use sluice_ir::{
    Distribution, Ejection, Failover, Locality, LocalityPolicy, Topology, WantedLabel, ZONE_LABEL,
};
use std::time::Duration;

fn at(place: &str) -> Option<Topology> {
    (!place.is_empty()).then(|| Topology { locality: place.parse().unwrap(), ..Topology::default() })
}

fn own(place: &str) -> Locality {
    place.parse().unwrap()
}

fn planned(policy: &LocalityPolicy, own: &Locality, endpoints: &[Option<Topology>]) -> Option<Plan> {
    let endpoints: Vec<_> = endpoints.iter().map(Option::as_ref).collect();
    plan(policy, own, &endpoints)
}

fn levels(policy: &LocalityPolicy, place: &str, endpoints: &[&str]) -> Vec<usize> {
    let endpoints: Vec<_> = endpoints.iter().map(|it| at(it)).collect();
    let plan = planned(policy, &own(place), &endpoints);
    plan.map_or_else(|| vec![0; endpoints.len()], |it| it.levels.into_iter().flatten().collect())
}

fn failover(regions: &[(&str, &str)]) -> LocalityPolicy {
    let regions = regions.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    LocalityPolicy::Failover(Failover { labels: Vec::new(), regions })
}

fn wanted(name: &str, value: Option<&str>) -> WantedLabel {
    WantedLabel { name: name.to_owned(), value: value.map(str::to_owned) }
}

fn rule(health_percent: u8) -> Ejection {
    Ejection {
        server_errors: 1,
        gateway_errors: 0,
        failures: None,
        interval: Duration::from_secs(1),
        base: Duration::from_secs(1),
        most_percent: 100,
        health_percent,
    }
}

#[test]
fn the_nearest_place_comes_first_and_levels_without_endpoints_do_not_count() {
    let all = ["eu/a/1", "eu/a/2", "eu/b", "us/a/1", ""];
    assert_eq!(levels(&failover(&[]), "eu/a/1", &all), [0, 1, 2, 3, 3]);
    assert_eq!(levels(&failover(&[]), "eu/a/1", &["eu/b", "us"]), [0, 1]);
    assert_eq!(levels(&failover(&[]), "eu", &["us/a", "us/b"]), [0, 0], "one level is none");
    assert_eq!(levels(&failover(&[("eu", "ap")]), "eu/a", &["us", "ap", "eu/a", ""]), [2, 1, 0, 2]);
    assert_eq!(levels(&failover(&[("us", "ap")]), "eu/a", &["us", "ap", "eu/a"]), [1, 1, 0], "not for us");
}

#[test]
fn labels_decide_in_their_order() {
    let labels = vec![wanted(ZONE_LABEL, None), wanted("tier", Some("gold"))];
    let policy = |regions| LocalityPolicy::Failover(Failover { labels: labels.clone(), regions });
    let with = |place: &str, tier: &str| {
        let labels = [("tier".to_owned(), tier.to_owned())].into();
        Some(Topology { labels, ..at(place).unwrap() })
    };
    let endpoints = [with("eu/a", "gold"), with("eu/a", "tin"), with("eu/b", "gold"), None];
    let found = planned(&policy([].into()), &own("eu/a"), &endpoints).unwrap();
    // What lacks the first is as far as what lacks both.
    assert_eq!(found.levels, [Some(0), Some(1), Some(2), Some(2)]);
    let found = planned(&policy([("eu".to_owned(), "us".to_owned())].into()), &own("eu/a"), &endpoints);
    assert_eq!(found.unwrap().levels, [Some(0), Some(1), Some(2), Some(3)], "regions part equals further");
    // Nobody here has a label of its own.
    let policy =
        LocalityPolicy::Failover(Failover { labels: vec![wanted("tier", None)], ..Failover::default() });
    assert_eq!(planned(&policy, &own("eu/a"), &endpoints), None);
}

#[test]
fn shares_go_by_the_most_specific_place_and_others_get_nothing() {
    let distribution = |from: &str, to: &[(&str, u8)]| Distribution {
        from: from.parse().unwrap(),
        to: to.iter().map(|(place, percent)| (place.parse().unwrap(), *percent)).collect(),
    };
    let policy = LocalityPolicy::Distribute(vec![
        distribution("eu/a", &[("eu/*", 20), ("eu/a/*", 80)]),
        distribution("*", &[("us", 100)]),
    ]);
    let all: Vec<_> = ["eu/a/1", "eu/b", "us", ""].iter().map(|it| at(it)).collect();
    let found = planned(&policy, &own("eu/a"), &all).unwrap();
    assert_eq!(found.levels, [Some(1), Some(0), None, None]);
    assert_eq!(found.order, Order::Shares(vec![20, 80]));
    let found = planned(&policy, &own("ap"), &all).unwrap();
    assert_eq!(found.levels, [None, None, Some(0), None]);
    let policy = LocalityPolicy::Distribute(vec![distribution("eu/a", &[("eu/*", 100)])]);
    assert_eq!(planned(&policy, &own("ap"), &all), None);
}

/// How many of 100 rolls begin at each level.
fn shares(order: &Order, health: &[(usize, usize)], rule: Option<&Ejection>) -> Vec<u64> {
    let health: Vec<_> =
        health.iter().map(|(healthy, all)| Health { healthy: *healthy, all: *all }).collect();
    let mut counts = vec![0; health.len()];
    for roll in 0..10_000 {
        counts[start(order, &health, rule, |sum| roll * sum / 10_000).level] += 1;
    }
    counts.iter().map(|it| (it + 50) / 100).collect()
}

/// The table of Envoy's documentation of priority levels.
#[test]
fn a_level_takes_what_its_healthy_endpoints_can() {
    for (health, expected) in [
        ([(100, 100), (100, 100)], [100, 0]),
        ([(72, 100), (100, 100)], [100, 0]),
        ([(71, 100), (100, 100)], [99, 1]),
        ([(50, 100), (100, 100)], [70, 30]),
        ([(25, 100), (100, 100)], [35, 65]),
        ([(0, 100), (100, 100)], [0, 100]),
        ([(25, 100), (25, 100)], [50, 50]),
        ([(0, 100), (1, 100)], [0, 100]),
    ] {
        assert_eq!(shares(&Order::Failover, &health, None), expected, "{health:?}");
    }
    assert_eq!(shares(&Order::Failover, &[(20, 100), (20, 100), (100, 100)], None), [28, 28, 44]);
}

#[test]
fn with_too_few_healthy_endpoints_all_of_the_level_are_used() {
    let uses_all = |health: &[(usize, usize)], percent| {
        let health: Vec<_> =
            health.iter().map(|(healthy, all)| Health { healthy: *healthy, all: *all }).collect();
        start(&Order::Failover, &health, Some(&rule(percent)), |_| 0).uses_all
    };
    assert!(!uses_all(&[(1, 10), (10, 10)], 50), "the next level has enough for all");
    assert!(uses_all(&[(1, 10), (2, 10)], 50));
    assert!(!uses_all(&[(1, 10), (2, 10)], 0));
    assert!(!uses_all(&[(0, 10), (0, 10)], 0), "nobody is asked");
    assert_eq!(shares(&Order::Failover, &[(0, 30), (0, 10)], Some(&rule(50))), [75, 25]);
}

#[test]
fn shares_shrink_with_health_and_grow_elsewhere() {
    let order = Order::Shares(vec![80, 20]);
    assert_eq!(shares(&order, &[(4, 4), (4, 4)], None), [80, 20]);
    assert_eq!(shares(&order, &[(0, 4), (4, 4)], None), [0, 100]);
    assert_eq!(shares(&order, &[(4, 4), (0, 0)], None), [100, 0]);
    // 0.8 · 0.7 to 0.2
    assert_eq!(shares(&order, &[(2, 4), (4, 4)], None), [74, 26]);
    assert_eq!(shares(&order, &[(0, 4), (0, 4)], Some(&rule(50))), [80, 20]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the health: a level without a healthy endpoint is not begun at while another has one.
    #[test]
    fn a_choice_begins_where_somebody_is_healthy(
        health in prop::collection::vec((0..5_usize, 0..5_usize), 1..MOST_LEVELS),
        percent in prop::option::of(0..=100_u8),
        roll in any::<u64>(),
        by_shares in any::<bool>(),
    ) {
        let health: Vec<_> =
            health.into_iter().map(|(healthy, more)| Health { healthy, all: healthy + more }).collect();
        let order = match by_shares {
            true => Order::Shares(vec![10; health.len()]),
            false => Order::Failover,
        };
        let rule = percent.map(rule);
        let chosen = start(&order, &health, rule.as_ref(), |sum| roll % sum);
        prop_assert!(chosen.level < health.len());
        let is_any_healthy = health.iter().any(|it| it.healthy > 0);
        if is_any_healthy && !chosen.uses_all {
            prop_assert!(health[chosen.level].healthy > 0, "{health:?} {chosen:?}");
        }
    }
}
