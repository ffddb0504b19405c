//! A certificate in the store: read, judged, written.

use super::keys;
use crate::{Current, Data, Entry, Issuer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};
use x509_parser::extensions::GeneralName;

/// Files of the record.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const ABOUT: &str = "acme.json";

/// What we note beside a certificate. Its presence says that we made it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct About {
    pub(crate) issuer: String,
    pub(crate) directory: String,
    pub(crate) profile: Option<String>,
    pub(crate) key_type: String,
}

impl About {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.name.to_string(),
            directory: issuer.directory.clone(),
            profile: issuer.profile.clone(),
            key_type: keys::word(issuer.key_type).to_owned(),
        }
    }
}

/// What a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) names: BTreeSet<String>,
    public_key: Vec<u8>,
}

/// A certificate of the store.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) leaf: Leaf,
    about: About,
}

/// Why a record is not a certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Made by somebody else: never overwritten.
    Foreign,
    /// Broken: replaced.
    Broken,
}

impl Kept {
    pub(crate) fn read(entry: Entry) -> Result<Self, Unusable> {
        let about = entry.data.get(ABOUT).ok_or(Unusable::Foreign)?;
        let about = serde_json::from_str(about).map_err(|_| Unusable::Broken)?;
        let leaf = Leaf::read(entry.data.get(CHAIN).unwrap_or_default()).map_err(|_| Unusable::Broken)?;
        if !leaf.is_of(entry.data.get(KEY).unwrap_or_default()) {
            return Err(Unusable::Broken);
        }
        Ok(Self { leaf, about })
    }

    /// Whether it may be served for the names: made for exactly them, and not at its end.
    pub(crate) fn serves(&self, names: &[String], now: SystemTime) -> bool {
        self.leaf.not_after > now && self.leaf.names.iter().eq(names)
    }

    /// Whether nobody takes it any more.
    pub(crate) fn has_ended(&self, now: SystemTime) -> bool {
        self.leaf.not_after <= now
    }

    /// Whether the issuer would make the same again.
    pub(crate) fn is_of(&self, issuer: &Issuer) -> bool {
        self.about == About::new(issuer)
    }

    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.leaf.is_of(key)
    }
}

/// The record of a certificate.
pub(crate) fn data(chain: &str, key: &str, about: &About) -> Data {
    let about = serde_json::to_string(about).unwrap_or_default();
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Data([file(CHAIN, chain), file(KEY, key), file(ABOUT, &about)].into())
}

impl Leaf {
    /// Reads the first certificate of a PEM chain, and makes sure that the others are certificates too.
    pub(crate) fn read(chain: &str) -> Result<Self, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let certificates = certificates.map_err(|error| format!("the certificate can't be read: {error}"))?;
        let der = certificates.into_iter().next().ok_or("there is no certificate")?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.map(|it| it.value.general_names.as_slice()).unwrap_or_default();
        let names = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Ok(Self {
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
            names: names.collect(),
            public_key: parsed.public_key().raw.to_vec(),
            der: der.clone().into_owned(),
        })
    }

    /// Whether the private key belongs to it.
    pub(crate) fn is_of(&self, key: &str) -> bool {
        keys::public(key).is_some_and(|public| public == self.public_key)
    }

    pub(crate) fn current(&self) -> Current {
        let digest = Sha256::digest(&self.der);
        let fingerprint = digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Current { not_before: self.not_before, not_after: self.not_after, fingerprint }
    }
}

fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{About, Kept, Leaf, Unusable, data};
    use crate::{Data, Entry, Issuer, IssuerName, Version};
    use std::time::{Duration, SystemTime};

    fn made(names: &[&str]) -> (String, String) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        (certificate.pem(), pair.serialize_pem())
    }

    fn read(data: Data) -> Result<Kept, Unusable> {
        Kept::read(Entry { version: Version("1".to_owned()), data })
    }

    #[test]
    fn a_certificate_is_served_for_exactly_its_names_until_its_end() {
        let issuer = Issuer::new(IssuerName::new("a/ca"), "https://ca");
        let (chain, key) = made(&["b.example.com", "a.example.com"]);
        let kept = read(data(&chain, &key, &About::new(&issuer))).unwrap();
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|it| (*it).to_owned()).collect() };
        let now = SystemTime::now();
        assert!(kept.serves(&names(&["a.example.com", "b.example.com"]), now));
        assert!(!kept.serves(&names(&["a.example.com"]), now));
        assert!(!kept.serves(
            &names(&["a.example.com", "b.example.com"]),
            kept.leaf.not_after + Duration::from_secs(1)
        ));
        assert!(kept.is_of(&issuer) && kept.has_key(&key));
        assert_eq!(kept.leaf.current().fingerprint.len(), 64);
        let other = Issuer { profile: Some("short".to_owned()), ..issuer };
        assert!(!kept.is_of(&other));
    }

    #[test]
    fn what_we_did_not_make_is_foreign_and_what_does_not_fit_together_is_broken() {
        let about = About::new(&Issuer::new(IssuerName::new("a/ca"), "https://ca"));
        let ((chain, key), (_, other_key)) = (made(&["a.b"]), made(&["a.b"]));
        let mut foreign = data(&chain, &key, &about);
        foreign.0.remove("acme.json");
        assert_eq!(read(foreign).unwrap_err(), Unusable::Foreign);
        assert_eq!(read(data(&chain, &other_key, &about)).unwrap_err(), Unusable::Broken);
        assert_eq!(read(data("", &key, &about)).unwrap_err(), Unusable::Broken);
        assert!(Leaf::read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
