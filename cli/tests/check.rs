//! The program's `check` on a folder of mistakes, as a script would run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sluice(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).args(arguments).output().unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mistakes")
}

/// File and line of every `# mistake` comment.
fn mistakes(folder: &Path) -> BTreeSet<(String, usize)> {
    let mut places = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            if line.contains("# mistake") {
                places.insert((path.display().to_string(), index + 1));
            }
        }
    }
    places
}

#[test]
fn every_mistake_is_named_with_its_file_and_line() {
    let folder = folder();
    let output = sluice(&["check", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let mistakes = mistakes(&folder);
    assert!(mistakes.len() >= 10);
    for (file, line) in &mistakes {
        assert!(
            text.lines().any(|told| told.starts_with(&format!("{file}:{line}: "))),
            "{file}:{line} in {text}"
        );
    }
    // Nothing else is an error, except the other one of the two equal listeners.
    let errors = text.lines().filter(|line| line.starts_with('/') && !line.contains(": note: ")).count();
    assert_eq!(errors, mistakes.len() + 1, "{text}");
    assert!(text.contains("HTTPRoute default/missing-service"), "{text}");
    assert!(text.contains("Accepted=True ResolvedRefs=False (BackendNotFound)"), "{text}");
}

#[test]
fn the_machine_readable_forms_say_the_same() {
    let folder = folder();
    let output = sluice(&["check", "-o", "json", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors: Vec<_> =
        report["problems"].as_array().unwrap().iter().filter(|it| it["severity"] == "error").collect();
    assert_eq!(report["summary"]["errors"].as_u64().unwrap() as usize, errors.len());
    let places: BTreeSet<_> = errors
        .iter()
        .map(|it| (it["file"].as_str().unwrap().to_owned(), it["line"].as_u64().unwrap() as usize))
        .collect();
    assert!(places.is_superset(&mistakes(&folder)), "{places:?}");
    let gateway =
        report["objects"].as_array().unwrap().iter().find(|it| it["object"] == "Gateway default/web");
    assert_eq!(gateway.unwrap()["status"]["conditions"][0]["type"], "Accepted");
    let yaml = sluice(&["check", "-o", "yaml", folder.to_str().unwrap()]);
    let again: Value = serde_saphyr::from_str(std::str::from_utf8(&yaml.stdout).unwrap()).unwrap();
    assert_eq!(again["summary"], report["summary"]);
}

#[test]
fn the_exit_status_tells_good_from_bad_from_unreadable() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap();
    fs::write(
        directory.path().join("a.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
    )
    .unwrap();
    assert_eq!(sluice(&["check", "--strict", path]).status.code(), Some(0));
    let missing = sluice(&["check", "/nowhere/at/all"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("can't read /nowhere/at/all"));
    assert_eq!(sluice(&["check"]).status.code(), Some(2));
}

#[test]
fn explain_answers_with_its_exit_status() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/routing");
    let examples = examples.to_str().unwrap();
    let served = sluice(&["explain", "-X", "POST", "http://shop.example.com/cart/checkout", "-f", examples]);
    assert_eq!(served.status.code(), Some(0));
    let text = String::from_utf8(served.stdout).unwrap();
    assert!(
        text.contains("spec.rules[2] \"checkout\"") && text.contains("endpoint 127.0.0.1:13012 ready"),
        "{text}"
    );
    let missed = sluice(&["explain", "http://tenants.example.com/", "-f", examples, "-o", "json"]);
    assert_eq!(missed.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&missed.stdout).unwrap();
    assert_eq!(report["answer"]["status"], 404);
    assert_eq!(sluice(&["explain", "no-url", "-f", examples]).status.code(), Some(2));
}
