//! A Secret of type `kubernetes.io/tls` as a certificate: the chain parses and the key belongs to the leaf.

use crate::model::SecretModel;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sluice_crds::ObjectRef;
use sluice_ir::{Certificate, CertificateKey, Origin, SecretBytes};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Longest chain; a message below says it too.
const MAX_CHAIN: usize = 16;

/// A certificate, or why the Secret is none.
pub(crate) type CertificateOutcome = Result<Loaded, String>;

/// A certificate and how long it lasts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) certificate: Arc<Certificate>,
    /// Seconds since 1970.
    pub(crate) not_after_s: i64,
}

/// Reads the Secret; the error names it.
pub(crate) fn compute(reference: &ObjectRef, secret: Option<&SecretModel>) -> CertificateOutcome {
    let name = format!("Secret \"{}/{}\"", reference.namespace, reference.name);
    let Some(secret) = secret else { return Err(format!("{name} not found")) };
    load(secret).map_err(|message| format!("{name} {message}"))
}

fn load(secret: &SecretModel) -> Result<Loaded, String> {
    if let Some(kind) = secret.kind.as_deref().filter(|it| *it != "kubernetes.io/tls") {
        return Err(format!("has type {kind}, not kubernetes.io/tls"));
    }
    pair(&secret.reference, secret.chain.as_ref(), secret.private_key.as_ref()).map_err(str::to_owned)
}

/// A chain and its key, in PEM, of a Secret; the error says what the Secret has.
pub(crate) fn pair(
    reference: &ObjectRef,
    chain_pem: Option<&Vec<u8>>,
    key_pem: Option<&Vec<u8>>,
) -> Result<Loaded, &'static str> {
    let chain_pem = chain_pem.ok_or("has no tls.crt")?;
    let key_pem = key_pem.ok_or("has no tls.key")?;
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(chain_pem).take(MAX_CHAIN + 1) {
        chain.push(certificate.map_err(|_| "has a tls.crt that is no PEM certificate")?);
    }
    if chain.len() > MAX_CHAIN {
        return Err("has more than 16 certificates in tls.crt");
    }
    let leaf = chain.first().ok_or("has a tls.crt without a certificate")?.clone();
    let key =
        PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| "has a tls.key that is no PEM private key")?;
    let key = any_supported_type(&key)
        .map_err(|_| "has a tls.key of a kind that is not supported (RSA, ECDSA and Ed25519 are)")?;
    for certificate in &chain {
        X509Certificate::from_der(certificate)
            .map_err(|_| "has a certificate in tls.crt that does not parse")?;
    }
    CertifiedKey::new(chain.clone(), key)
        .keys_match()
        .map_err(|_| "has a tls.key that does not belong to the first certificate in tls.crt")?;
    let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|_| "has a tls.crt that does not parse")?;
    Ok(Loaded {
        not_after_s: parsed.validity().not_after.timestamp(),
        certificate: Arc::new(Certificate {
            key: CertificateKey::new(format!("Secret/{}/{}", reference.namespace, reference.name)),
            origin: Origin::new("Secret", reference.namespace.clone(), reference.name.clone()),
            names: names(&parsed),
            chain: SecretBytes::new(chain_pem.clone()),
            private_key: SecretBytes::new(key_pem.clone()),
            staple: None,
            on_demand: None,
        }),
    })
}

/// DNS names of the leaf; the common name only when there is no alternative name (RFC 6125 §6.4.4).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in &extension.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase());
            }
        }
    } else {
        let common = certificate.subject().iter_common_name().filter_map(|it| it.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    names.sort();
    names.dedup();
    names
}
