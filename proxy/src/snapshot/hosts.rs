//! Which listener of a port answers for a host: exact beats the longest wildcard beats any.

use ahash::AHashMap;
use sluice_ir::HostPattern;

/// Host patterns to positions. Built when listeners change, shared by every snapshot until then.
#[derive(Debug, Default)]
pub struct HostIndex {
    exact: AHashMap<Box<str>, usize>,
    wildcard: AHashMap<Box<str>, usize>,
    any: Option<usize>,
}

impl HostIndex {
    /// The index of these patterns; of two equal ones the first wins.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a HostPattern>) -> Self {
        let mut index = Self::default();
        for (position, pattern) in patterns.into_iter().enumerate() {
            match pattern {
                HostPattern::Exact(host) => {
                    index.exact.entry(host.as_str().into()).or_insert(position);
                }
                HostPattern::Wildcard(suffix) => {
                    index.wildcard.entry(suffix.as_str().into()).or_insert(position);
                }
                HostPattern::Any => {
                    index.any.get_or_insert(position);
                }
            }
        }
        index
    }

    /// Position of the most specific pattern that covers a host (lower case, without port). One hash look-up for each
    /// label at most; allocates nothing.
    pub fn find(&self, host: &str) -> Option<usize> {
        if let Some(&position) = self.exact.get(host) {
            return Some(position);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((label, suffix)) = rest.split_once('.') {
                if label.is_empty() {
                    break;
                }
                if let Some(&position) = self.wildcard.get(suffix) {
                    return Some(position);
                }
                rest = suffix;
            }
        }
        self.any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_wins() {
        let patterns: Vec<_> =
            ["*", "*.example.com", "*.a.example.com", "x.a.example.com"].map(HostPattern::parse).into();
        let index = HostIndex::new(&patterns);
        assert_eq!(index.find("x.a.example.com"), Some(3));
        assert_eq!(index.find("y.a.example.com"), Some(2));
        assert_eq!(index.find("z.y.a.example.com"), Some(2));
        assert_eq!(index.find("b.example.com"), Some(1));
        assert_eq!(index.find("example.com"), Some(0));
        assert_eq!(index.find(""), Some(0));
    }
}
