//! From a policy to rustls's configuration.

use super::anyone::Anyone;
use super::names::ByName;
use crate::tls::{TlsError, certified};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, ServerName};
use sluice_ir::{BackendProtocol, Certificate, Trust, UpstreamTls};
use std::sync::{Arc, LazyLock};

/// Sessions to resume: all endpoints of a backend have one server name, and rustls keeps eight for a name.
const SESSIONS: usize = 8;

/// The server name of a client that speaks to hosts of a wildcard, each by a client of its own.
const NOBODY: &str = "asked.invalid";

/// Why a backend can't be spoken to in TLS. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name that endpoints are asked for can't be written into a handshake.
    #[error("hostname {name:?} is no DNS name")]
    ServerName {
        /// As the policy has it.
        name: String,
    },
    /// Nobody would be trusted.
    #[error("{what}: {reason}")]
    Trust {
        /// Which authorities.
        what: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// The client certificate can't be used.
    #[error("client certificate: {0}")]
    Certificate(#[from] TlsError),
    /// The Gateway names a client certificate that is not part of the configuration.
    #[error("client certificate {key} is not part of the configuration")]
    Missing {
        /// Its key.
        key: sluice_ir::CertificateKey,
    },
    /// rustls refuses the settings.
    #[error("TLS configuration: {0}")]
    Config(String),
}

/// The configuration: TLS 1.2 and 1.3, one protocol by ALPN, sessions kept.
pub(super) fn build(
    policy: &UpstreamTls,
    protocol: BackendProtocol,
    certificate: Option<&Certificate>,
) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(policy, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Config(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(certificate) => builder.with_client_cert_resolver(shown(certificate, &provider)?),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn(protocol).into_iter().map(<[u8]>::to_vec).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// Who checks certificates of endpoints.
fn verifier(
    policy: &UpstreamTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    let roots = match &policy.trust {
        Trust::Anyone => return Ok(Arc::new(Anyone::new(provider))),
        Trust::System => {
            system().clone().map_err(|reason| ClientError::Trust { what: "system certificates", reason })?
        }
        Trust::Bundle(pem) => crate::tls::roots(pem.expose())
            .map(Arc::new)
            .map_err(|reason| ClientError::Trust { what: "CA certificates", reason })?,
    };
    let by_host = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .with_crls(revocations(policy)?)
        .build()
        .map_err(|error| ClientError::Config(error.to_string()))?;
    if policy.subject_names.is_empty() {
        return Ok(by_host);
    }
    let by_name = ByName::new(policy.subject_names.clone(), roots, provider);
    let revocable = policy.revocations.is_some();
    Ok(Arc::new(if revocable { by_name.with_revocations(by_host) } else { by_name }))
}

fn revocations(policy: &UpstreamTls) -> Result<Vec<CertificateRevocationListDer<'static>>, ClientError> {
    let Some(pem) = &policy.revocations else { return Ok(Vec::new()) };
    let fail = |reason: String| ClientError::Trust { what: "revocation lists", reason };
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.expose()).collect();
    let lists = lists.map_err(|error| fail(format!("no PEM: {error}")))?;
    if lists.is_empty() { Err(fail("none is there".to_owned())) } else { Ok(lists) }
}

/// What is offered by ALPN (RFC 7301): the one protocol that the backend is spoken to in; nothing where that is the
/// client's affair.
pub(super) fn alpn(protocol: BackendProtocol) -> Option<&'static [u8]> {
    match protocol {
        BackendProtocol::Http1 => Some(b"http/1.1"),
        BackendProtocol::H2c => Some(b"h2"),
        BackendProtocol::Tcp | BackendProtocol::Udp => None,
    }
}

/// Whether the server name is a wildcard: then each host that is asked for is its own.
pub(super) fn is_wildcard(policy: &UpstreamTls) -> bool {
    policy.server_name.starts_with("*.")
}

pub(super) fn server_name(policy: &UpstreamTls) -> Result<ServerName<'static>, ClientError> {
    if is_wildcard(policy) {
        // Nobody answers to it (RFC 6761 §6.4), should it ever be sent.
        return ServerName::try_from(NOBODY).map_err(|_| ClientError::ServerName { name: NOBODY.to_owned() });
    }
    ServerName::try_from(policy.server_name.clone())
        .map_err(|_| ClientError::ServerName { name: policy.server_name.clone() })
}

fn shown(certificate: &Certificate, provider: &CryptoProvider) -> Result<Arc<SingleCertAndKey>, TlsError> {
    Ok(Arc::new(SingleCertAndKey::from(certified(certificate, provider)?)))
}

/// The authorities of the system, read once: hundreds of files on some.
pub(crate) fn system() -> &'static Result<Arc<RootCertStore>, String> {
    static SYSTEM: LazyLock<Result<Arc<RootCertStore>, String>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, unusable) = roots.add_parsable_certificates(found.certs);
        tracing::info!(usable, unusable, "certificates of the system read");
        match (usable, found.errors.first()) {
            (0, Some(error)) => Err(format!("none can be read: {error}")),
            (0, None) => Err("the system has none".to_owned()),
            _ => Ok(Arc::new(roots)),
        }
    });
    &SYSTEM
}
