//! Instructions of one search and of one edit, counted by callgrind. A search above its limit fails the bench.
//!
//! Needs valgrind (Debian: `apt-get install valgrind`) and the runner in the version of the `gungraun` crate:
//!
//! ```text
//! cargo install gungraun-runner --version 0.20.0 --locked
//! cargo bench -p sluice-route --bench instructions
//! ```
//!
//! The goal: under 1,500 instructions among 5,000 hosts and among 5,000 paths of one host, and flat, that is, at most
//! twice what ten routes take. The median request is what the middle of the indexes below shows.
#![allow(missing_docs, clippy::expect_used, unreachable_pub)]

mod tables;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use sluice_route::{RouteEntry, RouteTable, host::host_of, path::normalize};
use std::hint::black_box;
use tables::{Ask, NumberedRoute, Shape, ask, entry, table};

const MOST_INSTRUCTIONS: u64 = 1_500;

type Case = (&'static RouteTable<NumberedRoute>, &'static Ask);

/// A table and a request, warmed up by one search: the hash seed and the expressions' scratch memory exist.
fn case(shape: Shape, routes: usize, index: usize) -> Case {
    let case: Case = (Box::leak(Box::new(table(shape, routes))), Box::leak(Box::new(ask(shape, index))));
    let found = case.0.find(&case.1.request()).expect("a route for every request");
    assert_eq!(*found.target(), index as u64);
    case
}

/// The last route of a table, edited.
fn edit_case(shape: Shape, routes: usize) -> (&'static RouteTable<NumberedRoute>, RouteEntry<NumberedRoute>) {
    (Box::leak(Box::new(table(shape, routes))), entry(shape, routes - 1))
}

#[library_benchmark(setup = case)]
#[bench::hosts_10(Shape::Hosts, 10, 5)]
#[bench::hosts_5000_first(Shape::Hosts, 5000, 0)]
#[bench::hosts_5000_middle(Shape::Hosts, 5000, 2500)]
#[bench::hosts_5000_last(Shape::Hosts, 5000, 4999)]
#[bench::wildcards_10(Shape::Wildcards, 10, 5)]
#[bench::wildcards_5000(Shape::Wildcards, 5000, 2500)]
#[bench::prefixes_10(Shape::Prefixes, 10, 5)]
#[bench::prefixes_5000_first(Shape::Prefixes, 5000, 0)]
#[bench::prefixes_5000_middle(Shape::Prefixes, 5000, 2500)]
#[bench::prefixes_5000_last(Shape::Prefixes, 5000, 4999)]
#[bench::exacts_10(Shape::Exacts, 10, 5)]
#[bench::exacts_5000(Shape::Exacts, 5000, 2500)]
#[bench::conditions_10(Shape::Conditions, 10, 5)]
#[bench::conditions_5000(Shape::Conditions, 5000, 2500)]
fn find((table, ask): Case) -> u64 {
    black_box(table).find(&black_box(ask).request()).map_or(u64::MAX, |found| *found.target())
}

#[library_benchmark(setup = case)]
#[bench::regexes_10(Shape::Regexes, 10, 5)]
#[bench::regexes_200(Shape::Regexes, 200, 100)]
#[bench::regexes_2000(Shape::Regexes, 2000, 1000)]
fn find_among_expressions((table, ask): Case) -> u64 {
    black_box(table).find(&black_box(ask).request()).map_or(u64::MAX, |found| *found.target())
}

#[library_benchmark(setup = edit_case)]
#[bench::hosts_10(Shape::Hosts, 10)]
#[bench::hosts_5000(Shape::Hosts, 5000)]
#[bench::prefixes_10(Shape::Prefixes, 10)]
#[bench::prefixes_5000(Shape::Prefixes, 5000)]
fn edit_one((table, entry): (&'static RouteTable<NumberedRoute>, RouteEntry<NumberedRoute>)) -> usize {
    black_box(table).with(vec![entry], &[]).len()
}

#[library_benchmark]
#[bench::normal("/api/v1/users/17/orders/2024-01-01/items.json")]
#[bench::rebuilt("/api/./v1/users/%31%37/orders/../items.json")]
fn normal_path(path: &str) -> usize {
    normalize(black_box(path)).map_or(0, |path| path.len())
}

/// The first use of a vectorised search looks at the processor; later ones do not.
fn warm(authority: &'static str) -> &'static str {
    let _ = host_of(authority);
    authority
}

#[library_benchmark(setup = warm)]
#[bench::plain("shop.example.com:8443")]
fn host(authority: &str) -> usize {
    host_of(black_box(authority)).map_or(0, |(host, _)| host.len())
}

fn limited() -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, MOST_INSTRUCTIONS)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

library_benchmark_group!(name = search, config = limited(), benchmarks = [find, host]);
library_benchmark_group!(name = other, benchmarks = [find_among_expressions, normal_path, edit_one]);
main!(library_benchmark_groups = [search, other]);
