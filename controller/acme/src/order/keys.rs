//! Keys, certificate requests, and the certificate of TLS-ALPN-01.

use crate::{Answer, KeyType, Secret};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
};

/// A new key as PEM (PKCS#8). RSA takes up to seconds, so it is made on a thread that may block.
pub(crate) async fn generate(kind: KeyType) -> Result<String, String> {
    let made = tokio::task::spawn_blocking(move || match kind {
        KeyType::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    });
    let made = made.await.map_err(|error| error.to_string())?;
    made.map(|pair| pair.serialize_pem()).map_err(|error| error.to_string())
}

/// A certificate request for the names, DER.
pub(crate) fn request(key: &str, names: &[String]) -> Result<Vec<u8>, String> {
    let make = || {
        let pair = KeyPair::from_pem(key)?;
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = DistinguishedName::new();
        Ok::<_, rcgen::Error>(parameters.serialize_request(&pair)?.der().to_vec())
    };
    make().map_err(|error| format!("no certificate request can be made: {error}"))
}

/// The public key of a private one, as it stands in its certificate.
pub(crate) fn public(key: &str) -> Option<Vec<u8>> {
    use rcgen::PublicKeyData as _;
    Some(KeyPair::from_pem(key).ok()?.subject_public_key_info())
}

/// The self-signed certificate that proves a host by TLS-ALPN-01 (RFC 8737 §3). `digest` is the SHA-256 of the key
/// authorization.
pub(crate) fn tls_alpn(host: &str, digest: &[u8]) -> Result<Answer, String> {
    let make = || {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = parameters.self_signed(&pair)?.der().to_vec();
        Ok::<_, rcgen::Error>(Answer::TlsAlpn { certificate, key: Secret::new(pair.serialize_der()) })
    };
    make().map_err(|error| format!("no TLS-ALPN-01 certificate can be made for {host}: {error}"))
}

/// The word of a key type in records.
pub(crate) const fn word(kind: KeyType) -> &'static str {
    match kind {
        KeyType::EcdsaP256 => "ecdsa-p256",
        KeyType::EcdsaP384 => "ecdsa-p384",
        KeyType::Rsa2048 => "rsa-2048",
        KeyType::Rsa3072 => "rsa-3072",
        KeyType::Rsa4096 => "rsa-4096",
    }
}

#[cfg(test)]
mod tests {
    use super::{generate, public, request, word};
    use crate::KeyType;
    use rustls_pki_types::pem::PemObject as _;

    #[tokio::test]
    async fn each_key_type_makes_a_key_that_signs_a_request_of_the_names() {
        let names = ["a.example.com".to_owned(), "*.example.com".to_owned()];
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            let key = generate(kind).await.unwrap();
            assert!(
                rustls_pki_types::PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).is_ok(),
                "{}",
                word(kind)
            );
            let request = request(&key, &names).unwrap();
            let der = rustls_pki_types::CertificateSigningRequestDer::from(request);
            let read = rcgen::CertificateSigningRequestParams::from_der(&der).unwrap();
            assert_eq!(read.params.subject_alt_names.len(), 2);
            assert!(public(&key).is_some_and(|it| it.len() > 60));
        }
    }
}
