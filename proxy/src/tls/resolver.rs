//! Which of a listener's certificates a client gets.

use super::keyring::Parsed;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// The listener's certificates in the order of the manifest.
pub(super) struct ByName(Box<[Arc<Parsed>]>);

impl ByName {
    /// At least one certificate.
    pub(super) fn new(certificates: Vec<Arc<Parsed>>) -> Self {
        Self(certificates.into())
    }

    /// Whether one of them names the server.
    pub(super) fn covers(&self, server: &str) -> bool {
        self.0.iter().any(|parsed| parsed.source.names.iter().any(|name| covers(name, server)))
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<Arc<CertifiedKey>> {
        self.0.iter().map(|parsed| parsed.key.clone()).collect()
    }
}

impl ResolvesServerCert for ByName {
    /// The first that names the server and signs as the client can verify; else the first that signs so; else the
    /// first, with which the handshake fails by the right alert.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |parsed: &&Arc<Parsed>| parsed.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = hello.server_name().and_then(|server| {
            self.0
                .iter()
                .filter(signs)
                .find(|parsed| parsed.source.names.iter().any(|name| covers(name, server)))
        });
        let chosen = named.or_else(|| self.0.iter().find(signs)).or_else(|| self.0.first());
        chosen.map(|parsed| parsed.key.clone())
    }
}

/// No certificate: what a host's own stand in the place of.
#[derive(Debug)]
pub(super) struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Whether a certificate's DNS name covers the server name; its wildcard spans exactly one label (RFC 9525 §6.3).
fn covers(name: &str, server: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(suffix) => server
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix)),
        None => name.eq_ignore_ascii_case(server),
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|parsed| parsed.source.key.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_wildcard_of_a_certificate_spans_one_label() {
        assert!(covers("*.example.com", "A.example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", ".example.com"));
        assert!(covers("example.com", "Example.com"));
    }
}
