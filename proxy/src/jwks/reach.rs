//! Which addresses of key sets may be asked: what a rule names must not become a way to what is inside.

use crate::upstream::is_public;
use sluice_ir::KeyReach;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address may be asked that a host leads to.
pub(super) fn may_reach(address: IpAddr, reach: KeyReach) -> bool {
    let address = address.to_canonical();
    match reach {
        KeyReach::Public => is_public(address) && !tells_of_machines(address),
        KeyReach::Cluster => (is_public(address) || is_of_a_cluster(address)) && !tells_of_machines(address),
        KeyReach::Any => true,
    }
}

/// Addresses that pods and Services have: of private networks (RFC 1918, 6598, 4193); never of this machine or link.
fn is_of_a_cluster(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => it.is_private() || it.octets()[0] == 100 && (64..128).contains(&it.octets()[1]),
        IpAddr::V6(it) => it.is_unique_local(),
    }
}

/// Where clouds tell machines of themselves outside of the link-local network.
fn tells_of_machines(address: IpAddr) -> bool {
    const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    const AMAZON: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const GOOGLE: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(it) => it == AZURE || it == ALIBABA,
        IpAddr::V6(it) => it == AMAZON || it == GOOGLE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_names_of_the_cluster_lead_into_it_and_none_to_this_machine_or_its_cloud() {
        let may = |address: &str, reach| may_reach(address.parse().unwrap(), reach);
        for address in ["10.96.0.1", "192.168.3.4", "172.20.0.9", "100.64.7.7", "fd12::1", "::ffff:10.0.0.1"]
        {
            assert!(may(address, KeyReach::Cluster), "{address}");
            assert!(!may(address, KeyReach::Public), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "168.63.129.16",
            "100.100.100.200",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "224.0.0.1",
        ] {
            assert!(!may(address, KeyReach::Cluster) && !may(address, KeyReach::Public), "{address}");
            assert!(may(address, KeyReach::Any), "{address}");
        }
        assert!(may("1.1.1.1", KeyReach::Public) && may("2606:4700::1111", KeyReach::Public));
    }
}
