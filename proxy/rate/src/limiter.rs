//! The table of keys: bounded, without a lock.
//!
//! A key belongs to one group of [`WAYS`] places, which it shares with the few other keys whose hash leads there. It takes
//! a place that is free, that is, empty or of a key whose whole burst is there again and that therefore loses nothing.
//! When there is none it takes the place of the key that has most left, *together with what that one has used up*:
//! nobody gets a fresh burst by pushing or by being pushed out, and who is at its limit is the last to go. Too many
//! keys thus make the limiter stricter, never laxer.
//!
//! Groups lie in pages that are made when they are first needed.

use crate::quota::{Decision, Quota};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Places of a group; a power of two.
pub(crate) const WAYS: usize = 8;
/// Groups of a page: 4 KiB.
const GROUPS: usize = 32;
/// How often a place is looked for when others take it first; then the key is counted in whatever place it met.
const TRIES: usize = 4;

/// How often each of many keys may come. A key takes 16 bytes.
#[derive(Debug)]
pub struct Limiter {
    quota: Quota,
    pages: Box<[OnceLock<Box<[Group; GROUPS]>>]>,
}

/// Keys stand together, so that looking for one touches one line of memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Group {
    /// Hashes; 0 is an empty place.
    keys: [AtomicU64; WAYS],
    /// Arrival times in nanoseconds.
    arrivals: [AtomicU64; WAYS],
}

impl Limiter {
    /// A limiter of about so many keys, at least 256.
    pub fn new(quota: Quota, most_keys: usize) -> Self {
        let pages = most_keys.div_ceil(WAYS * GROUPS).max(1);
        Self { quota, pages: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    /// The quota.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Counts one request of a key, if it may come. `now_ns` counts from any moment, the same for all calls.
    pub fn check(&self, key: u64, now_ns: u64) -> Decision {
        let key = key.max(1);
        let group = self.group(key);
        let place = group.place(key, now_ns);
        let arrivals = &group.arrivals[place];
        let mut arrival = arrivals.load(Relaxed);
        loop {
            let Some(next) = self.quota.next(arrival, now_ns) else {
                return self.quota.decision(false, arrival, now_ns);
            };
            match arrivals.compare_exchange_weak(arrival, next, Relaxed, Relaxed) {
                Ok(_) => return self.quota.decision(true, next, now_ns),
                Err(newer) => arrival = newer,
            }
        }
    }

    /// The group is chosen by the upper half of the hash; places compare all of it.
    #[inline]
    fn group(&self, key: u64) -> &Group {
        let groups = (self.pages.len() * GROUPS) as u64;
        let index = (((key >> 32) * groups) >> 32) as usize;
        let page = self.pages[index / GROUPS].get_or_init(Box::default);
        &page[index % GROUPS]
    }
}

impl Group {
    /// The key's place, taken if need be.
    #[inline]
    fn place(&self, key: u64, now_ns: u64) -> usize {
        if let Some(place) = self.find(key) {
            return place;
        }
        self.take(key, now_ns)
    }

    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|it| it.load(Relaxed) == key)
    }

    #[cold]
    fn take(&self, key: u64, now_ns: u64) -> usize {
        let mut place = 0;
        for _ in 0..TRIES {
            place = self.best(key, now_ns);
            let there = self.keys[place].load(Relaxed);
            match self.keys[place].compare_exchange(there, key, Relaxed, Relaxed) {
                Ok(_) => return place,
                // Another request of the same key was faster, here or elsewhere.
                Err(_) => match self.find(key) {
                    Some(place) => return place,
                    None => continue,
                },
            }
        }
        place
    }

    /// A free place, else that of the key which has most left. Requests of one key that look at the same time find the
    /// same one, so that the key does not get two; other keys begin to look elsewhere.
    fn best(&self, key: u64, now_ns: u64) -> usize {
        const PLACE: u64 = WAYS as u64 - 1;
        let place = |step: u64| (key.wrapping_add(step) & PLACE) as usize;
        let arrival = |step: u64| self.arrivals[place(step)].load(Relaxed);
        if arrival(0) <= now_ns {
            return place(0);
        }
        // A few nanoseconds tell nobody apart: in their place stands which step it is, so that one number is compared.
        let best = (0..WAYS as u64).fold(u64::MAX, |best, step| best.min((arrival(step) & !PLACE) | step));
        place(best)
    }
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, Limiter, WAYS};
    use crate::Quota;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn limiter(requests: u32) -> Limiter {
        Limiter::new(Quota::new(requests, Duration::from_secs(1), requests), 1)
    }

    /// Keys of one group.
    fn neighbours(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|number| (7 << 32) | number)
    }

    fn passed(limiter: &Limiter, key: u64, now: u64, times: u32) -> u32 {
        (0..times).filter(|_| limiter.check(key, now).is_allowed).count() as u32
    }

    #[test]
    fn keys_are_counted_apart() {
        let limiter = limiter(5);
        for key in neighbours(WAYS as u64) {
            assert_eq!(passed(&limiter, key, SECOND, 9), 5);
        }
        assert_eq!(passed(&limiter, u64::MAX, SECOND, 9), 5);
    }

    #[test]
    fn the_key_that_marks_an_empty_place_is_counted_too() {
        assert_eq!(passed(&limiter(5), 0, SECOND, 9), 5);
    }

    #[test]
    fn being_pushed_out_wins_nothing() {
        let limiter = limiter(5);
        let own = (7 << 32) | 1;
        assert_eq!(passed(&limiter, own, SECOND, 9), 5);
        // Far more keys than places, all of them at work.
        let others: u32 = neighbours(1_000).skip(1).map(|key| passed(&limiter, key, SECOND, 9)).sum();
        assert_eq!(others, 5 * (WAYS as u32 - 1), "one place, one allowance");
        assert_eq!(passed(&limiter, own, SECOND, 9), 0);
    }

    #[test]
    fn who_is_at_its_limit_is_the_last_to_go() {
        let limiter = limiter(100);
        let own = (7 << 32) | 1;
        assert_eq!(passed(&limiter, own, SECOND, 200), 100);
        // Keys that come once each push each other out, not the one that is at its limit.
        for key in neighbours(50).skip(1) {
            assert!(limiter.check(key, SECOND).is_allowed);
        }
        assert_eq!(passed(&limiter, own, SECOND, 9), 0);
    }

    #[test]
    fn a_key_whose_allowance_is_whole_again_gives_its_place_up() {
        let limiter = limiter(5);
        for key in neighbours(WAYS as u64) {
            passed(&limiter, key, SECOND, 5);
        }
        assert_eq!(passed(&limiter, (7 << 32) | 99, 3 * SECOND, 9), 5);
    }

    #[test]
    fn memory_has_a_bound_and_comes_by_need() {
        let limiter = Limiter::new(Quota::new(1, Duration::from_secs(1), 1), 10_000);
        assert_eq!(limiter.pages.len(), 10_000_usize.div_ceil(WAYS * GROUPS));
        assert!(limiter.pages.iter().all(|page| page.get().is_none()));
        limiter.check(1 << 40, SECOND);
        assert_eq!(limiter.pages.iter().filter(|page| page.get().is_some()).count(), 1);
    }

    #[test]
    fn threads_together_pass_no_more_than_the_limit() {
        let limiter = limiter(1_000);
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| count.fetch_add(passed(&limiter, 42 << 32, SECOND, 1_000), Relaxed));
            }
        });
        assert_eq!(count.load(Relaxed), 1_000);
    }
}
