//! docs/conformance.md is true: it has every test of the official suite once, every proof that it names exists, and
//! nothing of the five Gateway profiles is without one. The features that we claim are those that it proves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_translate::FEATURES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/conformance.md");
const OFFICIAL: &str = include_str!("../official/v1.6.1.txt");

/// Extended features, by the names that the API has for them, that no official test of this version needs.
const UNTESTED: [&str; 6] = [
    "HTTPRouteExternalAuth",
    "HTTPRouteExternalAuthForwardBody",
    "HTTPRouteExternalAuthGRPC",
    "HTTPRouteExternalAuthHTTP",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
];

/// The official tests with the features that each needs.
fn official() -> BTreeMap<&'static str, Vec<&'static str>> {
    let lines = OFFICIAL.lines().filter(|line| !line.starts_with('#'));
    let tests = lines.map(|line| line.split_once(' ').expect("a name and features"));
    tests.map(|(name, features)| (name, features.split(' ').collect())).collect()
}

/// The rows of the page: name, features, proof.
fn rows() -> Vec<[&'static str; 3]> {
    let known = official();
    let cells = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.map(|line| line.split(" | ").collect::<Vec<_>>());
    rows.filter_map(|row| <[&str; 3]>::try_from(row).ok()).filter(|row| known.contains_key(row[0])).collect()
}

/// What stands in backquotes.
fn proofs(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_of_gateways(feature: &str) -> bool {
    feature.starts_with("Gateway") || matches!(feature, "ReferenceGrant" | "ListenerSet")
}

/// A test counts for a profile when every feature that it needs is in that profile.
fn is_ours(features: &[&str]) -> bool {
    let is_http = |it: &&str| it.starts_with("HTTPRoute") || it.starts_with("BackendTLSPolicy");
    features.iter().all(|it| is_of_gateways(it) || is_http(it))
        || features.iter().all(|it| is_of_gateways(it) || *it == "GRPCRoute")
        || features.iter().all(|it| is_of_gateways(it) || it.starts_with("TLSRoute"))
        || features.iter().all(|it| is_of_gateways(it) || *it == "TCPRoute")
        || features.iter().all(|it| is_of_gateways(it) || *it == "UDPRoute")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn every_official_test_is_on_the_page_once_with_its_features() {
    let official = official();
    assert_eq!(official.len(), 153);
    let mut seen = BTreeSet::new();
    for [name, features, _] in rows() {
        assert!(seen.insert(name), "{name} is there twice");
        assert_eq!(features.split(", ").collect::<Vec<_>>(), official[name], "{name}");
    }
    let missing: Vec<_> = official.keys().filter(|it| !seen.contains(*it)).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}

#[test]
fn every_proof_exists() {
    let root = root();
    for [name, _, cell] in rows() {
        for proof in proofs(cell) {
            let exists = match proof.split_once("::") {
                None => root.join("tests/fixtures").join(proof).join("input.yaml").is_file(),
                Some((file, function)) => std::fs::read_to_string(root.join(file))
                    .is_ok_and(|text| text.contains(&format!("fn {function}("))),
            };
            assert!(exists, "{name}: {proof} is not there");
        }
    }
}

#[test]
fn nothing_of_the_gateway_profiles_is_without_a_proof() {
    let official = official();
    for [name, _, cell] in rows() {
        let is_proved = proofs(cell).next().is_some();
        assert_ne!(is_proved, cell.starts_with("not yet: "), "{name}: either a proof or a reason");
        assert!(is_proved || !is_ours(&official[name]), "{name} has no proof");
    }
}

#[test]
fn what_is_claimed_is_what_is_proved() {
    let official = official();
    let mut proved: BTreeSet<&str> = UNTESTED.into();
    for [name, _, cell] in rows() {
        if proofs(cell).next().is_some() {
            proved.extend(&official[name]);
        }
    }
    let claimed: BTreeSet<&str> = FEATURES.iter().copied().collect();
    assert_eq!(claimed, proved);
    for [name, _, cell] in rows() {
        let runs = official[name].iter().all(|it| claimed.contains(it));
        assert!(!runs || proofs(cell).next().is_some(), "{name} would run, and has no proof");
    }
}
