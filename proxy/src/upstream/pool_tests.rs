#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Choice, EndpointPool, Member};
use crate::upstream::{EjectPolicy, Picked, Verdict};
use proptest::prelude::*;
use sluice_ir::{Balancing, Ejection, EndpointSetKey, EndpointState, HashTable, Warmup, Workload};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn by(how: Balancing) -> Choice<'static> {
    Choice::plain(how)
}

const POLICY: EjectPolicy = EjectPolicy { after: 3, base: Duration::from_secs(10) };
const ALL: [Balancing; 3] = [Balancing::LeastRequest, Balancing::RoundRobin, Balancing::Random];

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], number))
}

fn member(number: u16) -> Member {
    Member {
        address: address(number),
        state: EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: None,
    }
}

fn of_workload(number: u16, name: &str) -> Member {
    let workload = Workload {
        namespace: "shop".to_owned(),
        service_account: "cart".to_owned(),
        name: name.to_owned(),
        app: String::new(),
        version: String::new(),
        canonical_service: name.to_owned(),
        canonical_revision: "latest".to_owned(),
        mutual_tls: true,
    };
    Member { workload: Some(Arc::new(workload)), ..member(number) }
}

#[test]
fn another_workload_at_the_same_address_is_another_endpoint() {
    let pool = pool_of(&[of_workload(1, "cart"), member(2)]);
    let picked = pick_exactly(&pool, address(1));
    assert_eq!(picked.workload().unwrap().name, "cart");
    pool.update(&[of_workload(1, "cart"), member(2)]);
    let load = |pool: &EndpointPool| pool.snapshot().endpoints.iter().map(|it| it.in_flight).sum::<u32>();
    assert_eq!(load(&pool), 1, "the same workload is the same endpoint");
    pool.update(&[of_workload(1, "other"), member(2)]);
    assert_eq!(load(&pool), 0, "what another one had to do is none of its load");
    assert_eq!(pick_exactly(&pool, address(1)).workload().unwrap().name, "other");
    assert_eq!(picked.workload().unwrap().name, "cart");
    assert!(pick_exactly(&pool, address(2)).workload().is_none());
}

fn draining(number: u16) -> Member {
    Member { state: EndpointState::Draining, ..member(number) }
}

fn pool_of(members: &[Member]) -> Arc<EndpointPool> {
    let pool = EndpointPool::new(EndpointSetKey::new("Service/shop/cart:80"));
    pool.update(members);
    pool
}

fn pool(count: u16) -> Arc<EndpointPool> {
    pool_of(&(1..=count).map(member).collect::<Vec<_>>())
}

fn pick_exactly(pool: &EndpointPool, wanted: SocketAddr) -> Picked {
    let others: Vec<_> =
        pool.snapshot().endpoints.iter().map(|it| it.address).filter(|it| *it != wanted).collect();
    let picked = pool.pick(Balancing::Random, &others, None).unwrap();
    assert_eq!(picked.address, wanted);
    picked
}

fn break_endpoint(pool: &EndpointPool, wanted: SocketAddr, now: Instant) {
    let picked = pick_exactly(pool, wanted);
    (0..POLICY.after).for_each(|_| picked.failed(now, POLICY));
}

/// Addresses that 300 picks of all kinds meet.
fn met(pool: &EndpointPool, tried: &[SocketAddr], now: Instant) -> Vec<u16> {
    let mut met: Vec<_> = (0..300)
        .filter_map(|turn| pool.pick_at(by(ALL[turn % 3]), tried, None, || now))
        .map(|picked| picked.address.port())
        .collect();
    met.sort_unstable();
    met.dedup();
    met
}

#[test]
fn an_empty_pool_gives_nothing() {
    for how in ALL {
        assert!(pool(0).pick(how, &[], None).is_none());
    }
}

#[test]
fn round_robin_takes_turns_and_goes_on_after_a_change() {
    let pool = pool(3);
    let next = || pool.pick(Balancing::RoundRobin, &[], None).unwrap().address.port();
    assert_eq!([next(), next(), next(), next()], [1, 2, 3, 1]);
    pool.update(&[member(1), member(2), member(3)]);
    assert_eq!([next(), next()], [2, 3]);
}

#[test]
fn weights_hold_while_nobody_is_busy() {
    let pool = pool_of(&[Member { weight: 3, ..member(1) }, member(2)]);
    for how in ALL {
        let heavy = (0..8_000).filter(|_| pool.pick(how, &[], None).unwrap().address == address(1)).count();
        assert!((5_700..6_300).contains(&heavy), "{how:?}: {heavy} of 8000");
    }
}

#[test]
fn least_request_spreads_held_requests_evenly() {
    let pool = pool(10);
    let held: Vec<_> = (0..1_000).map(|_| pool.pick(Balancing::LeastRequest, &[], None).unwrap()).collect();
    let loads: Vec<_> = pool.snapshot().endpoints.iter().map(|endpoint| endpoint.in_flight).collect();
    assert_eq!(loads.iter().sum::<u32>(), 1_000);
    assert!(loads.iter().all(|load| (90..=110).contains(load)), "{loads:?}");
    drop(held);
    assert!(pool.snapshot().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[test]
fn least_request_avoids_the_busy_one() {
    let pool = pool(2);
    let _held: Vec<_> = (0..5).map(|_| pick_exactly(&pool, address(1))).collect();
    assert!((0..100).all(|_| pool.pick(Balancing::LeastRequest, &[], None).unwrap().address == address(2)));
}

#[test]
fn tried_endpoints_are_avoided_while_others_exist() {
    let pool = pool(3);
    assert_eq!(met(&pool, &[address(1), address(3)], Instant::now()), [2]);
    assert_eq!(met(&pool, &[address(1), address(2), address(3)], Instant::now()), [1, 2, 3]);
}

#[test]
fn draining_endpoints_serve_only_when_none_is_ready_or_by_session() {
    let pool = pool_of(&[member(1), draining(2)]);
    assert_eq!(met(&pool, &[], Instant::now()), [1]);
    assert_eq!((pool.len(), pool.ready()), (2, 1));
    pool.update(&[draining(1), draining(2)]);
    assert_eq!(met(&pool, &[], Instant::now()), [1, 2]);
    let session = pick_exactly(&pool, address(2)).session_id();
    pool.update(&[member(1), draining(2)]);
    assert!(
        (0..50).all(|_| pool.pick(Balancing::Random, &[], Some(&session)).unwrap().address == address(2))
    );
}

#[test]
fn a_failing_endpoint_rests_and_comes_back() {
    let (pool, start) = (pool(3), Instant::now());
    break_endpoint(&pool, address(2), start);
    assert_eq!(met(&pool, &[], start), [1, 3]);
    assert_eq!(met(&pool, &[], start + Duration::from_millis(9_900)), [1, 3]);
    assert_eq!(met(&pool, &[], start + Duration::from_millis(10_100)), [1, 2, 3]);
    assert_eq!(pool.ejections(), 1);
    let again = start + Duration::from_secs(11);
    break_endpoint(&pool, address(2), again);
    assert_eq!(met(&pool, &[], again + Duration::from_secs(19)), [1, 3], "the second rest is twice as long");
    assert_eq!(met(&pool, &[], again + Duration::from_secs(21)), [1, 2, 3]);
}

#[test]
fn a_success_between_failures_keeps_the_endpoint() {
    let (pool, now) = (pool(2), Instant::now());
    let picked = pick_exactly(&pool, address(1));
    for _ in 0..10 {
        picked.failed(now, POLICY);
        picked.failed(now, POLICY);
        picked.succeeded();
    }
    assert_eq!(pool.ejections(), 0);
}

#[test]
fn policy_zero_never_sends_anybody_to_rest() {
    let pool = pool(4);
    let picked = pick_exactly(&pool, address(1));
    (0..100).for_each(|_| picked.failed(Instant::now(), EjectPolicy { after: 0, ..POLICY }));
    assert_eq!(pool.ejections(), 0);
}

#[test]
fn never_more_than_half_rest() {
    for (count, at_most) in [(1, 0), (2, 1), (3, 1), (4, 2), (9, 4)] {
        let (pool, now) = (pool(count), Instant::now());
        (1..=count).for_each(|number| break_endpoint(&pool, address(number), now));
        assert_eq!(pool.ejections(), at_most, "of {count}");
        assert_eq!(met(&pool, &[], now).len() as u64, u64::from(count) - at_most);
    }
}

#[test]
fn when_only_resting_ones_are_left_all_are_used() {
    let (pool, now) = (pool(4), Instant::now());
    break_endpoint(&pool, address(1), now);
    break_endpoint(&pool, address(2), now);
    pool.update(&[member(1), member(2)]);
    assert_eq!(met(&pool, &[], now), [1, 2]);
}

#[test]
fn state_survives_changes_of_other_endpoints() {
    let (pool, now) = (pool(4), Instant::now());
    break_endpoint(&pool, address(1), now);
    let held = pick_exactly(&pool, address(2));
    pool.update(&[member(1), member(2), member(3), member(8), member(9)]);
    assert_eq!(met(&pool, &[], now), [2, 3, 8, 9]);
    let load = |pool: &EndpointPool| pool.snapshot().endpoints.iter().map(|it| it.in_flight).sum::<u32>();
    assert_eq!(load(&pool), 1);
    drop(held);
    assert_eq!(load(&pool), 0);
}

#[test]
fn a_session_survives_changes_until_its_endpoint_goes_or_rests() {
    let (pool, now) = (pool(4), Instant::now());
    let session = pick_exactly(&pool, address(3)).session_id();
    pool.update(&[member(3), member(5), member(6), member(7)]);
    let sticky = |now| pool.pick_at(by(Balancing::Random), &[], Some(&session), || now).unwrap().address;
    assert!(pool.holds(&session) && (0..50).all(|_| sticky(now) == address(3)));
    assert_ne!(pool.pick(Balancing::Random, &[address(3)], Some(&session)).unwrap().address, address(3));
    break_endpoint(&pool, address(3), now);
    assert!((0..50).all(|_| sticky(now) != address(3)));
    assert_eq!(sticky(now + POLICY.base * 2), address(3));
    pool.update(&[member(5)]);
    assert!(!pool.holds(&session));
    assert_eq!(sticky(now), address(5));
}

#[test]
fn load_returns_to_zero_under_threads_and_changes() {
    let pool = pool(6);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for turn in 0..4_000_u32 {
                    let held = pool.pick(ALL[turn as usize % 3], &[], None).unwrap();
                    if turn % 7 == thread {
                        held.failed(Instant::now(), POLICY);
                    } else {
                        held.succeeded();
                    }
                    if turn % 100 == 0 {
                        pool.update(
                            &(1..=6).filter(|it| it % 6 != turn as u16 % 5).map(member).collect::<Vec<_>>(),
                        );
                    }
                }
            });
        }
    });
    assert!(pool.snapshot().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[test]
fn an_address_that_comes_twice_is_one_endpoint() {
    let pool = pool_of(&[member(1), draining(1), member(1)]);
    assert_eq!((pool.len(), pool.ready()), (1, 1));
}

proptest! {
    #[test]
    fn a_pick_is_always_a_member_and_untried_while_one_is(
        states in prop::collection::vec((any::<bool>(), 1_u32..50), 1..12),
        tried in prop::collection::vec(1_u16..12, 0..6),
        broken in prop::collection::vec(1_u16..12, 0..6),
    ) {
        let members: Vec<_> = states.iter().enumerate().map(|(index, (ready, weight))| Member {
            weight: *weight,
            ..if *ready { member(index as u16 + 1) } else { draining(index as u16 + 1) }
        }).collect();
        let (pool, now) = (pool_of(&members), Instant::now());
        for number in broken {
            let picked = pool.pick(Balancing::Random, &[], None).unwrap();
            (0..=number).for_each(|_| picked.failed(now, POLICY));
        }
        let by_address: BTreeMap<_, _> = members.iter().map(|it| (it.address, it.state)).collect();
        let any_ready = by_address.values().any(|state| *state == EndpointState::Ready);
        let takes = |state: EndpointState| (state == EndpointState::Ready) == any_ready;
        let tried: Vec<_> = tried.into_iter().map(address).collect();
        let untried_exists = by_address.iter().any(|(it, state)| takes(*state) && !tried.contains(it));
        for how in ALL {
            let picked = pool.pick_at(by(how), &tried, None, || now).unwrap();
            let state = by_address.get(&picked.address).copied();
            prop_assert!(state.is_some_and(takes));
            prop_assert!(!untried_exists || !tried.contains(&picked.address));
        }
    }
}

fn rule(most_percent: u8, health_percent: u8) -> Ejection {
    Ejection {
        server_errors: 2,
        gateway_errors: 0,
        failures: None,
        interval: Duration::from_secs(10),
        base: Duration::from_secs(30),
        most_percent,
        health_percent,
    }
}

/// Lets the endpoint of that number fail often enough.
fn fail_by(pool: &Arc<EndpointPool>, rule: &Ejection, number: u16) {
    let others: Vec<_> = (1..=9).filter(|it| *it != number).map(address).collect();
    let picked = pool.pick(Balancing::Random, &others, None).unwrap();
    assert_eq!(picked.address, address(number));
    (0..2).for_each(|_| picked.report(Verdict::Answered(500), Instant::now(), Some(rule), POLICY));
}

#[test]
fn what_a_rule_leaves_out_is_not_used_at_all() {
    let (pool, rule) = (pool(3), rule(100, 0));
    let choice = Choice { rule: Some(&rule), ..by(Balancing::Random) };
    fail_by(&pool, &rule, 1);
    assert!((0..100).all(|_| pool.pick_by(choice, &[], None).unwrap().address != address(1)));
    let again = pool.pick_by(choice, &[address(2), address(3)], None).unwrap().address;
    assert_ne!(again, address(1), "a healthy one twice, rather than one that is left out");
    fail_by(&pool, &rule, 2);
    fail_by(&pool, &rule, 3);
    assert!(pool.pick_by(choice, &[], None).is_none());
    assert_eq!(pool.ejections(), 3);
}

#[test]
fn a_rule_bounds_how_many_are_left_out() {
    let (pool, rule) = (pool(3), rule(10, 0));
    (1..=3).for_each(|number| fail_by(&pool, &rule, number));
    assert_eq!(pool.ejections(), 1, "one always may be");
    let one = pool_of(&[member(1)]);
    fail_by(&one, &rule, 1);
    assert_eq!(one.ejections(), 0, "but not the last");
}

#[test]
fn with_too_few_healthy_endpoints_all_are_used() {
    let (pool, rule) = (pool(4), rule(100, 60));
    fail_by(&pool, &rule, 1);
    let choice = Choice { rule: Some(&rule), ..by(Balancing::Random) };
    let picks = |pool: &Arc<EndpointPool>| {
        (0..200).filter(|_| pool.pick_by(choice, &[], None).unwrap().address == address(1)).count()
    };
    assert_eq!(picks(&pool), 0, "three of four");
    fail_by(&pool, &rule, 2);
    assert!(picks(&pool) > 20, "two of four");
}

#[test]
fn a_key_stays_at_its_endpoint_while_that_is_healthy_and_others_come_and_go() {
    for table in [HashTable::Ring { least: 1_024 }, HashTable::Maglev { size: 1_021 }] {
        let pool = pool(4);
        pool.arrange(Some(&table), None);
        let rule = rule(100, 0);
        let pick = |key: u64| {
            let choice = Choice { key: Some(key), rule: Some(&rule), ..by(Balancing::Random) };
            pool.pick_by(choice, &[], None).unwrap().address
        };
        let keys: Vec<u64> = (0..200_u64).map(|it| it.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let before: Vec<_> = keys.iter().map(|key| pick(*key)).collect();
        assert!((1..=4).all(|it| before.contains(&address(it))), "all have keys");
        assert_eq!(keys.iter().map(|key| pick(*key)).collect::<Vec<_>>(), before);
        fail_by(&pool, &rule, 2);
        for (key, before) in keys.iter().zip(&before) {
            let now = pick(*key);
            assert!(if *before == address(2) { now != address(2) } else { now == *before });
        }
        pool.update(&(1..=5).map(member).collect::<Vec<_>>());
        let moved = keys.iter().zip(&before).filter(|(key, before)| {
            let now = pick(**key);
            now != **before && now != address(5) && **before != address(2)
        });
        assert!(moved.count() <= 20, "a new endpoint takes keys, and hardly any goes elsewhere");
        pool.arrange(None, None);
        let spread: std::collections::BTreeSet<_> = (0..100).map(|_| pick(keys[0])).collect();
        assert!(spread.len() > 1, "without a table a key means nothing");
    }
}

#[test]
fn a_new_endpoint_warms_up() {
    let pool = pool(1);
    let warmup = Warmup { time: Duration::from_secs(3_600), least_percent: 10, aggression: 100 };
    let choice = Choice { warmup: Some(&warmup), ..by(Balancing::RoundRobin) };
    assert!((0..50).all(|_| pool.pick_by(choice, &[], None).is_some()), "also when nobody is warm");
}
