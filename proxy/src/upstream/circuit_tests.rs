#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Circuit, Counters, allowed};
use proptest::prelude::*;
use sluice_ir::{BackendPolicy, BackendProtocol, CircuitLimits, Origin, RetryBudget};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

fn policy(circuit: CircuitLimits) -> BackendPolicy {
    BackendPolicy { circuit, ..BackendPolicy::new(Origin::new("DestinationRule", "shop", "cart")) }
}

fn circuit(connections: Option<u32>, waiting: Option<u32>, requests: Option<u32>) -> Arc<Circuit> {
    let limits = CircuitLimits { connections, waiting, requests, ..CircuitLimits::default() };
    Counters::new().with(&policy(limits), BackendProtocol::Http1)
}

#[tokio::test]
async fn who_finds_no_connection_waits_and_who_finds_no_place_to_wait_is_refused() {
    let circuit = circuit(Some(1), Some(1), None);
    let slots = circuit.slots().unwrap().clone();
    let held = slots.take().await.unwrap();
    let waiter = tokio::spawn({
        let slots = slots.clone();
        async move { slots.take().await.is_some() }
    });
    while slots.waiting.in_use() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(slots.take().await.is_none(), "one waits already");
    assert!(slots.try_take().is_none());
    drop(held);
    assert!(waiter.await.unwrap());
    assert!(slots.try_take().is_some(), "nothing is left behind");
}

#[tokio::test]
async fn a_waiter_that_gives_up_passes_its_turn_on() {
    let circuit = circuit(Some(1), None, None);
    let slots = circuit.slots().unwrap().clone();
    let held = slots.take().await.unwrap();
    let wait = || {
        let slots = slots.clone();
        tokio::spawn(async move { slots.take().await.map(drop) })
    };
    let (first, second) = (wait(), wait());
    while slots.waiting.in_use() < 2 {
        tokio::task::yield_now().await;
    }
    drop(held);
    first.abort();
    assert!(second.await.unwrap().is_some());
}

#[tokio::test]
async fn a_raised_limit_lets_waiters_go_on() {
    let counters = Counters::new();
    let limits = |connections| CircuitLimits { connections: Some(connections), ..CircuitLimits::default() };
    let slots = counters.with(&policy(limits(1)), BackendProtocol::Http1).slots().unwrap().clone();
    let _held = slots.take().await.unwrap();
    let waiter = tokio::spawn({
        let slots = slots.clone();
        async move { slots.take().await.is_some() }
    });
    while slots.waiting.in_use() == 0 {
        tokio::task::yield_now().await;
    }
    counters.with(&policy(limits(2)), BackendProtocol::Http1);
    assert!(waiter.await.unwrap());
}

#[test]
fn a_connection_of_http2_stands_for_the_requests_that_share_it() {
    let limits = CircuitLimits { connections: Some(2), ..CircuitLimits::default() };
    let mut policy = policy(limits);
    policy.connections.streams = Some(3);
    let circuit = Counters::new().with(&policy, BackendProtocol::H2c);
    let held: Vec<_> = std::iter::from_fn(|| circuit.slots().unwrap().try_take()).collect();
    assert_eq!(held.len(), 6);
}

#[test]
fn retries_are_bounded_by_number_or_by_share() {
    let limits = CircuitLimits { retries: Some(1), ..CircuitLimits::default() };
    let circuit = Counters::new().with(&policy(limits), BackendProtocol::Http1);
    let first = circuit.admit_retry().unwrap();
    assert!(circuit.admit_retry().is_none());
    drop(first);
    assert!(circuit.admit_retry().is_some());
    let budget = RetryBudget { share: 20_000, least: 3 };
    assert_eq!([0, 15, 16, 20, 1_000].map(|requests| allowed(&budget, requests)), [3, 3, 3, 4, 200]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the limits and however the tasks interleave: never more than allowed, nobody is forgotten, and
    /// everything comes back.
    #[test]
    fn limits_hold_under_concurrency(connections in 1_u32..6, waiting in 0_u32..6, tasks in 1_u32..40, seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let circuit = circuit(Some(connections), Some(waiting), Some(connections + waiting));
        let (running, worst, refused, served) = <(Arc<AtomicU32>, Arc<AtomicU32>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
        runtime.block_on(async {
            let all: Vec<_> = (0..tasks).map(|task| {
                let (circuit, running, worst) = (circuit.clone(), running.clone(), worst.clone());
                let (refused, served) = (refused.clone(), served.clone());
                tokio::spawn(async move {
                    for round in 0..20_u64 {
                        let Some(_admission) = circuit.admit() else { refused.fetch_add(1, SeqCst); continue };
                        let Some(slot) = circuit.slots().unwrap().take().await else { refused.fetch_add(1, SeqCst); continue };
                        worst.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        for _ in 0..(seed.rotate_left((u64::from(task) * 7 + round) as u32 % 64) % 3) {
                            tokio::task::yield_now().await;
                        }
                        running.fetch_sub(1, SeqCst);
                        drop(slot);
                        served.fetch_add(1, SeqCst);
                    }
                })
            }).collect();
            for task in all {
                task.await.unwrap();
            }
        });
        prop_assert!(worst.load(SeqCst) <= connections);
        prop_assert_eq!(refused.load(SeqCst) + served.load(SeqCst), tasks * 20);
        prop_assert!(tasks > connections || refused.load(SeqCst) == 0);
        prop_assert_eq!((circuit.slots().unwrap().in_use(), circuit.requests.in_use()), (0, 0));
    }
}
