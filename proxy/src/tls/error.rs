//! What can be wrong with the TLS side of a listener.

use sluice_ir::{CertificateKey, HostPattern};

/// Why a certificate or a listener could not be used. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The listener names a certificate that the snapshot does not have.
    #[error("{key}: no such certificate")]
    Unknown {
        /// The certificate.
        key: CertificateKey,
    },
    /// The chain is no PEM, or holds no certificate.
    #[error("{key}: tls.crt: {reason}")]
    Chain {
        /// The certificate.
        key: CertificateKey,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is no PEM, or of a kind that can't sign.
    #[error("{key}: tls.key: {reason}")]
    PrivateKey {
        /// The certificate.
        key: CertificateKey,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key does not belong to the leaf certificate, or the leaf can't be read.
    #[error("{key}: tls.crt and tls.key do not fit: {source}")]
    Mismatch {
        /// The certificate.
        key: CertificateKey,
        /// What rustls says.
        source: rustls::Error,
    },
    /// None of the listener's certificates can be used: handshakes for the host are refused.
    #[error("listener for {host}: none of its certificates can be used")]
    NoCertificate {
        /// The listener's host.
        host: HostPattern,
    },
    /// The authorities of client certificates can't be used: handshakes for the listener's host are refused.
    #[error("authorities of client certificates: {reason}")]
    Authorities {
        /// What is wrong with them.
        reason: String,
    },
    /// rustls refuses the settings.
    #[error("TLS configuration: {source}")]
    Config {
        /// What rustls says.
        source: rustls::Error,
    },
    /// No randomness for ticket keys.
    #[error("TLS ticket keys: {source}")]
    Tickets {
        /// What rustls says.
        source: rustls::Error,
    },
}
