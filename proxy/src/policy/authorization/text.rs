//! Lists of values, compiled: those that are compared whole in one look, the few others one by one.

use ahash::AHashSet;
use sluice_ir::{PathValue, Segment, ValueMatch};
use sluice_route::readings;

/// Texts of which one must fit.
#[derive(Debug, Default)]
pub(super) struct Texts {
    exact: AHashSet<Box<[u8]>>,
    others: Box<[Form]>,
}

/// A text that is not compared whole.
#[derive(Debug)]
enum Form {
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Present,
    Parts(Box<[Box<str>]>),
}

impl Texts {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a ValueMatch>) -> Self {
        Self::of(values, str::to_owned)
    }

    /// The same, where each text is brought into another form first.
    pub(super) fn of<'a>(
        values: impl IntoIterator<Item = &'a ValueMatch>,
        spell: impl Fn(&str) -> String,
    ) -> Self {
        let bytes = |text: &str| -> Box<[u8]> { spell(text).into_bytes().into() };
        let (mut exact, mut others) = (AHashSet::new(), Vec::new());
        for value in values {
            match value {
                ValueMatch::Exact(text) => drop(exact.insert(bytes(text))),
                ValueMatch::Prefix(text) => others.push(Form::Prefix(bytes(text))),
                ValueMatch::Suffix(text) => others.push(Form::Suffix(bytes(text))),
                ValueMatch::Present => others.push(Form::Present),
                ValueMatch::Parts(parts) => {
                    others.push(Form::Parts(parts.iter().map(|it| it.as_str().into()).collect()));
                }
                // Networks are compared with addresses, elsewhere.
                ValueMatch::Network(_) => {}
            }
        }
        Self { exact, others: others.into() }
    }

    pub(super) fn has(&self, text: &[u8]) -> bool {
        (!self.exact.is_empty() && self.exact.contains(text)) || self.others.iter().any(|it| it.fits(text))
    }
}

impl Form {
    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Prefix(start) => text.starts_with(start),
            Self::Suffix(end) => text.ends_with(end),
            Self::Present => !text.is_empty(),
            Self::Parts(parts) => std::str::from_utf8(text).is_ok_and(|text| has_parts(text, parts)),
        }
    }
}

/// Whether a text is these parts with anything between them.
fn has_parts(text: &str, parts: &[Box<str>]) -> bool {
    let [first, between @ .., last] = parts else { return parts.first().is_some_and(|only| text == &**only) };
    let Some(rest) = text.strip_prefix(&**first) else { return false };
    let Some(mut rest) = rest.strip_suffix(&**last) else { return false };
    for part in between {
        let Some(at) = rest.find(&**part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// Paths of which one must fit, all in the one spelling.
#[derive(Debug, Default)]
pub(super) struct Paths {
    texts: Texts,
    templates: Box<[Template]>,
}

impl Paths {
    pub(super) fn new(values: &[PathValue]) -> Self {
        let texts = values.iter().filter_map(|it| match it {
            PathValue::Value(value) => Some(value),
            PathValue::Template(_) => None,
        });
        let templates = values.iter().filter_map(|it| match it {
            PathValue::Value(_) => None,
            PathValue::Template(segments) => Some(Template::new(segments)),
        });
        Self {
            texts: Texts::of(texts, |it| readings::spelled(it).into_owned()),
            templates: templates.collect(),
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.texts.has(path.as_bytes()) || self.templates.iter().any(|it| it.fits(path))
    }
}

/// A path template.
#[derive(Debug)]
struct Template {
    /// `None`: any one segment that is not empty.
    before: Box<[Option<Box<str>>]>,
    /// What follows `{**}`, where it is there: that stands for one segment or more, which may be empty.
    after: Option<Box<[Option<Box<str>>]>>,
}

impl Template {
    fn new(segments: &[Segment]) -> Self {
        let part = |segments: &[Segment]| -> Box<[Option<Box<str>>]> {
            let segment = |it: &Segment| match it {
                Segment::Literal(text) => Some(readings::spelled(text).into()),
                Segment::One | Segment::Rest => None,
            };
            segments.iter().map(segment).collect()
        };
        match segments.iter().position(|it| *it == Segment::Rest) {
            None => Self { before: part(segments), after: None },
            Some(at) => {
                let (before, after) = segments.split_at(at);
                Self { before: part(before), after: Some(part(after.get(1..).unwrap_or_default())) }
            }
        }
    }

    fn fits(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let count = path.split('/').count();
        let fits = |(wanted, segment): (&Option<Box<str>>, &str)| match wanted {
            Some(text) => segment == &**text,
            None => !segment.is_empty(),
        };
        let begins = || self.before.iter().zip(path.split('/')).all(fits);
        match &self.after {
            None => count == self.before.len() && begins(),
            Some(after) => {
                count > self.before.len() + after.len()
                    && begins()
                    && after.iter().rev().zip(path.rsplit('/')).all(fits)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Paths, Texts};
    use sluice_ir::{PathValue, Segment, ValueMatch};

    #[test]
    fn texts_are_compared_by_their_form() {
        let one = |it: ValueMatch, text: &str| Texts::new(&[it]).has(text.as_bytes());
        let text = |it: &str| it.to_owned();
        assert!(one(ValueMatch::Exact(text("a")), "a") && !one(ValueMatch::Exact(text("a")), "ab"));
        assert!(one(ValueMatch::Prefix(text("a")), "ab") && one(ValueMatch::Prefix(text("a")), "a"));
        assert!(one(ValueMatch::Suffix(text("b")), "ab") && !one(ValueMatch::Suffix(text("b")), "ba"));
        assert!(one(ValueMatch::Present, "a") && !one(ValueMatch::Present, ""));
        let parts = |it: &[&str]| ValueMatch::Parts(it.iter().map(|it| text(it)).collect());
        assert!(
            one(parts(&["a", "c"]), "abc")
                && one(parts(&["a", "c"]), "ac")
                && !one(parts(&["ab", "bc"]), "abc")
        );
        assert!(one(parts(&["", "b", ""]), "abc") && !one(parts(&["", "x", ""]), "abc"));
        assert!(one(parts(&["a", "b", "b", "c"]), "abxbc") && !one(parts(&["a", "b", "b", "c"]), "abxc"));
    }

    #[test]
    fn a_template_stands_for_whole_segments() {
        let literal = |it: &str| Segment::Literal(it.to_owned());
        let fits = |segments: &[Segment], path: &str| {
            Paths::new(&[PathValue::Template(segments.to_vec())]).has(path)
        };
        let one = [literal("a"), Segment::One, literal("c")];
        assert!(fits(&one, "/a/b/c"));
        for path in ["/a//c", "/a/b", "/a/b/c/", "/a/b/b/c", "/x/b/c"] {
            assert!(!fits(&one, path), "{path}");
        }
        let open = [literal("a"), Segment::Rest];
        assert!(fits(&open, "/a/") && fits(&open, "/a/b/c") && !fits(&open, "/a") && !fits(&open, "/b/c"));
        let middle = [literal("a"), Segment::One, Segment::Rest, literal("d")];
        assert!(fits(&middle, "/a/b/c/d") && fits(&middle, "/a/b//d") && fits(&middle, "/a/b/c/c/d"));
        assert!(!fits(&middle, "/a/b/d") && !fits(&middle, "/a//c/d") && !fits(&middle, "/a/b/c"));
        assert!(fits(&[Segment::Rest], "/") && fits(&[Segment::Rest], "/a/b"));
    }
}
