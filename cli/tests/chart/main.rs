//! The chart in `deploy/chart` is made from the same call as `sluice install`: manifests with placeholders become
//! templates, the table of settings becomes values, schema and README. `UPDATE_CHART=1 cargo test -p sluice --test
//! chart` writes it again. That Helm renders it to what `sluice install --dry-run` prints is shown by the cluster tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod template;

use sluice::install::{Key, Manifest, Settings, Type, render};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart")
}

/// Every file of the chart by its path.
fn chart() -> BTreeMap<String, String> {
    let mut settings = Settings::default();
    settings.namespace = template::NAMESPACE.to_owned();
    for key in Key::ALL {
        settings.put(key, &template::placeholder(key));
    }
    let manifests = render(&settings).unwrap();
    let group = |kinds: fn(&Manifest) -> Option<&'static str>| {
        let mut groups: BTreeMap<&str, Vec<&Manifest>> = BTreeMap::new();
        for manifest in &manifests {
            if let Some(file) = kinds(manifest) {
                groups.entry(file).or_default().push(manifest);
            }
        }
        groups
    };
    let mut files = files::all();
    for (file, manifests) in group(file_of) {
        let (path, text) = match file {
            // Helm must know the kind before it meets an object of it.
            "crd" => (format!("crds/{file}.yaml"), template::plain(&manifests)),
            _ => (format!("templates/{file}.yaml"), template::of(file, &manifests)),
        };
        files.insert(path, text);
    }
    files
}

/// The template that holds an object; Helm makes the namespace itself.
fn file_of(manifest: &Manifest) -> Option<&'static str> {
    if manifest.namespace().unwrap_or(manifest.name()) == "sluice-demo" {
        return Some("demo");
    }
    match manifest.kind() {
        "Namespace" => None,
        "CustomResourceDefinition" => Some("crd"),
        "PodDisruptionBudget" => Some("pod-disruption-budget"),
        "GatewayClass" => Some("gateway-class"),
        "MutatingWebhookConfiguration" => Some("injection"),
        _ => Some("controller"),
    }
}

#[test]
fn the_chart_is_what_the_command_installs() {
    let chart = chart();
    if std::env::var_os("UPDATE_CHART").is_some() {
        for (path, text) in &chart {
            let path = folder().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    for (path, text) in &chart {
        let found = std::fs::read_to_string(folder().join(path)).unwrap_or_default();
        assert!(
            found == *text,
            "deploy/chart/{path} is stale: UPDATE_CHART=1 cargo test -p sluice --test chart"
        );
    }
    let mut found = Vec::new();
    list(&folder(), &mut found);
    for path in found {
        let path = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
        assert!(chart.contains_key(&path), "deploy/chart/{path} is not made by anything: remove it");
    }
}

#[test]
fn every_setting_is_used_by_a_template() {
    let templates: String = chart()
        .into_iter()
        .filter(|(path, _)| path.starts_with("templates/"))
        .map(|(_, text)| text)
        .collect();
    for key in Key::ALL {
        assert!(templates.contains(&format!(".Values.{}", key.name())), "{}", key.name());
    }
    assert!(!templates.contains("zz-"), "a placeholder is left");
}

#[test]
fn a_schema_knows_every_type() {
    for key in Key::ALL {
        let schema = files::schema_of(key);
        let default = key.facts().default;
        match key.facts().r#type {
            Type::Bool => assert_eq!(schema["type"], "boolean"),
            Type::Count { most, .. } => assert_eq!(schema["maximum"], most),
            Type::Choice(words) => assert!(words.contains(&default) && schema["enum"].is_array()),
            _ => assert!(schema["type"].is_string() || schema["type"].is_array()),
        }
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
