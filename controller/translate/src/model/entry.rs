//! What the fields of a ServiceEntry mean: how its endpoints are found, which addresses it has.

use super::EntryModel;
use ipnet::IpNet;
use sluice_crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::{Name, WorkloadSelector};
use std::net::IpAddr;

/// Label of a ServiceEntry: whether its hosts get addresses (Istio).
const ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// How endpoints are found (`spec.resolution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Where the client wants to go: an address within those of the entry, else what DNS says of the host.
    None,
    /// As listed.
    Static,
    /// All addresses of the listed names, or of the host.
    Dns,
    /// The same, but one address at a time: the first.
    RoundRobin,
    /// What DNS says of the host that the client asks for.
    Dynamic,
    /// A word that nobody here knows.
    Unknown,
}

impl Resolution {
    pub(super) fn read(word: Option<&str>) -> Self {
        match word {
            None | Some("" | "NONE") => Self::None,
            Some("STATIC") => Self::Static,
            Some("DNS") => Self::Dns,
            Some("DNS_ROUND_ROBIN") => Self::RoundRobin,
            Some("DYNAMIC_DNS") => Self::Dynamic,
            Some(_) => Self::Unknown,
        }
    }

    /// Whether endpoints may be names.
    pub(crate) fn is_dns(self) -> bool {
        matches!(self, Self::Dns | Self::RoundRobin)
    }

    /// Whether the entry may list endpoints, or choose workloads.
    pub(crate) fn has_endpoints(self) -> bool {
        matches!(self, Self::Static | Self::Dns | Self::RoundRobin)
    }

    /// Whether an address may be a network (Istio: of other resolutions each address is one of the service).
    pub(crate) fn takes_networks(self) -> bool {
        matches!(self, Self::None | Self::Static)
    }
}

/// Whether a host stands for all below it.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host.starts_with("*.")
}

/// `10.1.2.3`, `10.1.0.0/16`, `fd00::/8`; host bits are dropped.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network =
        text.parse::<IpNet>().map_err(|_| format!("{text:?} is neither an address nor a network"))?;
    Ok(network.trunc())
}

pub(super) fn wants_address(metadata: &ObjectMeta) -> Option<bool> {
    let word = metadata.labels.as_ref()?.get(ALLOCATE)?;
    if word.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    word.eq_ignore_ascii_case("false").then_some(false)
}

impl EntryModel {
    /// The selector of its workloads; one without labels chooses nobody.
    pub(crate) fn selector(&self) -> Option<&WorkloadSelector> {
        self.spec.workload_selector.as_ref()
    }

    /// Where its workloads are.
    pub(crate) fn home(&self) -> &Name {
        &self.meta.reference.namespace
    }

    /// Whether endpoints of a host are found only when a client asks for it.
    pub(crate) fn is_asked(&self, host: &str) -> bool {
        match self.resolution {
            Resolution::None | Resolution::Dynamic => is_wildcard(host),
            Resolution::Dns | Resolution::RoundRobin => {
                is_wildcard(host) && self.spec.endpoints.is_empty() && self.selector().is_none()
            }
            Resolution::Static | Resolution::Unknown => false,
        }
    }

    /// Its addresses as far as they may be what they are: networks only where the resolution takes them.
    pub(crate) fn usable_networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let is_usable =
            |it: &IpNet| self.resolution.takes_networks() || it.prefix_len() == it.max_prefix_len();
        self.networks.iter().copied().filter(is_usable)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::network;

    #[test]
    fn an_address_is_a_network_of_one() {
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("10.1.2.3/16").unwrap().to_string(), "10.1.0.0/16");
        assert_eq!(network("fd00::1/8").unwrap().to_string(), "fd00::/8");
        assert_eq!(network("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert!(network("10.0.0.0/33").is_err() && network("a.test").is_err());
    }
}
