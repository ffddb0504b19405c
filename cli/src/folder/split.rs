//! Cuts a file into its YAML documents without parsing them.
//!
//! Each document is parsed alone, so that a mistake in one does not spoil its neighbours, and one that did not change
//! is recognised by its hash and not parsed again. A line that begins with `---` always starts a document, even within
//! a quoted or block scalar (YAML 1.2.2 §9.1.2, rule c-forbidden), so cutting needs no parser.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The text of one document, with its `---` line if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Line of the file on which the text begins, from 1.
    pub(super) first_line: u32,
    pub(super) text: &'a str,
}

impl Piece<'_> {
    /// Tells two texts apart; documents come from the user's own folder, nobody gains from a collision.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether there is nothing but blank lines, comments and markers.
    fn is_blank(&self) -> bool {
        self.text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
        })
    }
}

/// The documents of a file, in order; those without content are left out.
pub(super) fn split(text: &str) -> Vec<Piece<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pieces = Vec::new();
    let mut current = Piece { first_line: 1, text: "" };
    let (mut begin, mut end) = (0, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if is_marker(line) && end > begin {
            pieces.push(Piece { text: text.get(begin..end).unwrap_or_default(), ..current });
            (begin, current.first_line) = (end, number);
        }
        end += line.len();
    }
    pieces.push(Piece { text: text.get(begin..end).unwrap_or_default(), ..current });
    pieces.retain(|piece| !piece.is_blank());
    pieces
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::split;

    fn pieces(text: &str) -> Vec<(u32, &str)> {
        split(text).into_iter().map(|piece| (piece.first_line, piece.text)).collect()
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
