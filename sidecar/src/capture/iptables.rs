//! The rules as iptables-restore reads them: chains of our own, and one jump to each from the kernel's chains.

use super::plan::{Family, Hook, Match, Plan, Rule, Table, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Our chains are known by it.
const PREFIX: &str = "SLUICE_";
/// Names are separated before addresses are changed, so that no question gets an answer of another zone meanwhile.
const ORDER: [Table; 3] = [Table::Raw, Table::Mangle, Table::Nat];

/// What is ours in the kernel, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present(BTreeMap<String, Ours>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ours {
    chains: Vec<String>,
    /// Jumps to them from chains of others: what follows `-A`.
    jumps: Vec<String>,
}

impl Present {
    /// From what `iptables-save` says.
    pub(super) fn read(saved: &str) -> Self {
        let mut tables = BTreeMap::<String, Ours>::new();
        let mut table = "";
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.trim();
            } else if let Some(chain) = line.strip_prefix(':').filter(|it| it.starts_with(PREFIX)) {
                let name = chain.split_ascii_whitespace().next().unwrap_or_default();
                tables.entry(table.to_owned()).or_default().chains.push(name.to_owned());
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let mut words = rule.split_ascii_whitespace();
                let is_jump =
                    words.any(|it| it == "-j") && words.next().is_some_and(|it| it.starts_with(PREFIX));
                if is_jump && !rule.starts_with(PREFIX) {
                    tables.entry(table.to_owned()).or_default().jumps.push(rule.to_owned());
                }
            }
        }
        Self(tables)
    }

    /// Nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts the plan's rules in the place of what is there, each table at once.
pub(super) fn text(plan: &Plan, family: Family, present: &Present) -> String {
    let mut text = String::new();
    for table in ORDER {
        let name = table_name(table);
        let wanted = plan.chains.iter().filter(|it| it.table == table && it.is_for(family));
        let wanted: Vec<_> = wanted.collect();
        let ours = present.0.get(name).cloned().unwrap_or_default();
        if wanted.is_empty() && ours == Ours::default() {
            continue;
        }
        let gone: Vec<_> =
            ours.chains.iter().filter(|it| wanted.iter().all(|chain| chain.name != **it)).collect();
        let _ = writeln!(text, "*{name}");
        // Makes the chain, or empties the one that is there.
        for chain in wanted.iter().map(|it| it.name).chain(gone.iter().map(|it| it.as_str())) {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        for jump in &ours.jumps {
            let _ = writeln!(text, "-D {jump}");
        }
        for chain in &wanted {
            for rule in plan.rules(chain, family) {
                let _ = writeln!(text, "-A {} {}", chain.name, line(rule));
            }
            if let Some(hook) = chain.hook {
                let hook = match hook {
                    Hook::Prerouting => "PREROUTING",
                    Hook::Output => "OUTPUT",
                };
                let _ = writeln!(text, "-A {hook} -j {}", chain.name);
            }
        }
        for chain in &gone {
            let _ = writeln!(text, "-X {chain}");
        }
        text.push_str("COMMIT\n");
    }
    text
}

fn table_name(table: Table) -> &'static str {
    match table {
        Table::Raw => "raw",
        Table::Mangle => "mangle",
        Table::Nat => "nat",
    }
}

fn line(rule: &Rule) -> String {
    let mut words = Vec::new();
    if let Some(protocol) = rule.protocol {
        words.push(format!("-p {}", protocol.name()));
    }
    words.extend(rule.matches.iter().map(condition));
    words.push(match rule.verdict {
        Verdict::Return => "-j RETURN".to_owned(),
        Verdict::Jump(chain) => format!("-j {chain}"),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Verdict::Zone(zone) => format!("-j CT --zone {zone}"),
        Verdict::Drop => "-j DROP".to_owned(),
    });
    words.join(" ")
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::In(name) => format!("-i {name}"),
        Match::Out(name) => format!("-o {name}"),
        Match::Source(net) => format!("-s {net}"),
        Match::Destination(net) => format!("-d {net}"),
        Match::NotDestination(net) => format!("! -d {net}"),
        Match::SourcePort(port) => format!("--sport {port}"),
        Match::DestinationPort(port) => format!("--dport {port}"),
        Match::NotDestinationPort(port) => format!("! --dport {port}"),
        Match::User(user) => format!("-m owner --uid-owner {user}"),
        Match::NotUser(user) => format!("-m owner ! --uid-owner {user}"),
        Match::Group(group) => format!("-m owner --gid-owner {group}"),
        Match::NotGroup(group) => format!("-m owner ! --gid-owner {group}"),
        Match::Invalid => "-m conntrack --ctstate INVALID".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Present;

    #[test]
    fn only_chains_and_jumps_of_ours_are_taken_for_ours() {
        let saved = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:SLUICE_OUTPUT - [0:0]\n:KUBE_X - [0:0]\n\
                     -A PREROUTING -j KUBE_X\n-A OUTPUT -j SLUICE_OUTPUT\n-A SLUICE_OUTPUT -j SLUICE_REDIRECT\nCOMMIT\n";
        let present = Present::read(saved);
        let nat = &present.0["nat"];
        assert_eq!(nat.chains, ["SLUICE_OUTPUT"]);
        assert_eq!(nat.jumps, ["OUTPUT -j SLUICE_OUTPUT"]);
        assert!(Present::read("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j KUBE_X\nCOMMIT\n").is_empty());
    }
}
