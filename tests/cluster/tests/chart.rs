//! Helm makes of `deploy/chart` what `sluice install --dry-run` prints, for every profile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use sluice::install::{Settings, render};
use sluice::profile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Helm, built when it is not there.
fn helm(arguments: &[&str]) -> Output {
    let built = Command::new(repository().join("tests/cluster/helm/build")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = String::from_utf8(built.stdout).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program.trim());
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, home.path());
    }
    command.env_remove("KUBECONFIG").args(arguments).output().unwrap()
}

fn template(arguments: &[&str]) -> Output {
    let chart = repository().join("deploy/chart");
    let mut all = vec!["template", "sluice", chart.to_str().unwrap(), "--include-crds"];
    all.extend(arguments);
    helm(&all)
}

/// Objects by kind, namespace and name.
fn by_title(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let title =
        |it: &Value| format!("{} {} {}", it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]);
    objects.into_iter().filter(|it| !it.is_null()).map(|it| (title(&it), it)).collect()
}

/// What Helm makes, without what is Helm's own: who manages an object.
fn rendered(arguments: &[&str]) -> BTreeMap<String, Value> {
    let output = template(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    for object in objects.iter_mut().filter(|it| !it.is_null()) {
        let label = &mut object["metadata"]["labels"]["app.kubernetes.io/managed-by"];
        assert_eq!(*label, "Helm");
        *label = "sluice".into();
    }
    by_title(objects)
}

/// What the command installs, without the namespace, which Helm makes itself.
fn installed(settings: &Settings) -> BTreeMap<String, Value> {
    let mut objects: Vec<Value> = render(settings).unwrap().into_iter().map(|it| it.0).collect();
    objects.retain(|it| !(it["kind"] == "Namespace" && it["metadata"]["name"] == settings.namespace));
    by_title(objects)
}

fn assert_same(of: &str, helm: &BTreeMap<String, Value>, command: &BTreeMap<String, Value>) {
    let titles = |it: &BTreeMap<String, Value>| it.keys().cloned().collect::<Vec<_>>();
    assert_eq!(titles(helm), titles(command), "{of}");
    for (title, object) in command {
        assert_eq!(helm[title], *object, "{of}: {title}");
    }
}

#[test]
fn every_profile_is_the_same_through_helm() {
    for name in profile::names() {
        let values = repository().join(format!("deploy/chart/values-{name}.yaml"));
        let mut arguments = vec!["--namespace", "sluice-system"];
        if name != "default" {
            arguments.extend(["-f", values.to_str().unwrap()]);
        }
        assert_same(name, &rendered(&arguments), &installed(&profile::read(name).unwrap()));
    }
}

#[test]
fn every_kind_of_value_is_the_same_through_helm() {
    let assignments = [
        "controller.image=registry.example.com:5000/a@sha256:00ff",
        "controller.replicas=5",
        "controller.resources.limits.cpu=1",
        "controller.resources.requests.cpu=0.5",
        "controller.logFormat=text",
        "controller.bind=0.0.0.0",
        "controllerName=example.com/other",
        "gatewayClass=other",
        "gateway.image=registry.example.com/g:2",
        "gateway.replicas=3",
        "gateway.serviceType=NodePort",
        "injection.revision=canary",
        "sidecar.image=registry.example.com/s:2",
        "imagePullPolicy=Always",
        "imagePullSecret=credentials",
        "demo.enabled=true",
    ];
    let mut settings = Settings::default();
    settings.namespace = "edge".to_owned();
    let mut arguments = vec!["--namespace", "edge"];
    for assignment in assignments {
        settings.assign(assignment).unwrap();
        arguments.extend(["--set", assignment]);
    }
    assert_same("other values", &rendered(&arguments), &installed(&settings));
}

#[test]
fn helm_refuses_what_the_command_refuses() {
    for wrong in [
        "controller.replica=3",
        "controller.replicas=0",
        "controller.podDisruptionBudget=maybe",
        "controller.logFormat=xml",
        "gateway.image=",
    ] {
        assert!(Settings::default().assign(wrong).is_err(), "{wrong}");
        let output = template(&["--set", wrong]);
        assert!(!output.status.success(), "{wrong}");
    }
}

#[test]
fn helm_finds_no_fault_with_the_chart() {
    let chart = repository().join("deploy/chart");
    let output = helm(&["lint", "--strict", chart.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
