//! The rights that docs/security.md explains are those that are installed, no more and no fewer; images hold one program
//! and nobody in particular runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use sluice::install::{Settings, render};
use sluice_crds::Kind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One right: group, resource, name (empty for all), verb.
type Right = (String, String, String, String);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap_or(&Vec::new()).iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn installed(kind: &str) -> BTreeSet<Right> {
    let role = render(&Settings::default()).unwrap().into_iter().find(|it| it.kind() == kind).unwrap();
    let mut rights = BTreeSet::new();
    for rule in role.0["rules"].as_array().unwrap() {
        let names = match texts(&rule["resourceNames"]) {
            names if names.is_empty() => vec![String::new()],
            names => names,
        };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for name in &names {
                    for verb in texts(&rule["verbs"]) {
                        rights.insert((group.clone(), resource.clone(), name.clone(), verb));
                    }
                }
            }
        }
    }
    rights
}

/// The rows of the table below a heading: its cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(repository().join("docs/security.md")).unwrap();
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rows = below.lines().skip_while(|it| !it.starts_with('|')).take_while(|it| it.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>();
    rows.skip(2).map(cells).collect()
}

fn explained(heading: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for row in table(heading) {
        let group = if row[0] == "core" { String::new() } else { row[0].clone() };
        for resource in row[1].split(", ") {
            let (resource, name) = resource.split_once(" (").unwrap_or((resource, ""));
            for verb in row[2].split(", ") {
                let name = name.trim_end_matches(')').to_owned();
                rights.insert((group.clone(), resource.to_owned(), name, verb.to_owned()));
            }
        }
    }
    rights
}

#[test]
fn every_right_is_explained_and_no_other() {
    for (kind, heading) in [("ClusterRole", "(ClusterRole)"), ("Role", "(Role)")] {
        assert_eq!(explained(heading), installed(kind), "{kind}");
    }
}

#[test]
fn the_code_that_needs_a_right_is_named_and_there() {
    for row in table("(ClusterRole)").into_iter().chain(table("(Role)")) {
        for path in row[3].split(", ") {
            let path = path.trim_matches('`');
            assert!(repository().join(path).exists(), "{path} of docs/security.md does not exist");
        }
        assert!(!row[4].is_empty());
    }
}

#[test]
fn every_kind_that_is_watched_may_be_read() {
    let rights = installed("ClusterRole");
    for kind in Kind::ALL {
        let crd = format!("{}s", kind.name().to_ascii_lowercase());
        let name = match kind.name() {
            "GatewayParameters" => "gatewayparameters".to_owned(),
            _ => crd
                .replace("classs", "classes")
                .replace("entrys", "entries")
                .replace("policys", "policies")
                .replace("telemetrys", "telemetries"),
        };
        for verb in ["list", "watch"] {
            let right = (kind.group().to_owned(), name.clone(), String::new(), verb.to_owned());
            assert!(rights.contains(&right), "deploy/base/cluster-role.yaml lacks {verb} of {name}");
        }
    }
}

#[test]
fn nothing_is_given_wholesale() {
    for kind in ["ClusterRole", "Role"] {
        for (group, resource, _, verb) in installed(kind) {
            assert!(![&group, &resource, &verb].into_iter().any(|it| it == "*"), "{kind}: {resource}");
            assert!(!["impersonate", "bind", "escalate"].contains(&verb.as_str()), "{kind}: {verb}");
        }
    }
}

#[test]
fn the_image_of_sidecars_holds_what_captures_and_is_not_root() {
    let path = repository().join("deploy/docker/sidecar.Dockerfile");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("    deploy/link/build && \\\n"));
    let build = std::fs::read_to_string(repository().join("deploy/link/build")).unwrap();
    assert!(build.contains("--locked --profile sidecar --package sluice-sidecar --bin sluice-sidecar"));
    assert!(text.contains("nftables iptables"), "capture needs one of them");
    assert!(text.contains("\nUSER 1337:1337\nENTRYPOINT [\"/sluice-sidecar\"]"));
}

#[test]
fn an_image_holds_one_static_program_that_is_not_root() {
    let version = env!("CARGO_PKG_VERSION");
    let example =
        std::fs::read_to_string(repository().join("examples/kubernetes-hello/backend.yaml")).unwrap();
    assert!(example.contains(&format!("image: sluice:{version}\n")), "the example names another version");
    for (file, program) in
        [("controller", "sluice-controller"), ("gateway", "sluice-gateway"), ("sluice", "sluice")]
    {
        let path = repository().join(format!("deploy/docker/{file}.Dockerfile"));
        let text = std::fs::read_to_string(path).unwrap();
        let (build, image) = text.split_once("\nFROM scratch\n").expect("an empty last stage");
        assert!(build.contains("\nFROM rust:1.95-alpine AS build\n"), "{file}: musl makes it static");
        assert!(build.contains(&format!("--locked --package {program} --bin {program}")), "{file}");
        assert!(image.contains("\nUSER 65532:65532\n"), "{file}");
        assert!(image.contains(&format!("\nENTRYPOINT [\"/{program}\"]")), "{file}");
        assert!(!image.contains("RUN"), "{file}: there is no shell to run anything");
        let programs = image.lines().filter(|it| it.starts_with("COPY") && !it.contains("/etc/ssl/certs/"));
        assert_eq!(programs.count(), 1, "{file}");
    }
}
