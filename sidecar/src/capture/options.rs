//! What is captured, as it is said on the command line or in variables: Istio's names, and their forms checked once.

use super::apply::Backend;
use crate::resolv_conf::{self, ResolvConf};
use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Longest name of an interface (Linux, IFNAMSIZ without its end).
const INTERFACE_LENGTH: usize = 15;
/// Where the kernel lists its addresses of IPv6.
const V6_ADDRESSES: &str = "/proc/net/if_inet6";

/// What is captured. Lists are separated by commas; `*` is everything.
#[derive(clap::Args, Clone, Debug)]
#[command(next_line_help = true, args_override_self = true)]
pub struct CaptureArgs {
    /// Where outgoing connections are turned to.
    #[arg(short = 'p', long, env = "ENVOY_PORT", value_name = "PORT", default_value_t = 15001)]
    pub outbound_capture_port: u16,
    /// Where incoming connections are turned to.
    #[arg(short = 'z', long, env = "INBOUND_CAPTURE_PORT", value_name = "PORT", default_value_t = 15006)]
    pub inbound_capture_port: u16,
    /// Users whose connections are the proxy's, and so are not captured.
    #[arg(short = 'u', long, env = "PROXY_UID", value_name = "IDS", default_value = "1337")]
    pub proxy_uid: String,
    /// Groups whose connections are the proxy's. Default: as --proxy-uid.
    #[arg(short = 'g', long, env = "PROXY_GID", value_name = "IDS")]
    pub proxy_gid: Option<String>,
    /// Incoming ports that are captured (includeInboundPorts).
    #[arg(short = 'b', long, env = "ISTIO_INBOUND_PORTS", value_name = "PORTS", default_value = "*")]
    pub inbound_ports: String,
    /// Incoming ports that are not, when all are; 15020 and 15021 never are (excludeInboundPorts).
    #[arg(short = 'd', long, env = "ISTIO_LOCAL_EXCLUDE_PORTS", value_name = "PORTS", default_value = "")]
    pub exclude_inbound_ports: String,
    /// Outgoing ports that are captured wherever they lead (includeOutboundPorts).
    #[arg(short = 'q', long, env = "ISTIO_OUTBOUND_PORTS", value_name = "PORTS", default_value = "")]
    pub outbound_ports: String,
    /// Outgoing ports that are not captured (excludeOutboundPorts).
    #[arg(
        short = 'o',
        long,
        env = "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE",
        value_name = "PORTS",
        default_value = ""
    )]
    pub exclude_outbound_ports: String,
    /// Ranges of addresses to which connections are captured (includeOutboundIPRanges).
    #[arg(short = 'i', long, env = "ISTIO_SERVICE_CIDR", value_name = "RANGES", default_value = "*")]
    pub outbound_ip_ranges: String,
    /// Ranges of addresses to which they are not (excludeOutboundIPRanges).
    #[arg(short = 'x', long, env = "ISTIO_SERVICE_EXCLUDE_CIDR", value_name = "RANGES", default_value = "")]
    pub exclude_outbound_ip_ranges: String,
    /// Interfaces on which nothing is captured (excludeInterfaces).
    #[arg(short = 'c', long, env = "ISTIO_EXCLUDE_INTERFACES", value_name = "NAMES", default_value = "")]
    pub exclude_interfaces: String,
    /// Interfaces of virtual machines: what comes by them is outgoing (rerouteVirtualInterfaces).
    #[arg(
        short = 'k',
        long,
        alias = "kube-virt-interfaces",
        env = "KUBE_VIRT_INTERFACES",
        value_name = "NAMES",
        default_value = ""
    )]
    pub reroute_virtual_interfaces: String,
    /// Groups of the workload's users whose connections are captured, names or numbers.
    #[arg(long, env = "OUTBOUND_OWNER_GROUPS_INCLUDE", value_name = "GROUPS", default_value = "*")]
    pub owner_groups: String,
    /// Groups whose connections are not, when all others are.
    #[arg(long, env = "OUTBOUND_OWNER_GROUPS_EXCLUDE", value_name = "GROUPS", default_value = "")]
    pub exclude_owner_groups: String,
    /// Whether questions of DNS to the servers of /etc/resolv.conf are captured.
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub redirect_dns: bool,
    /// Whether those to all other servers are, too.
    #[arg(long, env = "CAPTURE_ALL_DNS", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    pub capture_all_dns: bool,
    /// Whether packets that connection tracking can make nothing of are dropped, so that they reset no connection.
    #[arg(long, env = "INVALID_DROP", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    pub drop_invalid: bool,
    /// How connections are captured; only REDIRECT.
    #[arg(
        short = 'm',
        long,
        env = "ISTIO_INBOUND_INTERCEPTION_MODE",
        value_name = "MODE",
        default_value = "REDIRECT"
    )]
    pub interception_mode: String,
    /// Whether IPv6 is captured; auto: when this network has it.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub ipv6: Ipv6,
    /// What tells the kernel; auto: the first of the others that works here.
    #[arg(long, env = "SLUICE_CAPTURE_BACKEND", value_enum, value_name = "TOOL", default_value_t)]
    pub backend: Backend,
}

/// Whether IPv6 is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ipv6 {
    /// When this network has it.
    #[default]
    Auto,
    /// It is.
    True,
    /// It is not.
    False,
}

/// The checked form.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) outbound_port: u16,
    pub(super) inbound_port: u16,
    pub(super) users: Vec<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) inbound_ports: Ports,
    pub(super) exclude_inbound_ports: Vec<u16>,
    pub(super) outbound_ports: Vec<u16>,
    pub(super) exclude_outbound_ports: Vec<u16>,
    pub(super) outbound_ranges: Ranges,
    pub(super) exclude_outbound_ranges: Vec<IpNet>,
    pub(super) exclude_interfaces: Vec<String>,
    pub(super) reroute_interfaces: Vec<String>,
    pub(super) owner_groups: Groups,
    pub(super) dns: DnsCapture,
    pub(super) drop_invalid: bool,
    pub(super) v6: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    All,
    These(Vec<u16>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    All,
    These(Vec<IpNet>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    AllBut(Vec<String>),
    Only(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsCapture {
    Off,
    Servers(Vec<IpAddr>),
    All,
}

impl CaptureArgs {
    /// Reads all of them.
    pub(super) fn options(&self) -> Result<Options> {
        if !self.interception_mode.eq_ignore_ascii_case("REDIRECT") {
            bail!("--interception-mode {}: only REDIRECT is there", self.interception_mode);
        }
        let users = list("--proxy-uid", &self.proxy_uid, id)?;
        let groups = match &self.proxy_gid {
            Some(groups) => list("--proxy-gid", groups, id)?,
            None => users.clone(),
        };
        if users.is_empty() && groups.is_empty() {
            bail!("--proxy-uid: without it the proxy's own connections would be turned back to itself");
        }
        Ok(Options {
            outbound_port: self.outbound_capture_port,
            inbound_port: self.inbound_capture_port,
            users,
            groups,
            inbound_ports: match self.inbound_ports.trim() {
                "*" => Ports::All,
                ports => Ports::These(list("--inbound-ports", ports, port)?),
            },
            exclude_inbound_ports: list("--exclude-inbound-ports", &self.exclude_inbound_ports, port)?,
            outbound_ports: list("--outbound-ports", &self.outbound_ports, port)?,
            exclude_outbound_ports: list("--exclude-outbound-ports", &self.exclude_outbound_ports, port)?,
            outbound_ranges: match self.outbound_ip_ranges.trim() {
                "*" => Ranges::All,
                ranges => Ranges::These(list("--outbound-ip-ranges", ranges, range)?),
            },
            exclude_outbound_ranges: list(
                "--exclude-outbound-ip-ranges",
                &self.exclude_outbound_ip_ranges,
                range,
            )?,
            exclude_interfaces: list("--exclude-interfaces", &self.exclude_interfaces, interface)?,
            reroute_interfaces: list(
                "--reroute-virtual-interfaces",
                &self.reroute_virtual_interfaces,
                interface,
            )?,
            owner_groups: self.owner_groups()?,
            dns: self.dns()?,
            drop_invalid: self.drop_invalid,
            v6: match self.ipv6 {
                Ipv6::Auto => std::fs::read(V6_ADDRESSES).is_ok_and(|addresses| !addresses.is_empty()),
                Ipv6::True => true,
                Ipv6::False => false,
            },
        })
    }

    fn owner_groups(&self) -> Result<Groups> {
        let excluded = list("--exclude-owner-groups", &self.exclude_owner_groups, group)?;
        match self.owner_groups.trim() {
            "*" => Ok(Groups::AllBut(excluded)),
            _ if !excluded.is_empty() => {
                bail!("--exclude-owner-groups: only where --owner-groups is \"*\"");
            }
            groups => Ok(Groups::Only(list("--owner-groups", groups, group)?)),
        }
    }

    fn dns(&self) -> Result<DnsCapture> {
        match (self.redirect_dns, self.capture_all_dns) {
            (false, _) => Ok(DnsCapture::Off),
            (true, true) => Ok(DnsCapture::All),
            (true, false) => {
                let read = ResolvConf::of_system().with_context(|| {
                    format!("{} (use --capture-all-dns true, or --redirect-dns false)", resolv_conf::PATH)
                })?;
                Ok(DnsCapture::Servers(read.servers.iter().map(SocketAddr::ip).collect()))
            }
        }
    }
}

fn list<T>(option: &str, text: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| read(word).with_context(|| format!("{option}: {word:?} is none"))).collect()
}

fn id(word: &str) -> Option<u32> {
    word.parse().ok()
}

fn port(word: &str) -> Option<u16> {
    word.parse().ok().filter(|port| *port != 0)
}

/// `10.0.0.0/8`, or one address. Bits behind the prefix are cut off.
fn range(word: &str) -> Option<IpNet> {
    let range = word.parse::<IpNet>().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(range.trunc())
}

/// Letters that mean nothing to the tools that read the rules.
fn is_plain(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    !word.is_empty() && !word.starts_with('-') && word.bytes().all(plain)
}

/// `eth0`, or `veth+` for all that begin so.
fn interface(word: &str) -> Option<String> {
    let name = word.strip_suffix('+').unwrap_or(word);
    (is_plain(name) && word.len() <= INTERFACE_LENGTH).then(|| word.to_owned())
}

fn group(word: &str) -> Option<String> {
    is_plain(word).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{interface, list, port, range};

    #[test]
    fn what_is_no_port_range_or_interface_is_named() {
        assert_eq!(list("--x", " 80, 443,", port).unwrap(), [80, 443]);
        assert_eq!(list("--x", "80,0", port).unwrap_err().to_string(), "--x: \"0\" is none");
        assert_eq!(range("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(range("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert!(range("ten").is_none());
        assert!(interface("veth+").is_some());
        for wrong in ["", "+", "-i", "a b", "a;b", "a\"b", "sixteen-letters0", "e+th"] {
            assert!(interface(wrong).is_none(), "{wrong}");
        }
    }
}
