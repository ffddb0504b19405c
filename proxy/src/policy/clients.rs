//! Which client addresses are let in. Ranges are sorted and joined when they are compiled: an address costs a binary
//! search in each list.

use sluice_ir::ClientRules;
use std::net::IpAddr;

/// Compiled [`ClientRules`].
pub(crate) struct Clients {
    allow: Option<AddressSet>,
    deny: AddressSet,
}

impl Clients {
    pub(crate) fn compile(rules: &ClientRules) -> Self {
        Self { allow: rules.allow.as_deref().map(AddressSet::new), deny: AddressSet::new(&rules.deny) }
    }

    /// Whether an address may come in. One of IPv4 written as IPv6 counts as IPv4.
    pub(crate) fn lets_in(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.deny.contains(address) && self.allow.as_ref().is_none_or(|it| it.contains(address))
    }
}

/// First and last addresses of ranges that neither overlap nor touch, in order.
#[derive(Debug)]
pub(super) struct AddressSet {
    v4: Box<[(u128, u128)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    pub(super) fn new(ranges: &[ipnet::IpNet]) -> Self {
        let ends = |it: &ipnet::IpNet| (number(it.network()), number(it.broadcast()));
        let (v4, v6): (Vec<_>, Vec<_>) = ranges.iter().partition(|it| it.addr().is_ipv4());
        Self {
            v4: joined(v4.into_iter().map(ends).collect()),
            v6: joined(v6.into_iter().map(ends).collect()),
        }
    }

    /// Whether one of the ranges has the address, which is in its shortest form.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let address = number(address);
        let after = ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|it| ranges.get(it)).is_some_and(|(_, last)| address <= *last)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn joined(mut ranges: Vec<(u128, u128)>) -> Box<[(u128, u128)]> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn rules(allow: Option<&[&str]>, deny: &[&str]) -> Clients {
        let read = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect();
        Clients::compile(&ClientRules { allow: allow.map(read), deny: read(deny) })
    }

    fn lets_in(clients: &Clients, address: &str) -> bool {
        clients.lets_in(address.parse().unwrap())
    }

    #[test]
    fn what_both_lists_have_is_refused() {
        let clients = rules(Some(&["10.0.0.0/8", "2001:db8::/32"]), &["10.6.6.0/24"]);
        assert!(lets_in(&clients, "10.1.2.3") && lets_in(&clients, "2001:db8::1"));
        assert!(
            !lets_in(&clients, "10.6.6.9") && !lets_in(&clients, "11.0.0.0") && !lets_in(&clients, "::1")
        );
        let open = rules(None, &["192.0.2.7/32"]);
        assert!(lets_in(&open, "192.0.2.8") && !lets_in(&open, "192.0.2.7") && lets_in(&open, "::1"));
        let closed = rules(None, &["0.0.0.0/0", "::/0"]);
        assert!(!lets_in(&closed, "255.255.255.255") && !lets_in(&closed, "::"));
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6_is_that_of_ipv4() {
        let clients = rules(Some(&["10.0.0.0/8"]), &[]);
        assert!(lets_in(&clients, "::ffff:10.1.2.3") && !lets_in(&clients, "::10.1.2.3"));
    }

    proptest! {
        #[test]
        fn a_set_has_what_one_of_its_ranges_has(
            ranges in proptest::collection::vec((any::<u32>(), 0..33_u8), 0..12),
            address in any::<u32>(),
        ) {
            let range = |(address, prefix): &(u32, u8)| {
                ipnet::IpNet::new(IpAddr::V4((*address).into()), *prefix).unwrap().trunc()
            };
            let ranges: Vec<_> = ranges.iter().map(range).collect();
            let address = IpAddr::V4(address.into());
            let wanted = ranges.iter().any(|it| it.contains(&address));
            prop_assert_eq!(AddressSet::new(&ranges).contains(address), wanted);
        }
    }
}
