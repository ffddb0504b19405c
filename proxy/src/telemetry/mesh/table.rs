//! All series of a data plane: bounded in number, found without a lock that two threads would meet at.
//!
//! Each thread keeps the series that it used last in a small table of its own and finds them by pointers. Only what is not
//! there is looked for in the shared map. A series that nobody used for [`RETIRED_AFTER_MIN`] leaves the exposition;
//! beyond [`SERIES`] of them further calls are counted together, without peer and service.

use super::call::Call;
use super::party::{Party, ServiceName};
use super::series::Series;
use ahash::AHashMap;
use parking_lot::RwLock;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Series of one data plane.
pub const SERIES: usize = 1_000;
/// Minutes after which an unused series is shown no more. Prometheus forgets a series after five.
pub const RETIRED_AFTER_MIN: u32 = 30;
/// Series that a thread finds without a look at the shared map. A power of two.
const RECENT: usize = 64;

/// What a thread has found: for which table, by whose pointers, which series.
struct Found {
    table: u64,
    call: Call,
    series: Arc<Series>,
}

type Recent = [Option<Found>; RECENT];

thread_local! {
    /// By slot.
    static CACHE: RefCell<Box<Recent>> = RefCell::new(Box::new([const { None }; RECENT]));
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The series of a data plane.
pub struct Table {
    /// Tells tables of one process apart.
    number: u64,
    series: RwLock<AHashMap<Call, Arc<Series>>>,
    unknown: (Arc<Party>, Arc<ServiceName>),
    overflowed: AtomicU64,
    most: usize,
    began: Instant,
}

impl Default for Table {
    fn default() -> Self {
        Self::of(SERIES)
    }
}

impl Table {
    /// A table for so many series.
    pub(super) fn of(most: usize) -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Relaxed),
            series: RwLock::default(),
            unknown: Default::default(),
            overflowed: AtomicU64::new(0),
            most,
            began: Instant::now(),
        }
    }

    /// The series of a call. Cost: one look into this thread's table; the first time, and after many others, one into
    /// the shared map.
    pub fn series(&self, call: &Call, now: Instant) -> Arc<Series> {
        let now_min = self.minute(now);
        let slot = call.slot(RECENT);
        let known = CACHE.try_with(|cache| {
            let cache = cache.borrow();
            let found = cache[slot].as_ref()?;
            let fits = found.table == self.number && !found.series.is_retired() && found.call.is_same(call);
            fits.then(|| found.series.clone())
        });
        if let Ok(Some(series)) = known {
            series.touch(now_min);
            return series;
        }
        let series = self.find(call, now_min);
        series.touch(now_min);
        // What overflows is not kept: there may be room for it later.
        if !series.call.is_overflow {
            let found = Found { table: self.number, call: call.clone(), series: series.clone() };
            let _ = CACHE.try_with(|cache| cache.borrow_mut()[slot] = Some(found));
        }
        series
    }

    fn find(&self, call: &Call, now_min: u32) -> Arc<Series> {
        let is_full = {
            let all = self.series.read();
            if let Some(series) = all.get(call) {
                return series.clone();
            }
            all.len() >= self.most
        };
        if !is_full || call.is_overflow {
            let mut all = self.series.write();
            // Others may have come meanwhile.
            if all.len() < self.most || call.is_overflow || all.contains_key(call) {
                let new = || Arc::new(Series::new(call.clone(), now_min));
                return all.entry(call.clone()).or_insert_with(new).clone();
            }
        }
        self.overflowed.fetch_add(1, Relaxed);
        self.find(&call.overflow(&self.unknown), now_min)
    }

    /// All series, without those that nobody has used for long.
    pub(super) fn list(&self, now: Instant) -> Vec<Arc<Series>> {
        let now_min = self.minute(now);
        let is_old = |it: &Series| now_min.saturating_sub(it.used_min()) > RETIRED_AFTER_MIN && !it.is_open();
        let has_old = self.series.read().values().any(|it| is_old(it));
        if has_old {
            self.series.write().retain(|_, it| {
                let old = is_old(it);
                if old {
                    it.retire();
                }
                !old
            });
        }
        self.series.read().values().cloned().collect()
    }

    /// Calls that were counted together with others because there are too many series.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    fn minute(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.began).as_secs() / 60).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::call::{Direction, RequestProtocol, Security};
    use super::*;
    use std::time::Duration;

    fn call(peer: &str, code: u16) -> Call {
        Call {
            direction: Direction::Inbound,
            peer: Arc::new(Party { workload: peer.into(), ..Party::default() }),
            service: Arc::new(ServiceName::of("shop", "cart")),
            security: Security::None,
            protocol: RequestProtocol::Http,
            code,
            grpc_status: None,
            flags: "-",
            is_overflow: false,
        }
    }

    #[test]
    fn the_same_labels_are_one_series_on_every_thread() {
        let table = Table::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..1_000_u16 {
                        // Another pointer each time, the same labels.
                        let call = call("web", 200 + round % 2);
                        table.series(&call, Instant::now()).ended(&Default::default());
                    }
                });
            }
        });
        let all = table.list(Instant::now());
        assert_eq!(all.len(), 2);
        assert_eq!(all.iter().map(|it| it.read().requests).sum::<u64>(), 4_000);
    }

    #[test]
    fn too_many_series_are_counted_together_and_none_is_lost() {
        let table = Table::of(10);
        for number in 0..100 {
            table.series(&call(&format!("client-{number}"), 503), Instant::now()).ended(&Default::default());
        }
        let all = table.list(Instant::now());
        assert_eq!(all.len(), 11);
        let together = all.iter().find(|it| it.call.is_overflow).unwrap();
        assert_eq!((together.read().requests, together.call.code, table.overflowed()), (90, 500, 90));
    }

    #[test]
    fn what_nobody_uses_goes_and_comes_back_anew() {
        let (table, now) = (Table::default(), Instant::now());
        let call = call("web", 200);
        let old = table.series(&call, now);
        let later = now + Duration::from_secs(60 * u64::from(RETIRED_AFTER_MIN + 2));
        assert!(table.list(later).is_empty());
        let new = table.series(&call, later);
        assert!(!Arc::ptr_eq(&old, &new), "a retired series would count unseen");
        assert_eq!(table.list(later).len(), 1);
        new.opened();
        let much_later = later + Duration::from_secs(60 * u64::from(RETIRED_AFTER_MIN + 2));
        assert_eq!(table.list(much_later).len(), 1, "a connection is open");
    }

    #[test]
    fn tables_of_one_process_do_not_mix() {
        let (one, other) = (Table::default(), Table::default());
        let call = call("web", 200);
        one.series(&call, Instant::now()).ended(&Default::default());
        assert!(!Arc::ptr_eq(&one.series(&call, Instant::now()), &other.series(&call, Instant::now())));
    }
}
