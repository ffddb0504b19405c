//! Cuts a file into its YAML documents without parsing them.
//!
//! Each document is parsed alone, so that a mistake in one does not spoil its neighbours, and one that did not change
//! is recognised by its hash and not parsed again. A line that begins with `---` always starts a document, even within
//! a quoted or block scalar (YAML 1.2.2 §9.1.2, rule c-forbidden), so cutting needs no parser.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// One document of a text, with its `---` line if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Line of the file on which it begins, from 1.
    pub(super) first_line: u32,
    /// Bytes of the text.
    pub(super) extent: Range<usize>,
    /// Tells two documents apart; they come from the user's own folder, nobody gains from a collision.
    pub(super) hash: u64,
}

impl Piece {
    fn new(first_line: u32, extent: Range<usize>, text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.get(extent.clone()).unwrap_or_default().hash(&mut hasher);
        Self { first_line, extent, hash: hasher.finish() }
    }

    /// Its part of the text that was split.
    pub(super) fn of<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.extent.clone()).unwrap_or_default()
    }
}

/// The documents of a file, in order; those without content are left out.
pub(super) fn split(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut begin = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let (mut end, mut first_line) = (begin, 1);
    let mut push = |first_line: u32, extent: Range<usize>| {
        if !is_blank(text.get(extent.clone()).unwrap_or_default()) {
            pieces.push(Piece::new(first_line, extent, text));
        }
    };
    for (number, line) in (1..).zip(text.get(begin..).unwrap_or_default().split_inclusive('\n')) {
        if is_marker(line) && end > begin {
            push(first_line, begin..end);
            (begin, first_line) = (end, number);
        }
        end += line.len();
    }
    push(first_line, begin..end);
    pieces
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether there is nothing but blank lines, comments and markers.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    })
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::split;

    fn pieces(text: &str) -> Vec<(u32, &str)> {
        split(text).into_iter().map(|piece| (piece.first_line, piece.of(text))).collect()
    }

    #[test]
    fn documents_keep_their_line_and_blank_ones_vanish() {
        assert_eq!(pieces("a: 1\n---\nb: 2\n"), [(1, "a: 1\n"), (2, "---\nb: 2\n")]);
        assert_eq!(pieces("# only\n---\n\n---\nb: 2"), [(4, "---\nb: 2")]);
        assert_eq!(
            pieces("---\r\na: 1\r\n--- # next\r\nb: 2"),
            [(1, "---\r\na: 1\r\n"), (3, "--- # next\r\nb: 2")]
        );
        assert_eq!(pieces("\u{feff}a: 1"), [(1, "a: 1")]);
        assert!(pieces("").is_empty());
    }

    #[test]
    fn more_dashes_or_indentation_are_content() {
        assert_eq!(pieces("a: |\n  x\n  ---\n  y\n----: 1\n"), [(1, "a: |\n  x\n  ---\n  y\n----: 1\n")]);
    }
}
