//! The certificate that a listener shows while it waits for its own, when it is told to: self-signed, one for the
//! process, good for no name.

use super::keyring::Parsed;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_ir::{Certificate, CertificateKey, Origin, SecretBytes};
use std::sync::{Arc, OnceLock};

/// Its name: one that nobody can have (RFC 2606).
const NAME: &str = "waiting-for-its-certificate.invalid";

/// The certificate; `None` only when the system gives no randomness.
pub(super) fn placeholder(provider: &CryptoProvider) -> Option<Arc<Parsed>> {
    static MADE: OnceLock<Option<Arc<Parsed>>> = OnceLock::new();
    MADE.get_or_init(|| make(provider)).clone()
}

fn make(provider: &CryptoProvider) -> Option<Arc<Parsed>> {
    let pair = KeyPair::generate().ok()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).ok()?.self_signed(&pair).ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = provider.key_provider.load_private_key(key).ok()?;
    let source = Certificate {
        key: CertificateKey::new("self-signed"),
        origin: Origin::new("Secret", "", ""),
        names: vec![NAME.to_owned()],
        chain: SecretBytes::new(Vec::new()),
        private_key: SecretBytes::new(Vec::new()),
        staple: None,
        on_demand: None,
    };
    let key = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
    Some(Arc::new(Parsed { source: Arc::new(source), key }))
}
