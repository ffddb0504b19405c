//! Certificate signing requests (PKCS #10, RFC 2986): of one only its key is taken, if whoever asks holds it.

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

/// Longest request, in bytes of PEM: RSA with 8192 bits fits several times.
const LONGEST: usize = 16 * 1024;
/// Bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsrError {
    #[error("the signing request is longer than 16 KiB")]
    Long,
    #[error("the signing request can't be read: one CERTIFICATE REQUEST in PEM is needed")]
    Form,
    #[error(
        "the key of the signing request must be ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"
    )]
    Key,
    #[error("the signing request is not signed by its key")]
    Signature,
}

/// The key that a certificate is to be for.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) public: SubjectPublicKeyInfo,
    pub(super) is_rsa: bool,
}

/// The key of a request.
pub(super) fn read(pem: &str) -> Result<Key, CsrError> {
    if pem.len() > LONGEST {
        return Err(CsrError::Long);
    }
    let mut requests = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
    let (Some(Ok(der)), None) = (requests.next(), requests.next()) else { return Err(CsrError::Form) };
    let Ok(([], request)) = X509CertificationRequest::from_der(&der) else { return Err(CsrError::Form) };
    let key = &request.certification_request_info.subject_pki;
    let is_rsa = is_taken(key).ok_or(CsrError::Key)?;
    let by = &request.signature_algorithm.algorithm;
    let is_weak = *by == OID_PKCS1_SHA1WITHRSA || *by == OID_SHA1_WITH_RSA;
    if is_weak || request.signature_value.unused_bits != 0 {
        return Err(CsrError::Signature);
    }
    request.verify_signature().map_err(|_| CsrError::Signature)?;
    let public = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| CsrError::Key)?;
    Ok(Key { public, is_rsa })
}

/// Whether a key is taken, and then whether it is RSA.
fn is_taken(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<bool> {
    let algorithm = &key.algorithm;
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref()?.as_oid().ok()?;
        return (curve == OID_EC_P256 || curve == OID_NIST_EC_P384).then_some(false);
    }
    if algorithm.algorithm == OID_SIG_ED25519 {
        return Some(false);
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION => {
            RSA_BITS.contains(&rsa.key_size()).then_some(true)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{CsrError, Key, read};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize,
    };

    fn request(key: &KeyPair) -> String {
        CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn the_key_of_a_request_is_taken_whatever_it_names() {
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let others = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519]
            .map(|algorithm| KeyPair::generate_for(algorithm).unwrap());
        for key in others.iter().chain([&rsa]) {
            let mut params = CertificateParams::new(vec!["admin.kube-system.svc".to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "admin");
            let csr = params.serialize_request(key).unwrap().pem().unwrap();
            let Key { public, is_rsa } = read(&csr).unwrap();
            assert_eq!(public.subject_public_key_info(), key.subject_public_key_info());
            assert_eq!(is_rsa, key.is_compatible(&PKCS_RSA_SHA256));
        }
    }

    #[test]
    fn what_is_no_request_or_has_another_key_is_refused() {
        let refused = |pem: &str| read(pem).unwrap_err();
        let good = request(&KeyPair::generate().unwrap());
        assert_eq!(refused(""), CsrError::Form);
        assert_eq!(refused("nonsense"), CsrError::Form);
        assert_eq!(refused(&good.repeat(2)), CsrError::Form, "two");
        assert_eq!(refused(&good.replace(" REQUEST", "")), CsrError::Form);
        assert_eq!(refused(&"A".repeat(20_000)), CsrError::Long);
        let p521 = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
        assert_eq!(refused(&request(&p521)), CsrError::Key);
    }

    #[test]
    fn a_key_that_the_asker_does_not_hold_is_refused() {
        let good = request(&KeyPair::generate().unwrap());
        let body: String = good.lines().filter(|line| !line.starts_with("---")).collect();
        let der = STANDARD.decode(body).unwrap();
        let again = |der: &[u8]| {
            let text = STANDARD.encode(der);
            read(&format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n"))
        };
        let key = again(&der).unwrap().public.subject_public_key_info();
        // No change of a byte leads to another key, and none panics. (How the algorithm's name is tagged is not signed.)
        let mut taken = 0;
        for place in 0..der.len() {
            let mut forged = der.clone();
            forged[place] ^= 1;
            if let Ok(other) = again(&forged) {
                assert_eq!(other.public.subject_public_key_info(), key, "byte {place}");
                taken += 1;
            }
        }
        assert!(taken <= 1, "{taken}");
        let mut longer = der.clone();
        longer.push(0);
        assert!(again(&longer).is_err());
    }
}
