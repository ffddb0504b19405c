//! Certificates parsed once by content, however many listeners, ports and reloads use them.

use super::{TlsError, certified};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use sluice_ir::{Certificate, CertificateKey};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// SHA-256 over chain, private key and staple.
type ContentId = [u8; 32];

/// A certificate ready to sign.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The snapshot's resource: to recognise it by pointer, and for its names.
    pub(super) source: Arc<Certificate>,
    /// Chain and key.
    pub(super) key: Arc<CertifiedKey>,
}

/// Parsed certificates by key and by content. It holds none of them: who serves them does.
#[derive(Debug, Default)]
pub struct Keyring {
    by_key: HashMap<CertificateKey, Weak<Parsed>>,
    by_content: HashMap<ContentId, Weak<CertifiedKey>>,
    /// Number of entries at which those whose certificate is gone are swept out.
    sweep_at: usize,
}

/// Fewer entries than these are never swept.
const FEW: usize = 64;

impl Keyring {
    /// The parsed certificate: known by pointer (no cost), else by content (one hash), else parsed.
    pub(super) fn parse(
        &mut self,
        certificate: &Arc<Certificate>,
        provider: &CryptoProvider,
    ) -> Result<Arc<Parsed>, TlsError> {
        let known = self.by_key.get(&certificate.key).and_then(Weak::upgrade);
        if let Some(parsed) = known.filter(|parsed| Arc::ptr_eq(&parsed.source, certificate)) {
            return Ok(parsed);
        }
        let id = content(certificate);
        let key = match self.by_content.get(&id).and_then(Weak::upgrade) {
            Some(key) => key,
            None => Arc::new(certified(certificate, provider)?),
        };
        let parsed = Arc::new(Parsed { source: certificate.clone(), key });
        self.by_content.insert(id, Arc::downgrade(&parsed.key));
        self.by_key.insert(certificate.key.clone(), Arc::downgrade(&parsed));
        self.sweep();
        Ok(parsed)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Keeps the tables at most twice as large as what is served.
    fn sweep(&mut self) {
        if self.by_key.len().max(self.by_content.len()) < self.sweep_at.max(FEW) {
            return;
        }
        self.by_key.retain(|_, parsed| parsed.strong_count() > 0);
        self.by_content.retain(|_, key| key.strong_count() > 0);
        self.sweep_at = 2 * self.by_key.len().max(self.by_content.len());
    }
}

fn content(certificate: &Certificate) -> ContentId {
    let mut hash = Sha256::new();
    // The lengths in front keep the parts apart.
    for part in [&certificate.chain, &certificate.private_key] {
        hash.update((part.expose().len() as u64).to_be_bytes());
        hash.update(part.expose());
    }
    hash.update(certificate.staple.as_ref().map_or(&[][..], |staple| staple.expose()));
    hash.finalize().into()
}
