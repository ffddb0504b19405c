//! TLS termination: which `ServerConfig`, and so which certificate, a connection gets.
//!
//! In: the TLS listeners of one port and their certificates. Out: [`PortTls`], a table from server name (SNI) to
//! `ServerConfig`, built when the configuration changes and only read when a client connects. What did not change
//! is shared with the table before it: parsed certificates, whole configurations, ticket keys and sessions, so that
//! a reload neither parses a key again nor ends resumption.

mod certificate;
mod error;
mod resolver;

pub use error::TlsError;

use crate::hosts::HostTable;
use certificate::{Certificates, ContentId, Parsed};
use resolver::ByName;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sluice_ir::{Certificate, CertificateKey, HostPattern, Tls, TlsVersion};
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
    hosts: HostTable<Arc<ServerConfig>>,
    configs: BTreeMap<ConfigId, Arc<ServerConfig>>,
    certificates: Certificates,
    resumption: Resumption,
    problems: Vec<TlsError>,
}

/// What makes two listeners' configurations the same: certificates in order, and oldest version.
type ConfigId = (Vec<ContentId>, TlsVersion);

/// What lets a client resume; shared by all configurations of a port and over reloads. rustls resumes a session
/// only under the server name that it was made for (RFC 6066 §3).
#[derive(Clone)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl PortTls {
    /// Builds the table. A certificate that can't be used leaves out itself, and its listener only when no other is
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
        let resumption = match previous {
            Some(previous) => previous.resumption.clone(),
            None => Resumption::new()?,
        };
        let mut table = Self {
            hosts: HostTable::default(),
            configs: BTreeMap::new(),
            certificates: Certificates::default(),
            resumption,
            problems: Vec::new(),
        };
        for (host, tls) in listeners {
            match table.config(tls, &certificate, previous, &provider) {
                Ok(config) => table.hosts.insert(host, config),
                Err(error) => table.problems.push(error.at(host)),
            }
        }
        Ok(table)
    }

    /// The configuration for a server name (lower case, without trailing dot): the exact host, else the longest
    /// wildcard, else the listener for every host. `None`: no listener, refuse the handshake. A client that names
    /// no server gets the listener for every host. Cost: one hash per label.
    pub fn choose(&self, server_name: Option<&str>) -> Option<&Arc<ServerConfig>> {
        self.hosts.find(server_name)
    }

    /// Whether the listener of this very host has a configuration.
    pub fn serves(&self, host: &HostPattern) -> bool {
        self.hosts.contains(host)
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
        if usable.is_empty() {
            return Err(TlsError::NoCertificate { host: HostPattern::Any });
        }
        let id = (usable.iter().map(|parsed| parsed.id).collect::<Vec<_>>(), tls.minimum_version);
        let known = self.configs.get(&id).or_else(|| previous.and_then(|previous| previous.configs.get(&id)));
        let config = match known {
            Some(config) => config.clone(),
            None => Arc::new(self.resumption.config(usable, tls.minimum_version, provider)?),
        };
        self.configs.insert(id, config.clone());
        Ok(config)
    }
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
        provider: &Arc<CryptoProvider>,
    ) -> Result<ServerConfig, TlsError> {
        let versions = match minimum {
            TlsVersion::V1_2 => FROM_1_2,
            TlsVersion::V1_3 => FROM_1_3,
        };
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|source| TlsError::Config { source })?
            .with_no_client_auth()
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
