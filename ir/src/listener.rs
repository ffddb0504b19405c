//! A listener: an address, a port, a protocol and the hosts it answers for.

use crate::{
    CertificateKey, CipherSuite, ClientValidation, GatewayKey, HostPattern, KeyExchangeGroup, ListenerKey,
    OnDemandKey, Origin, TrafficSettings,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One listener of a Gateway or ListenerSet. Only listeners that can serve are in a snapshot; several may share a
/// port when their protocols agree and their hosts differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `KIND/NAMESPACE/NAME/SECTION`.
    pub key: ListenerKey,
    /// The Gateway or ListenerSet and the listener's name.
    pub origin: Origin,
    /// Whose settings hold.
    pub gateway: GatewayKey,
    /// Addresses from `Gateway.spec.addresses`; empty: the address the data plane binds by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Networks whose addresses lead here too, where connections are captured. An address that a listener names itself comes
    /// before all networks, and the most specific network first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// Port as written in the manifest, 1 to 65535. The data plane may bind another (`--port-offset`, high ports
    /// behind a Service), but redirects name this one.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: ListenerProtocol,
    /// Hosts it answers for: of requests, or of ClientHellos. `*` for TCP and UDP.
    pub hostname: HostPattern,
    /// Where it is a port of a destination of the mesh: the host by which Sidecars name it, perhaps with a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Box<str>>,
    /// What TrafficPolicies set for it, or for all listeners of its ListenerSet: above the Gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Box<TrafficSettings>>,
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerProtocol {
    /// HTTP/1.1, and HTTP/2 by prior knowledge.
    Http,
    /// The same within TLS, HTTP/2 by ALPN.
    Https(Tls),
    /// Whole connections by their server name, TLS and all.
    TlsPassthrough,
    /// Whole connections by their server name, out of the TLS that ends here.
    TlsTerminate(Tls),
    /// Whole connections.
    Tcp,
    /// Datagrams.
    Udp,
    /// Whatever comes: requests, whole connections by the server name of their ClientHello, and all other connections whole,
    /// by the first bytes of the client. For ports of the mesh that say nothing of their protocol.
    Detect,
    /// Requests that name their destination themselves (RFC 9110 §7.6, §9.3.6): a target in absolute form, or CONNECT.
    /// Attachments name `HOST:PORT` as hosts here.
    ForwardProxy,
}

impl ListenerProtocol {
    /// The TLS that ends here.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Https(tls) | Self::TlsTerminate(tls) => Some(tls),
            Self::Http | Self::TlsPassthrough | Self::Tcp | Self::Udp | Self::Detect | Self::ForwardProxy => {
                None
            }
        }
    }

    /// Which listeners share a port with it.
    pub fn sharing(&self) -> Sharing {
        match self {
            Self::Http => Sharing::Http,
            Self::Https(_) | Self::TlsPassthrough | Self::TlsTerminate(_) => Sharing::Tls,
            Self::Tcp => Sharing::Tcp,
            Self::Udp => Sharing::Udp,
            Self::Detect => Sharing::Detect,
            Self::ForwardProxy => Sharing::Forward,
        }
    }
}

/// Listeners of one port are all of one of these, and differ in their hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sharing {
    /// By the Host of requests.
    Http,
    /// By the server name of the ClientHello, whatever comes of the TLS.
    Tls,
    /// One listener alone.
    Tcp,
    /// One listener alone; the port is UDP's.
    Udp,
    /// One listener alone.
    Detect,
    /// One listener alone.
    Forward,
}

/// How TLS is terminated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The first that fits the client's signature schemes is used. Empty: the listener waits for its certificate. Its
    /// port is bound all the same, challenges and other hosts are answered there, handshakes for its own host are
    /// refused.
    pub certificates: Vec<CertificateKey>,
    /// Whether a self-signed certificate is shown while there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_signed_meanwhile: bool,
    /// Oldest version that is accepted.
    pub minimum_version: TlsVersion,
    /// Cipher suites in the order of preference; empty: all there are. A version that none of them belongs to is not
    /// spoken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups for the key exchange in the order of preference; empty: all there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_exchange_groups: Vec<KeyExchangeGroup>,
    /// What is asked of client certificates; `None`: they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<Box<ClientValidation>>,
    /// A name that no certificate covers is asked for at the handshake (its certificates are those with this key);
    /// `None`: it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandKey>,
}

impl Tls {
    /// What a listener with these certificates has that sets no option.
    pub fn showing(certificates: Vec<CertificateKey>) -> Self {
        Self {
            certificates,
            self_signed_meanwhile: false,
            minimum_version: TlsVersion::default(),
            cipher_suites: Vec::new(),
            key_exchange_groups: Vec::new(),
            client_validation: None,
            on_demand: None,
        }
    }
}

/// TLS versions that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub enum TlsVersion {
    /// RFC 5246, with ECDHE and AEAD suites only.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}
