//! TLS termination: which `ServerConfig`, and so which certificate, a connection gets.
//!
//! In: the TLS listeners of one port and their certificates. Out: [`PortTls`], a table from server name (SNI) to
//! `ServerConfig`, built when the configuration changes and only read when a client connects. What did not change
//! is shared with the table before it: parsed certificates, whole configurations, ticket keys and sessions, so that
//! a reload neither parses a key again nor ends resumption.

mod authorities;
mod certificate;
mod clients;
mod error;
mod placeholder;
mod resolver;

pub use error::TlsError;

pub(crate) use authorities::roots;
pub(crate) use certificate::certified;

use crate::hosts::HostTable;
use certificate::{Certificates, ContentId, Parsed};
use resolver::ByName;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use sluice_ir::{
    Certificate, CertificateKey, ClientValidation, ClientValidationMode, HostPattern, Tls, TlsVersion,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Sessions of clients that resume by identifier (TLS 1.2 without tickets).
const STORED_SESSIONS: usize = 4096;

/// TLS 1.3 and, unless the listener forbids it, TLS 1.2.
const FROM_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const FROM_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The TLS side of one port: configurations by server name.
pub struct PortTls {
    /// `None`: the host's own listener can't be served, and no other answers in its place.
    hosts: HostTable<Option<Arc<ServerConfig>>>,
    configs: BTreeMap<ConfigId, Arc<ServerConfig>>,
    certificates: Certificates,
    resumption: BTreeMap<ValidationId, Resumption>,
    problems: Vec<TlsError>,
}

/// What makes two listeners' configurations the same: certificates in order, oldest version, and what is asked of
/// clients.
type ConfigId = (Vec<ContentId>, TlsVersion, ValidationId);

/// What is asked of clients: nothing, or a certificate of these authorities, perhaps in vain.
type ValidationId = Option<(bool, [u8; 32])>;

/// What lets a client resume; shared by all configurations of a port that ask the same of clients, and over reloads.
/// A resumed session shows no certificate again, so one that began under other terms is none. rustls resumes a
/// session only under the server name that it was made for (RFC 6066 §3).
#[derive(Clone)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl PortTls {
    /// Builds the table. A listener that waits for its certificate refuses its host, or shows a self-signed one when it
    /// is told to, and is no problem. A certificate that can't be used leaves out itself, and its listener only when no other is
    /// left for it; what was left out is in [`PortTls::problems`]. Pass the table in use as `previous` to share
    /// what did not change. Of two listeners with one host the first wins.
    ///
    /// # Errors
    /// Only when the system gives no randomness for ticket keys.
    pub fn build(
        listeners: &[(HostPattern, Tls)],
        certificate: impl Fn(&CertificateKey) -> Option<Arc<Certificate>>,
        previous: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut table = Self {
            hosts: HostTable::default(),
            configs: BTreeMap::new(),
            certificates: Certificates::default(),
            resumption: BTreeMap::new(),
            problems: Vec::new(),
        };
        for (host, tls) in listeners {
            if tls.certificates.is_empty() && !tls.self_signed_meanwhile {
                table.hosts.insert(host, None);
                continue;
            }
            match table.config(tls, &certificate, previous, &provider) {
                Ok(config) => table.hosts.insert(host, Some(config)),
                Err(error) => {
                    table.hosts.insert(host, None);
                    table.problems.push(error.at(host));
                }
            }
        }
        Ok(table)
    }

    /// The configuration for a server name (lower case, without trailing dot): the exact host, else the longest
    /// wildcard, else the listener for every host. `None`: no listener, refuse the handshake. A client that names
    /// no server gets the listener for every host. A listener that can't be served refuses its host. Cost: one hash
    /// per label.
    pub fn choose(&self, server_name: Option<&str>) -> Option<&Arc<ServerConfig>> {
        self.hosts.find(server_name)?.as_ref()
    }

    /// Whether there is a listener for a server name, but no certificate that it could show.
    pub fn waits(&self, server_name: Option<&str>) -> bool {
        self.hosts.find(server_name).is_some_and(Option::is_none)
    }

    /// Whether the listener of this very host has a configuration.
    pub fn serves(&self, host: &HostPattern) -> bool {
        self.hosts.get(host).is_some_and(Option::is_some)
    }

    /// What could not be used and why, in the order of the listeners.
    pub fn problems(&self) -> &[TlsError] {
        &self.problems
    }

    /// The shared configuration of these certificates, built at most once over `self` and `previous`.
    fn config(
        &mut self,
        tls: &Tls,
        certificate: &impl Fn(&CertificateKey) -> Option<Arc<Certificate>>,
        previous: Option<&Self>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let mut usable: Vec<Parsed> = Vec::with_capacity(tls.certificates.len());
        for key in &tls.certificates {
            let found = certificate(key).ok_or_else(|| TlsError::Unknown { key: key.clone() });
            let old = previous.map(|previous| &previous.certificates);
            match found.and_then(|found| self.certificates.parse(&found, old, provider)) {
                Ok(parsed) => usable.push(parsed),
                Err(error) => self.problems.push(error),
            }
        }
        if tls.certificates.is_empty() && tls.self_signed_meanwhile {
            usable.extend(placeholder::placeholder(provider));
        }
        if usable.is_empty() {
            return Err(TlsError::NoCertificate { host: HostPattern::Any });
        }
        let validation = tls.client_validation.as_deref();
        let asked = validation_id(validation);
        let id = (usable.iter().map(|parsed| parsed.id).collect::<Vec<_>>(), tls.minimum_version, asked);
        let known = self.configs.get(&id).or_else(|| previous.and_then(|previous| previous.configs.get(&id)));
        let config = match known {
            Some(config) => config.clone(),
            None => {
                let verifier = match validation {
                    Some(validation) => clients::verifier(validation, provider)?,
                    None => WebPkiClientVerifier::no_client_auth(),
                };
                let resumption = self.resumption(asked, previous)?;
                Arc::new(resumption.config(usable, tls.minimum_version, verifier, provider)?)
            }
        };
        // Kept also where the configuration is known already: the next reload asks for it.
        self.resumption(asked, previous)?;
        self.configs.insert(id, config.clone());
        Ok(config)
    }

    /// Tickets and sessions of those who are asked the same.
    fn resumption(&mut self, asked: ValidationId, previous: Option<&Self>) -> Result<Resumption, TlsError> {
        let known = self.resumption.get(&asked).or_else(|| previous.and_then(|it| it.resumption.get(&asked)));
        let resumption = match known {
            Some(known) => known.clone(),
            None => Resumption::new()?,
        };
        self.resumption.insert(asked, resumption.clone());
        Ok(resumption)
    }
}

fn validation_id(validation: Option<&ClientValidation>) -> ValidationId {
    validation.map(|it| {
        let needed = it.mode == ClientValidationMode::AllowValidOnly;
        (needed, Sha256::digest(it.authorities.expose()).into())
    })
}

impl Resumption {
    fn new() -> Result<Self, TlsError> {
        Ok(Self {
            tickets: aws_lc_rs::Ticketer::new().map_err(|source| TlsError::Tickets { source })?,
            sessions: ServerSessionMemoryCache::new(STORED_SESSIONS),
        })
    }

    fn config(
        &self,
        certificates: Vec<Parsed>,
        minimum: TlsVersion,
        clients: Arc<dyn ClientCertVerifier>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ServerConfig, TlsError> {
        let versions = match minimum {
            TlsVersion::V1_2 => FROM_1_2,
            TlsVersion::V1_3 => FROM_1_3,
        };
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|source| TlsError::Config { source })?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(ByName::new(certificates)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = self.tickets.clone();
        config.session_storage = self.sessions.clone();
        Ok(config)
    }
}

impl fmt::Debug for PortTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortTls")
            .field("hosts", &self.hosts.len())
            .field("configs", &self.configs.len())
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
