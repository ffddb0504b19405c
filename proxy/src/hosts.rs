//! A table from host patterns to values: exact, then longest wildcard, then any.

use sluice_ir::HostPattern;
use std::collections::HashMap;

/// Values by host pattern; lookups cost one hash per label of the host, whatever the number of patterns.
#[derive(Debug)]
pub(crate) struct HostTable<V> {
    exact: HashMap<Box<str>, V, ahash::RandomState>,
    wildcard: HashMap<Box<str>, V, ahash::RandomState>,
    any: Option<V>,
}

impl<V> Default for HostTable<V> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcard: HashMap::default(), any: None }
    }
}

impl<V> HostTable<V> {
    /// Adds a value; the first of a pattern stays.
    pub(crate) fn insert(&mut self, host: &HostPattern, value: V) {
        match host {
            HostPattern::Exact(host) => {
                self.exact.entry((&**host).into()).or_insert(value);
            }
            HostPattern::Wildcard(suffix) => {
                self.wildcard.entry((&**suffix).into()).or_insert(value);
            }
            HostPattern::Any => {
                self.any.get_or_insert(value);
            }
        }
    }

    /// The value of the most specific pattern that covers the host; without a host only `Any` does.
    pub(crate) fn find(&self, host: Option<&str>) -> Option<&V> {
        let Some(host) = host else { return self.any.as_ref() };
        if let Some(value) = self.exact.get(host) {
            return Some(value);
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
            if let Some(value) = self.wildcard.get(suffix) {
                return Some(value);
            }
            rest = suffix;
        }
        self.any.as_ref()
    }

    /// The value of this very pattern.
    pub(crate) fn get(&self, host: &HostPattern) -> Option<&V> {
        match host {
            HostPattern::Exact(host) => self.exact.get(&**host),
            HostPattern::Wildcard(suffix) => self.wildcard.get(&**suffix),
            HostPattern::Any => self.any.as_ref(),
        }
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
}
