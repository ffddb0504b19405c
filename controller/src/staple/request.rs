//! An OCSP request for one certificate (RFC 6960 §4.1).

use super::der::{INTEGER, OCTET_STRING, SEQUENCE, value};
use super::need::Need;
use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// `AlgorithmIdentifier` of SHA-1: what every responder knows. It only names the certificate.
const SHA1: [u8; 11] = [0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];

/// Which certificate is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertId {
    pub(super) name_hash: Vec<u8>,
    pub(super) key_hash: Vec<u8>,
    /// As in the certificate.
    pub(super) serial: Vec<u8>,
}

impl CertId {
    /// `None`: one of both certificates can't be read.
    pub(super) fn of(need: &Need) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(&need.leaf).ok()?;
        let (_, issuer) = X509Certificate::from_der(&need.issuer).ok()?;
        let hash = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        Some(Self {
            name_hash: hash(issuer.subject().as_raw()),
            key_hash: hash(&issuer.public_key().subject_public_key.data),
            serial: leaf.raw_serial().to_vec(),
        })
    }

    /// As it stands in requests and responses.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let name = value(OCTET_STRING, &[&self.name_hash]);
        let key = value(OCTET_STRING, &[&self.key_hash]);
        let serial = value(INTEGER, &[&self.serial]);
        value(SEQUENCE, &[&SHA1, &name, &key, &serial])
    }

    /// The whole request. Without a nonce: responses are made once for all who ask.
    pub(super) fn request(&self) -> Vec<u8> {
        let request = value(SEQUENCE, &[&self.encoded()]);
        let list = value(SEQUENCE, &[&request]);
        value(SEQUENCE, &[&value(SEQUENCE, &[&list])])
    }
}
