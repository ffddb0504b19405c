//! Which rules hold for a client of a host, and what they say of one port.
//!
//! Namespaces are looked through in an order: the client's, the host's, the root. The first that has a rule for the host
//! decides alone, by its most specific host. Rules of the same host there are merged: the oldest comes first.

use super::model::{Blocks, DestinationModel, Load, Near, Pool, SubsetModel, TlsModel, Traffic, Way};
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{
    BackendPolicy, CircuitLimits, Ejection, Failover, LocalityPolicy, Origin, ProxyVersion, RetryBudget,
    Tunnel,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rules of one namespace and host, merged; the first comes first. Empty: nothing is asked for.
#[derive(Debug, Default)]
pub(crate) struct Governing<'a> {
    pub(crate) rules: Vec<&'a Arc<DestinationModel>>,
}

/// Whether the mesh's TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeshWish {
    /// In no case: another TLS is, or none.
    Off,
    /// In any case.
    Required,
}

/// What holds for one port.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms<'a> {
    pub(crate) tls: Option<(&'a ObjectRef, &'a TlsModel)>,
    /// The rule that the rest is from.
    rule: Option<&'a ObjectRef>,
    load: Option<&'a Load>,
    pool: Option<&'a Pool>,
    ejection: Option<&'a Ejection>,
    budget: Option<&'a RetryBudget>,
    proxy_header: Option<ProxyVersion>,
    tunnel: Option<&'a Way>,
}

/// The hosts by which rules may name `host`, the most specific first.
pub(crate) fn patterns(host: &str) -> impl Iterator<Item = String> + '_ {
    let wildcards = host.match_indices('.').map(|(at, _)| format!("*{}", host.get(at..).unwrap_or_default()));
    std::iter::once(host.to_owned()).chain(wildcards).chain(std::iter::once("*".to_owned()))
}

/// Whether a rule's host covers `host`.
pub(crate) fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Namespaces whose clients may follow other rules for `host` than all others do: those that have rules for it, and those
/// that rules are exported to by name.
pub(crate) fn clients(view: &View<'_>, host: &str) -> BTreeSet<Name> {
    if !view.has_destinations() {
        return BTreeSet::new();
    }
    let rules = patterns(host).flat_map(|it| view.destinations_of(&it));
    let named = |it: &Arc<DestinationModel>| {
        let names = it.export_to.iter().filter(|it| !matches!(it.as_str(), "*" | "." | "~"));
        let all: Vec<Name> = names.map(Name::from).chain([it.meta.reference.namespace.clone()]).collect();
        all
    };
    rules.flat_map(named).collect()
}

/// The rules that clients of namespace `client` follow for `host`, which belongs to namespace `home`.
///
/// Notes no read: a rule touches the Service or the host that it names, and a wildcard every backend that it covers.
pub(crate) fn find<'a>(view: &View<'a>, host: &str, home: &str, client: &str) -> Governing<'a> {
    if !view.has_destinations() {
        return Governing::default();
    }
    let by_host: Vec<Vec<&Arc<DestinationModel>>> =
        patterns(host).map(|it| view.destinations_of(&it)).collect();
    let of = |namespace: &str, is_meant: &dyn Fn(&DestinationModel) -> bool| {
        by_host.iter().find_map(|rules| {
            let own = rules.iter().filter(|it| it.meta.reference.namespace == *namespace);
            let mut own =
                own.filter(|it| !it.has_selector && it.is_visible_in(client) && is_meant(it)).peekable();
            own.peek().is_some().then(|| own.copied().collect::<Vec<_>>())
        })
    };
    // In the root namespace only private rules are the client's own.
    let root = view.options().root_namespace.as_str();
    let is_own = |it: &DestinationModel| client != root || it.export_to == ["."];
    let found = of(client, &is_own).or_else(|| of(home, &|_| true)).or_else(|| of(root, &|_| true));
    Governing { rules: merged(found.unwrap_or_default()) }
}

/// Only rules that are exported alike are merged; the first says how.
fn merged(rules: Vec<&Arc<DestinationModel>>) -> Vec<&Arc<DestinationModel>> {
    let Some(first) = rules.first().copied() else { return rules };
    rules.into_iter().filter(|it| it.export_to == first.export_to).collect()
}

impl<'a> Governing<'a> {
    /// The rule whose `trafficPolicy` holds.
    pub(crate) fn top(&self) -> Option<(&'a ObjectRef, &'a Traffic)> {
        self.rules.iter().find_map(|it| Some((&it.meta.reference, it.top.as_ref()?)))
    }

    /// The first subset of that name.
    pub(crate) fn subset(&self, name: &str) -> Option<(&'a ObjectRef, &'a SubsetModel)> {
        self.rules.iter().find_map(|rule| {
            let subset = rule.subsets.iter().find(|it| it.name == name)?;
            Some((&rule.meta.reference, subset))
        })
    }

    /// What holds for a port, perhaps of a subset.
    pub(crate) fn terms(&self, port: u16, subset: Option<&str>) -> Terms<'a> {
        let mut terms = Terms::default();
        if let Some((rule, traffic)) = self.top() {
            // A port's settings take the place of the destination's as a whole.
            terms.lay(rule, traffic.ports.get(&port).unwrap_or(&traffic.all));
            terms.budget = traffic.budget.as_ref();
            terms.proxy_header = traffic.proxy_header;
            terms.tunnel = traffic.tunnel.as_ref();
        }
        let of_subset = subset.and_then(|it| self.subset(it));
        if let Some((rule, traffic)) = of_subset.and_then(|(rule, it)| Some((rule, it.traffic.as_ref()?))) {
            match traffic.ports.get(&port) {
                Some(blocks) => {
                    let Terms { budget, proxy_header, tunnel, .. } = terms;
                    terms = Terms { budget, proxy_header, tunnel, ..Terms::default() };
                    terms.lay(rule, blocks);
                }
                None => terms.lay(rule, &traffic.all),
            }
            terms.budget = traffic.budget.as_ref().or(terms.budget);
            terms.proxy_header = traffic.proxy_header.or(terms.proxy_header);
            terms.tunnel = traffic.tunnel.as_ref().or(terms.tunnel);
        }
        terms
    }

    /// Which rules these are.
    pub(crate) fn names(&self) -> Arc<[ObjectRef]> {
        self.rules.iter().map(|it| it.meta.reference.clone()).collect()
    }

    /// Whether the same rules hold.
    pub(crate) fn is_same(&self, other: &Governing<'_>) -> bool {
        let names =
            |it: &Governing<'_>| it.rules.iter().map(|it| it.meta.reference.clone()).collect::<Vec<_>>();
        names(self) == names(other)
    }
}

impl<'a> Terms<'a> {
    /// Each block that is there takes the place of the one before.
    fn lay(&mut self, rule: &'a ObjectRef, blocks: &'a Blocks) {
        self.rule = Some(rule);
        self.tls = blocks.tls.as_ref().map(|it| (rule, it)).or(self.tls);
        self.load = blocks.load.as_ref().or(self.load);
        self.pool = blocks.pool.as_ref().or(self.pool);
        self.ejection = blocks.ejection.as_ref().or(self.ejection);
    }

    /// Whether HTTP/2 is spoken where the port says HTTP/1.1.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.pool.is_some_and(|it| it.is_upgraded)
    }

    /// What the rules say besides TLS; `None`: nothing.
    pub(crate) fn policy(&self) -> Option<Box<BackendPolicy>> {
        let rule = self.rule?;
        let pool = self.pool.cloned().unwrap_or_default();
        let policy = BackendPolicy {
            origin: Origin::new(rule.kind.name(), rule.namespace.clone(), rule.name.clone()),
            balancing: self.load.map(|it| it.how),
            affinity: self.load.and_then(|it| it.affinity.clone()),
            warmup: self.load.and_then(|it| it.warmup.clone()),
            locality: self.locality(),
            connections: pool.connections,
            circuit: CircuitLimits { retry_budget: self.budget.cloned(), ..pool.circuit },
            ejection: self.ejection.cloned(),
            proxy_header: self.proxy_header,
            tunnel: self.tunnel.map(|it| match it {
                Way::Through(tunnel) => tunnel.clone(),
                Way::Refused => Tunnel::refused(),
            }),
        };
        let says_something = policy.balancing.is_some()
            || policy.proxy_header.is_some()
            || policy.tunnel.is_some()
            || policy.ejection.is_some()
            || policy.locality.is_some()
            || policy.connections != Default::default()
            || !policy.circuit.is_open();
        says_something.then(|| Box::new(policy))
    }

    /// Which places come first. Near ones do by themselves where endpoints are left out (Istio); without that nothing
    /// could ever fail over.
    fn locality(&self) -> Option<LocalityPolicy> {
        match self.load.and_then(|it| it.near.as_ref()) {
            Some(Near::Off) => None,
            Some(Near::On(shares @ LocalityPolicy::Distribute(_))) => Some(shares.clone()),
            Some(Near::On(failover)) => self.ejection.map(|_| failover.clone()),
            None => self.ejection.map(|_| LocalityPolicy::Failover(Failover::default())),
        }
    }

    /// Whether a rule says in as many words how places count.
    pub(crate) fn says_locality(&self) -> bool {
        self.load.is_some_and(|it| it.near.is_some())
    }

    /// What they say of the mesh's TLS; `None`: nothing.
    pub(crate) fn mesh(&self) -> Option<MeshWish> {
        self.tls.map(|(_, it)| match it {
            TlsModel::Mesh => MeshWish::Required,
            TlsModel::Off | TlsModel::On(_) | TlsModel::Refused => MeshWish::Off,
        })
    }

    /// Whether a Secret of the client's namespace is needed.
    pub(crate) fn reads_secrets(&self) -> bool {
        matches!(self.tls, Some((_, TlsModel::On(it))) if it.credential.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, patterns};

    #[test]
    fn the_most_specific_host_comes_first() {
        let all: Vec<String> = patterns("cart.shop.test").collect();
        assert_eq!(all, ["cart.shop.test", "*.shop.test", "*.test", "*"]);
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it() {
        assert!(matches("*.shop.test", "cart.shop.test") && matches("*", "a") && matches("a.test", "a.test"));
        assert!(!matches("*.shop.test", "shop.test") && !matches("a.test", "b.a.test"));
        assert!(!matches("*.shop.test", ".shop.test"));
    }
}
