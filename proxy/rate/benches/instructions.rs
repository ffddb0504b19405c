//! Instructions of one check with its key, counted by callgrind. More than the limit fails the bench.
//!
//! Needs valgrind and the runner, as the bench of `sluice-route` says:
//!
//! ```text
//! cargo bench -p sluice-rate --bench instructions
//! ```
#![allow(missing_docs, clippy::expect_used, unreachable_pub)]

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use sluice_rate::{KeySeed, Limiter, Quota};
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

const MOST_INSTRUCTIONS: u64 = 300;
const NOW_NS: u64 = 1 << 40;

type Case = (&'static Limiter, &'static KeySeed, IpAddr);

fn key(seed: &KeySeed, client: IpAddr, header: Option<&[u8]>) -> u64 {
    let mut key = seed.key();
    key.address(client);
    if header.is_some() {
        key.text(header);
    }
    key.finish()
}

/// A limiter of 65,536 keys that has seen so many clients, the last of them `times` times.
fn case(clients: u32, times: u32) -> Case {
    let limiter = Limiter::new(Quota::new(100, Duration::from_secs(1), 100), 65_536);
    let seed = KeySeed::default();
    let address = |number: u32| IpAddr::V4((0x0A00_0000 + number).into());
    for number in 0..clients {
        limiter.check(key(&seed, address(number), None), NOW_NS);
    }
    let last = address(clients);
    for _ in 0..times {
        limiter.check(key(&seed, last, None), NOW_NS);
    }
    (Box::leak(Box::new(limiter)), Box::leak(Box::new(seed)), last)
}

#[library_benchmark(setup = case)]
#[bench::known(1_000, 1)]
#[bench::first_time(1_000, 0)]
#[bench::refused(1_000, 200)]
#[bench::full_table(200_000, 0)]
fn check((limiter, seed, client): Case) -> u32 {
    let key = key(black_box(seed), black_box(client), None);
    black_box(limiter).check(key, NOW_NS).remaining
}

#[library_benchmark(setup = case)]
#[bench::known(1_000, 1)]
fn check_by_client_and_header((limiter, seed, client): Case) -> u32 {
    let key = key(black_box(seed), black_box(client), Some(b"0123456789abcdef0123456789abcdef"));
    black_box(limiter).check(key, NOW_NS).remaining
}

fn limited() -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, MOST_INSTRUCTIONS)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

library_benchmark_group!(
    name = limiting,
    config = limited(),
    benchmarks = [check, check_by_client_and_header]
);
main!(library_benchmark_groups = [limiting]);
