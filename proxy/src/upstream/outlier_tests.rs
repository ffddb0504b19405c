#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Verdict::{Answered, Failed};
use super::{Tally, Verdict, may_eject, next, uses_all};
use proptest::prelude::*;
use sluice_ir::Ejection;
use std::time::Duration;

fn policy() -> Ejection {
    Ejection {
        server_errors: 3,
        gateway_errors: 0,
        failures: None,
        interval: Duration::from_secs(10),
        base: Duration::from_secs(30),
        most_percent: 10,
        health_percent: 0,
    }
}

/// After which of the verdicts an endpoint is left out.
fn ejected_after(policy: &Ejection, verdicts: &[Verdict]) -> Option<usize> {
    let tally = Tally::default();
    verdicts.iter().position(|it| tally.note(*it, policy)).map(|at| at + 1)
}

#[test]
fn answers_5xx_are_counted_in_a_row() {
    let policy = policy();
    assert_eq!(ejected_after(&policy, &[Answered(500), Answered(503), Answered(599)]), Some(3));
    assert_eq!(ejected_after(&policy, &[Answered(500), Answered(500), Answered(404), Answered(500)]), None);
    assert_eq!(ejected_after(&policy, &[Failed, Failed, Answered(501)]), Some(3), "a failure is like a 5xx");
}

#[test]
fn gateway_errors_are_502_503_and_504() {
    let policy = Ejection { server_errors: 0, gateway_errors: 2, ..policy() };
    assert_eq!(ejected_after(&policy, &[Answered(502), Answered(504)]), Some(2));
    assert_eq!(ejected_after(&policy, &[Answered(503), Answered(500), Answered(503)]), None);
    assert_eq!(ejected_after(&policy, &[Failed, Failed]), Some(2));
}

#[test]
fn failures_can_be_counted_apart() {
    let policy = Ejection { failures: Some(2), ..policy() };
    assert_eq!(ejected_after(&policy, &[Failed, Failed]), Some(2));
    assert_eq!(
        ejected_after(&policy, &[Failed, Answered(500), Failed, Answered(500)]),
        None,
        "an answer came"
    );
    assert_eq!(
        ejected_after(&policy, &[Answered(500), Failed, Answered(500), Failed, Answered(500)]),
        Some(5)
    );
    let never = Ejection { failures: Some(0), ..policy };
    assert_eq!(ejected_after(&never, &[Failed; 50]), None);
}

#[test]
fn ejections_grow_with_their_number_and_health_takes_it_back() {
    let policy = policy();
    assert_eq!(next(&policy, 0, 0, 1_000), (1, 31_000));
    assert_eq!(next(&policy, 1, 31_000, 32_000), (2, 92_000));
    assert_eq!(next(&policy, 2, 92_000, 101_999), (3, 191_999));
    assert_eq!(next(&policy, 2, 92_000, 102_000), (2, 162_000), "one interval of health");
    assert_eq!(next(&policy, 2, 92_000, 500_000), (1, 530_000));
    assert_eq!(next(&policy, 50, 0, 0).1, 300_000, "five minutes at most");
    let long = Ejection { base: Duration::from_secs(900), ..policy };
    assert_eq!(next(&long, 7, 0, 0).1, 900_000, "or the base");
}

#[test]
fn one_may_always_be_left_out_but_not_the_last() {
    let policy = policy();
    assert!(may_eject(&policy, 0, 3) && !may_eject(&policy, 1, 3));
    assert!(may_eject(&policy, 1, 20) && !may_eject(&policy, 2, 20));
    assert!(!may_eject(&policy, 0, 1));
    assert!(may_eject(&Ejection { most_percent: 100, ..policy.clone() }, 0, 1));
    assert!(!may_eject(&Ejection { most_percent: 0, ..policy }, 0, 10));
}

#[test]
fn below_the_least_health_all_are_used() {
    let policy = Ejection { health_percent: 50, ..policy() };
    assert!(!uses_all(&policy, 2, 4) && uses_all(&policy, 1, 4));
    assert!(!uses_all(&Ejection { health_percent: 0, ..policy }, 0, 4));
}

proptest! {
    /// However endpoints fail: never more are left out than may be, and each comes back no later than five minutes on.
    #[test]
    fn the_laws_hold_whatever_happens(
        endpoints in 1_usize..12,
        percent in 0_u8..=100,
        events in prop::collection::vec((0_usize..12, prop_oneof![Just(Failed), (200_u16..600).prop_map(Answered)], 0_u64..20_000), 0..300),
    ) {
        let policy = Ejection { most_percent: percent, ..policy() };
        let all: Vec<_> = (0..endpoints).map(|_| (Tally::default(), std::cell::Cell::new((0_u32, 0_u64)))).collect();
        let mut now = 1_u64;
        for (at, verdict, pause) in events {
            now += pause;
            let (tally, state) = &all[at % endpoints];
            if tally.note(verdict, &policy) {
                tally.clear();
                let ejected = all.iter().filter(|it| it.1.get().1 > now).count();
                let (number, ended) = state.get();
                if ended <= now && may_eject(&policy, ejected, endpoints) {
                    let (number, end) = next(&policy, number, ended, now);
                    prop_assert!(end > now && end - now <= 300_000 && number >= 1);
                    state.set((number, end));
                }
            }
            let ejected = all.iter().filter(|it| it.1.get().1 > now).count();
            let most = if percent == 0 { 0 } else { (endpoints * usize::from(percent) / 100).max(1) };
            prop_assert!(ejected <= most);
            prop_assert!(ejected < endpoints || percent == 100);
        }
    }
}
