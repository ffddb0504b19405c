//! The certificate that a client showed, and what backends are told of it.

use crate::tls::details;
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use sluice_ir::ClientCertificateField;
use std::sync::OnceLock;

/// What a client showed in the handshake; it has proven to hold the key.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The client's own first.
    chain: Vec<CertificateDer<'static>>,
    is_vouched_for: bool,
    /// Written once for all requests of the connection.
    told: OnceLock<(Vec<ClientCertificateField>, Option<HeaderValue>)>,
    /// Read once for all records of the connection.
    subject: OnceLock<Option<String>>,
    /// The same.
    spiffe_id: OnceLock<Option<String>>,
}

impl ClientCertificate {
    /// `chain` has at least one; `is_vouched_for`: by an authority that the listener names.
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, is_vouched_for: bool) -> Self {
        Self {
            chain,
            is_vouched_for,
            told: OnceLock::new(),
            subject: OnceLock::new(),
            spiffe_id: OnceLock::new(),
        }
    }

    /// Whom an authority vouches for: the subject as RFC 4514 writes it. `None`: nobody is vouched for.
    pub(crate) fn subject(&self) -> Option<&str> {
        if !self.is_vouched_for {
            return None;
        }
        self.subject.get_or_init(|| details::subject(&self.chain)).as_deref()
    }

    /// The identity that an authority vouches for: its only URI, where that is a SPIFFE ID (SPIFFE X509-SVID §2).
    pub(crate) fn spiffe_id(&self) -> Option<&str> {
        if !self.is_vouched_for {
            return None;
        }
        self.spiffe_id.get_or_init(|| details::spiffe_id(&self.chain)).as_deref()
    }

    /// The details as a header field has them; `None` when there are none to tell. Of a certificate that no authority
    /// vouches for only what is a fact is told: its bytes and their hash. What it says of its holder could be
    /// anything. Cost: a copied pointer, but for the first request and after a change of `fields`.
    pub(crate) fn told(&self, fields: &[ClientCertificateField]) -> Option<HeaderValue> {
        let (written_for, value) = self.told.get_or_init(|| (fields.to_vec(), self.write(fields)));
        if written_for == fields { value.clone() } else { self.write(fields) }
    }

    fn write(&self, fields: &[ClientCertificateField]) -> Option<HeaderValue> {
        let is_told = |field: &ClientCertificateField| self.is_vouched_for || is_fact(*field);
        let fields: Vec<_> = fields.iter().copied().filter(is_told).collect();
        let text = details::of(&self.chain, &fields)?;
        HeaderValue::try_from(text).ok()
    }
}

fn is_fact(field: ClientCertificateField) -> bool {
    match field {
        ClientCertificateField::Hash | ClientCertificateField::Cert | ClientCertificateField::Chain => true,
        ClientCertificateField::Subject | ClientCertificateField::Uri | ClientCertificateField::Dns => false,
    }
}
