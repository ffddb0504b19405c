//! Certificates of workloads (X509-SVID): whether one may be believed, and whose it is.
//!
//! One place for both sides of a connection between workloads and for the authority that renews by certificate. A
//! certificate is believed when it leads to a root that has not ended, is an end's and not an authority's, may be used
//! for what it is used for, and names exactly one identity. Nothing else of it counts: neither a common name nor a DNS name.

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sluice_ir::{NotASpiffeId, SpiffeId};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Most roots of a bundle.
const MOST_ROOTS: usize = 64;
/// Most certificates that a peer may show.
const MOST_SHOWN: usize = 16;

/// Every suite, group and signature that there is.
pub static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// Why a certificate is not believed, or a bundle of roots not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// There is none.
    #[error("no certificate was shown")]
    Absent,
    /// It is not what certificates of workloads are.
    #[error("it is no certificate of a workload: {0}")]
    Form(&'static str),
    /// Its name is no identity.
    #[error("{0}")]
    Name(#[from] NotASpiffeId),
    /// It does not lead to a root, has ended, or may not be used for this.
    #[error("{0}")]
    Chain(webpki::Error),
    /// A bundle of roots can't be used.
    #[error("the roots can't be used: {0}")]
    Roots(String),
}

impl From<SvidError> for rustls::Error {
    /// As the alert that TLS has for it.
    fn from(error: SvidError) -> Self {
        let refused = match error {
            SvidError::Absent => return Self::NoCertificatesPresented,
            SvidError::Chain(webpki::Error::CertExpired { .. }) => CertificateError::Expired,
            SvidError::Chain(webpki::Error::CertNotValidYet { .. }) => CertificateError::NotValidYet,
            SvidError::Chain(webpki::Error::UnknownIssuer) => CertificateError::UnknownIssuer,
            other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
        };
        Self::InvalidCertificate(refused)
    }
}

/// What the certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// By who accepts connections.
    Server,
    /// By who opens them.
    Client,
}

/// The roots of a mesh. A root is trusted until it ends, which certificates of roots alone don't bring about.
pub struct Roots {
    /// By their bytes.
    roots: Vec<Root>,
    /// When the first of them ends.
    first_end: UnixTime,
}

struct Root {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    end: UnixTime,
}

impl Roots {
    /// From certificates in PEM, one after the other. Those that come twice count once.
    ///
    /// # Errors
    /// When there is none, there are more than 64, or one of them is no authority's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SvidError> {
        let mut roots: Vec<Root> = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let root = Root::read(certificate.map_err(|error| SvidError::Roots(error.to_string()))?)?;
            if !roots.iter().any(|it| it.certificate == root.certificate) {
                roots.push(root);
            }
            if roots.len() > MOST_ROOTS {
                return Err(SvidError::Roots(format!("there are more than {MOST_ROOTS}")));
            }
        }
        roots.sort_by(|a, b| a.certificate.cmp(&b.certificate));
        let first_end = roots.iter().map(|it| it.end).min();
        let first_end = first_end.ok_or_else(|| SvidError::Roots("there is none".to_owned()))?;
        Ok(Self { roots, first_end })
    }

    /// When the first of them ends.
    pub fn first_end(&self) -> UnixTime {
        self.first_end
    }

    /// The certificates, in the order of their bytes.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|it| &it.certificate)
    }

    /// Whose chain it is: the peer's own certificate first. Costs the signatures of the chain.
    ///
    /// # Errors
    /// When the chain is not to be believed.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<SpiffeId, SvidError> {
        let (leaf, intermediates) = chain.split_first().ok_or(SvidError::Absent)?;
        if intermediates.len() >= MOST_SHOWN {
            return Err(SvidError::Form("too many certificates come with it"));
        }
        let id = judge(leaf, usage)?;
        let end = EndEntityCert::try_from(leaf).map_err(SvidError::Chain)?;
        let usage = match usage {
            Usage::Server => KeyUsage::server_auth(),
            Usage::Client => KeyUsage::client_auth(),
        };
        let anchors: Vec<TrustAnchor<'_>> =
            self.roots.iter().filter(|it| it.end >= now).map(|it| it.anchor.clone()).collect();
        let algorithms = algorithms().all;
        end.verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None)
            .map_err(SvidError::Chain)?;
        Ok(id)
    }
}

impl Root {
    fn read(certificate: CertificateDer<'static>) -> Result<Self, SvidError> {
        let unusable = |reason: &str| SvidError::Roots(reason.to_owned());
        let parsed = parse(&certificate).map_err(|_| unusable("one of them is no certificate"))?;
        if !parsed.is_ca() {
            return Err(unusable("one of them is not the certificate of an authority"));
        }
        let end = time(parsed.validity().not_after.timestamp());
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| unusable(&error.to_string()))?
            .to_owned();
        Ok(Self { anchor, end, certificate })
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.certificates().eq(other.certificates())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// Whose certificate it is by its own word: only of one that [`Roots::verify`] has let through.
///
/// # Errors
/// When it names no identity, or several.
pub fn id_of(leaf: &CertificateDer<'_>) -> Result<SpiffeId, SvidError> {
    named(&parse(leaf)?)
}

/// First and last moment of a certificate.
///
/// # Errors
/// When it can't be read.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(UnixTime, UnixTime), SvidError> {
    let parsed = parse(certificate)?;
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

/// The signatures that are taken: those of the provider.
pub fn algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, SvidError> {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) | Err(_) => Err(SvidError::Form("it can't be read")),
    }
}

fn time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// Everything about the leaf that its chain does not say (X509-SVID §2, §4).
fn judge(leaf: &CertificateDer<'_>, usage: Usage) -> Result<SpiffeId, SvidError> {
    let parsed = parse(leaf)?;
    let twice = |_| SvidError::Form("an extension is there twice or can't be read");
    if parsed.basic_constraints().map_err(twice)?.is_some_and(|it| it.value.ca) {
        return Err(SvidError::Form("it is an authority's"));
    }
    let uses = parsed.key_usage().map_err(twice)?;
    let uses = uses.ok_or(SvidError::Form("it has no key usage"))?.value;
    if !uses.digital_signature() || uses.key_cert_sign() || uses.crl_sign() {
        return Err(SvidError::Form("its key may not sign handshakes, or may sign certificates"));
    }
    let purposes = parsed.extended_key_usage().map_err(twice)?;
    let purposes = purposes.ok_or(SvidError::Form("it has no extended key usage"))?.value;
    let fits = match usage {
        Usage::Server => purposes.server_auth,
        Usage::Client => purposes.client_auth,
    };
    if !fits {
        return Err(SvidError::Form("it is for another purpose"));
    }
    named(&parsed)
}

/// The one identity (X509-SVID §2: exactly one URI).
fn named(certificate: &X509Certificate<'_>) -> Result<SpiffeId, SvidError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| SvidError::Form("its names can't be read"))?
        .ok_or(SvidError::Form("it has no names"))?;
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(SvidError::Form("one of its names can't be read")),
            _ => {}
        }
    }
    match uris.as_slice() {
        [uri] => Ok(uri.parse()?),
        [] => Err(SvidError::Form("it names no URI")),
        _ => Err(SvidError::Form("it names several URIs")),
    }
}

/// Shows one certificate in every handshake, on either side.
#[derive(Debug)]
pub struct Shown(pub Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
