//! Answers to the challenges of certificate authorities, before any host or route is looked at.
//!
//! In: the [`Challenge`](sluice_ir::Challenge) resources of one Gateway. Out: [`Challenges`], which every port of the
//! Gateway reads: the body of an HTTP-01 answer, the configuration of a TLS-ALPN-01 handshake. Who asks for anything
//! else is served as if there were no challenge. Nothing is ordered here.

mod alpn;

pub use alpn::ALPN;
pub(crate) use alpn::is_asked;

use sluice_ir as ir;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Where HTTP-01 is asked (RFC 8555 §8.3).
pub const HTTP_PREFIX: &str = "/.well-known/acme-challenge/";

/// Values by host or token.
type ByName<V> = HashMap<Box<str>, V, ahash::RandomState>;

/// The challenges of one Gateway, by host.
#[derive(Default)]
pub struct Challenges {
    /// Bodies by host, then token.
    http: ByName<ByName<Arc<ir::Challenge>>>,
    tls: ByName<Arc<rustls::ServerConfig>>,
    sources: Vec<Arc<ir::Challenge>>,
}

/// The tables of all Gateways that are asked something.
pub(crate) type ByGateway = BTreeMap<ir::GatewayKey, Arc<Challenges>>;

impl Challenges {
    /// The body for a request that asks for a challenge of ours. Cost: nothing while there is none, else a comparison
    /// of the path's beginning, and for such paths two hashes.
    pub fn http(&self, host: &str, path: &str) -> Option<&str> {
        if self.http.is_empty() {
            return None;
        }
        let token = path.strip_prefix(HTTP_PREFIX)?;
        match &self.http.get(host)?.get(token)?.answer {
            ir::ChallengeAnswer::Http01 { key_authorization, .. } => {
                std::str::from_utf8(key_authorization.expose()).ok()
            }
            ir::ChallengeAnswer::TlsAlpn01 { .. } => None,
        }
    }

    /// Whether a request may ask for a challenge: what [`Challenges::http`] needs of its host is worth finding out.
    pub fn concerns(&self, path: &str) -> bool {
        !self.http.is_empty() && path.starts_with(HTTP_PREFIX)
    }

    /// The handshake for a client that offers `acme-tls/1` and nothing else, and names a host that is asked about.
    pub(crate) fn tls(
        &self,
        server_name: Option<&str>,
        hello: &rustls::server::ClientHello<'_>,
    ) -> Option<&Arc<rustls::ServerConfig>> {
        if self.tls.is_empty() || !alpn::is_asked(hello) {
            return None;
        }
        self.proof(server_name?)
    }

    /// The handshake that proves a host, if that is asked of us.
    pub(crate) fn proof(&self, host: &str) -> Option<&Arc<rustls::ServerConfig>> {
        self.tls.get(host)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn of(sources: Vec<Arc<ir::Challenge>>) -> Self {
        let mut all = Self::default();
        for challenge in &sources {
            let host: Box<str> = challenge.host.as_str().into();
            match &challenge.answer {
                ir::ChallengeAnswer::Http01 { token, .. } => {
                    all.http.entry(host).or_default().insert(token.as_str().into(), challenge.clone());
                }
                ir::ChallengeAnswer::TlsAlpn01 { certificate, private_key } => {
                    match alpn::config(certificate, private_key) {
                        Ok(config) => drop(all.tls.insert(host, config)),
                        Err(error) => {
                            tracing::warn!(challenge = %challenge.key, %error, "a challenge can't be answered");
                        }
                    }
                }
            }
        }
        all.sources = sources;
        all
    }
}

/// The tables of a snapshot. One whose challenges did not change is that of before.
pub(crate) fn tables(snapshot: &ir::Snapshot, before: &ByGateway) -> ByGateway {
    let mut sources: BTreeMap<&ir::GatewayKey, Vec<Arc<ir::Challenge>>> = BTreeMap::new();
    for challenge in snapshot.challenges.values() {
        sources.entry(&challenge.gateway).or_default().push(challenge.clone());
    }
    let table = |(gateway, sources): (&ir::GatewayKey, Vec<Arc<ir::Challenge>>)| {
        let known = before.get(gateway).filter(|before| {
            before.sources.len() == sources.len()
                && before.sources.iter().zip(&sources).all(|(before, now)| Arc::ptr_eq(before, now))
        });
        let table = known.cloned().unwrap_or_else(|| Arc::new(Challenges::of(sources)));
        (gateway.clone(), table)
    };
    sources.into_iter().map(table).collect()
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.iter().map(|it| it.key.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ByGateway, tables};
    use sluice_ir as ir;
    use std::sync::Arc;

    fn challenge(gateway: &str, host: &str, token: &str) -> Arc<ir::Challenge> {
        let gateway = ir::GatewayKey::new(gateway);
        let answer = ir::ChallengeAnswer::Http01 {
            token: token.to_owned(),
            key_authorization: ir::SecretBytes::new(format!("{token}.thumb").into_bytes()),
        };
        Arc::new(ir::Challenge {
            key: ir::Challenge::key_of(&gateway, host, &answer),
            origin: ir::Origin::new("CertificateIssuer", "edge", "ca"),
            gateway,
            host: host.to_owned(),
            answer,
        })
    }

    fn snapshot(challenges: &[Arc<ir::Challenge>]) -> ir::Snapshot {
        let upserts = challenges.iter().cloned().map(ir::Resource::Challenge).collect();
        let mut snapshot = ir::Snapshot::default();
        snapshot.apply(&ir::Delta { upserts, removals: Vec::new() });
        snapshot
    }

    #[test]
    fn only_a_known_host_with_its_token_is_answered() {
        let shop = challenge("edge/web", "shop.example.com", "abc");
        let all = tables(
            &snapshot(&[shop, challenge("edge/other", "other.example.com", "xyz")]),
            &ByGateway::new(),
        );
        let web = &all[&ir::GatewayKey::new("edge/web")];
        let path = "/.well-known/acme-challenge/abc";
        assert!(web.concerns(path) && !web.concerns("/abc"));
        assert_eq!(web.http("shop.example.com", path), Some("abc.thumb"));
        assert_eq!(web.http("other.example.com", path), None);
        assert_eq!(web.http("other.example.com", "/.well-known/acme-challenge/xyz"), None);
        assert_eq!(web.http("shop.example.com", "/.well-known/acme-challenge/abc/"), None);
        assert_eq!(web.http("shop.example.com", "/.well-known/acme-challenge/"), None);
    }

    #[test]
    fn what_did_not_change_is_kept() {
        let (one, two) = (challenge("a/a", "one.example", "1"), challenge("b/b", "two.example", "2"));
        let before = tables(&snapshot(&[one.clone(), two.clone()]), &ByGateway::new());
        let after = tables(&snapshot(&[one, challenge("b/b", "two.example", "2")]), &before);
        let same = |gateway: &str| {
            let gateway = ir::GatewayKey::new(gateway);
            Arc::ptr_eq(&before[&gateway], &after[&gateway])
        };
        assert!(same("a/a") && !same("b/b"));
        assert!(tables(&snapshot(&[]), &after).is_empty());
    }
}
