//! One rule, compiled: whether facts fit it.
//!
//! What refuses counts for every way to write a thing, what lets in only for the very text: a host with and without its port,
//! a field that stands in several lines ([`Sense`]).

use super::facts::{Facts, Peer, RequestFacts};
use super::text::{Paths, Texts};
use crate::policy::clients::AddressSet;
use http::header::HeaderName;
use sluice_ir::{Attribute, AuthorizationRule, Condition, Operation, Source, ValueMatch, Values};
use std::net::IpAddr;

/// What a match leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    /// The request goes on.
    LetsIn,
    /// It is refused, asked about or marked.
    Refuses,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    from: Box<[Box<SourceRule>]>,
    to: Box<[OperationRule]>,
    when: Box<[ConditionRule]>,
}

/// Both lists of a field.
#[derive(Debug)]
struct Both<T> {
    any: Option<T>,
    none: Option<T>,
}

impl<T> Both<T> {
    fn new<V>(values: &Values<V>, compile: impl Fn(&[V]) -> T) -> Self {
        let list = |it: &Vec<V>| (!it.is_empty()).then(|| compile(it));
        Self { any: list(&values.any), none: list(&values.none) }
    }

    /// `fits` says whether a list has the value, in the strict or in the loose sense.
    fn holds(&self, sense: Sense, fits: impl Fn(&T, bool) -> bool) -> bool {
        let refuses = sense == Sense::Refuses;
        self.any.as_ref().is_none_or(|it| fits(it, refuses))
            && self.none.as_ref().is_none_or(|it| !fits(it, !refuses))
    }

    fn is_empty(&self) -> bool {
        self.any.is_none() && self.none.is_none()
    }
}

#[derive(Debug)]
struct SourceRule {
    principals: Both<Texts>,
    request_principals: Both<Texts>,
    namespaces: Both<Texts>,
    accounts: Both<Texts>,
    addresses: Both<AddressSet>,
    remote_addresses: Both<AddressSet>,
    trust_domains: Both<Texts>,
}

#[derive(Debug)]
struct OperationRule {
    hosts: Both<Texts>,
    ports: Both<Box<[u16]>>,
    methods: Both<Texts>,
    paths: Both<Paths>,
}

#[derive(Debug)]
struct ConditionRule {
    attribute: CompiledAttribute,
    texts: Both<Texts>,
    addresses: Both<AddressSet>,
}

#[derive(Debug)]
enum CompiledAttribute {
    /// `None`: a name that no field has.
    Header(Option<HeaderName>),
    Other(Attribute),
}

impl Rule {
    pub(super) fn compile(rule: &AuthorizationRule) -> Self {
        Self {
            from: rule.from.iter().map(|it| Box::new(SourceRule::compile(it))).collect(),
            to: rule.to.iter().map(OperationRule::compile).collect(),
            when: rule.when.iter().map(ConditionRule::compile).collect(),
        }
    }

    /// Whether the facts fit, where the path reads so.
    pub(super) fn fits(&self, facts: &Facts<'_>, path: &str, sense: Sense) -> bool {
        (self.to.is_empty() || self.to.iter().any(|it| it.fits(facts, path, sense)))
            && (self.from.is_empty() || self.from.iter().any(|it| it.fits(facts, sense)))
            && self.when.iter().all(|it| it.fits(facts, sense))
    }

    /// Whether it looks at paths.
    pub(super) fn reads_paths(&self) -> bool {
        self.to.iter().any(|it| !it.paths.is_empty())
    }
}

fn networks(values: &[ValueMatch]) -> AddressSet {
    let networks = values.iter().filter_map(|it| match it {
        ValueMatch::Network(network) => Some(*network),
        _ => None,
    });
    AddressSet::new(&networks.collect::<Vec<_>>())
}

/// `NAMESPACE/NAME` as identities have it.
fn account(text: &str) -> String {
    match text.split_once('/') {
        Some((namespace, name)) => format!("ns/{namespace}/sa/{name}"),
        None => text.to_owned(),
    }
}

fn texts(values: &[ValueMatch]) -> Texts {
    Texts::new(values)
}

impl SourceRule {
    fn compile(it: &Source) -> Self {
        let accounts = |list: &[String]| {
            let values: Vec<_> = list.iter().map(|it| ValueMatch::Exact(account(it))).collect();
            Texts::new(&values)
        };
        Self {
            principals: Both::new(&it.principals, texts),
            request_principals: Both::new(&it.request_principals, texts),
            namespaces: Both::new(&it.namespaces, texts),
            accounts: Both::new(&it.service_accounts, accounts),
            addresses: Both::new(&it.addresses, AddressSet::new),
            remote_addresses: Both::new(&it.remote_addresses, AddressSet::new),
            trust_domains: Both::new(&it.trust_domains, texts),
        }
    }

    fn fits(&self, facts: &Facts<'_>, sense: Sense) -> bool {
        let peer = facts.peer;
        let token = facts.request.and_then(|it| it.token);
        let text = |both: &Both<Texts>, value: Option<&str>| {
            both.is_empty() || both.holds(sense, |list, _| value.is_some_and(|it| list.has(it.as_bytes())))
        };
        text(&self.principals, peer.map(|it| it.principal))
            && text(&self.accounts, peer.and_then(|it| it.account))
            && text(&self.namespaces, peer.and_then(|it| it.namespace))
            && text(&self.trust_domains, peer.map(|it| it.trust_domain))
            && text(&self.request_principals, token.map(|it| it.principal()))
            && address(&self.addresses, facts.source, sense)
            && address(&self.remote_addresses, facts.remote, sense)
    }
}

fn address(both: &Both<AddressSet>, address: IpAddr, sense: Sense) -> bool {
    both.holds(sense, |list, _| list.contains(address.to_canonical()))
}

impl OperationRule {
    fn compile(it: &Operation) -> Self {
        Self {
            hosts: Both::new(&it.hosts, texts),
            ports: Both::new(&it.ports, |it: &[u16]| it.into()),
            methods: Both::new(&it.methods, texts),
            paths: Both::new(&it.paths, Paths::new),
        }
    }

    fn fits(&self, facts: &Facts<'_>, path: &str, sense: Sense) -> bool {
        let request = facts.request.as_ref();
        let host = |list: &Texts, is_loose: bool| {
            request.is_some_and(|it| {
                list.has(it.host.as_bytes()) || is_loose && list.has(it.host_name.as_bytes())
            })
        };
        self.ports.holds(sense, |list, _| list.contains(&facts.port))
            && self.methods.holds(sense, |list, _| request.is_some_and(|it| list.has(it.method.as_bytes())))
            && self.paths.holds(sense, |list, _| request.is_some() && list.has(path))
            && self.hosts.holds(sense, host)
    }
}

impl ConditionRule {
    fn compile(it: &Condition) -> Self {
        let (texts, addresses) = match &it.attribute {
            Attribute::SourceAddress | Attribute::RemoteAddress | Attribute::DestinationAddress => {
                (Both { any: None, none: None }, Both::new(&it.values, networks))
            }
            Attribute::SourceServiceAccount => {
                let accounts = |list: &[ValueMatch]| Texts::of(list, account);
                (Both::new(&it.values, accounts), Both { any: None, none: None })
            }
            _ => (Both::new(&it.values, texts), Both { any: None, none: None }),
        };
        let attribute = match &it.attribute {
            Attribute::Header(name) => CompiledAttribute::Header(name.parse().ok()),
            other => CompiledAttribute::Other(other.clone()),
        };
        Self { attribute, texts, addresses }
    }

    fn fits(&self, facts: &Facts<'_>, sense: Sense) -> bool {
        let request = facts.request.as_ref();
        let attribute = match &self.attribute {
            CompiledAttribute::Header(name) => {
                let has = |list: &Texts, is_loose| {
                    request.zip(name.as_ref()).is_some_and(|(it, name)| has_field(it, name, list, is_loose))
                };
                return self.texts.holds(sense, has);
            }
            CompiledAttribute::Other(attribute) => attribute,
        };
        let token = request.and_then(|it| it.token);
        let peer = |part: fn(Peer<'_>) -> Option<&str>| {
            let value = facts.peer.and_then(part);
            self.texts.holds(sense, |list, _| value.is_some_and(|it| list.has(it.as_bytes())))
        };
        match attribute {
            // Compiled otherwise, above.
            Attribute::Header(_) => false,
            Attribute::SourceAddress => address(&self.addresses, facts.source, sense),
            Attribute::RemoteAddress => address(&self.addresses, facts.remote, sense),
            Attribute::DestinationAddress => address(&self.addresses, facts.destination, sense),
            Attribute::SourceNamespace => peer(|it| it.namespace),
            Attribute::SourcePrincipal => peer(|it| Some(it.principal)),
            Attribute::SourceServiceAccount => peer(|it| it.account),
            Attribute::SourceTrustDomain => peer(|it| Some(it.trust_domain)),
            Attribute::RequestPrincipal => {
                self.texts.holds(sense, |list, _| token.is_some_and(|it| list.has(it.principal().as_bytes())))
            }
            Attribute::Audiences => self.texts.holds(sense, |list, _| {
                token.is_some_and(|it| it.audience(&mut |audience| list.has(audience.as_bytes())))
            }),
            Attribute::Presenter => self.texts.holds(sense, |list, _| {
                token.and_then(|it| it.presenter()).is_some_and(|it| list.has(it.as_bytes()))
            }),
            Attribute::Claim(path) => self.texts.holds(sense, |list, _| {
                token.is_some_and(|it| it.claim(path, &mut |claim| list.has(claim.as_bytes())))
            }),
            Attribute::DestinationPort => {
                let port = facts.port.to_string();
                self.texts.holds(sense, |list, _| list.has(port.as_bytes()))
            }
            Attribute::ServerName => {
                self.texts.holds(sense, |list, _| facts.server_name.is_some_and(|it| list.has(it.as_bytes())))
            }
        }
    }
}

/// A field that stands in several lines is their list (RFC 9110 §5.3); in the loose sense each line counts by itself too.
fn has_field(request: &RequestFacts<'_>, name: &HeaderName, list: &Texts, is_loose: bool) -> bool {
    let lines = request.headers.get_all(name);
    let mut all = lines.iter().map(|it| it.as_bytes());
    let Some(first) = all.next() else { return false };
    if all.next().is_none() {
        return list.has(first);
    }
    let mut all = lines.iter().map(|it| it.as_bytes());
    if is_loose && all.any(|it| list.has(it)) {
        return true;
    }
    let all = lines.iter().map(|it| it.as_bytes()).collect::<Vec<_>>();
    list.has(&all.join(&b","[..]))
}
