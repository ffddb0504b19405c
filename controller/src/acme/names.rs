//! Names and labels of what is kept in Secrets and ConfigMaps.

use sha2::{Digest as _, Sha256};
use sluice_acme::Item;
use std::fmt::Write as _;

/// Type of Secrets that only the engine reads: they are left out of the watch of certificates.
pub(crate) const SECRET_TYPE: &str = "sluice.dev/acme";
/// Label of them: which record it is.
pub(super) const RECORD_LABEL: &str = "sluice.dev/acme";
/// Label of Secrets that hold a certificate of an issuer.
pub(super) const ISSUED_LABEL: &str = "sluice.dev/certificate";
/// Its value, unless a handshake asked for the certificate.
pub(super) const ISSUED: &str = "issued";
/// Its value where a handshake asked for it.
pub(super) const ISSUED_ON_DEMAND: &str = "on-demand";
/// What the names of Secrets begin with that hold certificates which handshakes asked for.
pub(super) const ON_DEMAND: &str = "on-demand-";
/// Annotation: what a record is of, `NAMESPACE/NAME`.
pub(super) const OF: &str = "sluice.dev/of";
/// Annotation of a certificate: its issuer.
pub(super) const ISSUER: &str = "sluice.dev/certificate-issuer";
/// Value of the record label of a challenge.
pub(super) const CHALLENGE: &str = "challenge";
/// The ConfigMap with the table of certificates.
pub(super) const REPORT: &str = "sluice-certificates";

/// Which record, and what it is of.
pub(super) fn record(item: &Item) -> (&'static str, &str) {
    match item {
        Item::Account(name) => ("account", name.as_str()),
        Item::Budget(name) => ("budget", name.as_str()),
        Item::Order(key) => ("order", key.as_str()),
        Item::Certificate(key) => ("certificate", key.as_str()),
    }
}

/// Name of a Secret of the controller's namespace: a hash, since what it is of may be longer than a name.
pub(super) fn hashed(record: &str, of: &str) -> String {
    let mut name = format!("sluice-acme-{record}-");
    for byte in Sha256::digest(of.as_bytes()).iter().take(10) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
