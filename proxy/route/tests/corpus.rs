//! The inputs of the fuzz targets, run as plain tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../tests/fuzz/checks/path_normalize.rs"]
mod path_normalize;
#[path = "../../../tests/fuzz/checks/route_match.rs"]
mod route_match;
mod support;

use std::fs;
use std::path::Path;

fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let mut ran = 0;
    for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = file.unwrap().path();
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
        ran += 1;
    }
    assert!(ran > 0, "{} holds no input", folder.display());
}

#[test]
fn every_path_of_the_corpus_has_a_normal_form_or_is_refused() {
    run("path_normalize", path_normalize::check);
}

#[test]
fn every_table_of_the_corpus_is_searched_as_the_reference_does() {
    run("route_match", route_match::check);
}

/// A few thousand inputs of noise, the same in every run.
#[test]
fn noise_is_searched_as_the_reference_does() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for len in 0..1_500 {
        let mut data = Vec::new();
        for _ in 0..len % 97 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            data.push((state >> 56) as u8);
        }
        route_match::check(&data);
        path_normalize::check(&data);
    }
}
