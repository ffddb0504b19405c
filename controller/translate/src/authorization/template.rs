//! Paths of operations: text as elsewhere, or a template with `{*}` for one segment and `{**}` for any number.

use super::values::{Wrong, text};
use sluice_ir::{PathValue, Segment};

const ONE: &str = "{*}";
const REST: &str = "{**}";

/// Reads a path.
pub(super) fn path(value: &str) -> Result<PathValue, Wrong> {
    if !value.contains(ONE) && !value.contains(REST) {
        return text(value).map(PathValue::Value);
    }
    let wrong = |message: &str, next_step| Err((format!("{value:?} {message}"), next_step));
    let Some(rest) = value.strip_prefix('/') else {
        return wrong("is a template that does not begin with '/'", "write it as /users/{*}");
    };
    let mut segments = Vec::new();
    for segment in rest.split('/') {
        let has_rest = segments.contains(&Segment::Rest);
        segments.push(match segment {
            ONE | REST if has_rest => {
                return wrong("has an operator after {**}", "make {**} the last operator");
            }
            ONE => Segment::One,
            REST => Segment::Rest,
            mixed if mixed.contains(['{', '}', '*']) => {
                return wrong(
                    "has a segment that is neither text nor an operator",
                    "write {*} as a whole segment",
                );
            }
            literal => Segment::Literal(literal.to_owned()),
        });
    }
    Ok(PathValue::Template(segments))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::path;
    use sluice_ir::{PathValue, Segment, ValueMatch};

    #[test]
    fn a_template_has_whole_segments_and_one_open_end() {
        let literal = |it: &str| Segment::Literal(it.to_owned());
        for (value, expected) in [
            ("/a/{*}", vec![literal("a"), Segment::One]),
            ("/{**}", vec![Segment::Rest]),
            ("/a/{*}/b/{**}", vec![literal("a"), Segment::One, literal("b"), Segment::Rest]),
            ("/a/{**}/b", vec![literal("a"), Segment::Rest, literal("b")]),
            ("/a/{*}/", vec![literal("a"), Segment::One, literal("")]),
        ] {
            assert_eq!(path(value).unwrap(), PathValue::Template(expected), "{value}");
        }
        for bad in ["a/{*}", "/a{*}", "/{*}.txt", "/{**}/{*}", "/{**}/{**}", "/{*}/b*", "/{*}/{x}"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(path("/a*").unwrap(), PathValue::Value(ValueMatch::Prefix("/a".to_owned())));
        assert_eq!(path("/{id}").unwrap(), PathValue::Value(ValueMatch::Exact("/{id}".to_owned())));
    }
}
