//! What is agreed on with clients: versions, cipher suites, groups, certificates of clients, resumption. All hosts of a
//! port that want the same share one.

use super::TlsError;
use super::asked::Asked;
use super::resolver::Nobody;
use super::tickets::{SharedKeys, Tickets};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use sluice_ir::{
    CipherSuite, ClientValidation, ClientValidationMode, KeyExchangeGroup, SecretBytes, Tls, TlsVersion,
};
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
    configs: BTreeMap<TermsId, Weak<Shared>>,
    resumption: BTreeMap<ValidationId, Resumption>,
    /// Ticket keys of the Gateway.
    shared: Arc<SharedKeys>,
}

/// The terms of hosts that want the same.
#[derive(Debug)]
pub(super) struct Shared {
    /// Without certificates: with a host's own it is a clone away.
    pub(super) config: ServerConfig,
    /// What is asked of clients.
    pub(super) asked: Asked,
    /// The listener names its suites.
    pub(super) has_own_order: bool,
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
    /// The terms of a host: made once for all that want the same.
    pub(super) fn of(&mut self, tls: &Tls) -> Result<Arc<Shared>, TlsError> {
        let asked = validation_id(tls.client_validation.as_deref());
        let id = (tls.minimum_version, tls.cipher_suites.clone(), tls.key_exchange_groups.clone(), asked);
        if let Some(config) = self.configs.get(&id).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let resumption = match self.resumption.get(&asked) {
            Some(known) => known.clone(),
            None => Resumption::new(self.shared.clone(), asked)?,
        };
        let shared = Arc::new(shared(tls, &resumption)?);
        self.resumption.insert(asked, resumption);
        self.configs.insert(id, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// Takes over the Gateway's ticket keys, for all hosts at once.
    pub(super) fn set_ticket_secrets(&self, secrets: &[SecretBytes]) {
        self.shared.set(secrets);
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
    fn new(shared: Arc<SharedKeys>, asked: ValidationId) -> Result<Self, TlsError> {
        let own = aws_lc_rs::Ticketer::new().map_err(|source| TlsError::Tickets { source })?;
        Ok(Self {
            tickets: Arc::new(Tickets::new(shared, own, bytes(asked))),
            sessions: ServerSessionMemoryCache::new(STORED_SESSIONS),
        })
    }
}

fn shared(tls: &Tls, resumption: &Resumption) -> Result<Shared, TlsError> {
    let provider = provider(tls);
    let asked = Asked::read(tls.client_validation.as_deref(), &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls))
        .map_err(|source| TlsError::Config { source })?
        .with_client_cert_verifier(asked.verifier.clone())
        .with_cert_resolver(Arc::new(Nobody));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = resumption.tickets.clone();
    config.session_storage = resumption.sessions.clone();
    // Ours is from strong to weak, or as the listener asks.
    config.ignore_client_order = true;
    Ok(Shared { config, asked, has_own_order: !tls.cipher_suites.is_empty() })
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

/// What is asked of clients, as bytes that a ticket is bound to.
fn bytes(asked: ValidationId) -> Vec<u8> {
    match asked {
        None => vec![0],
        Some((needed, authorities)) => {
            let mut bytes = vec![if needed { 1 } else { 2 }];
            bytes.extend_from_slice(&authorities);
            bytes
        }
    }
}
