//! Whether a certificate asks for a staple, and what is needed to get one.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::{Oid, oid};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// `id-pe-tlsfeature` (RFC 7633).
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
/// The same in DER, for a look that costs nothing: most certificates do without.
const TLS_FEATURE_DER: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 1, 24];
/// A TLS feature is the number of an extension; this one is `status_request` (RFC 6066).
const STATUS_REQUEST: [u8; 3] = [0x02, 0x01, 5];
/// `id-ad-ocsp`.
const OCSP: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1);

/// What a staple is asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) leaf: CertificateDer<'static>,
    pub(super) issuer: CertificateDer<'static>,
    /// URL of the responder.
    pub(super) responder: String,
}

/// Why a certificate that asks for a staple can't have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lack {
    /// Nobody to ask.
    #[error("it must be stapled and names no OCSP responder")]
    Responder,
    /// Nobody whose signature could be checked.
    #[error("it must be stapled and tls.crt lacks its issuer")]
    Issuer,
}

/// `None`: it asks for none. `Err`: it does, and can't have one.
pub(super) fn of(chain_pem: &[u8]) -> Option<Result<Need, Lack>> {
    let mut chain = CertificateDer::pem_slice_iter(chain_pem).map_while(Result::ok);
    let leaf = chain.next()?;
    if !leaf.windows(TLS_FEATURE_DER.len()).any(|window| window == TLS_FEATURE_DER) {
        return None;
    }
    let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
    let feature = parsed.get_extension_unique(&TLS_FEATURE).ok()??;
    if !feature.value.windows(STATUS_REQUEST.len()).any(|window| window == STATUS_REQUEST) {
        return None;
    }
    let Some(responder) = responder(&parsed) else {
        return Some(Err(Lack::Responder));
    };
    let Some(issuer) = chain.next() else {
        return Some(Err(Lack::Issuer));
    };
    Some(Ok(Need { leaf: leaf.clone(), issuer, responder }))
}

/// The first responder of the authority information access (RFC 5280 §4.2.2.1).
fn responder(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().find_map(|it| match &it.access_location {
                GeneralName::URI(uri) if it.access_method == OCSP => Some((*uri).to_owned()),
                _ => None,
            })
        }
        _ => None,
    })
}
