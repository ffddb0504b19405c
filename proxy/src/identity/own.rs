//! An identity: certificate, key, and the roots that peers are judged by.

use super::handshake::{AnyOfMesh, OneOf};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use sluice_ir::{SpiffeId, fingerprint};
use sluice_xds::svid::{self, PROVIDER, Roots, Shown, SvidError, Usage};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who this data plane is. Does not print its key.
pub struct Identity {
    /// Its name.
    pub id: SpiffeId,
    /// Its certificate with those between it and the root, and its key.
    pub certified: Arc<CertifiedKey>,
    /// The roots that peers' certificates must lead to.
    pub roots: Arc<Roots>,
    /// First moment of the certificate.
    pub not_before: SystemTime,
    /// Last moment of the certificate.
    pub not_after: SystemTime,
}

/// What was given is no identity. Holds no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate is not believed, or the roots can't be used.
    #[error("the certificate would not be believed: {0}")]
    Certificate(#[from] SvidError),
    /// It can't be read.
    #[error("certificate or key can't be read: {0}")]
    Pem(String),
    /// Certificate and key don't belong together, or the key can't be used.
    #[error("the key: {0}")]
    Key(rustls::Error),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Serialize for Identity {
    /// For people: the name, the days, and certificates by their fingerprints. Nothing of the key.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let moment = |time: SystemTime| jiff::Timestamp::try_from(time).map(|it| it.to_string()).ok();
        let chain: Vec<_> = self.certified.cert.iter().map(|it| fingerprint(it)).collect();
        let roots: Vec<_> = self.roots.certificates().map(|it| fingerprint(it)).collect();
        let mut shown = to.serialize_struct("Identity", 5)?;
        shown.serialize_field("id", &self.id.to_string())?;
        shown.serialize_field("not_before", &moment(self.not_before))?;
        shown.serialize_field("not_after", &moment(self.not_after))?;
        shown.serialize_field("chain", &chain)?;
        shown.serialize_field("roots", &roots)?;
        shown.end()
    }
}

impl Identity {
    /// Of a chain (the own certificate first) and its key. It is judged as peers judge it, at `now`.
    ///
    /// # Errors
    /// When peers with the same roots would not believe it, in either direction.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: Arc<Roots>,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        roots.verify(&chain, Usage::Client, at)?;
        let id = roots.verify(&chain, Usage::Server, at)?;
        let (mut begin, mut end) = (UnixTime::since_unix_epoch(Duration::ZERO), None::<UnixTime>);
        for certificate in &chain {
            let (not_before, not_after) = svid::validity(certificate)?;
            begin = begin.max(not_before);
            end = Some(end.map_or(not_after, |end| end.min(not_after)));
        }
        let key = PROVIDER.key_provider.load_private_key(key).map_err(IdentityError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(IdentityError::Key)?;
        let moment = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
        Ok(Self {
            id,
            certified: Arc::new(certified),
            roots,
            not_before: moment(begin),
            not_after: end.map_or(now, moment),
        })
    }

    /// The same in PEM.
    ///
    /// # Errors
    /// As [`Identity::new`] has them, and when one of the three can't be read.
    pub fn from_pem(chain: &str, key: &str, roots: &str, now: SystemTime) -> Result<Self, IdentityError> {
        let unreadable = |error: rustls_pki_types::pem::Error| IdentityError::Pem(error.to_string());
        let roots = Roots::from_pem(roots.as_bytes())?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
        Self::new(chain.map_err(unreadable)?, key, Arc::new(roots), now)
    }

    /// Whether the certificate is valid at a moment.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// To accept connections of peers whose trust domain is one of these. Each handshake shows a certificate: nothing is
    /// resumed, so that no session outlives the roots or passes from one identity to another. TLS 1.3 alone, which every
    /// peer of a mesh speaks (Istio's allow 1.2 and 1.3). Cheap, but not for every connection: keep it with the identity.
    ///
    /// # Errors
    /// When rustls refuses the settings, which it does not.
    pub fn server_config(
        &self,
        trust_domains: &[String],
        alpn: &[&[u8]],
    ) -> Result<ServerConfig, rustls::Error> {
        let clients = AnyOfMesh::new(self.roots.clone(), trust_domains.into());
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(clients))
            .with_cert_resolver(Arc::new(Shown(self.certified.clone())));
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// To connect to a peer that must be one of `expected`, whatever server name is sent; as [`Identity::server_config`]
    /// in everything else.
    ///
    /// # Errors
    /// When rustls refuses the settings, which it does not.
    pub fn client_config(
        &self,
        expected: Arc<[SpiffeId]>,
        alpn: &[&[u8]],
    ) -> Result<ClientConfig, rustls::Error> {
        let servers = OneOf::new(self.roots.clone(), expected);
        let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(servers))
            .with_client_cert_resolver(Arc::new(Shown(self.certified.clone())));
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
