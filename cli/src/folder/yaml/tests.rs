//! What the reader makes of texts, good and bad.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{parse, parse_with_lines};
use serde_json::{Value, json};

fn one(text: &str) -> Value {
    let mut documents = parse(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn error(text: &str) -> (u32, String) {
    let error = parse(text).unwrap_err();
    (error.line, error.message)
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[1, -2, +3, 0x1f, 0o17, 1.5, 1e3, true, False, null, ~, yes, 1.2.3, 'true', \"7\", 10.0.0.1, 30s, !!str 5, -a, '']";
    assert_eq!(
        one(text),
        json!([
            1, -2, 3, 31, 15, 1.5, 1000.0, true, false, null, null, "yes", "1.2.3", "true", "7", "10.0.0.1",
            "30s", "5", "-a", ""
        ])
    );
    assert_eq!(one("18446744073709551615"), json!(u64::MAX));
}

#[test]
fn json_is_read_like_yaml() {
    assert_eq!(one("{\"a\": {\"b\": [1, \"two\", null]}}\n"), json!({"a": {"b": [1, "two", null]}}));
}

#[test]
fn every_field_knows_its_line_and_a_missing_one_that_of_its_parent() {
    let text =
        "---\nspec:\n  rules:\n  - name: a\n    matches:\n    - path:\n        value: /x\n  - name: b\n";
    let (_, lines) = parse_with_lines(text).unwrap().remove(0);
    for (path, line) in [
        ("spec", 2),
        ("spec.rules[0]", 4),
        ("spec.rules[0].matches[0].path.value", 7),
        ("spec.rules[0].matches[0].path.type", 6),
        ("spec.rules[1].name", 8),
        ("spec.rules[1].backendRefs[2].port", 8),
        ("spec.rules[9]", 3),
    ] {
        assert_eq!(lines.of(path), Some(line), "{path}");
    }
    assert_eq!(lines.of("status.conditions"), None);
    assert_eq!(lines.start(), 2);
}

#[test]
fn anchors_aliases_and_merges_are_expanded() {
    let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b, *b]\n";
    assert_eq!(
        one(text),
        json!({"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}, {"x": 1, "y": 2}]})
    );
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    assert!(error(&text).1.contains("more than 500000 values"), "{:?}", error(&text));
}

#[test]
fn mistakes_name_their_line() {
    assert_eq!(error("a: 1\nb: 2\na: 3\n"), (3, "the key \"a\" stands twice in one mapping".to_owned()));
    assert_eq!(error("a: 1\nb: [1, 2\nc: 3\n").0, 3);
    assert_eq!(error("a: 'open\n").0, 1);
    assert!(error("? [a, b]\n: c\n").1.contains("a key must be a plain text"));
    assert!(error(&"- ".repeat(200)).1.contains("levels of nesting"));
    assert!(error("a: *nothing\n").1.contains("not valid YAML"));
}

#[test]
fn several_documents_may_be_parted_by_dots() {
    assert_eq!(parse("a: 1\n...\nb: 2\n").unwrap().len(), 2);
    assert!(parse("# nothing\n").unwrap().iter().all(Value::is_null));
}
