//! What belongs to networks: of those that hold an address the most specific comes first.

use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Values by network. A look-up costs one hash for each length of prefix that there is, however many networks have it.
#[derive(Clone, Debug)]
pub struct Networks<T> {
    by_length: BTreeMap<Reverse<u8>, HashMap<IpNet, T>>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self { by_length: BTreeMap::new() }
    }
}

impl<T> Networks<T> {
    /// The values of the networks that hold the address, the most specific network first.
    pub fn holding(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        self.by_length.iter().filter_map(move |(length, all)| {
            // An IPv4 address has no network of such a length.
            let network = IpNet::new(address, length.0).ok()?;
            all.get(&network.trunc())
        })
    }

    /// The value of a network, made if there is none.
    pub fn entry(&mut self, network: IpNet) -> &mut T
    where
        T: Default,
    {
        self.by_length.entry(Reverse(network.prefix_len())).or_default().entry(network.trunc()).or_default()
    }

    /// Takes a network's value out.
    pub fn remove(&mut self, network: &IpNet) -> Option<T> {
        let length = Reverse(network.prefix_len());
        let all = self.by_length.get_mut(&length)?;
        let removed = all.remove(&network.trunc());
        if all.is_empty() {
            self.by_length.remove(&length);
        }
        removed
    }

    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Networks;

    #[test]
    fn the_most_specific_network_that_holds_an_address_comes_first() {
        let mut networks = Networks::<u8>::default();
        for (value, network) in [(1, "10.0.0.0/8"), (2, "10.1.0.0/16"), (3, "fd00::/8"), (4, "10.1.2.3/32")] {
            *networks.entry(network.parse().unwrap()) = value;
        }
        let held = |address: &str| networks.holding(address.parse().unwrap()).copied().collect::<Vec<_>>();
        assert_eq!(held("10.1.2.3"), [4, 2, 1]);
        assert_eq!((held("10.1.9.9"), held("10.2.0.0")), (vec![2, 1], vec![1]));
        assert_eq!((held("fd00::7"), held("11.0.0.1"), held("fe80::1")), (vec![3], vec![], vec![]));
    }

    #[test]
    fn what_was_taken_out_is_found_no_more() {
        let mut networks = Networks::<u8>::default();
        *networks.entry("10.1.0.0/16".parse().unwrap()) = 1;
        assert_eq!(networks.remove(&"10.1.0.0/17".parse().unwrap()), None);
        assert_eq!(networks.remove(&"10.1.0.0/16".parse().unwrap()), Some(1));
        assert!(networks.is_empty() && networks.holding("10.1.0.1".parse().unwrap()).next().is_none());
    }
}
