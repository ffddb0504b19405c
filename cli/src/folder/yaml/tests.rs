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

/// Whatever a file holds, reading it ends, without a panic.
#[test]
fn torn_and_mangled_texts_are_read_or_refused() {
    let seeds = [
        "a: &x [1, {b: c}, 'd', \"e\\n\"]\nf: *x\n<<: {g: h}\n? k\n: v\n",
        "---\napiVersion: v1\nkind: List\nitems:\n- |\n  text\n   more\n- >-\n  folded\n\n  x\n- !!str 5\n...\n%YAML 1.2\n---\n- - - a\n",
        "{\"a\": [1, 2, {\"b\": null}], \"c\": \"\\u00e9\\x41\"}",
        "k: {a, b: , c: [}]}\n\t- tab\n  : :\n# c\n&a *a !t 'x': y\n",
    ];
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4_000);
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..rounds {
        let mut text: Vec<char> = seeds[random(seeds.len())].chars().collect();
        for _ in 0..=random(6) {
            let at = random(text.len());
            match random(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(
                    at,
                    "-?:,[]{}#&*!|>'\"%@` \t\n\r\\é\u{feff}0a~<.".chars().nth(random(37)).unwrap_or(' '),
                ),
                2 => text.truncate(at + 1),
                _ => {
                    let other: Vec<char> = seeds[random(seeds.len())].chars().collect();
                    let from = random(other.len());
                    text.splice(at..at, other[from..].iter().copied());
                }
            }
            if text.is_empty() {
                text.push('a');
            }
        }
        let text: String = text.into_iter().collect();
        match (parse(&text), parse_with_lines(&text)) {
            (Ok(plain), Ok(with_lines)) => {
                assert!(plain.iter().eq(with_lines.iter().map(|(value, _)| value)), "{text:?}");
            }
            (Err(one), Err(other)) => assert_eq!(one, other, "{text:?}"),
            different => panic!("{text:?}: {different:?}"),
        }
    }
}
