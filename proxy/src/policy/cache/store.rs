//! Answers that are kept: a bounded table, the least recently used go first.
//!
//! Bodies that are still being received count too, so that what a policy may keep bounds all it holds. One short lock guards
//! the table; no body is copied or dropped under it but those that give way.

use bytes::Bytes;
use http::HeaderMap;
use lru::LruCache;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// Name of an entry: a hash of what distinguishes answers.
pub(crate) type Name = [u8; 16];

/// What an entry costs beside its fields and body.
const OVERHEAD: u64 = 512;

/// Distinguishes stores, so that nothing of one is ever taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A kept answer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) fresh_until: SystemTime,
    /// When it was kept first.
    pub(crate) created: SystemTime,
    /// When it would have been generated, as its age says.
    pub(crate) epoch: SystemTime,
    /// Of the first entry under the same URL: what came before it is no variant of it.
    pub(crate) provenance: SystemTime,
    pub(crate) stale_while_revalidate_s: u32,
    pub(crate) stale_if_error_s: u32,
    /// Hash of the request fields that it varies by.
    pub(crate) variance: Option<Name>,
    pub(crate) body: Bytes,
}

impl Entry {
    fn weight(&self) -> u64 {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        OVERHEAD + fields as u64 + self.body.len() as u64
    }
}

/// The answers of one policy.
pub(crate) struct Store {
    /// Unlike that of any other store.
    pub(crate) id: u64,
    most_bytes: u64,
    table: Mutex<Table>,
}

struct Table {
    entries: LruCache<Name, Arc<Entry>>,
    /// Weight of all entries.
    kept: u64,
    /// Bytes that are being received.
    arriving: u64,
}

impl Store {
    pub(crate) fn new(most_bytes: u64) -> Arc<Self> {
        let table = Table { entries: LruCache::unbounded(), kept: 0, arriving: 0 };
        Arc::new(Self { id: NEXT.fetch_add(1, Relaxed), most_bytes, table: Mutex::new(table) })
    }

    /// The entry of a name, which is used by it.
    pub(crate) fn get(&self, name: &Name) -> Option<Arc<Entry>> {
        self.table.lock().entries.get(name).cloned()
    }

    /// Takes an entry out.
    pub(crate) fn remove(&self, name: &Name) -> bool {
        let removed = {
            let mut table = self.table.lock();
            let removed = table.entries.pop(name);
            table.kept -= removed.as_ref().map_or(0, |it| it.weight());
            removed
        };
        removed.is_some()
    }

    /// Puts an entry in the place of the one before; false: there is no room for it.
    pub(crate) fn put(&self, name: Name, entry: Arc<Entry>) -> bool {
        self.put_from(name, entry, 0)
    }

    /// Room for a body that is about to arrive: none yet.
    pub(crate) fn arriving(self: &Arc<Self>) -> Arriving {
        Arriving { store: self.clone(), bytes: 0 }
    }

    /// Bytes of everything that is kept or arrives.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        let table = self.table.lock();
        table.kept + table.arriving
    }

    fn put_from(&self, name: Name, entry: Arc<Entry>, arrived: u64) -> bool {
        let weight = entry.weight();
        let mut gone = Vec::new();
        let mut table = self.table.lock();
        table.arriving -= arrived;
        gone.extend(table.pop(&name));
        let fits = table.make_room(weight, self.most_bytes, &mut gone);
        if fits {
            table.kept += weight;
            table.entries.put(name, entry);
        }
        drop(table);
        fits
    }
}

impl Table {
    fn pop(&mut self, name: &Name) -> Option<Arc<Entry>> {
        let entry = self.entries.pop(name)?;
        self.kept -= entry.weight();
        Some(entry)
    }

    /// Lets the least recently used give way until so many more bytes fit.
    fn make_room(&mut self, bytes: u64, most: u64, gone: &mut Vec<Arc<Entry>>) -> bool {
        if self.arriving.saturating_add(bytes) > most {
            return false;
        }
        while self.kept + self.arriving + bytes > most {
            let Some((_, entry)) = self.entries.pop_lru() else { return false };
            self.kept -= entry.weight();
            gone.push(entry);
        }
        true
    }
}

/// Room for a body that arrives; given back when it is dropped.
pub(crate) struct Arriving {
    store: Arc<Store>,
    bytes: u64,
}

impl Arriving {
    /// So many more bytes arrive; false: there is no room.
    pub(crate) fn more(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let mut gone = Vec::new();
        let mut table = self.store.table.lock();
        let fits = table.make_room(bytes, self.store.most_bytes, &mut gone);
        if fits {
            table.arriving += bytes;
            self.bytes += bytes;
        }
        drop(table);
        fits
    }

    /// It is here: the entry is kept.
    pub(crate) fn keep(mut self, name: Name, entry: Arc<Entry>) -> bool {
        let arrived = std::mem::take(&mut self.bytes);
        self.store.put_from(name, entry, arrived)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.store.table.lock().arriving -= self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Arc<Entry> {
        let now = SystemTime::UNIX_EPOCH;
        Arc::new(Entry {
            status: 200,
            headers: HeaderMap::new(),
            fresh_until: now,
            created: now,
            epoch: now,
            provenance: now,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            variance: None,
            body: vec![0; bytes].into(),
        })
    }

    fn name(number: u8) -> Name {
        [number; 16]
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let store = Store::new(3 * (OVERHEAD + 100));
        for number in 0..3 {
            assert!(store.put(name(number), entry(100)));
        }
        assert!(store.get(&name(0)).is_some());
        assert!(store.put(name(3), entry(100)));
        let there: Vec<u8> = (0..4).filter(|it| store.get(&name(*it)).is_some()).collect();
        assert_eq!(there, [0, 2, 3]);
        assert_eq!(store.bytes(), 3 * (OVERHEAD + 100));
        assert!(store.remove(&name(3)) && !store.remove(&name(3)));
        assert_eq!(store.bytes(), 2 * (OVERHEAD + 100));
    }

    #[test]
    fn what_takes_the_place_of_another_counts_once() {
        let store = Store::new(10_000);
        assert!(store.put(name(1), entry(100)));
        assert!(store.put(name(1), entry(200)));
        assert_eq!(store.bytes(), OVERHEAD + 200);
        assert!(!store.put(name(1), entry(20_000)), "larger than everything");
        assert_eq!(store.bytes(), 0, "the one before is not to be served any more");
    }

    #[test]
    fn what_arrives_counts_and_is_given_back() {
        let store = Store::new(2_000);
        assert!(store.put(name(1), entry(500)));
        let mut first = store.arriving();
        assert!(first.more(1_500));
        assert!(store.get(&name(1)).is_none(), "it gave way to what arrives");
        let mut second = store.arriving();
        assert!(!second.more(600), "nothing is left to give way");
        assert!(second.more(500));
        assert_eq!(store.bytes(), 2_000);
        drop(second);
        assert!(!first.keep(name(2), entry(1_500)), "its fields have no room");
        assert_eq!(store.bytes(), 0);
        let mut third = store.arriving();
        assert!(third.more(1_000));
        assert!(third.keep(name(3), entry(1_000)));
        assert_eq!(store.bytes(), OVERHEAD + 1_000);
    }

    #[test]
    fn no_two_stores_are_the_same() {
        assert_ne!(Store::new(1).id, Store::new(1).id);
    }
}
