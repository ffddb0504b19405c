//! What is to be captured, in words that nftables and iptables share.

use ipnet::IpNet;

/// All rules.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Whether IPv6 is captured too.
    pub(super) v6: bool,
    /// In the order in which they may refer to each other: a chain is jumped to only from later ones.
    pub(super) chains: Vec<Chain>,
}

/// Rules in order.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) table: Table,
    /// Where the kernel enters it; `None`: only by a jump.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// What the rules of a chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Before connection tracking.
    Raw,
    /// Packets may be dropped.
    Mangle,
    /// Addresses of new connections.
    Nat,
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// From outside.
    Prerouting,
    /// Of this machine's own processes.
    Output,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// One rule: all matches hold, then the verdict.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// `None`: both.
    pub(super) family: Option<Family>,
    /// `None`: every one.
    pub(super) protocol: Option<Protocol>,
    pub(super) matches: Vec<Match>,
    pub(super) verdict: Verdict,
}

/// What a packet must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Came by this interface; a `+` at its end: by one whose name begins so.
    In(String),
    /// Leaves by this interface.
    Out(String),
    Source(IpNet),
    Destination(IpNet),
    NotDestination(IpNet),
    SourcePort(u16),
    DestinationPort(u16),
    NotDestinationPort(u16),
    User(u32),
    NotUser(u32),
    /// By number or name.
    Group(String),
    NotGroup(String),
    /// Connection tracking can make nothing of it.
    Invalid,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The chain is left; what called it goes on.
    Return,
    Jump(&'static str),
    /// To this port of this machine.
    Redirect(u16),
    /// Tracked apart.
    Zone(u16),
    Drop,
}

impl Plan {
    /// The rules of a chain for one family, without jumps to chains that have none for it.
    pub(super) fn rules<'a>(&'a self, chain: &'a Chain, family: Family) -> Vec<&'a Rule> {
        let leads_somewhere = |rule: &&Rule| match rule.verdict {
            Verdict::Jump(target) => self.chains.iter().any(|it| it.name == target && it.is_for(family)),
            _ => true,
        };
        chain.rules.iter().filter(|rule| rule.is_for(family)).filter(leads_somewhere).collect()
    }
}

impl Chain {
    /// Whether it has rules for this family.
    pub(super) fn is_for(&self, family: Family) -> bool {
        self.rules.iter().any(|rule| rule.is_for(family))
    }
}

impl Rule {
    /// A rule for everything.
    pub(super) fn new(verdict: Verdict) -> Self {
        Self { family: None, protocol: None, matches: Vec::new(), verdict }
    }

    /// For one protocol.
    #[must_use]
    pub(super) fn of(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// And this must hold; an address says the family too.
    #[must_use]
    pub(super) fn when(mut self, condition: Match) -> Self {
        if let Match::Source(net) | Match::Destination(net) | Match::NotDestination(net) = &condition {
            self.family = Some(Family::of(net));
        }
        self.matches.push(condition);
        self
    }

    /// Whether it is one of this family's.
    pub(super) fn is_for(&self, family: Family) -> bool {
        self.family.is_none_or(|own| own == family)
    }
}

impl Family {
    fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

impl Protocol {
    /// As both tools call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
