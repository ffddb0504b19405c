//! Thread CPU time of building a table and of editing one route of it: `cargo bench -p sluice-route --bench edit`.
//!
//! The goal: an edit among 5,000 routes takes less than 2 ms, whether they have 5,000 hosts or share one.
#![allow(missing_docs, clippy::expect_used, unreachable_pub)]

mod tables;

use sluice_route::RouteTable;
use std::hint::black_box;
use tables::{Shape, entry};

/// Many: the kernel's accounting may tick in milliseconds.
const EDITS: usize = 20_000;

fn main() {
    for shape in [Shape::Hosts, Shape::Wildcards, Shape::Prefixes, Shape::Exacts] {
        for routes in [10, 5_000, 50_000] {
            let entries: Vec<_> = (0..routes).map(|index| entry(shape, index)).collect();
            let edits: Vec<_> = (0..EDITS).map(|step| entry(shape, step * 7_919 % routes)).collect();
            let before = cpu_us();
            let mut table = RouteTable::build(entries);
            let build_us = cpu_us() - before;
            let before = cpu_us();
            for edit in edits {
                table = black_box(table.with(vec![edit], &[]));
            }
            let edit_us = (cpu_us() - before) / EDITS as f64;
            println!(
                "{shape:?}: {routes:>6} routes, build {build_us:>8.0} us, one edit {edit_us:>5.1} us on average"
            );
        }
    }
}

/// CPU time of this thread so far.
fn cpu_us() -> f64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    let first = text.split_whitespace().next().expect("three numbers");
    first.parse::<f64>().expect("nanoseconds") / 1_000.0
}
