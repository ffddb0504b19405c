//! What is captured, and in which order: the order of istio-iptables (REDIRECT mode), so that the same annotations do
//! the same.
//!
//! Two things differ on purpose. Rules of ours that end in RETURN leave our own chains only, so that what others have
//! in the kernel's chains is passed afterwards. And port 15008 (HBONE), where Istio's proxy listens, is no exception
//! here: nobody of ours listens there, so that leaving it out would be a door past all policies.

use super::options::{DnsCapture, Groups, Options, Ports, Ranges};
use super::plan::{Chain, Family, Hook, Match, Plan, Protocol, Rule, Table, Verdict};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the names are answered.
pub(super) const DNS_PORT: u16 = 15053;
/// Ports of the sidecar itself, asked from outside: probes and metrics, readiness.
const OWN_PORTS: [u16; 2] = [15020, 15021];

pub(super) const PREROUTING: &str = "SLUICE_PREROUTING";
const INBOUND: &str = "SLUICE_INBOUND";
const OUTPUT: &str = "SLUICE_OUTPUT";
const OUTPUT_DNS: &str = "SLUICE_OUTPUT_DNS";
const REDIRECT: &str = "SLUICE_REDIRECT";
const IN_REDIRECT: &str = "SLUICE_IN_REDIRECT";
const RAW_PREROUTING: &str = "SLUICE_RAW_PREROUTING";
const RAW_OUTPUT: &str = "SLUICE_RAW_OUTPUT";
const DROP_INVALID: &str = "SLUICE_DROP_INVALID";

/// Connections of the proxy to the workload come from here, so that they are known from those of the workload.
const PASSTHROUGH: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The zone of questions that the proxy asks itself, and of their answers (istio-iptables: conntrack zones).
const ZONE_OF_PROXY: u16 = 1;
/// The zone of questions of the workload, and of the proxy's answers.
const ZONE_OF_WORKLOAD: u16 = 2;

/// All rules for these options.
pub(super) fn plan(options: &Options) -> Plan {
    let mut chains = vec![
        chain(REDIRECT, Table::Nat, None, vec![redirect(options.outbound_port)]),
        chain(IN_REDIRECT, Table::Nat, None, vec![redirect(options.inbound_port)]),
        chain(INBOUND, Table::Nat, None, inbound(options)),
        chain(PREROUTING, Table::Nat, Some(Hook::Prerouting), prerouting(options)),
        chain(OUTPUT_DNS, Table::Nat, None, output_dns(options)),
        chain(OUTPUT, Table::Nat, Some(Hook::Output), output(options)),
        chain(RAW_OUTPUT, Table::Raw, Some(Hook::Output), raw_output(options)),
        chain(RAW_PREROUTING, Table::Raw, Some(Hook::Prerouting), raw_prerouting(options)),
    ];
    if options.drop_invalid {
        let drop = Rule::new(Verdict::Drop).when(Match::Invalid);
        chains.push(chain(DROP_INVALID, Table::Mangle, Some(Hook::Prerouting), vec![drop]));
    }
    for chain in &mut chains {
        chain.rules.retain(|rule| options.v6 || rule.is_for(Family::V4));
    }
    chains.retain(|chain| !chain.rules.is_empty());
    Plan { v6: options.v6, chains }
}

fn chain(name: &'static str, table: Table, hook: Option<Hook>, rules: Vec<Rule>) -> Chain {
    Chain { name, table, hook, rules }
}

fn redirect(port: u16) -> Rule {
    Rule::new(Verdict::Redirect(port)).of(Protocol::Tcp)
}

fn leave() -> Rule {
    Rule::new(Verdict::Return)
}

/// A single address as a range.
fn only(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

fn prerouting(options: &Options) -> Vec<Rule> {
    let mut rules = Vec::new();
    // Interfaces of virtual machines: what comes from them is the workload's own, so outgoing.
    for interface in &options.reroute_interfaces {
        let from = |verdict| Rule::new(verdict).when(Match::In(interface.clone()));
        match &options.outbound_ranges {
            Ranges::All => rules.push(from(Verdict::Jump(REDIRECT)).of(Protocol::Tcp)),
            Ranges::These(ranges) => rules.extend(ranges.iter().map(|range| {
                from(Verdict::Jump(REDIRECT)).of(Protocol::Tcp).when(Match::Destination(*range))
            })),
        }
        rules.push(from(Verdict::Return));
    }
    rules.extend(options.exclude_interfaces.iter().map(|it| leave().when(Match::In(it.clone()))));
    if !inbound(options).is_empty() {
        rules.push(Rule::new(Verdict::Jump(INBOUND)).of(Protocol::Tcp));
    }
    rules
}

fn inbound(options: &Options) -> Vec<Rule> {
    let capture = || Rule::new(Verdict::Jump(IN_REDIRECT)).of(Protocol::Tcp);
    let to = |rule: Rule, port: &u16| rule.when(Match::DestinationPort(*port));
    match &options.inbound_ports {
        Ports::All => {
            let excluded = OWN_PORTS.iter().chain(&options.exclude_inbound_ports);
            let mut rules: Vec<_> = excluded.map(|port| to(leave().of(Protocol::Tcp), port)).collect();
            rules.push(capture());
            rules
        }
        // Never its own: what the proxy hands on comes from loopback, from which orders are taken.
        Ports::These(ports) => {
            let others = ports.iter().filter(|port| !OWN_PORTS.contains(port));
            others.map(|port| to(capture(), port)).collect()
        }
    }
}

fn output(options: &Options) -> Vec<Rule> {
    let mut rules = Vec::new();
    rules.extend(options.exclude_interfaces.iter().map(|it| leave().when(Match::Out(it.clone()))));
    for port in &options.exclude_outbound_ports {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            rules.push(leave().of(protocol).when(Match::DestinationPort(*port)));
        }
    }
    let by_loopback = |rule: Rule| rule.when(Match::Out("lo".to_owned()));
    // The proxy to its workload: it has passed the inbound side.
    rules.extend(PASSTHROUGH.map(|it| by_loopback(leave()).when(Match::Source(only(it)))));
    for user in &options.users {
        rules.extend(of_proxy(options, Match::User(*user), Match::NotUser(*user), true));
    }
    for group in &options.groups {
        let group = group.to_string();
        rules.extend(of_proxy(options, Match::Group(group.clone()), Match::NotGroup(group), false));
    }
    rules.extend(owner_groups(&options.owner_groups));
    if !output_dns(options).is_empty() {
        rules.push(Rule::new(Verdict::Jump(OUTPUT_DNS)));
    }
    rules.extend(LOOPBACK.map(|it| leave().when(Match::Destination(only(it)))));
    let excluded = options.exclude_outbound_ranges.iter();
    rules.extend(excluded.map(|range| leave().when(Match::Destination(*range))));
    let capture = || Rule::new(Verdict::Jump(REDIRECT)).of(Protocol::Tcp);
    rules.extend(options.outbound_ports.iter().map(|port| capture().when(Match::DestinationPort(*port))));
    match &options.outbound_ranges {
        Ranges::All => rules.push(capture()),
        Ranges::These(ranges) => {
            rules.extend(ranges.iter().map(|range| capture().when(Match::Destination(*range))));
        }
    }
    rules
}

/// What the proxy sends is not captured again; what it sends to its own pod's address was meant for the workload and
/// passes the inbound side. What the workload sends over loopback is its own matter.
fn of_proxy(options: &Options, it: Match, not_it: Match, by_user: bool) -> Vec<Rule> {
    let dns = options.dns != DnsCapture::Off;
    let by_loopback = |rule: Rule| rule.when(Match::Out("lo".to_owned()));
    let mut rules = Vec::new();
    for address in LOOPBACK {
        let to_itself = Rule::new(Verdict::Jump(IN_REDIRECT)).of(Protocol::Tcp);
        let mut to_itself = by_loopback(to_itself).when(Match::NotDestination(only(address)));
        if dns && by_user {
            // A question that the proxy hands on to a server in its own pod.
            to_itself = to_itself.when(Match::NotDestinationPort(53));
        }
        rules.push(to_itself.when(it.clone()));
    }
    if !has_loopback(&options.outbound_ranges) {
        let within = by_loopback(leave());
        // A server of names in the pod is asked by way of the proxy.
        let within = if dns { within.of(Protocol::Tcp).when(Match::NotDestinationPort(53)) } else { within };
        rules.push(within.when(not_it));
    }
    rules.push(leave().when(it));
    rules
}

fn has_loopback(ranges: &Ranges) -> bool {
    matches!(ranges, Ranges::These(ranges) if ranges.iter().any(|it| it.addr().is_loopback()))
}

fn owner_groups(groups: &Groups) -> Vec<Rule> {
    match groups {
        Groups::AllBut(groups) => {
            groups.iter().map(|group| leave().when(Match::Group(group.clone()))).collect()
        }
        Groups::Only(groups) => {
            vec![groups.iter().fold(leave(), |rule, group| rule.when(Match::NotGroup(group.clone())))]
        }
    }
}

/// Rules for each server whose questions are captured, made by `rule` from one without a server.
fn for_servers(options: &Options, rule: impl Fn(Option<IpNet>) -> Rule) -> Vec<Rule> {
    match &options.dns {
        DnsCapture::Off => Vec::new(),
        DnsCapture::All => vec![rule(None)],
        DnsCapture::Servers(servers) => servers.iter().map(|it| rule(Some(only(*it)))).collect(),
    }
}

fn output_dns(options: &Options) -> Vec<Rule> {
    let questions = |protocol: Protocol| {
        for_servers(options, move |server| {
            let rule = Rule::new(Verdict::Redirect(DNS_PORT)).of(protocol).when(Match::DestinationPort(53));
            server.into_iter().fold(rule, |rule, server| rule.when(Match::Destination(server)))
        })
    };
    [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(questions).collect()
}

/// The same ports may be used by the workload's question and the proxy's: they are tracked apart, or one would be
/// taken for the other.
fn raw_output(options: &Options) -> Vec<Rule> {
    if options.dns == DnsCapture::Off {
        return Vec::new();
    }
    let zone = |zone: u16, port: Match| Rule::new(Verdict::Zone(zone)).of(Protocol::Udp).when(port);
    let users = options.users.iter().map(|user| Match::User(*user));
    let groups = options.groups.iter().map(|group| Match::Group(group.to_string()));
    let mut rules = Vec::new();
    for owner in users.chain(groups) {
        rules.push(zone(ZONE_OF_PROXY, Match::DestinationPort(53)).when(owner.clone()));
        rules.push(zone(ZONE_OF_WORKLOAD, Match::SourcePort(DNS_PORT)).when(owner));
    }
    rules.extend(for_servers(options, |server| {
        let rule = zone(ZONE_OF_WORKLOAD, Match::DestinationPort(53));
        server.into_iter().fold(rule, |rule, server| rule.when(Match::Destination(server)))
    }));
    rules
}

fn raw_prerouting(options: &Options) -> Vec<Rule> {
    for_servers(options, |server| {
        let rule = Rule::new(Verdict::Zone(ZONE_OF_PROXY)).of(Protocol::Udp).when(Match::SourcePort(53));
        server.into_iter().fold(rule, |rule, server| rule.when(Match::Source(server)))
    })
}
