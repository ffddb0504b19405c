#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Addresses, Wishes};
use proptest::prelude::*;
use sluice_crds::{Kind, Name, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn entry(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ServiceEntry, "shop", name)
}

fn wishes(created_s: i64, hosts: &[&str], given: &[(&str, &str)]) -> Wishes {
    Wishes {
        created_s,
        hosts: hosts.iter().map(|it| Name::from(*it)).collect(),
        given: given.iter().map(|(host, it)| ((*host).into(), it.parse().unwrap())).collect(),
        own: Vec::new(),
    }
}

fn texts(addresses: &Addresses, name: &str) -> Vec<String> {
    addresses.of(&entry(name)).into_iter().map(|(host, it)| format!("{host} {it}")).collect()
}

#[test]
fn each_host_has_one_of_each_family_and_keeps_what_its_status_names() {
    let mut addresses = Addresses::default();
    addresses.set(
        &entry("a"),
        wishes(0, &["a.test", "b.test"], &[("a.test", "240.240.7.7"), ("a.test", "10.0.0.1")]),
    );
    let given = addresses.of(&entry("a"));
    assert_eq!(given.len(), 4);
    assert_eq!(given[0].1.to_string(), "240.240.7.7");
    let before = given[2].1;
    assert!(before.to_string().starts_with("240.240.") && given[3].1.to_string().starts_with("2001:2:"));
    // Written into the status, nothing changes, whoever comes.
    for number in 0..100 {
        addresses.set(&entry(&format!("z{number}")), wishes(-1, &["z.test"], &[]));
    }
    let given: Vec<_> = given.iter().map(|(host, it)| (host.to_string(), it.to_string())).collect();
    let pairs: Vec<(&str, &str)> = given.iter().map(|(host, it)| (&**host, &**it)).collect();
    addresses.set(&entry("a"), wishes(0, &["a.test", "b.test"], &pairs));
    assert_eq!(addresses.of(&entry("a"))[2].1, before);
}

#[test]
fn of_two_with_one_address_in_their_status_the_older_keeps_it() {
    let mut addresses = Addresses::default();
    let both = [("x.test", "240.240.1.1"), ("x.test", "2001:2::1")];
    addresses.set(&entry("young"), wishes(9, &["x.test"], &both));
    assert_eq!(texts(&addresses, "young"), ["x.test 240.240.1.1", "x.test 2001:2::1"]);
    let touched = addresses.set(&entry("old"), wishes(5, &["x.test"], &both));
    assert_eq!(touched, BTreeSet::from([entry("old"), entry("young")]));
    assert_eq!(texts(&addresses, "old"), ["x.test 240.240.1.1", "x.test 2001:2::1"]);
    assert!(!texts(&addresses, "young").contains(&"x.test 240.240.1.1".to_owned()));
    // It gets it back when the older goes.
    let touched = addresses.set(&entry("old"), Wishes::default());
    assert!(touched.contains(&entry("young")));
    assert_eq!(texts(&addresses, "young"), ["x.test 240.240.1.1", "x.test 2001:2::1"]);
}

#[test]
fn what_an_entry_says_itself_is_given_to_nobody() {
    let mut addresses = Addresses::default();
    addresses.set(&entry("a"), wishes(0, &["a.test"], &[("a.test", "240.240.1.1")]));
    let own = Wishes { created_s: 9, own: vec!["240.240.1.1".parse().unwrap()], ..Wishes::default() };
    addresses.set(&entry("b"), own);
    assert!(texts(&addresses, "b").is_empty());
    assert_eq!(texts(&addresses, "a").len(), 2);
    assert_ne!(texts(&addresses, "a")[0], "a.test 240.240.1.1");
}

#[test]
fn thousands_of_hosts_have_addresses_of_their_own() {
    let mut addresses = Addresses::default();
    for number in 0..20_000 {
        addresses.set(&entry(&format!("e{number}")), wishes(0, &["a.test"], &[]));
    }
    let mut all = BTreeSet::new();
    for number in 0..20_000 {
        let given = addresses.of(&entry(&format!("e{number}")));
        assert_eq!(given.len(), 2);
        assert!(given.into_iter().all(|(_, it)| all.insert(it)), "given twice");
    }
}

/// A handful of entries that all want the same few addresses.
fn any_wishes() -> impl Strategy<Value = Wishes> {
    let address = (1_u8..5).prop_map(|low| IpAddr::from([240, 240, 0, low]));
    let given = proptest::collection::vec((0_u8..2, address.clone()), 0..3);
    let own = proptest::collection::vec(address, 0..2);
    (0_i64..3, proptest::collection::btree_set(0_u8..2, 0..3), given, own).prop_map(
        |(created_s, hosts, given, own)| Wishes {
            created_s,
            hosts: hosts.into_iter().map(|it| Name::from(format!("{it}.test"))).collect(),
            given: given.into_iter().map(|(host, it)| (format!("{host}.test").into(), it)).collect(),
            own,
        },
    )
}

proptest! {
    #[test]
    fn incremental_equals_full_and_nobody_shares(edits in proptest::collection::vec((0_u8..6, any_wishes()), 1..24)) {
        let (mut addresses, mut now) = (Addresses::default(), BTreeMap::new());
        for (number, wishes) in edits {
            let name = format!("e{number}");
            let before: Vec<_> = (0..6).map(|it| texts(&addresses, &format!("e{it}"))).collect();
            let touched = addresses.set(&entry(&name), wishes.clone());
            now.insert(name, wishes);
            for (it, before) in (0..6).zip(before) {
                let name = format!("e{it}");
                prop_assert!(texts(&addresses, &name) == before || touched.contains(&entry(&name)));
            }
        }
        let (mut forward, mut backward) = (Addresses::default(), Addresses::default());
        now.iter().for_each(|(name, wishes)| drop(forward.set(&entry(name), wishes.clone())));
        now.iter().rev().for_each(|(name, wishes)| drop(backward.set(&entry(name), wishes.clone())));
        for name in now.keys() {
            prop_assert_eq!(texts(&addresses, name), texts(&forward, name));
            prop_assert_eq!(texts(&addresses, name), texts(&backward, name));
            prop_assert_eq!(texts(&addresses, name).len(), 2 * now[name].hosts.len());
        }
        let all: Vec<_> = now.keys().flat_map(|name| addresses.of(&entry(name))).map(|it| it.1).collect();
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
