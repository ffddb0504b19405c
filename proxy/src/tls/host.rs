//! One host of a port: its certificates, and the terms it shares with others.

use super::keyring::{Keyring, Parsed};
use super::placeholder::placeholder;
use super::resolver::ByName;
use super::terms::{PROVIDER, Shared, Terms};
use super::{Chosen, TlsError};
use rustls::ServerConfig;
use sluice_ir::{Certificate, CertificateKey, HostPattern, Tls};
use std::sync::Arc;

/// A host as its listener wants it, and what came of that.
#[derive(Debug)]
pub(super) struct HostTls {
    /// To see whether it still wants the same.
    pub(super) wanted: Tls,
    /// No other listener answers in the place of one that is not served.
    pub(super) outcome: Outcome,
}

/// What came of a host.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has a certificate.
    Served(Served),
    /// It has none yet, and says so itself.
    Waits,
    /// It can't be served, and why.
    Refused(Box<str>),
}

/// What a handshake needs.
#[derive(Debug)]
pub(super) struct Served {
    terms: Arc<Shared>,
    certificates: Arc<ByName>,
}

impl Served {
    /// The configuration of one handshake: a few pointers are copied, next to which the signature costs a hundred
    /// times as much. So ten thousand hosts need no configuration each.
    pub(super) fn chosen(&self) -> Chosen {
        let mut config = ServerConfig::clone(&self.terms.config);
        config.cert_resolver = self.certificates.clone();
        Chosen {
            config: Arc::new(config),
            judge: self.terms.asked.judge(),
            has_own_order: self.terms.has_own_order,
        }
    }

    #[cfg(test)]
    pub(super) fn shares_terms_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.terms, &other.terms)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<Arc<rustls::sign::CertifiedKey>> {
        self.certificates.keys()
    }
}

impl HostTls {
    /// Whether a certificate is obtained at the handshake: the listener wants that, and none that it has is good for the
    /// name.
    pub(super) fn is_asked_for(&self, server_name: Option<&str>) -> bool {
        self.wanted.on_demand.is_some()
            && server_name.is_some_and(|name| match &self.outcome {
                Outcome::Served(served) => !served.certificates.covers(name),
                Outcome::Waits => true,
                Outcome::Refused(_) => false,
            })
    }

    /// Certificates that can't be used are left out; the host is refused only when none is left for it.
    pub(super) fn build(
        host: &HostPattern,
        wanted: &Tls,
        certificate: impl Fn(&CertificateKey) -> Option<Arc<Certificate>>,
        keyring: &mut Keyring,
        terms: &mut Terms,
    ) -> Self {
        let shows_own = wanted.self_signed_meanwhile && wanted.on_demand.is_none();
        if wanted.certificates.is_empty() && !shows_own {
            return Self { wanted: wanted.clone(), outcome: Outcome::Waits };
        }
        let mut usable: Vec<Arc<Parsed>> = Vec::with_capacity(wanted.certificates.len());
        let mut problems = Vec::new();
        for key in &wanted.certificates {
            let found = certificate(key).ok_or_else(|| TlsError::Unknown { key: key.clone() });
            match found.and_then(|found| keyring.parse(&found, &PROVIDER)) {
                Ok(parsed) => usable.push(parsed),
                Err(error) => problems.push(error),
            }
        }
        if wanted.certificates.is_empty() {
            usable.extend(placeholder(&PROVIDER));
        }
        let served = if usable.is_empty() {
            Err(TlsError::NoCertificate { host: host.clone() })
        } else {
            terms.of(wanted).map(|terms| Served { terms, certificates: Arc::new(ByName::new(usable)) })
        };
        for problem in &problems {
            tracing::warn!(%host, %problem, "a certificate can't be used");
        }
        let outcome = match served {
            Ok(served) => Outcome::Served(served),
            Err(error) => {
                problems.push(error);
                let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Outcome::Refused(all.join("; ").into())
            }
        };
        Self { wanted: wanted.clone(), outcome }
    }
}
