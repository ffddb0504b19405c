//! The shapes of a data plane: bounded in number, found without a lock that two threads would meet at.
//!
//! As in [`mesh::Table`](crate::telemetry::mesh::Table) each thread keeps the shapes that it used last in a small table of its
//! own; only what is not there is looked for in the shared map.

use super::shape::{Call, Shape};
use super::{CallResult, SeenCalls};
use ahash::{AHashMap, RandomState};
use parking_lot::RwLock;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Shapes of one data plane; further calls are counted together.
pub const SHAPES: usize = 1_000;
/// How many of them may be of calls that were not answered, so that whoever tries paths leaves room for the others.
pub const MOST_UNANSWERED: usize = 250;
/// Shapes that a thread finds without a look at the shared map. A power of two.
const RECENT: usize = 64;

/// What a thread has found: of which table, by which number, which shape.
struct Found {
    table: u64,
    hash: u64,
    shape: Arc<Shape>,
}

thread_local! {
    /// By slot.
    static CACHE: RefCell<[Option<Found>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The calls that a data plane has seen.
pub struct Table {
    /// Tells tables of one process apart.
    number: u64,
    state: RandomState,
    shapes: RwLock<Shapes>,
    not_kept: AtomicU64,
    began: Instant,
    began_s: u64,
}

#[derive(Default)]
struct Shapes {
    by_hash: AHashMap<u64, Arc<Shape>>,
    unanswered: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Relaxed),
            state: RandomState::new(),
            shapes: RwLock::default(),
            not_kept: AtomicU64::new(0),
            began: Instant::now(),
            began_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs()),
        }
    }
}

impl Table {
    /// Counts a call. Cost: a hash of its words and one look into this thread's table; the first time, and after many
    /// others, one into the shared map. Allocates for a new shape alone.
    pub fn count(&self, call: &Call<'_>, now: Instant) {
        let now_s = self.began_s + now.saturating_duration_since(self.began).as_secs();
        let hash = call.hash_by(&self.state);
        let slot = usize::try_from(hash % RECENT as u64).unwrap_or_default();
        let is_known = CACHE.try_with(|cache| {
            let cache = cache.borrow();
            let found = cache[slot].as_ref();
            let found = found.filter(|it| (it.table, it.hash) == (self.number, hash) && it.shape.fits(call));
            found.inspect(|it| it.shape.count(now_s)).is_some()
        });
        if is_known == Ok(true) {
            return;
        }
        let Some(shape) = self.find(hash, call, now_s) else {
            self.not_kept.fetch_add(1, Relaxed);
            return;
        };
        shape.count(now_s);
        let found = Found { table: self.number, hash, shape };
        let _ = CACHE.try_with(|cache| cache.borrow_mut()[slot] = Some(found));
    }

    /// The shape of a call, perhaps a new one. `None`: there is no room for it, or another one has its number.
    fn find(&self, hash: u64, call: &Call<'_>, now_s: u64) -> Option<Arc<Shape>> {
        {
            let shapes = self.shapes.read();
            if let Some(shape) = shapes.by_hash.get(&hash) {
                return shape.fits(call).then(|| shape.clone());
            }
            if !shapes.has_room(call.result) {
                return None;
            }
        }
        let shape = Arc::new(call.shape(now_s)?);
        let mut shapes = self.shapes.write();
        // Others may have come meanwhile.
        if let Some(shape) = shapes.by_hash.get(&hash) {
            return shape.fits(call).then(|| shape.clone());
        }
        if !shapes.has_room(call.result) {
            return None;
        }
        shapes.unanswered += usize::from(call.result != CallResult::Answered);
        shapes.by_hash.insert(hash, shape.clone());
        Some(shape)
    }

    /// All of it, in order.
    pub fn show(&self) -> SeenCalls {
        let mut seen = SeenCalls {
            since_s: self.began_s,
            not_kept: self.not_kept.load(Relaxed),
            ..SeenCalls::default()
        };
        for shape in self.shapes.read().by_hash.values() {
            match shape.show() {
                Ok(inbound) => seen.inbound.push(inbound),
                Err(outside) => seen.outside.push(outside),
            }
        }
        seen.inbound.sort();
        seen.outside.sort();
        seen
    }
}

impl Shapes {
    fn has_room(&self, result: CallResult) -> bool {
        let may_be = result == CallResult::Answered || self.unanswered < MOST_UNANSWERED;
        self.by_hash.len() < SHAPES && may_be
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{OutsideProtocol, To};
    use super::*;
    use std::time::Duration;

    const WEB: &str = "spiffe://td/ns/shop/sa/web";

    fn call(path: &str) -> Call<'_> {
        Call {
            to: To::Here(8080),
            caller: Some(WEB),
            method: "GET",
            path,
            is_grpc: false,
            result: CallResult::Answered,
        }
    }

    #[test]
    fn calls_of_one_shape_are_counted_together_on_every_thread_and_others_apart() {
        let table = Table::default();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for order in 0..50 {
                        table.count(&call(&format!("/orders/{}", thread * 50 + order)), began);
                    }
                });
            }
        });
        table.count(&call("/orders/7"), began + Duration::from_secs(90));
        table.count(&Call { method: "HEAD", ..call("/orders/7") }, began);
        table.count(&Call { caller: None, ..call("/orders/7") }, began);
        table.count(&Call { to: To::Here(9090), ..call("/orders/7") }, began);
        table.count(&Call { result: CallResult::Mistaken, ..call("/orders/7") }, began);
        table.count(&call("/orders"), began);
        let seen = table.show();
        assert_eq!(seen.inbound.len(), 6);
        let all = seen.inbound.iter().find(|it| it.times.count > 1).unwrap();
        assert_eq!((all.path.as_str(), all.times.count), ("/orders/{*}", 201));
        assert_eq!(all.times.last_seen_s - all.times.first_seen_s, 90);
    }

    #[test]
    fn nothing_of_a_secret_is_kept() {
        let table = Table::default();
        let secrets =
            ["d41d8cd98f00b204e9800998ecf8427e", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0", "a@b.example"];
        for secret in secrets {
            table.count(&call(&format!("/reset/{secret}/now")), Instant::now());
            table.count(&Call { is_grpc: true, ..call(&format!("/reset/{secret}")) }, Instant::now());
        }
        let shown = serde_json::to_string(&table.show()).unwrap();
        assert!(shown.contains("/reset/{*}/now"), "{shown}");
        assert!(secrets.iter().all(|it| !shown.contains(it)), "{shown}");
    }

    #[test]
    fn connections_methods_of_grpc_and_hosts_outside_are_shapes_of_their_own() {
        let table = Table::default();
        let now = Instant::now();
        let whole = Call { method: "", ..call("") };
        table.count(&whole, now);
        let method = "/shop.v1.RecommendationByCustomerHistoryService/ListAll";
        table.count(&Call { method: "POST", is_grpc: true, ..call(method) }, now);
        let outside = To::Outside("api.example.com", 443, OutsideProtocol::Tls);
        table.count(&Call { to: outside, caller: None, ..whole }, now);
        table.count(&Call { to: outside, caller: None, ..whole }, now);
        let seen = table.show();
        let paths: Vec<_> = seen.inbound.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["", method]);
        let [outside] = &seen.outside[..] else { panic!("{seen:?}") };
        assert_eq!((outside.host.as_str(), outside.port, outside.times.count), ("api.example.com", 443, 2));
    }

    #[test]
    fn beyond_the_bounds_calls_are_counted_alone_and_what_is_refused_leaves_room() {
        let table = Table::default();
        let now = Instant::now();
        let name = |number: usize| {
            let letter = |it: usize| char::from(b'a' + u8::try_from(it % 26).unwrap());
            format!("/x{}{}{}", letter(number / 676), letter(number / 26), letter(number))
        };
        for number in 0..SHAPES {
            table.count(&Call { result: CallResult::Refused, ..call(&name(number)) }, now);
        }
        assert_eq!(table.show().inbound.len(), MOST_UNANSWERED);
        for number in 0..SHAPES {
            table.count(&call(&name(number)), now);
        }
        table.count(&call(&format!("/{}", "long-word/".repeat(40))), now);
        let seen = table.show();
        assert_eq!(seen.inbound.len(), SHAPES);
        assert_eq!(seen.not_kept, (SHAPES - MOST_UNANSWERED + MOST_UNANSWERED + 1) as u64);
        table.count(&call(&name(0)), now);
        assert_eq!(table.show().not_kept, seen.not_kept, "what is known is counted on");
    }
}
