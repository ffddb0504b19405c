//! Pods with their sidecar, as YAML: `tests/injected/SENTENCE/input.yaml` holds a pod, `pod.yaml` what becomes of it.
//! `UPDATE_FIXTURES=1 cargo test -p sluice-controller --test injected` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;

use serde_json::Value;
use sluice_controller::inject::{InjectSettings, Owner, inject};
use std::fs;
use std::path::Path;

#[test]
fn every_pod_gets_the_sidecar_that_is_expected() {
    golden::check("injected", 8, run);
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
    golden::compare(&path, got)
}
