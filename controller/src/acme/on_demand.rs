//! Names of handshakes: which listener they are for, who issues for it, where the certificate is kept.

use super::convert::{issuer_name, key_of, scope};
use super::names::ON_DEMAND;
use sha2::{Digest as _, Sha256};
use sluice_acme::{Handle, Refused};
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{GatewayKey, HostPattern};
use sluice_translate::OnDemandListener;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Letters of a name that its Secret's name begins with, so that people find it.
const READABLE: usize = 40;

/// Why a name of a handshake gets no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    /// No listener takes it, or its issuer is not there, as far as is known here: a data plane that asks may know of newer
    /// ones, so that it may be otherwise in a moment.
    #[error("{0}")]
    Unknown(String),
    /// It is refused, or its order failed.
    #[error(transparent)]
    Refused(Refused),
}

impl From<Refused> for NoCertificate {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Issuer(_) | Refused::Stopped => Self::Unknown(refused.to_string()),
            refused => Self::Refused(refused),
        }
    }
}

/// The listeners that take names of handshakes, by Gateway.
#[derive(Debug, Default)]
pub struct Offers(BTreeMap<GatewayKey, Vec<OnDemandListener>>);

impl Offers {
    /// Of these listeners.
    pub fn new(listeners: &[OnDemandListener]) -> Self {
        let mut offers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for listener in listeners {
            let gateway = &listener.gateway;
            let key = GatewayKey::new(format!("{}/{}", gateway.namespace, gateway.name));
            offers.entry(key).or_default().push(listener.clone());
        }
        Self(offers)
    }

    /// The listener of a Gateway that a name is for: the one with the longest wildcard.
    fn find(&self, gateway: &GatewayKey, name: &str) -> Result<&OnDemandListener, NoCertificate> {
        let own = self.0.get(gateway).into_iter().flatten();
        let found = own.filter(|it| it.hostname.matches(name)).max_by_key(|it| length(&it.hostname));
        let none =
            || NoCertificate::Unknown(format!("no listener of Gateway {gateway} takes {name} on demand"));
        let found = found.ok_or_else(none)?;
        match found.lets(name) {
            true => Ok(found),
            false => Err(NoCertificate::Refused(Refused::NotAllowed(format!(
                "domains of {} does not let namespace {} order {name}",
                found.issuer, found.namespace
            )))),
        }
    }

    /// Gateways that may be asked for a challenge of the name: all that share the certificate.
    fn gateways(&self, listener: &OnDemandListener, name: &str) -> Vec<ObjectRef> {
        let all = self.0.values().flatten();
        let mut gateways: Vec<_> =
            all.filter(|it| it.key == listener.key && it.lets(name)).map(|it| it.gateway.clone()).collect();
        gateways.sort();
        gateways.dedup();
        gateways
    }

    /// Has the certificate obtained that a client of the Gateway asks for; returns when it is kept.
    ///
    /// # Errors
    /// When no listener takes the name, its issuer does not let it be ordered, or the order failed.
    pub async fn obtain(
        &self,
        engine: &Handle,
        gateway: &GatewayKey,
        name: &str,
    ) -> Result<(), NoCertificate> {
        let listener = self.find(gateway, name)?;
        let key = key_of(&secret(listener, name));
        let answered_by = scope(&self.gateways(listener, name));
        Ok(engine.on_demand(key, issuer_name(&listener.issuer), name.to_owned(), answered_by).await?)
    }
}

fn length(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Any => 0,
        HostPattern::Wildcard(suffix) | HostPattern::Exact(suffix) => suffix.len(),
    }
}

/// Where the certificate of a name is kept: one for all listeners of the namespace with this issuer.
fn secret(listener: &OnDemandListener, name: &str) -> ObjectRef {
    let issuer = &listener.issuer;
    let whole = format!("{}/{}/{name}", issuer.namespace, issuer.name);
    let readable: String = name.chars().map(|it| if it == '.' { '-' } else { it }).take(READABLE).collect();
    let mut text = format!("{ON_DEMAND}{}-", readable.trim_end_matches('-'));
    for byte in Sha256::digest(whole.as_bytes()).iter().take(6) {
        let _ = write!(text, "{byte:02x}");
    }
    ObjectRef::new(Kind::Secret, listener.namespace.clone(), text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Offers, secret};
    use sluice_crds::{Kind, ObjectRef};
    use sluice_ir::{GatewayKey, HostPattern, OnDemandKey};
    use sluice_translate::OnDemandListener;

    fn listener(gateway: &str, hostname: &str, names: Option<&[&str]>) -> OnDemandListener {
        OnDemandListener {
            key: OnDemandKey::new("shop/edge/ca"),
            gateway: ObjectRef::new(Kind::Gateway, "shop", gateway),
            hostname: HostPattern::parse(hostname),
            issuer: ObjectRef::new(Kind::CertificateIssuer, "edge", "ca"),
            namespace: "shop".to_owned(),
            names: names.map(|it| it.iter().map(|it| (*it).to_owned()).collect()),
        }
    }

    #[test]
    fn the_longest_wildcard_has_a_name_and_its_issuer_says_whether_it_may() {
        let all = [
            listener("web", "*", None),
            listener("web", "*.example.com", Some(&["*.shop.example.com"])),
            listener("other", "*.example.com", None),
        ];
        let offers = Offers::new(&all);
        let web = GatewayKey::new("shop/web");
        assert_eq!(offers.find(&web, "a.shop.example.com"), Ok(&all[1]));
        assert_eq!(offers.find(&web, "elsewhere.test"), Ok(&all[0]));
        let refused = offers.find(&web, "a.example.com").unwrap_err().to_string();
        assert!(refused.contains("does not let namespace shop order a.example.com"), "{refused}");
        assert!(offers.find(&GatewayKey::new("shop/none"), "a.test").is_err());
        let both = offers.gateways(&all[1], "a.shop.example.com");
        assert_eq!(both.iter().map(|it| it.name.to_string()).collect::<Vec<_>>(), ["other", "web"]);
    }

    #[test]
    fn a_secret_of_a_name_is_one_of_its_own_and_a_name_of_kubernetes() {
        let it = listener("web", "*", None);
        let long = format!("{}.{}.example.com", "a".repeat(63), "b".repeat(63));
        let names =
            ["a.example.com", "a-example.com", long.as_str()].map(|name| secret(&it, name).name.to_string());
        assert!(names[0].starts_with("on-demand-a-example-com-"), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|it| it.len() <= 63), "{names:?}");
    }
}
