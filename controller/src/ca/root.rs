//! Making and reading certificates. Pure but for the randomness of keys; time comes in.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const DAY_S: u64 = 24 * 3600;

/// What an authority is for.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Its common name.
    pub(crate) name: &'static str,
    /// How long it is valid.
    pub(crate) life: Duration,
    /// The next one is made when it ends within this time.
    pub(crate) next_before: Duration,
}

/// What data planes know the controller by.
pub(crate) const CONTROLLER: Profile = Profile {
    name: "sluice-controller authority",
    life: Duration::from_secs(365 * DAY_S),
    next_before: Duration::from_secs(120 * DAY_S),
};

/// Life of a serving certificate.
pub(super) const LEAF_LIFE: Duration = Duration::from_secs(48 * 3600);
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(3600);

/// Why a certificate can't be made or read. Holds no key.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Making failed.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What is there is no authority.
    #[error("{0}")]
    Read(String),
}

/// An authority: certificate and key. Does not print its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Root {
    /// A new authority that is valid for a year from `now`.
    ///
    /// # Errors
    /// When the key can't be made.
    pub fn generate(now: SystemTime) -> Result<Self, CaError> {
        Self::of(&CONTROLLER, now)
    }

    /// A new authority for a purpose.
    pub(crate) fn of(profile: &Profile, now: SystemTime) -> Result<Self, CaError> {
        let mut params = params(profile.name, now, profile.life);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Self::read(&certificate, &key.serialize_pem())
    }

    /// Reads certificate and key.
    ///
    /// # Errors
    /// When they are no authority or don't belong together.
    pub fn read(certificate: &str, key: &str) -> Result<Self, CaError> {
        let (not_before, not_after) = validity(certificate)?;
        let pair = KeyPair::from_pem(key).map_err(|_| CaError::Read("the key can't be read".to_owned()))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| CaError::Read(format!("the certificate can't be read: {error}")))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CaError::Read(format!("the certificate can't be read: {error}")))?;
        if !parsed.is_ca() {
            return Err(CaError::Read("the certificate is not that of an authority".to_owned()));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(CaError::Read("certificate and key don't belong together".to_owned()));
        }
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), not_before, not_after })
    }

    /// The certificate as PEM, for those who are to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A serving certificate for these DNS names, valid for two days from `now`. Its key is in memory only.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn sign(&self, names: &[String], now: SystemTime) -> Result<CertifiedKey, CaError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        let basics = params_of(&names.first().cloned().unwrap_or_default());
        params.distinguished_name = basics;
        set_validity(&mut params, now, LEAF_LIFE);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| CaError::Read(format!("the new key can't be used: {error}")))?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

/// First and last moment of a certificate.
pub(crate) fn validity(certificate: &str) -> Result<(SystemTime, SystemTime), CaError> {
    let unreadable =
        |error: &dyn fmt::Display| CaError::Read(format!("the certificate can't be read: {error}"));
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| unreadable(&error))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| unreadable(&error))?;
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

fn params(name: &str, now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = params_of(name);
    set_validity(&mut params, now, life);
    params
}

fn params_of(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    // X.520: at most 64 characters.
    distinguished.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    distinguished
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + since_epoch(now).saturating_sub(SKEW);
    params.not_after = date_time_ymd(1970, 1, 1) + since_epoch(now) + life;
}
