//! Tokens that were verified not long ago, so that a signature is computed once a token and not once a request.
//!
//! Bounded in tokens and in bytes of one. A token is known by the SHA-256 of all of it, and only as long as the very keys
//! are in use that it was verified with, and it has not ended. The table belongs to one set of rules.

use super::claims::Claims;
use super::keys::KeySet;
use http::{HeaderName, HeaderValue};
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

/// Tables, each with a lock of its own.
const TABLES: usize = 8;
/// Tokens of a table.
const TOKENS: usize = 128;
/// Longer tokens are verified each time.
const LONGEST: usize = 4 * 1024;

/// The name of a token.
pub(super) type Name = [u8; 32];

/// What came of a token.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    /// Which rule believes it.
    pub(super) rule: usize,
    /// Fields that the request gets.
    pub(super) fields: Arc<[(HeaderName, HeaderValue)]>,
    /// When it is no longer believed, in seconds since 1970.
    pub(super) until_s: f64,
}

type Table = Mutex<LruCache<Name, (Verified, Weak<KeySet>)>>;

/// The table.
#[derive(Debug)]
pub(super) struct Cache(Box<[Table]>);

impl Default for Cache {
    fn default() -> Self {
        let tokens = NonZeroUsize::new(TOKENS).unwrap_or(NonZeroUsize::MIN);
        // Grows as it is used.
        let table = || {
            let mut table = LruCache::unbounded();
            table.resize(tokens);
            Mutex::new(table)
        };
        Self((0..TABLES).map(|_| table()).collect())
    }
}

impl Cache {
    /// The name of a token; `None`: it is not kept.
    pub(super) fn name(token: &[u8]) -> Option<Name> {
        (token.len() <= LONGEST).then(|| Sha256::digest(token).into())
    }

    /// What is known, if it was verified with the keys that its rule has now. Takes a lock for a look-up.
    pub(super) fn get(
        &self,
        name: &Name,
        now_s: f64,
        keys: impl FnOnce(usize) -> Option<Arc<KeySet>>,
    ) -> Option<Verified> {
        let (verified, by) = self.table(name)?.lock().get(name).cloned()?;
        let is_current = keys(verified.rule).is_some_and(|it| std::ptr::eq(by.as_ptr(), Arc::as_ptr(&it)));
        if is_current && now_s < verified.until_s {
            return Some(verified);
        }
        self.table(name)?.lock().pop(name);
        None
    }

    pub(super) fn put(&self, name: Name, verified: Verified, keys: &Arc<KeySet>) {
        if let Some(table) = self.table(&name) {
            table.lock().put(name, (verified, Arc::downgrade(keys)));
        }
    }

    fn table(&self, name: &Name) -> Option<&Table> {
        self.0.get(usize::from(name[0]) % TABLES)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::json::Json;
    use super::*;

    #[test]
    fn a_token_is_known_until_it_ends_and_as_long_as_its_keys_are_in_use() {
        let cache = Cache::default();
        let (keys, others) = (Arc::new(KeySet::default()), Arc::new(KeySet::default()));
        let claims = Arc::new(Claims::new("i", "s", Vec::new(), Json::Null, Arc::from([])));
        let verified = Verified { claims, rule: 0, fields: Arc::from([]), until_s: 100.0 };
        let name = Cache::name(b"token").unwrap();
        let is_known = |now_s, keys: &Arc<KeySet>| cache.get(&name, now_s, |_| Some(keys.clone())).is_some();
        assert!(!is_known(1.0, &keys));
        cache.put(name, verified.clone(), &keys);
        assert!(is_known(99.0, &keys));
        assert!(!is_known(100.0, &keys) && !is_known(1.0, &keys), "an old one is forgotten");
        cache.put(name, verified.clone(), &keys);
        assert!(!is_known(1.0, &others));
        for number in 0..10_000_u32 {
            let name = Cache::name(&number.to_be_bytes()).unwrap();
            cache.put(name, verified.clone(), &keys);
        }
        let kept: usize = cache.0.iter().map(|it| it.lock().len()).sum();
        assert!(kept <= TABLES * TOKENS, "{kept}");
        assert_eq!(Cache::name(&[b'x'; LONGEST + 1]), None);
    }
}
