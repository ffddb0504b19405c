//! Which responses belong together.

use std::fmt;

/// Mark of a response's batch: `42+` while more of batch 42 follows, `42` on its last response. It travels in
/// `system_version_info`, which other clients only show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMark {
    /// Number of the batch on its stream.
    pub number: u64,
    /// Whether this response is the batch's last.
    pub last: bool,
}

impl BatchMark {
    /// Reads a mark; what is none counts as a batch of one response.
    pub fn parse(text: &str) -> Self {
        let (digits, last) = match text.strip_suffix('+') {
            Some(digits) => (digits, false),
            None => (text, true),
        };
        match digits.parse() {
            Ok(number) => Self { number, last },
            Err(_) => Self { number: 0, last: true },
        }
    }
}

impl fmt::Display for BatchMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.last { "" } else { "+" })
    }
}

#[cfg(test)]
mod tests {
    use super::BatchMark;

    #[test]
    fn a_mark_is_read_as_it_is_written_and_anything_else_ends_a_batch() {
        for mark in [BatchMark { number: 42, last: false }, BatchMark { number: 7, last: true }] {
            assert_eq!(BatchMark::parse(&mark.to_string()), mark);
        }
        for foreign in ["", "+", "2026-01-01", "1++"] {
            assert!(BatchMark::parse(foreign).last, "{foreign}");
        }
    }
}
