//! The rules as nftables reads them: one table of our own, replaced in one transaction.

use super::plan::{Chain, Family, Hook, Match, Plan, Rule, Table, Verdict};
use ipnet::IpNet;
use std::fmt::Write as _;

/// Our table; nobody else's is touched.
const TABLE: &str = "inet sluice";

/// Takes our table away, whether it is there or not.
pub(super) fn none() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// Puts our table in the place of the one that is there.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = none();
    let _ = writeln!(text, "table {TABLE} {{");
    for chain in &plan.chains {
        let _ = writeln!(text, "\tchain {} {{", name(chain.name));
        if let Some(hook) = chain.hook {
            let _ = writeln!(text, "\t\t{}", entry(chain, hook));
            if !plan.v6 {
                text.push_str("\t\tmeta nfproto ipv6 return\n");
            }
        }
        for rule in &chain.rules {
            let _ = writeln!(text, "\t\t{}", line(rule));
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

/// The same places in the kernel's order as the tables of iptables have.
fn entry(chain: &Chain, hook: Hook) -> String {
    let (kind, priority) = match (chain.table, hook) {
        (Table::Raw, _) => ("filter", "raw"),
        (Table::Mangle, _) => ("filter", "mangle"),
        (Table::Nat, Hook::Prerouting) => ("nat", "dstnat"),
        // `dstnat` is a name at prerouting only.
        (Table::Nat, Hook::Output) => ("nat", "-100"),
    };
    let hook = match hook {
        Hook::Prerouting => "prerouting",
        Hook::Output => "output",
    };
    format!("type {kind} hook {hook} priority {priority}; policy accept;")
}

/// Many a short word is one of nftables' own.
fn name(chain: &str) -> String {
    chain.to_ascii_lowercase().replace('_', "-")
}

fn line(rule: &Rule) -> String {
    let mut words = Vec::new();
    let has_address = rule
        .matches
        .iter()
        .any(|it| matches!(it, Match::Source(_) | Match::Destination(_) | Match::NotDestination(_)));
    if let Some(family) = rule.family.filter(|_| !has_address) {
        words.push(format!("meta nfproto {}", if family == Family::V4 { "ipv4" } else { "ipv6" }));
    }
    let has_port = rule.matches.iter().any(|it| {
        matches!(it, Match::SourcePort(_) | Match::DestinationPort(_) | Match::NotDestinationPort(_))
    });
    let protocol = rule.protocol.map_or("th", |it| it.name());
    if rule.protocol.is_some() && !has_port {
        words.push(format!("meta l4proto {protocol}"));
    }
    words.extend(rule.matches.iter().map(|it| condition(it, protocol)));
    words.push(match rule.verdict {
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {}", name(chain)),
        Verdict::Redirect(port) => format!("redirect to :{port}"),
        Verdict::Zone(zone) => format!("ct zone set {zone}"),
        Verdict::Drop => "drop".to_owned(),
    });
    words.join(" ")
}

fn condition(condition: &Match, protocol: &str) -> String {
    // Names that begin so are `+` to iptables and `*` here.
    let interface = |name: &str| format!("\"{}\"", name.replace('+', "*"));
    let ip = |net: &IpNet| if net.addr().is_ipv4() { "ip" } else { "ip6" };
    match condition {
        Match::In(name) => format!("iifname {}", interface(name)),
        Match::Out(name) => format!("oifname {}", interface(name)),
        Match::Source(net) => format!("{} saddr {net}", ip(net)),
        Match::Destination(net) => format!("{} daddr {net}", ip(net)),
        Match::NotDestination(net) => format!("{} daddr != {net}", ip(net)),
        Match::SourcePort(port) => format!("{protocol} sport {port}"),
        Match::DestinationPort(port) => format!("{protocol} dport {port}"),
        Match::NotDestinationPort(port) => format!("{protocol} dport != {port}"),
        Match::User(user) => format!("meta skuid {user}"),
        Match::NotUser(user) => format!("meta skuid != {user}"),
        Match::Group(group) => format!("meta skgid {}", quoted(group)),
        Match::NotGroup(group) => format!("meta skgid != {}", quoted(group)),
        Match::Invalid => "ct state invalid".to_owned(),
    }
}

fn quoted(group: &str) -> String {
    if group.bytes().all(|it| it.is_ascii_digit()) { group.to_owned() } else { format!("\"{group}\"") }
}
