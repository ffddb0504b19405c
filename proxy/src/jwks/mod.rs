//! Keys of issuers: inline, or fetched over HTTP and kept fresh.
//!
//! In: rules ([`Sources::of`]). Out: a [`Source`] each, whose keys a request reads with one load. One task a source
//! fetches: at once, after 20 minutes, a minute after a failure, and when a token names a key that is not known, but never
//! two at a time and not more often than every ten seconds. What was fetched last serves on while nothing better comes,
//! for a day at most.
//!
//! Where a source leads is a tenant's word, so a fetch is careful (`fetch`): bounded in time and bytes, no redirect is
//! followed, and no address inside is asked unless the rule may ([`ir::KeyReach`]).

mod discovery;
mod fetch;
mod keeper;
mod reach;
mod source;

pub(crate) use fetch::FetchError;
pub(crate) use source::Source;

use crate::policy::KeySet;
use crate::upstream::Resolver;
use keeper::Keeper;
use parking_lot::Mutex;
use sluice_ir as ir;
use std::sync::{Arc, Weak};

/// Sources that somebody holds.
type Known = Vec<(Wanted, Weak<Source>)>;

/// All sources; those with the same settings are one. A clone is the same. Holds none alive.
#[derive(Clone)]
pub(crate) struct Sources {
    resolver: Resolver,
    known: Arc<Mutex<Known>>,
}

/// What a source is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    issuer: String,
    keys: ir::JwtKeys,
}

impl Wanted {
    /// Whether both lead to the same keys, in whatever time.
    fn leads_as(&self, other: &Self) -> bool {
        match (&self.keys, &other.keys) {
            (
                ir::JwtKeys::Fetched { uri, reach, .. },
                ir::JwtKeys::Fetched { uri: other_uri, reach: other_reach, .. },
            ) => self.issuer == other.issuer && uri == other_uri && reach == other_reach,
            _ => false,
        }
    }
}

impl Sources {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, known: Arc::default() }
    }

    /// The source of a rule's keys; a new one begins to fetch at once, within a tokio runtime. Takes a lock: not for the
    /// request path.
    pub(crate) fn of(&self, rule: &ir::JwtRule) -> Arc<Source> {
        let (uri, reach, timeout) = match &rule.keys {
            ir::JwtKeys::Inline(text) => return Arc::new(Source::fixed(&rule.issuer, inline(rule, text))),
            ir::JwtKeys::Fetched { uri, timeout, reach } => (uri, *reach, *timeout),
        };
        let wanted = Wanted { issuer: rule.issuer.clone(), keys: rule.keys.clone() };
        let mut known = self.known.lock();
        known.retain(|(_, source)| source.strong_count() > 0);
        let same = known.iter().find(|(known, _)| *known == wanted);
        if let Some(source) = same.and_then(|(_, source)| source.upgrade()) {
            return source;
        }
        let alike = known.iter().find(|(known, _)| known.leads_as(&wanted));
        let before = alike.and_then(|(_, source)| source.upgrade()?.keys());
        let (source, link) = Source::fetched(&rule.issuer, timeout, before);
        let keeper = Keeper::new(uri, reach, self.resolver.clone(), link);
        let source = Arc::new(source.kept_by(keeper));
        known.push((wanted, Arc::downgrade(&source)));
        source
    }

    /// Those that fetch, for the metrics.
    pub(crate) fn all(&self) -> Vec<Arc<Source>> {
        self.known.lock().iter().filter_map(|(_, source)| source.upgrade()).collect()
    }
}

fn inline(rule: &ir::JwtRule, text: &str) -> KeySet {
    match KeySet::parse(text.as_bytes()) {
        Ok(keys) => {
            let (keys_of_use, passed_over) = keys.len();
            if keys_of_use == 0 || passed_over > 0 {
                tracing::warn!(
                    issuer = rule.issuer,
                    keys_of_use,
                    passed_over,
                    "keys of a rule: some are of no use"
                );
            }
            keys
        }
        Err(error) => {
            tracing::warn!(issuer = rule.issuer, %error, "keys of a rule can't be used: its tokens are refused");
            KeySet::default()
        }
    }
}
