//! Certificates of handshakes: each makes a host of its own beside the listener that asked for it.

use crate::hosts::HostTable;
use sluice_ir::{Certificate, CertificateKey, HostPattern, Tls};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The hosts of one port's listeners that have a certificate of their own by now. Nothing is looked at where no listener
/// asks.
pub(super) fn hosts(
    listeners: &[(&HostPattern, &Tls)],
    certificates: &BTreeMap<CertificateKey, Arc<Certificate>>,
) -> Vec<(HostPattern, Tls)> {
    if listeners.iter().all(|(_, tls)| tls.on_demand.is_none()) {
        return Vec::new();
    }
    let mut table = HostTable::default();
    for (host, tls) in listeners {
        table.insert(host, *tls);
    }
    let mut hosts = Vec::new();
    for certificate in certificates.values().filter(|it| it.on_demand.is_some()) {
        for name in &certificate.names {
            // The listener that answers for the name must be one that asked; another may have come since.
            let asking = table.find(Some(name)).filter(|tls| tls.on_demand == certificate.on_demand);
            hosts.extend(asking.map(|tls| {
                let certificates = vec![certificate.key.clone()];
                let tls =
                    Tls { certificates, on_demand: None, self_signed_meanwhile: false, ..Tls::clone(tls) };
                (HostPattern::parse(name), tls)
            }));
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::hosts;
    use sluice_ir::{Certificate, CertificateKey, HostPattern, OnDemandKey, Origin, SecretBytes, Tls};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn certificate(name: &str, key: &str) -> (CertificateKey, Arc<Certificate>) {
        let certificate = Certificate {
            key: CertificateKey::new(format!("Secret/shop/{name}+on-demand")),
            origin: Origin::new("Secret", "shop", name),
            names: vec![name.to_owned()],
            chain: SecretBytes::new(Vec::new()),
            private_key: SecretBytes::new(Vec::new()),
            staple: None,
            on_demand: Some(OnDemandKey::new(key)),
        };
        (certificate.key.clone(), Arc::new(certificate))
    }

    #[test]
    fn a_name_belongs_to_the_listener_that_answers_for_it() {
        let asks = |key: &str| Tls { on_demand: Some(OnDemandKey::new(key)), ..Tls::showing(Vec::new()) };
        let (any, wildcard) = (asks("a"), asks("b"));
        let own = Tls::showing(vec![CertificateKey::new("Secret/shop/own")]);
        let patterns = ["*", "*.example.com", "own.example.com"].map(HostPattern::parse);
        let listeners = [(&patterns[0], &any), (&patterns[1], &wildcard), (&patterns[2], &own)];
        let all = BTreeMap::from([
            certificate("shop.test", "a"),
            certificate("a.example.com", "b"),
            // Asked for before the listeners of their names came.
            certificate("b.example.com", "a"),
            certificate("own.example.com", "b"),
        ]);
        let mut found: Vec<_> = hosts(&listeners, &all).into_iter().map(|it| it.0.to_string()).collect();
        found.sort();
        assert_eq!(found, ["a.example.com", "shop.test"]);
        assert!(hosts(&listeners[2..], &all).is_empty());
    }
}
