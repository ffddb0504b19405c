//! What a workload knows of the mesh: Sidecars (Istio) narrow it.

use crate::{HostPattern, Listener, Origin, Outbound, Selector};
use serde::{Deserialize, Serialize};

/// One Sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The Sidecar.
    pub origin: Origin,
    /// Which pods of the namespace.
    #[serde(default)]
    pub selector: Selector,
    /// What becomes of connections to destinations that they do not know.
    #[serde(default)]
    pub outbound: Outbound,
    /// The destinations that they know; `None`: all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<Egress>>,
}

/// Some destinations (`spec.egress[]` of a Sidecar).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// Only this port of theirs, for which no entry without a port counts then; `None`: all other ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whose they are.
    pub hosts: Vec<KnownHosts>,
}

/// Hosts of one namespace or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHosts {
    /// That of the Service or ServiceEntry; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What its host must be within.
    pub host: HostPattern,
}

impl Scope {
    /// Whether the port of a destination is known. What is no destination's is.
    pub fn knows(&self, listener: &Listener) -> bool {
        let (Some(egress), Some(host)) = (&self.egress, listener.destination.as_deref()) else { return true };
        let is_named = egress.iter().any(|it| it.port == Some(listener.port));
        let mut meant = egress.iter().filter(|it| it.port == is_named.then_some(listener.port));
        let host = HostPattern::parse(host);
        meant.any(|it| it.names(&listener.origin.namespace, &host))
    }

    /// Whether any port of a host is.
    pub fn knows_host(&self, namespace: &str, host: &str) -> bool {
        let host = HostPattern::parse(host);
        self.egress.as_ref().is_none_or(|all| all.iter().any(|it| it.names(namespace, &host)))
    }
}

impl Egress {
    fn names(&self, namespace: &str, host: &HostPattern) -> bool {
        let is_own = |it: &KnownHosts| it.namespace.as_ref().is_none_or(|own| own == namespace);
        self.hosts.iter().any(|it| is_own(it) && it.host.contains(host))
    }
}

#[cfg(test)]
mod tests {
    use super::{Egress, KnownHosts, Scope};
    use crate::{
        GatewayKey, HostPattern, Listener, ListenerKey, ListenerProtocol, Origin, Outbound, Selector,
    };

    fn egress(port: Option<u16>, hosts: &[&str]) -> Egress {
        let hosts = hosts.iter().filter_map(|it| it.split_once('/')).map(|(namespace, host)| KnownHosts {
            namespace: (namespace != "*").then(|| namespace.to_owned()),
            host: HostPattern::parse(host),
        });
        Egress { port, hosts: hosts.collect() }
    }

    fn scope(egress: Option<Vec<Egress>>) -> Scope {
        let (selector, outbound) = (Selector::default(), Outbound::AllowAny);
        Scope { origin: Origin::new("Sidecar", "shop", "default"), selector, outbound, egress }
    }

    fn port(namespace: &str, host: Option<&str>, port: u16) -> Listener {
        Listener {
            key: ListenerKey::new("it"),
            origin: Origin::new("Service", namespace, "it"),
            gateway: GatewayKey::new("it"),
            addresses: Vec::new(),
            networks: Vec::new(),
            port,
            protocol: ListenerProtocol::Http,
            hostname: HostPattern::Any,
            destination: host.map(Into::into),
            traffic: None,
        }
    }

    #[test]
    fn what_no_entry_names_is_not_known() {
        let some = scope(Some(vec![egress(None, &["shop/*", "*/api.test", "blog/*.blog.test"])]));
        let knows = |namespace: &str, host: &str| some.knows(&port(namespace, Some(host), 80));
        assert!(knows("shop", "cart.shop.test") && knows("shop", "*.wild.test"));
        assert!(knows("bank", "api.test") && knows("blog", "a.blog.test") && knows("blog", "*.a.blog.test"));
        assert!(!knows("bank", "vault.test") && !knows("blog", "blog.test") && !knows("bank", "a.blog.test"));
        assert!(some.knows(&port("bank", None, 80)), "it is no destination's");
        assert!(some.knows_host("bank", "api.test") && !some.knows_host("bank", "vault.test"));
        let (all, none) = (scope(None), scope(Some(Vec::new())));
        assert!(all.knows(&port("bank", Some("vault.test"), 80)));
        assert!(!none.knows(&port("shop", Some("cart.shop.test"), 80)));
    }

    #[test]
    fn an_entry_with_a_port_takes_it_away_from_those_without() {
        let some = scope(Some(vec![egress(Some(5432), &["shop/*"]), egress(None, &["bank/*"])]));
        let knows = |namespace: &str, number: u16| some.knows(&port(namespace, Some("a.test"), number));
        assert!(knows("shop", 5432) && !knows("bank", 5432));
        assert!(knows("bank", 80) && !knows("shop", 80));
        assert!(some.knows_host("shop", "a.test") && some.knows_host("bank", "a.test"));
    }
}
