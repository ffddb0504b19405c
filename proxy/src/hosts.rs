//! A table from host patterns to values: exact, then longest wildcard, then any.

use sluice_ir::HostPattern;
use sluice_route::{Keyed, Trie};
use std::sync::Arc;

/// Values by host pattern; lookups cost one hash per label of the host, whatever the number of patterns. A clone copies
/// a few pointers, and an edit of it costs the same in a table of ten hosts and of ten thousand.
#[derive(Clone, Debug)]
pub(crate) struct HostTable<V> {
    exact: Trie<Named<V>>,
    wildcard: Trie<Named<V>>,
    any: Option<V>,
}

/// A value and its host, whose text it shares with the pattern.
#[derive(Clone, Debug)]
struct Named<V> {
    host: Arc<str>,
    value: V,
}

impl<V> Keyed for Named<V> {
    fn key(&self) -> &str {
        &self.host
    }
}

impl<V> Default for HostTable<V> {
    fn default() -> Self {
        Self { exact: Trie::default(), wildcard: Trie::default(), any: None }
    }
}

impl<V: Clone> HostTable<V> {
    /// Adds a value; the first of a pattern stays.
    pub(crate) fn insert(&mut self, host: &HostPattern, value: V) {
        if self.get(host).is_none() {
            self.set(host, value);
        }
    }

    /// Puts a value in the place of the pattern's last one.
    pub(crate) fn set(&mut self, host: &HostPattern, value: V) {
        match host {
            HostPattern::Exact(host) => self.exact.set(Named { host: host.clone(), value }),
            HostPattern::Wildcard(suffix) => self.wildcard.set(Named { host: suffix.clone(), value }),
            HostPattern::Any => self.any = Some(value),
        }
    }

    /// Takes a pattern out, if it is there.
    pub(crate) fn remove(&mut self, host: &HostPattern) {
        match host {
            HostPattern::Exact(host) => self.exact.remove(host),
            HostPattern::Wildcard(suffix) => self.wildcard.remove(suffix),
            HostPattern::Any => self.any = None,
        }
    }
}

impl<V> HostTable<V> {
    /// The value of the most specific pattern that covers the host; without a host only `Any` does.
    pub(crate) fn find(&self, host: Option<&str>) -> Option<&V> {
        let Some(host) = host else { return self.any.as_ref() };
        if let Some(named) = self.exact.get(host) {
            return Some(&named.value);
        }
        if self.wildcard.is_empty() {
            return self.any.as_ref();
        }
        let mut rest = host;
        // A wildcard covers one or more labels: from the second label on, the longest suffix first.
        while let Some((label, suffix)) = rest.split_once('.') {
            if label.is_empty() {
                break;
            }
            if let Some(named) = self.wildcard.get(suffix) {
                return Some(&named.value);
            }
            rest = suffix;
        }
        self.any.as_ref()
    }

    /// The value of this very pattern.
    pub(crate) fn get(&self, host: &HostPattern) -> Option<&V> {
        match host {
            HostPattern::Exact(host) => self.exact.get(host).map(|named| &named.value),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix).map(|named| &named.value),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Every pattern, in no particular order.
    pub(crate) fn patterns(&self) -> Vec<HostPattern> {
        let mut patterns = Vec::with_capacity(self.len());
        self.exact.for_each(&mut |named| patterns.push(HostPattern::Exact(named.host.clone())));
        self.wildcard.for_each(&mut |named| patterns.push(HostPattern::Wildcard(named.host.clone())));
        patterns.extend(self.any.as_ref().map(|_| HostPattern::Any));
        patterns
    }

    /// Number of patterns.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(self.any.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::HostTable;
    use sluice_ir::HostPattern;

    fn table(patterns: &[&str]) -> HostTable<String> {
        let mut table = HostTable::default();
        for pattern in patterns {
            table.insert(&HostPattern::parse(pattern), (*pattern).to_owned());
        }
        table
    }

    #[test]
    fn exact_beats_the_longest_wildcard_which_beats_any() {
        let table = table(&["*", "*.example.com", "*.a.example.com", "x.a.example.com", "example.com"]);
        let find = |host| table.find(host).map(String::as_str);
        assert_eq!(find(Some("x.a.example.com")), Some("x.a.example.com"));
        assert_eq!(find(Some("y.a.example.com")), Some("*.a.example.com"));
        assert_eq!(find(Some("z.y.a.example.com")), Some("*.a.example.com"));
        assert_eq!(find(Some("a.example.com")), Some("*.example.com"));
        assert_eq!(find(Some("example.com")), Some("example.com"));
        assert_eq!(find(Some("example.org")), Some("*"));
        assert_eq!(find(Some(".example.com")), Some("*"));
        assert_eq!(find(None), Some("*"));
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn without_a_pattern_for_every_host_a_stranger_gets_nothing() {
        let table = table(&["*.example.com"]);
        assert_eq!(table.find(Some("example.com")), None);
        assert_eq!(table.find(Some("example.org")), None);
        assert_eq!(table.find(Some("")), None);
        assert_eq!(table.find(None), None);
    }

    #[test]
    fn a_copy_keeps_what_it_had() {
        let before = table(&["*", "*.example.com", "a.example.com"]);
        let mut after = before.clone();
        for pattern in before.patterns() {
            after.remove(&pattern);
        }
        after.set(&HostPattern::parse("b.example.com"), "new".to_owned());
        assert_eq!((before.len(), after.len()), (3, 1));
        assert_eq!(before.find(Some("b.example.com")).map(String::as_str), Some("*.example.com"));
        assert_eq!(after.find(Some("a.example.com")), None);
    }
}
