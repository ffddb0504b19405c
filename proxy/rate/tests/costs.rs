//! What a check may cost: no allocation once its page is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use allocation_counter::measure;
use sluice_rate::{KeySeed, Limiter, Quota};
use std::time::Duration;

#[test]
fn a_check_allocates_nothing() {
    let limiter = Limiter::new(Quota::new(1, Duration::from_secs(1), 1), 1);
    let seed = KeySeed::default();
    let check = |text: &str| {
        let mut key = seed.key();
        key.address("2001:db8::1".parse().unwrap());
        key.text(Some(text.as_bytes()));
        limiter.check(key.finish(), 1 << 40).is_allowed
    };
    assert!(check("first"));
    let info = measure(|| assert!(!check("first") && check("second")));
    assert_eq!(info.count_total, 0);
}
