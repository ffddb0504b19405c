#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Table, hash};
use proptest::prelude::*;
use sluice_ir::HashTable;
use std::net::SocketAddr;

const KINDS: [HashTable; 2] = [HashTable::Ring { least: 4_096 }, HashTable::Maglev { size: 4_099 }];

fn endpoint(number: usize) -> (SocketAddr, u32) {
    (
        SocketAddr::from((
            [10, 0, u8::try_from(number / 250).unwrap(), u8::try_from(number % 250).unwrap()],
            80,
        )),
        1,
    )
}

fn endpoints(count: usize) -> Vec<(SocketAddr, u32)> {
    (0..count).map(endpoint).collect()
}

/// Who gets each of so many keys.
fn owners(kind: &HashTable, endpoints: &[(SocketAddr, u32)], keys: usize) -> Vec<SocketAddr> {
    let table = Table::build(kind, endpoints);
    let key = |number: usize| hash(format!("key-{number}").as_bytes());
    (0..keys).map(|number| endpoints[table.find(key(number), |_| true).unwrap()].0).collect()
}

#[test]
fn the_hash_is_xxh64() {
    assert_eq!(hash(b""), 0xEF46_DB37_51D8_E999);
    assert_eq!(hash(b"abc"), 0x44BC_2CF5_AD77_0999);
}

#[test]
fn an_endpoint_that_goes_takes_only_its_own_keys_along() {
    for kind in KINDS {
        let before = owners(&kind, &endpoints(20), 10_000);
        let gone = endpoint(7).0;
        let left: Vec<_> = endpoints(20).into_iter().filter(|it| it.0 != gone).collect();
        let after = owners(&kind, &left, 10_000);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let own = before.iter().filter(|it| **it == gone).count();
        // A ring moves nothing else; Maglev trades a little of that for its speed.
        let most = match kind {
            HashTable::Ring { .. } => own,
            HashTable::Maglev { .. } => own + 500,
        };
        assert!((own..=most).contains(&moved), "{kind:?}: {moved} of 10000 moved, {own} had to");
    }
}

#[test]
fn keys_are_spread_by_weight() {
    for kind in KINDS {
        let mut all = endpoints(5);
        all[0].1 = 4;
        let owners = owners(&kind, &all, 40_000);
        let share = |number: usize| owners.iter().filter(|it| **it == endpoint(number).0).count();
        assert!((17_000..23_000).contains(&share(0)), "{kind:?}: {}", share(0));
        assert!((1..5).all(|it| (3_500..6_500).contains(&share(it))), "{kind:?}");
    }
}

#[test]
fn who_does_not_fit_is_passed_over_and_only_its_keys_move() {
    for kind in KINDS {
        let all = endpoints(4);
        let table = Table::build(&kind, &all);
        for number in 0..1_000_u64 {
            let key = hash(&number.to_le_bytes());
            let usual = table.find(key, |_| true).unwrap();
            let other = table.find(key, |it| it != 2).unwrap();
            assert!(if usual == 2 { other != 2 } else { other == usual });
        }
        assert_eq!(table.find(1, |_| false), None);
        assert_eq!(Table::build(&kind, &[]).find(1, |_| true), None);
    }
}

proptest! {
    /// Data planes learn of endpoints in any order and must agree.
    #[test]
    fn the_order_of_endpoints_does_not_matter(count in 1_usize..30, turn in 0_usize..30) {
        for kind in [HashTable::Ring { least: 64 }, HashTable::Maglev { size: 251 }] {
            let all = endpoints(count);
            let mut other = all.clone();
            other.rotate_left(turn % count);
            prop_assert_eq!(owners(&kind, &all, 50), owners(&kind, &other, 50));
        }
    }
}
