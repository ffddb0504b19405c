//! What an engine that orders certificates needs, and what it tells. Pure data; secrets print as fingerprints.

use super::allow::covers;
use serde::Serialize;
use sluice_crds::{KeyTypeSpec, ObjectRef, TsigAlgorithmSpec};
use sluice_ir::{HostPattern, OnDemandKey, SecretBytes};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An issuer that can be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerPlan {
    /// The CertificateIssuer.
    #[serde(skip)]
    pub reference: ObjectRef,
    /// URL of the directory.
    pub directory: String,
    /// Mail addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// An account that exists already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountPlan>,
    /// Key of the certificates.
    pub key_type: KeyTypeSpec,
    /// How names are proven.
    pub solvers: Vec<SolverPlan>,
    /// PEM of those who vouch for the directory beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<SecretBytes>,
    /// Profile of the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Limits; `None`: the engine's own.
    pub budgets: BudgetPlan,
    /// The look before an order.
    pub preflight: PreflightPlan,
    /// DNS servers; none: the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<SocketAddr>,
    /// Whether names may be ordered when clients ask for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandPlan>,
}

/// An account that exists at the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountPlan {
    /// Key identifier.
    pub key_id: String,
    /// HMAC key, decoded.
    pub key: SecretBytes,
}

/// One way to prove names, and for which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SolverPlan {
    /// The way.
    pub way: SolverWay,
    /// Exactly these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// These domains and all below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
}

impl SolverPlan {
    /// Whether it can prove a wildcard of this name.
    pub(crate) fn proves_wildcard(&self, name: &str) -> bool {
        let is_dns = matches!(self.way, SolverWay::Rfc2136(_) | SolverWay::Webhook(_));
        let is_below = |zone: &String| {
            name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let is_for_all = self.names.is_empty() && self.zones.is_empty();
        is_dns && (is_for_all || self.names.iter().any(|it| it == name) || self.zones.iter().any(is_below))
    }
}

/// A way to prove names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SolverWay {
    /// HTTP-01.
    Http01,
    /// TLS-ALPN-01.
    TlsAlpn01,
    /// DNS-01 by a dynamic update.
    Rfc2136(Rfc2136Plan),
    /// DNS-01 by a service.
    Webhook(WebhookPlan),
}

/// A DNS server that takes updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rfc2136Plan {
    /// Where it is.
    pub server: SocketAddr,
    /// The zone, if it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Name of the TSIG key.
    pub key_name: String,
    /// Its algorithm.
    pub algorithm: TsigAlgorithmSpec,
    /// The key, decoded.
    pub key: SecretBytes,
}

/// A service that sets TXT records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookPlan {
    /// Where to POST.
    pub url: String,
    /// PEM of those who vouch for it beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<SecretBytes>,
    /// A header with a secret value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<(String, SecretBytes)>,
    /// The zone to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// Limits of orders; `None`: the engine's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetPlan {
    /// New certificates for each registered domain within the window.
    pub per_domain: Option<u32>,
    /// The window.
    pub domain_window: Option<Duration>,
    /// Orders of the account within its window.
    pub per_account: Option<u32>,
    /// Its window.
    pub account_window: Option<Duration>,
}

/// The look for our own challenge before an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightPlan {
    /// Whether it is done.
    pub enabled: bool,
    /// Port of HTTP-01.
    pub http_port: u16,
    /// Port of TLS-ALPN-01.
    pub tls_port: u16,
    /// Port of authoritative DNS servers.
    pub dns_port: u16,
}

/// Orders for names that clients ask for; `None`: the engine's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandPlan {
    /// Who is asked.
    pub allow: String,
    /// Names at one time.
    pub max_names: Option<u32>,
    /// Orders within the window.
    pub per_window: Option<u32>,
    /// The window.
    pub window: Option<Duration>,
    /// How long a yes holds.
    pub allowed_for: Option<Duration>,
    /// How long a no holds.
    pub refused_for: Option<Duration>,
}

/// A certificate that listeners want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedCertificate {
    /// Where it is kept.
    pub secret: ObjectRef,
    /// Who issues it.
    pub issuer: ObjectRef,
    /// Its names, sorted.
    pub names: Vec<String>,
    /// Gateways that answer its challenges, sorted.
    pub gateways: Vec<ObjectRef>,
    /// Whether the Secret is there, whatever it holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_there: bool,
}

/// A listener for many hosts whose issuer obtains certificates name by name, at handshakes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandListener {
    /// What it shares with other listeners of its namespace and issuer.
    pub key: OnDemandKey,
    /// Whose data planes ask, and answer challenges.
    pub gateway: ObjectRef,
    /// A wildcard, or all.
    pub hostname: HostPattern,
    /// Who issues.
    pub issuer: ObjectRef,
    /// Where the Secrets are: the namespace of the Gateway or ListenerSet.
    pub namespace: String,
    /// Names that the issuer lets this namespace have, as `spec.domains` of the issuer has them; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

impl OnDemandListener {
    /// Whether a certificate for this very name may be ordered for the listener. The name is lower case.
    pub fn lets(&self, name: &str) -> bool {
        self.hostname.matches(name)
            && self.names.as_ref().is_none_or(|all| all.iter().any(|it| covers(it, name)))
    }
}

/// Everything that issuers have to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    /// Issuers that can be used.
    pub issuers: Vec<Arc<IssuerPlan>>,
    /// Certificates that accepted listeners want, by Secret. Of two issuers for one Secret the first Gateway's counts.
    pub certificates: Vec<WantedCertificate>,
    /// Listeners whose certificates are ordered when clients ask for a name, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_demand: Vec<OnDemandListener>,
    /// Certificates that handshakes asked for before, and listeners still want, by Secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<WantedCertificate>,
}

/// What is known of orders, told from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuance {
    /// What certificates wait for that are not there, by Secret.
    pub certificates: BTreeMap<ObjectRef, CertificateStanding>,
    /// How issuers stand.
    pub issuers: BTreeMap<ObjectRef, IssuerStanding>,
}

/// What a certificate waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStanding {
    /// One word.
    pub waiting_for: WaitingFor,
    /// A sentence with the next step.
    pub message: String,
}

/// What a certificate waits for, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// The issuer's account.
    Issuer,
    /// A name that can't be proven or is refused.
    Name,
    /// A DNS record.
    Dns,
    /// A budget of ours or a limit of the authority.
    Quota,
    /// The Secret that it is kept in.
    Secret,
    /// The data planes' answers, or the authority's look at them.
    Challenge,
    /// The authority.
    Authority,
}

impl WaitingFor {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Issuer, Self::Name, Self::Dns, Self::Quota, Self::Secret, Self::Challenge, Self::Authority];

    /// Reason of the condition ResolvedRefs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Issuer => "WaitingForIssuer",
            Self::Name => "WaitingForName",
            Self::Dns => "WaitingForDNS",
            Self::Quota => "WaitingForQuota",
            Self::Secret => "WaitingForSecret",
            Self::Challenge => "WaitingForChallenge",
            Self::Authority => "WaitingForAuthority",
        }
    }
}

/// How an issuer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerStanding {
    /// It has an account.
    Ready,
    /// It has none yet; why.
    NotReady(String),
}
