//! For tests: an authority, certificates of it that must be stapled, and what a responder says of them.

#![allow(clippy::unwrap_used)]

use super::der::{BIT_STRING, ENUMERATED, EXPLICIT_0, GENERALIZED_TIME, OCTET_STRING, OID, SEQUENCE, value};
use super::need::Need;
use super::request::CertId;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, SigningKey,
};
use rustls_pki_types::CertificateDer;
use sluice_ir::{Certificate, CertificateKey, Origin, SecretBytes};
use std::sync::Arc;

/// 2026-01-01 12:00 UTC, amid [`FROM`] and [`UNTIL`].
pub(super) const NOON_S: i64 = 1_767_268_800;
const FROM: &str = "20260101000000Z";
const UNTIL: &str = "20260102000000Z";
/// `CertStatus`: good; revoked at a time; unknown.
pub(super) const GOOD: &[u8] = &[0x80, 0];
pub(super) const UNKNOWN: &[u8] = &[0x82, 0];

pub(super) fn revoked() -> Vec<u8> {
    value(0xa1, &[&value(GENERALIZED_TIME, &[b"20251231000000Z"])])
}

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate that answers in the place of its issuer, or would like to.
pub(super) struct Delegate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn key(&self) -> &KeyPair {
        self.0.key()
    }

    /// A certificate that must be stapled, with its issuer, in PEM.
    pub(super) fn must_staple(&self, responder: &str) -> String {
        let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        // TLS feature (RFC 7633): status_request.
        let feature = value(SEQUENCE, &[&[0x02, 0x01, 5]]);
        let url = value(0x86, &[responder.as_bytes()]);
        let ocsp = value(OID, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1]]);
        let access = value(SEQUENCE, &[&value(SEQUENCE, &[&ocsp, &url])]);
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], feature),
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access),
        ];
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap();
        leaf.pem() + &self.0.pem()
    }

    /// A certificate for a responder, until the first day of this year.
    pub(super) fn delegate(&self, purpose: ExtendedKeyUsagePurpose, until_year: i32) -> Delegate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![purpose];
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        Delegate { certificate: params.signed_by(&key, &self.0).unwrap().der().clone(), key }
    }
}

/// What `signer` responds of a certificate, with the certificates that it sends along.
pub(super) fn response(signer: &KeyPair, id: &CertId, status: &[u8], along: &[&Delegate]) -> Vec<u8> {
    let time = |text: &str| value(GENERALIZED_TIME, &[text.as_bytes()]);
    let next = value(EXPLICIT_0, &[&time(UNTIL)]);
    let single = value(SEQUENCE, &[&id.encoded(), status, &time(FROM), &next]);
    // ResponderID by key: nobody looks at it.
    let responder = value(0xa2, &[&value(OCTET_STRING, &[&[0; 20]])]);
    let data = value(SEQUENCE, &[&responder, &time(FROM), &value(SEQUENCE, &[&single])]);
    let algorithm = value(SEQUENCE, &[&value(OID, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]])]);
    let signature = value(BIT_STRING, &[&[0], &signer.sign(&data).unwrap()]);
    let along: Vec<&[u8]> = along.iter().map(|it| it.certificate.as_ref()).collect();
    let along = value(EXPLICIT_0, &[&value(SEQUENCE, &along)]);
    let basic = value(SEQUENCE, &[&data, &algorithm, &signature, &along]);
    let kind = value(OID, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]]);
    let bytes = value(SEQUENCE, &[&kind, &value(OCTET_STRING, &[&basic])]);
    value(SEQUENCE, &[&value(ENUMERATED, &[&[0]]), &value(EXPLICIT_0, &[&bytes])])
}

/// What a staple is asked for with.
pub(super) fn need(chain: &str) -> Need {
    super::need::of(chain.as_bytes()).unwrap().unwrap()
}

/// As the translation hands it out.
pub(super) fn certificate(chain: &str) -> Arc<Certificate> {
    Arc::new(Certificate {
        key: CertificateKey::new("Secret/edge/web"),
        origin: Origin::new("Secret", "edge", "web"),
        names: vec!["a.example.com".to_owned()],
        chain: SecretBytes::new(chain.as_bytes().to_vec()),
        private_key: SecretBytes::new(Vec::new()),
        staple: None,
        on_demand: None,
    })
}
