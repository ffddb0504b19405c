//! TLS termination: which `ServerConfig`, and so which certificate, a connection gets.
//!
//! In: the TLS listeners of one port and their certificates. Out: [`PortTls`], a table from server name (SNI) to
//! `HostTls`, built when the configuration changes and only read when a client connects. What did not change is
//! shared with the table before it: certificates are parsed once (`Keyring`), hosts with the same options share one
//! set of `Terms` and so their ticket keys and sessions, and a changed certificate makes anew the hosts that show it
//! and nothing else. A reload neither parses a key again nor ends resumption.

mod asked;
mod authorities;
mod certified;
mod clients;
pub(crate) mod details;
mod error;
mod host;
mod keyring;
mod on_demand;
mod placeholder;
mod resolver;
mod signatures;
mod subject;
mod terms;
mod tickets;

pub use error::TlsError;
pub use keyring::Keyring;
pub use on_demand::{NotObtained, Obtain, OnDemand};

pub(crate) use authorities::roots;
pub(crate) use certified::certified;
pub(crate) use signatures::checked_signatures;

use crate::hosts::HostTable;
use asked::Judge;
use host::{HostTls, Outcome};
use rustls::server::ClientHello;
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::CertificateDer;
use sluice_ir::{Certificate, CertificateKey, HostPattern, SecretBytes, Tls};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;
use terms::Terms;

/// The TLS side of one port: configurations by server name. A clone copies a few pointers.
#[derive(Clone, Default)]
pub struct PortTls {
    hosts: HostTable<Arc<HostTls>>,
    terms: Terms,
}

/// The certificates of a snapshot.
#[derive(Clone, Copy)]
pub struct Certificates<'a> {
    /// All of them.
    pub all: &'a BTreeMap<CertificateKey, Arc<Certificate>>,
    /// Those that are others than at the last build.
    pub changed: &'a HashSet<CertificateKey, ahash::RandomState>,
}

/// What a handshake goes by.
#[derive(Debug)]
pub struct Chosen {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    judge: Judge,
    has_own_order: bool,
}

impl Chosen {
    /// Lets a client have ChaCha20 that names it first: it has no instructions for AES, which costs it several times
    /// as much. (OpenSSL and BoringSSL do the same.)
    pub fn heed(&mut self, hello: &ClientHello<'_>) {
        let first = hello.cipher_suites().iter().find(|suite| !is_grease(**suite));
        if !self.has_own_order && first.is_some_and(|suite| is_chacha20(*suite)) {
            Arc::make_mut(&mut self.config).ignore_client_order = false;
        }
    }

    /// Whether an authority that the listener names vouches for the certificate of a client that was let in.
    pub fn vouches_for(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.judge.vouches_for(chain)
    }
}

impl PortTls {
    /// Builds the table. A listener that waits for its certificate refuses its host, or shows a self-signed one when it
    /// is told to, and is no problem. A certificate that can't be used leaves out itself, and its listener only when no
    /// other is left for it. What did not change is shared with `previous`. Of two listeners with one host the first
    /// wins.
    pub fn build(
        listeners: &[(&HostPattern, &Tls)],
        certificates: Certificates<'_>,
        keyring: &mut Keyring,
        previous: Option<&Self>,
    ) -> Self {
        let mut table = previous.cloned().unwrap_or_default();
        // From the last to the first, so that the first stays.
        for (host, wanted) in listeners.iter().rev() {
            let same = |known: &&Arc<HostTls>| {
                known.wanted == **wanted
                    && !wanted.certificates.iter().any(|it| certificates.changed.contains(it))
            };
            if table.hosts.get(host).filter(same).is_none() {
                table.set(host, wanted, certificates, keyring);
            }
        }
        if table.hosts.len() > listeners.len() {
            let wanted: HashSet<_> = listeners.iter().map(|(host, _)| *host).collect();
            for host in table.hosts.patterns().iter().filter(|host| !wanted.contains(host)) {
                table.hosts.remove(host);
            }
        }
        table.terms.sweep();
        table
    }

    /// The same table with the certificates of these hosts read again. `None` when one of them is served now and was
    /// not before, or the other way round: then the port's listeners are others.
    pub(crate) fn with_certificates_of(
        &self,
        hosts: &[&HostPattern],
        certificates: Certificates<'_>,
        keyring: &mut Keyring,
    ) -> Option<Self> {
        let mut table = self.clone();
        for host in hosts {
            let before = self.hosts.get(host)?;
            let now = table.set(host, &before.wanted, certificates, keyring);
            if discriminant(&before.outcome) != discriminant(&now.outcome) {
                return None;
            }
        }
        Some(table)
    }

    fn set(
        &mut self,
        host: &HostPattern,
        wanted: &Tls,
        certificates: Certificates<'_>,
        keyring: &mut Keyring,
    ) -> Arc<HostTls> {
        let certificate = |key: &CertificateKey| certificates.all.get(key).cloned();
        let made = Arc::new(HostTls::build(host, wanted, certificate, keyring, &mut self.terms));
        self.hosts.set(host, made.clone());
        made
    }

    /// Takes over the ticket keys that all data planes of the Gateway share; none: those of this process.
    pub fn set_ticket_secrets(&self, secrets: &[SecretBytes]) {
        self.terms.set_ticket_secrets(secrets);
    }

    /// The configuration for a server name (lower case, without trailing dot): the exact host, else the longest
    /// wildcard, else the listener for every host. `None`: no listener, refuse the handshake. A client that names
    /// no server gets the listener for every host. A listener that can't be served refuses its host. Cost: one hash
    /// per label, and a copy of what all hosts share.
    pub fn choose(&self, server_name: Option<&str>) -> Option<Chosen> {
        let host = self.hosts.find(server_name)?;
        match &host.outcome {
            Outcome::Served(served) if !host.is_asked_for(server_name) => Some(served.chosen()),
            Outcome::Served(_) | Outcome::Waits | Outcome::Refused(_) => None,
        }
    }

    /// Whether the listener of a server name has a certificate obtained for it at the handshake.
    pub fn asks(&self, server_name: Option<&str>) -> bool {
        self.hosts.find(server_name).is_some_and(|host| host.is_asked_for(server_name))
    }

    /// Whether there is a listener for a server name, but no certificate that it could show.
    pub fn waits(&self, server_name: Option<&str>) -> bool {
        self.hosts.find(server_name).is_some_and(|host| !matches!(host.outcome, Outcome::Served(_)))
    }

    /// Why the listener of this very host can't be served; `None` when it is, and when it only waits.
    pub fn refusal(&self, host: &HostPattern) -> Option<&str> {
        match self.hosts.get(host).map(|host| &host.outcome) {
            Some(Outcome::Served(_) | Outcome::Waits) => None,
            Some(Outcome::Refused(reason)) => Some(reason),
            None => Some("it is no part of the port"),
        }
    }
}

impl fmt::Debug for PortTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortTls").field("hosts", &self.hosts.len()).finish_non_exhaustive()
    }
}

fn is_chacha20(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// RFC 8701: values that some clients throw in.
fn is_grease(suite: CipherSuite) -> bool {
    let number = u16::from(suite);
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

#[cfg(test)]
mod tests;
