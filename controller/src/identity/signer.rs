//! What signs certificates of workloads. Pure but for randomness: time comes in.

use super::csr::Key;
use super::pem::Certificate;
use crate::ca::{CaError, Root};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};
use sluice_ir::SpiffeId;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clocks may differ by so much, or by a twentieth of the certificate's life if that is less.
const SKEW: Duration = Duration::from_secs(600);

/// An authority with its key, and the way from it to its root. Does not print its key.
pub(super) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    /// Between a workload's certificate and the root.
    chain: Vec<Certificate>,
    /// Fingerprint of the root that it leads to.
    root: String,
    /// When the first of chain and root ends.
    not_after: SystemTime,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Signer {
    /// An authority whose certificate leads by `chain` (itself first, unless it is the root) to `root`.
    pub(super) fn new(
        authority: &Root,
        chain: Vec<Certificate>,
        root: &Certificate,
        not_after: SystemTime,
    ) -> Result<Self, CaError> {
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
        Ok(Self { issuer, chain, root: root.fingerprint(), not_after })
    }

    /// Fingerprint of the root that it leads to.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// When what it signs ends at the latest.
    pub(super) fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Certificates between a workload's and the root.
    pub(super) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Its public key.
    pub(super) fn key(&self) -> &[u8] {
        self.issuer.key().public_key_raw()
    }

    /// A certificate for a key, valid for `life` from `now` but never longer than the authority is.
    pub(super) fn sign(
        &self,
        id: &SpiffeId,
        key: &Key,
        life: Duration,
        now: SystemTime,
    ) -> Result<Certificate, CaError> {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            return Err(CaError::Read("the authority has ended".to_owned()));
        }
        let life = life.min(left);
        let mut params = CertificateParams::default();
        // Without a subject the names are critical (RFC 5280 §4.2.1.6).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if key.is_rsa {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        let begin = now.checked_sub(SKEW.min(life / 20)).unwrap_or(now);
        let moment = |time: SystemTime| {
            date_time_ymd(1970, 1, 1) + time.duration_since(UNIX_EPOCH).unwrap_or_default()
        };
        (params.not_before, params.not_after) = (moment(begin), moment(now + life));
        let certificate = params.signed_by(&key.public, &self.issuer)?;
        Ok(Certificate::new(certificate.der().clone()))
    }
}

/// Random, so that no two certificates of a key share one; positive (RFC 5280 §4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from(bytes.to_vec())
}
