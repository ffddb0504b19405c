//! An authority, and how names are proven to it.

use crate::{IssuerName, Secret};
use std::net::SocketAddr;
use std::time::Duration;

/// An ACME authority with an account of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Its name; the account is kept under it.
    pub name: IssuerName,
    /// URL of the directory (RFC 8555 §7.1.1), `https`.
    pub directory: String,
    /// Mail addresses; `mailto:` is put before those that have no scheme.
    pub contacts: Vec<String>,
    /// External account binding (RFC 8555 §7.3.4), where the authority asks for one.
    pub account_binding: Option<AccountBinding>,
    /// Key of the certificates.
    pub key_type: KeyType,
    /// How names are proven: for each name the first that fits.
    pub solvers: Vec<Solver>,
    /// PEM certificates to trust for the directory beside the system's, for private authorities.
    pub authorities: Option<String>,
    /// Profile of the certificates, by a name of the authority.
    pub profile: Option<String>,
    /// Own limits, below the authority's.
    pub budgets: Budgets,
    /// Whether and how the engine looks for its own challenge before it orders.
    pub preflight: Preflight,
    /// DNS servers to ask; none means those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Present where names of handshakes may be ordered.
    pub on_demand: Option<OnDemand>,
}

impl Issuer {
    /// An issuer with defaults: P-256 keys, HTTP-01, preflight on, budgets of Let's Encrypt.
    pub fn new(name: IssuerName, directory: impl Into<String>) -> Self {
        Self {
            name,
            directory: directory.into(),
            contacts: Vec::new(),
            account_binding: None,
            key_type: KeyType::default(),
            solvers: vec![Solver { kind: SolverKind::Http01, selector: DomainSelector::default() }],
            authorities: None,
            profile: None,
            budgets: Budgets::default(),
            preflight: Preflight::default(),
            resolvers: Vec::new(),
            on_demand: None,
        }
    }
}

/// Key of an account that exists elsewhere at the authority.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountBinding {
    /// Key identifier, from the authority.
    pub key_id: String,
    /// HMAC key, decoded (authorities hand it out as base64url).
    pub key: Secret,
}

/// Kind and size of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// One way to prove names.
#[derive(Clone, Debug, PartialEq)]
pub struct Solver {
    /// The way.
    pub kind: SolverKind,
    /// Names it is used for.
    pub selector: DomainSelector,
}

/// The way of a solver.
#[derive(Clone, Debug, PartialEq)]
pub enum SolverKind {
    /// A file under `http://NAME/.well-known/acme-challenge/` (RFC 8555 §8.3). Not for wildcards.
    Http01,
    /// A TLS certificate for the protocol `acme-tls/1` (RFC 8737). Not for wildcards.
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4).
    Dns01(Dns01),
}

/// Names that a solver is used for: without any, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainSelector {
    /// Exactly these names, a wildcard as `*.example.com`.
    pub names: Vec<String>,
    /// These domains and everything below them.
    pub zones: Vec<String>,
}

/// How a TXT record gets into the zone.
#[derive(Clone, Debug, PartialEq)]
pub enum Dns01 {
    /// By a dynamic update (RFC 2136).
    Rfc2136(Rfc2136),
    /// By a service of the user.
    Webhook(Webhook),
}

/// A DNS server that takes updates signed with TSIG (RFC 8945), over TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct Rfc2136 {
    /// Its address and port.
    pub server: SocketAddr,
    /// The zone to update; none means that it is found by its SOA record.
    pub zone: Option<String>,
    /// Name of the key.
    pub key_name: String,
    /// Algorithm of the key.
    pub algorithm: TsigAlgorithm,
    /// The key, decoded.
    pub key: Secret,
}

/// Algorithm of a TSIG key (RFC 8945 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    #[default]
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

/// A service that sets and removes TXT records: `docs/certificates.md` has its interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where to POST, `https`.
    pub url: String,
    /// PEM certificates to trust beside the system's.
    pub authorities: Option<String>,
    /// A header with a secret value, such as `Authorization`.
    pub header: Option<(String, Secret)>,
    /// The zone to tell the service; none leaves it to the service.
    pub zone: Option<String>,
}

/// Own limits of orders. They count in the store, so that a restart forgets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// New certificates for each registered domain (`example.co.uk`) within `domain_window`. A renewal of the same
    /// names does not count, as at Let's Encrypt.
    pub per_domain: u32,
    /// Default a week.
    pub domain_window: Duration,
    /// Orders of the account, renewals too, within `account_window`.
    pub per_account: u32,
    /// Default three hours.
    pub account_window: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            per_domain: 50,
            domain_window: Duration::from_secs(7 * 24 * 3600),
            per_account: 300,
            account_window: Duration::from_secs(3 * 3600),
        }
    }
}

/// The look for our own challenge, before an order and before the authority is told to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Off where the gateway can't reach its own public address, or names resolve otherwise inside.
    pub enabled: bool,
    /// Port of HTTP-01, 80 at every public authority.
    pub http_port: u16,
    /// Port of TLS-ALPN-01, 443 at every public authority.
    pub tls_port: u16,
    /// Port of authoritative DNS servers, asked whether they show a TXT record.
    pub dns_port: u16,
    /// How long they may take to show it.
    pub dns_wait: Duration,
}

impl Default for Preflight {
    fn default() -> Self {
        Self { enabled: true, http_port: 80, tls_port: 443, dns_port: 53, dns_wait: Duration::from_secs(120) }
    }
}

/// Orders for names of handshakes.
#[derive(Clone, Debug, PartialEq)]
pub struct OnDemand {
    /// Asked with `?domain=NAME` before each order; 200 allows. `http` or `https`.
    pub allow: String,
    /// PEM certificates to trust beside the system's.
    pub authorities: Option<String>,
    /// Names that may hold a certificate at one time.
    pub max_names: usize,
    /// Orders within `window`, whoever asks for them.
    pub per_window: u32,
    /// Default an hour.
    pub window: Duration,
    /// How long a yes of the endpoint holds.
    pub allowed_for: Duration,
    /// How long a no of the endpoint holds.
    pub refused_for: Duration,
}

impl OnDemand {
    /// With defaults: 10,000 names, 100 orders an hour, a yes holds ten minutes, a no one.
    pub fn new(allow: impl Into<String>) -> Self {
        Self {
            allow: allow.into(),
            authorities: None,
            max_names: 10_000,
            per_window: 100,
            window: Duration::from_secs(3600),
            allowed_for: Duration::from_secs(600),
            refused_for: Duration::from_secs(60),
        }
    }
}
