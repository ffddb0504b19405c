//! What is agreed on with clients: versions, cipher suites, groups, certificates of clients, resumption. All hosts of a
//! port that want the same share one.

use super::resolver::Nobody;
use super::{TlsError, clients};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use sluice_ir::{CipherSuite, ClientValidation, ClientValidationMode, KeyExchangeGroup, Tls, TlsVersion};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Weak};

/// Sessions of clients that resume by identifier (TLS 1.2 without tickets).
const STORED_SESSIONS: usize = 4096;

/// Every suite and group that there is.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The terms of a port's hosts, which are few.
#[derive(Clone, Default)]
pub(super) struct Terms {
    /// Held by the hosts that have them.
    configs: BTreeMap<TermsId, Weak<ServerConfig>>,
    resumption: BTreeMap<ValidationId, Resumption>,
}

/// What makes two hosts' terms the same.
type TermsId = (TlsVersion, Vec<CipherSuite>, Vec<KeyExchangeGroup>, ValidationId);

/// What is asked of clients: nothing, or a certificate of these authorities, perhaps in vain.
type ValidationId = Option<(bool, [u8; 32])>;

/// What lets a client resume; shared by all hosts of a port that ask the same of clients, and over reloads. A resumed
/// session shows no certificate again, so one that began under other terms is none. rustls resumes a session only
/// under the server name that it was made for (RFC 6066 §3).
#[derive(Clone)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Terms {
    /// The configuration of a host, but for its certificates: with them it is [`ServerConfig::clone`] away.
    pub(super) fn of(&mut self, tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
        let asked = validation_id(tls.client_validation.as_deref());
        let id = (tls.minimum_version, tls.cipher_suites.clone(), tls.key_exchange_groups.clone(), asked);
        if let Some(config) = self.configs.get(&id).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let resumption = match self.resumption.get(&asked) {
            Some(known) => known.clone(),
            None => Resumption::new()?,
        };
        let config = Arc::new(config(tls, &resumption)?);
        self.resumption.insert(asked, resumption);
        self.configs.insert(id, Arc::downgrade(&config));
        Ok(config)
    }

    /// Forgets what no host has any more.
    pub(super) fn sweep(&mut self) {
        self.configs.retain(|_, config| config.strong_count() > 0);
        let asked: Vec<_> = self.configs.keys().map(|id| id.3).collect();
        self.resumption.retain(|id, _| asked.contains(id));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.configs.len()
    }
}

impl Resumption {
    fn new() -> Result<Self, TlsError> {
        Ok(Self {
            tickets: aws_lc_rs::Ticketer::new().map_err(|source| TlsError::Tickets { source })?,
            sessions: ServerSessionMemoryCache::new(STORED_SESSIONS),
        })
    }
}

fn config(tls: &Tls, resumption: &Resumption) -> Result<ServerConfig, TlsError> {
    let provider = provider(tls);
    let clients = match tls.client_validation.as_deref() {
        Some(validation) => clients::verifier(validation, &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls))
        .map_err(|source| TlsError::Config { source })?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Nobody));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = resumption.tickets.clone();
    config.session_storage = resumption.sessions.clone();
    // An order that was asked for is ours to keep; without one the client knows best which cipher it does fast.
    config.ignore_client_order = !tls.cipher_suites.is_empty();
    Ok(config)
}

/// Versions that are allowed and that have a cipher suite.
fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    let has = |tls13: bool| {
        tls.cipher_suites.is_empty() || tls.cipher_suites.iter().any(|suite| suite.is_tls13() == tls13)
    };
    let mut versions = Vec::with_capacity(2);
    if has(true) {
        versions.push(&rustls::version::TLS13);
    }
    if tls.minimum_version == TlsVersion::V1_2 && has(false) {
        versions.push(&rustls::version::TLS12);
    }
    versions
}

fn provider(tls: &Tls) -> Arc<CryptoProvider> {
    if tls.cipher_suites.is_empty() && tls.key_exchange_groups.is_empty() {
        return PROVIDER.clone();
    }
    let mut provider = CryptoProvider::clone(&PROVIDER);
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites = tls.cipher_suites.iter().copied().map(suite).collect();
    }
    if !tls.key_exchange_groups.is_empty() {
        provider.kx_groups = tls.key_exchange_groups.iter().copied().map(group).collect();
    }
    Arc::new(provider)
}

fn suite(suite: CipherSuite) -> SupportedCipherSuite {
    use aws_lc_rs::cipher_suite as all;
    match suite {
        CipherSuite::Aes256GcmSha384 => all::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Aes128GcmSha256 => all::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Chacha20Poly1305Sha256 => all::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes256GcmSha384 => all::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaAes128GcmSha256 => all::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256 => all::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes256GcmSha384 => all::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes128GcmSha256 => all::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChacha20Poly1305Sha256 => all::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group(group: KeyExchangeGroup) -> &'static dyn SupportedKxGroup {
    match group {
        KeyExchangeGroup::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        KeyExchangeGroup::X25519 => aws_lc_rs::kx_group::X25519,
        KeyExchangeGroup::Secp256r1 => aws_lc_rs::kx_group::SECP256R1,
        KeyExchangeGroup::Secp384r1 => aws_lc_rs::kx_group::SECP384R1,
    }
}

fn validation_id(validation: Option<&ClientValidation>) -> ValidationId {
    validation.map(|it| {
        let needed = it.mode == ClientValidationMode::AllowValidOnly;
        (needed, Sha256::digest(it.authorities.expose()).into())
    })
}
