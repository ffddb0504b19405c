//! Who may be at the other end of a connection, as rustls asks it.

use crate::tls::checked_signatures;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error, OtherError};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sluice_ir::SpiffeId;
use sluice_xds::svid::{Roots, Usage, algorithms, id_of};
use std::fmt;
use std::sync::Arc;

/// The certificate is one of the mesh, but not that of who was expected.
#[derive(thiserror::Error)]
enum Stranger {
    #[error("the peer is {0}, which was not expected")]
    Unexpected(SpiffeId),
    #[error("the trust domain of {0} is not trusted")]
    Domain(SpiffeId),
}

impl fmt::Debug for Stranger {
    /// In words: this is how rustls shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Stranger> for Error {
    fn from(stranger: Stranger) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(stranger))))
    }
}

/// Everybody of the mesh: for those who accept connections.
#[derive(Debug)]
pub(super) struct AnyOfMesh {
    roots: Arc<Roots>,
    trust_domains: Arc<[String]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyOfMesh {
    pub(super) fn new(roots: Arc<Roots>, trust_domains: Arc<[String]>) -> Self {
        Self { roots, trust_domains, algorithms: algorithms() }
    }
}

impl ClientCertVerifier for AnyOfMesh {
    /// No hints: names of roots are no secret, but many bytes, and clients of a mesh have one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let id = self.roots.verify(&chain(leaf, intermediates), Usage::Client, now)?;
        if self.trust_domains.iter().any(|it| it == id.trust_domain()) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Stranger::Domain(id).into())
        }
    }

    checked_signatures!();
}

/// One of a few: for those who open connections.
#[derive(Debug)]
pub(super) struct OneOf {
    roots: Arc<Roots>,
    expected: Arc<[SpiffeId]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl OneOf {
    /// Nobody, when nobody is expected.
    pub(super) fn new(roots: Arc<Roots>, expected: Arc<[SpiffeId]>) -> Self {
        Self { roots, expected, algorithms: algorithms() }
    }
}

impl ServerCertVerifier for OneOf {
    /// The server name says where a connection goes, not who is there.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let id = self.roots.verify(&chain(leaf, intermediates), Usage::Server, now)?;
        if self.expected.contains(&id) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Stranger::Unexpected(id).into())
        }
    }

    checked_signatures!();
}

fn chain<'a>(leaf: &CertificateDer<'a>, intermediates: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(intermediates).cloned().collect()
}

/// Who is at the other end of a connection whose handshake went well, by what
/// [`peer_certificates`](rustls::CommonState::peer_certificates) gives. `None`: it showed no certificate, or the handshake was not
/// one of the mesh.
pub fn peer_id(certificates: Option<&[CertificateDer<'_>]>) -> Option<SpiffeId> {
    id_of(certificates?.first()?).ok()
}
