//! A chain and its private key as rustls wants them.

use super::TlsError;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sluice_ir::Certificate;

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
    let mut certified = CertifiedKey::new(chain, key);
    certified.ocsp = certificate.staple.as_ref().map(|staple| staple.expose().to_vec());
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(source) => Err(TlsError::Mismatch { key: named(), source }),
    }
}
