//! Pods with their sidecar, as YAML: `tests/injected/SENTENCE/input.yaml` holds a pod, `pod.yaml` what becomes of it.
//! `UPDATE_FIXTURES=1 cargo test -p sluice-controller --test injected` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use sluice_controller::inject::{InjectSettings, Owner, inject};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_pod_gets_the_sidecar_that_is_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/injected");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|it| it.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "{cases:?}");
    let wrong: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case.join("input.yaml")).unwrap();
    assert!(text.starts_with('#'), "{}: input.yaml must begin with its sentence", case.display());
    let mut pod: Value = serde_saphyr::from_str(&text).unwrap();
    let owner = Owner::of(&pod);
    let settings =
        InjectSettings { image: "registry.example/sluice-sidecar:1".to_owned(), ..InjectSettings::default() };
    let got = match inject(&mut pod, &owner, &settings) {
        Ok(()) => serde_saphyr::to_string(&pod).unwrap(),
        Err(error) => format!("error: {error}\n"),
    };
    // What goes out is a pod of Kubernetes.
    if !got.starts_with("error") {
        serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod).unwrap();
    }
    let path = case.join("pod.yaml");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, got).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == got {
        return Ok(());
    }
    let line = expected.lines().zip(got.lines()).position(|(old, new)| old != new).unwrap_or(0);
    let around =
        |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n  ");
    Err(format!(
        "{} line {}\nexpected:\n  {}\ngot:\n  {}",
        path.display(),
        line + 1,
        around(&expected),
        around(&got)
    ))
}
