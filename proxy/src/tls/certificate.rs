//! Certificates parsed once by content, however many listeners and reloads use them.

use super::TlsError;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use sluice_ir::{Certificate, CertificateKey};
use std::collections::HashMap;
use std::sync::Arc;

/// SHA-256 over chain and private key.
pub(super) type ContentId = [u8; 32];

/// A certificate ready to sign.
#[derive(Clone)]
pub(super) struct Parsed {
    /// Content of chain and key.
    pub(super) id: ContentId,
    /// The snapshot's resource: to recognise it by pointer, and for its names.
    pub(super) source: Arc<Certificate>,
    /// Chain and key.
    pub(super) key: Arc<CertifiedKey>,
}

/// Parsed certificates by key and by content.
#[derive(Default)]
pub(super) struct Certificates {
    by_key: HashMap<CertificateKey, Parsed>,
    by_content: HashMap<ContentId, Arc<CertifiedKey>>,
}

impl Certificates {
    /// The parsed certificate: known by pointer (no cost), else by content (one hash), else parsed.
    pub(super) fn parse(
        &mut self,
        certificate: &Arc<Certificate>,
        previous: Option<&Self>,
        provider: &CryptoProvider,
    ) -> Result<Parsed, TlsError> {
        let same = |known: &Self| {
            let parsed = known.by_key.get(&certificate.key)?;
            Arc::ptr_eq(&parsed.source, certificate).then(|| parsed.clone())
        };
        if let Some(parsed) = same(self).or_else(|| previous.and_then(same)) {
            self.remember(&parsed);
            return Ok(parsed);
        }
        let id = content(certificate);
        let known = self.by_content.get(&id).or_else(|| previous.and_then(|it| it.by_content.get(&id)));
        let key = match known {
            Some(key) => key.clone(),
            None => Arc::new(certified(certificate, provider)?),
        };
        let parsed = Parsed { id, source: certificate.clone(), key };
        self.remember(&parsed);
        Ok(parsed)
    }

    fn remember(&mut self, parsed: &Parsed) {
        self.by_content.entry(parsed.id).or_insert_with(|| parsed.key.clone());
        self.by_key.insert(parsed.source.key.clone(), parsed.clone());
    }
}

fn content(certificate: &Certificate) -> ContentId {
    let chain = certificate.chain.expose();
    let mut hash = Sha256::new();
    // The length in front keeps chain and key apart.
    hash.update((chain.len() as u64).to_be_bytes());
    hash.update(chain);
    hash.update(certificate.private_key.expose());
    hash.finalize().into()
}

/// Chain and key, if they belong together.
pub(crate) fn certified(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let named = || certificate.key.clone();
    let chain = CertificateDer::pem_slice_iter(certificate.chain.expose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Chain { key: named(), reason: error.to_string() })?;
    if chain.is_empty() {
        return Err(TlsError::Chain { key: named(), reason: "holds no certificate".to_owned() });
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.private_key.expose())
        .map_err(|error| TlsError::PrivateKey { key: named(), reason: error.to_string() })?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsError::PrivateKey { key: named(), reason: error.to_string() })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(source) => Err(TlsError::Mismatch { key: named(), source }),
    }
}
