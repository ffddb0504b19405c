//! An authority that the user brings, in the Secret `cacerts`: in Istio's form (`ca-cert.pem`, `ca-key.pem`,
//! `cert-chain.pem`, `root-cert.pem`), or as `kubernetes.io/tls` has it (`tls.crt`, `tls.key`, `ca.crt`).

use super::csr;
use super::pem::{Certificate, joined};
use super::signer::Signer;
use crate::ca::{CaError, Data, Root, validity};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::UnixTime;
use sluice_ir::SpiffeId;
use sluice_xds::svid::{Roots, Usage};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The authority, and every root that its user wants trusted.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) signer: Arc<Signer>,
    pub(super) roots: Vec<Certificate>,
}

/// Keys of the Secret in its two forms.
struct Form {
    certificate: &'static str,
    key: &'static str,
    chain: Option<&'static str>,
    roots: &'static str,
}

const ISTIO: Form = Form {
    certificate: "ca-cert.pem",
    key: "ca-key.pem",
    chain: Some("cert-chain.pem"),
    roots: "root-cert.pem",
};
const KUBERNETES: Form = Form { certificate: "tls.crt", key: "tls.key", chain: None, roots: "ca.crt" };

impl Brought {
    /// Reads the Secret and tries the authority: a certificate that it signs must be believed by who trusts the roots.
    pub(super) fn read(data: &Data, now: SystemTime) -> Result<Self, CaError> {
        let form = if data.contains_key(KUBERNETES.key) { KUBERNETES } else { ISTIO };
        let text = |name: &str| {
            let bytes = data.get(name).map(|it| it.0.as_slice()).unwrap_or_default();
            std::str::from_utf8(bytes).map_err(|_| CaError::Read(format!("{name} is no text")))
        };
        let named = |name: &str, error: &CaError| CaError::Read(format!("{name}: {error}"));
        let certificates =
            |name: &str| Certificate::all(text(name)?.as_bytes()).map_err(|error| named(name, &error));
        let own = certificates(form.certificate)?;
        let first = own.first().ok_or_else(|| CaError::Read(format!("{} is missing", form.certificate)))?;
        let roots = certificates(form.roots)?;
        if roots.is_empty() {
            return Err(CaError::Read(format!("{} is missing", form.roots)));
        }
        let authority =
            Root::read(&first.pem, text(form.key)?).map_err(|error| named(form.certificate, &error))?;
        let mut chain: Vec<Certificate> = Vec::new();
        let further = form.chain.map(certificates).transpose()?.unwrap_or_default();
        for certificate in own.iter().chain(&further) {
            // Roots are known to whoever trusts them.
            if !roots.contains(certificate) && !chain.contains(certificate) {
                chain.push(certificate.clone());
            }
        }
        Self::tried(&authority, chain, roots, now)
    }

    fn tried(
        authority: &Root,
        chain: Vec<Certificate>,
        roots: Vec<Certificate>,
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let mut not_after = authority.not_after;
        for certificate in &chain {
            not_after = not_after.min(validity(&certificate.pem)?.1);
        }
        let mut why = CaError::Read("no root vouches for the authority".to_owned());
        for root in &roots {
            let ends = not_after.min(validity(&root.pem)?.1);
            let signer = Signer::new(authority, chain.clone(), root, ends)?;
            match try_out(&signer, root, now) {
                Ok(()) => {
                    Roots::from_pem(joined(&roots).as_bytes())
                        .map_err(|error| CaError::Read(error.to_string()))?;
                    return Ok(Self { signer: Arc::new(signer), roots });
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

/// Signs a certificate for nobody, and has it judged as peers judge.
fn try_out(signer: &Signer, root: &Certificate, now: SystemTime) -> Result<(), CaError> {
    let read = |reason: &dyn std::fmt::Display| {
        CaError::Read(format!("what the authority signs would not be believed: {reason}"))
    };
    let csr = CertificateParams::default().serialize_request(&KeyPair::generate()?)?.pem()?;
    let key = csr::read(&csr).map_err(|error| read(&error))?;
    let id = SpiffeId::new("cluster.local", "none", "none").map_err(|error| read(&error))?;
    let leaf = signer.sign(&id, &key, Duration::from_secs(60), now)?;
    let mut chain = vec![leaf.der];
    chain.extend(signer.chain().iter().map(|it| it.der.clone()));
    let roots = Roots::from_pem(root.pem.as_bytes()).map_err(|error| read(&error))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    roots.verify(&chain, Usage::Server, now).map(drop).map_err(|error| read(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Brought;
    use crate::ca::Data;
    use k8s_openapi::ByteString;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
        SignatureAlgorithm, date_time_ymd,
    };
    use std::time::SystemTime;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
        match algorithm == &PKCS_RSA_SHA256 {
            true => KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048).unwrap(),
            false => KeyPair::generate_for(algorithm).unwrap(),
        }
    }

    /// Root, the one below it, and the one that signs.
    fn three(algorithm: &'static SignatureAlgorithm) -> (Ca, Ca, Ca) {
        let root = Ca::self_signed(params("root"), key(algorithm)).unwrap();
        let middle = Ca::signed_by(params("middle"), key(algorithm), &root).unwrap();
        let last = Ca::signed_by(params("last"), key(algorithm), &middle).unwrap();
        (root, middle, last)
    }

    fn data(entries: &[(&str, String)]) -> Data {
        entries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), ByteString(text.clone().into_bytes())))
            .collect()
    }

    fn istio(certificate: &Ca, key: &Ca, chain: &[&Ca], roots: &[&Ca]) -> Data {
        let all = |all: &[&Ca]| all.iter().map(|it| it.pem()).collect::<String>();
        data(&[
            ("ca-cert.pem", certificate.pem()),
            ("ca-key.pem", key.key().serialize_pem()),
            ("cert-chain.pem", all(chain)),
            ("root-cert.pem", all(roots)),
        ])
    }

    fn refused(data: &Data) -> String {
        Brought::read(data, SystemTime::now()).unwrap_err().to_string()
    }

    #[test]
    fn an_authority_is_taken_in_both_forms_with_whatever_key() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            let (root, middle, last) = three(algorithm);
            let with_all = istio(&last, &last, &[&last, &middle, &root], &[&root]);
            let without_itself = istio(&last, &last, &[&middle], &[&root]);
            let kubernetes = data(&[
                ("tls.crt", format!("{}{}", last.pem(), middle.pem())),
                ("tls.key", last.key().serialize_pem()),
                ("ca.crt", root.pem()),
            ]);
            for data in [with_all, without_itself, kubernetes] {
                let brought = Brought::read(&data, SystemTime::now()).unwrap();
                let chain: Vec<_> = brought.signer.chain().iter().map(|it| it.der.clone()).collect();
                assert_eq!(chain, [last.der().clone(), middle.der().clone()]);
                assert_eq!(brought.roots.len(), 1);
                assert_eq!(brought.signer.root(), brought.roots[0].fingerprint());
            }
        }
        // The root signs itself; another one is trusted, too.
        let (root, ..) = three(&PKCS_ECDSA_P256_SHA256);
        let (other, ..) = three(&PKCS_ECDSA_P256_SHA256);
        let brought =
            Brought::read(&istio(&root, &root, &[&root], &[&other, &root]), SystemTime::now()).unwrap();
        assert!(brought.signer.chain().is_empty() && brought.roots.len() == 2);
        assert_eq!(brought.signer.root(), brought.roots[1].fingerprint());
    }

    #[test]
    fn what_peers_would_not_believe_is_refused_with_the_reason() {
        let (root, middle, last) = three(&PKCS_ECDSA_P256_SHA256);
        let (other, ..) = three(&PKCS_ECDSA_P256_SHA256);
        assert!(refused(&Data::new()).contains("ca-cert.pem is missing"));
        let all = [&last, &middle];
        assert!(refused(&istio(&last, &other, &all, &[&root])).contains("don't belong together"));
        assert!(refused(&istio(&last, &last, &all, &[])).contains("root-cert.pem is missing"));
        assert!(refused(&istio(&last, &last, &all, &[&other])).contains("would not be believed"));
        assert!(refused(&istio(&last, &last, &[&last], &[&root])).contains("would not be believed"), "a gap");
        let mut narrow = params("narrow");
        narrow.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let narrow = Ca::signed_by(narrow, KeyPair::generate().unwrap(), &root).unwrap();
        let below = Ca::signed_by(params("below"), KeyPair::generate().unwrap(), &narrow).unwrap();
        let long = istio(&below, &below, &[&below, &narrow], &[&root]);
        assert!(refused(&long).contains("would not be believed"), "a path that is too long");
        let mut leaf = params("leaf");
        leaf.is_ca = IsCa::ExplicitNoCa;
        let leaf = Ca::signed_by(leaf, KeyPair::generate().unwrap(), &root).unwrap();
        assert!(refused(&istio(&leaf, &leaf, &[&leaf], &[&root])).contains("not that of an authority"));
        let mut ended = params("ended");
        (ended.not_before, ended.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        let ended = Ca::signed_by(ended, KeyPair::generate().unwrap(), &root).unwrap();
        assert!(refused(&istio(&ended, &ended, &[&ended], &[&root])).contains("has ended"));
        for (name, text) in
            [("ca-cert.pem", "nonsense"), ("ca-key.pem", "nonsense"), ("root-cert.pem", "nonsense")]
        {
            let mut data = istio(&last, &last, &all, &[&root]);
            data.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
            let error = refused(&data);
            assert!(!error.contains("PRIVATE") && !error.is_empty(), "{error}");
        }
    }
}
