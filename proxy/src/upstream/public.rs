//! Which addresses may stand for a name outside: what a DNS server says must not lead back inside (DNS rebinding).

use sluice_ir::Origin;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Decides which addresses may stand for a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard<'a> {
    pub(super) host: &'a str,
    /// Whether it is a host of the internet.
    pub(super) is_external: bool,
    /// Who names it, for the log.
    pub(super) origin: &'a Origin,
}

impl Guard<'_> {
    /// Whether the address may be used; one that may not is told in the log.
    pub(super) fn lets(&self, address: IpAddr) -> bool {
        let Self { host, is_external, origin } = self;
        // A name that says itself that it is this machine is meant so (RFC 6761 §6.3).
        let is_trusted = !is_external || *host == "localhost" || host.ends_with(".localhost");
        let may = is_trusted || is_public(address);
        if !may {
            tracing::warn!(host, %address, %origin, "a name of the internet leads inside: the address is not used");
        }
        may
    }
}

/// Whether the address is one of the internet: not private, loopback, link-local (where clouds keep their metadata),
/// shared, of a benchmark, multicast or reserved (RFC 6890 and its registries). An IPv6 address that carries an IPv4
/// one, mapped or by NAT64, is what that one is.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match carried(address) {
            Some(address) => is_public_v4(address),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |network: [u8; 4], bits: u32| {
        let mask = u32::MAX << (32 - bits);
        u32::from(address) & mask == u32::from(Ipv4Addr::from(network)) & mask
    };
    !(within([0, 0, 0, 0], 8)
        || within([100, 64, 0, 0], 10)
        || within([192, 0, 0, 0], 24)
        || within([198, 18, 0, 0], 15)
        || within([224, 0, 0, 0], 3)
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |network: &str, bits: u32| {
        let network = network.parse::<Ipv6Addr>().map_or(0, u128::from);
        let mask = u128::MAX << (128 - bits);
        u128::from(address) & mask == network & mask
    };
    // All that is assigned is within 2000::/3; the rest of it is benchmarks, discard, and translation to IPv4 nets.
    within("2000::", 3) && !(within("2001:2::", 48) || within("2001::", 32) || within("2002::", 16))
}

/// The IPv4 address within: `::ffff:0:0/96`, and `64:ff9b::/96` (RFC 6052).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let is_nat64 = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0];
    let within = || Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    address.to_ipv4_mapped().or_else(|| is_nat64.then(within))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::is_public;

    #[test]
    fn what_leads_inside_is_not_public_in_whatever_form() {
        for inside in [
            "10.1.2.3",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "192.0.0.8",
            "198.19.0.1",
            "224.0.0.1",
            "240.240.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001:2::1",
            "2002:7f00:1::",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
