//! A Gateway and the settings that hold for all its listeners.

use crate::backend::Balancing;
use crate::duration;
use crate::{
    Authentication, Authorization, CertificateKey, GatewayKey, Origin, PathNormalization, SecretBytes,
    Telemetry, TrafficSettings,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// One Gateway: the owner of listeners. Gateways never share an address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// `NAMESPACE/NAME`; `Mesh/KIND/NAMESPACE/NAME`, perhaps with `@CLIENT-NAMESPACE`, for a destination of the mesh.
    pub key: GatewayKey,
    /// The Gateway object.
    pub origin: Origin,
    /// From the `GatewayParameters` that the Gateway or its class names, else the defaults.
    pub settings: Settings,
    /// Shown to backends that TLS is spoken with (`spec.tls.backend.clientCertificateRef`, GEP-3155).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_certificate: Option<CertificateKey>,
    /// Secrets (32 bytes each) that all data planes of the Gateway derive the keys of session tickets from: new
    /// tickets are made with the first, those of all are taken. Empty: each process has keys of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_secrets: Vec<SecretBytes>,
    /// What TrafficPolicies set for all its listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Box<TrafficSettings>>,
    /// AuthorizationPolicies that name it, or its class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization: Vec<Arc<Authorization>>,
    /// RequestAuthentications that name it, or its class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<Arc<Authentication>>,
    /// Telemetries that hold for it, of whatever reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<Arc<Telemetry>>,
}

impl Gateway {
    /// One with these settings that no policy governs.
    pub fn plain(key: GatewayKey, origin: Origin, settings: Settings) -> Self {
        Self {
            key,
            origin,
            settings,
            backend_certificate: None,
            ticket_secrets: Vec::new(),
            traffic: None,
            authorization: Vec::new(),
            authentication: Vec::new(),
            telemetry: Vec::new(),
        }
    }
}

/// What a `GatewayParameters` object sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default = "Settings::standard")]
pub struct Settings {
    /// Bounds on what clients and backends may take.
    pub limits: Limits,
    /// Whether connections start with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// How many proxies in front of this one append to `X-Forwarded-For` and are believed. 0: the header that a
    /// client sends is replaced, its word on scheme and host is not believed.
    pub trusted_hops: u8,
    /// What backends are told of a client's certificate in `x-forwarded-client-cert`, in this order; empty: nothing,
    /// and the header is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_certificate_header: Vec<ClientCertificateField>,
    /// Form of the access log.
    pub access_log: AccessLog,
    /// How paths are read by AuthorizationPolicies, and written for backends (`meshConfig.pathNormalization`).
    #[serde(skip_serializing_if = "PathNormalization::is_usual")]
    pub paths: PathNormalization,
    /// How an endpoint is chosen.
    pub balancing: Balancing,
    /// Passive ejection: consecutive failures (connect errors, resets, 502/503/504 answers) after which an
    /// endpoint rests. 0 turns it off. Default 5.
    pub eject_after_failures: u32,
    /// How long an ejected endpoint rests the first time; doubles with each further ejection up to ten times.
    #[serde(with = "duration::ms")]
    pub eject_for: Duration,
}

impl Settings {
    /// The settings of a Gateway that names no parameters.
    pub fn standard() -> Self {
        Self {
            eject_after_failures: 5,
            eject_for: Duration::from_secs(10),
            limits: Limits::default(),
            ..Self::default()
        }
    }
}

/// Every bound by name. Durations are total times, not times between two bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Total time to receive a request head. Default 10 s.
    #[serde(with = "duration::ms")]
    pub request_head_timeout: Duration,
    /// Total time for a TLS handshake, and for the PROXY header before it. Default 10 s.
    #[serde(with = "duration::ms")]
    pub tls_handshake_timeout: Duration,
    /// How long a connection may stay without a request. Default 75 s.
    #[serde(with = "duration::ms")]
    pub idle_timeout: Duration,
    /// How long a request or response may stall between two bytes, WebSockets included. Default 300 s.
    #[serde(with = "duration::ms")]
    pub stream_idle_timeout: Duration,
    /// Time to connect to an endpoint. Default 2 s.
    #[serde(with = "duration::ms")]
    pub connect_timeout: Duration,
    /// Bytes of a request head. Default 65,536; 431 above.
    pub request_head_bytes: u32,
    /// Header fields of a request. Default 100, at most 256; 431 above.
    pub request_headers: u32,
    /// Bytes of a request body; `None`: no bound. 413 above.
    pub request_body_bytes: Option<u64>,
    /// Open connections of one listener port. Default 20,000; further ones get 503 (plain) or are closed (TLS).
    pub connections: u32,
    /// Open connections of one client address. Default 2,000.
    pub connections_per_client: u32,
    /// Concurrent HTTP/2 streams of one connection. Default 128.
    pub streams_per_connection: u32,
    /// Streams that a client may reset in one second on one connection before it is closed. Default 100.
    pub resets_per_second: u32,
    /// Requests of one backend that are waiting or in flight, streams included. Default 10,000; 503 with Retry-After
    /// above, streams are closed.
    pub pending_requests: u32,
    /// How long a session of datagrams may be silent. Default 30 s.
    #[serde(with = "duration::ms")]
    pub datagram_idle_timeout: Duration,
    /// Sessions of datagrams of one listener port. Default 20,000; those of further clients are dropped.
    pub datagram_sessions: u32,
    /// Sessions of datagrams of one client address. Default 10,000.
    pub datagram_sessions_per_client: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stream_idle_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(2),
            request_head_bytes: 65_536,
            request_headers: 100,
            request_body_bytes: None,
            connections: 20_000,
            connections_per_client: 2_000,
            streams_per_connection: 128,
            resets_per_second: 100,
            pending_requests: 10_000,
            datagram_idle_timeout: Duration::from_secs(30),
            datagram_sessions: 20_000,
            datagram_sessions_per_client: 10_000,
        }
    }
}

/// Whether a listener expects the PROXY protocol (haproxy.org proxy-protocol.txt, versions 1 and 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocol {
    /// No header is expected; one that comes is an HTTP error.
    #[default]
    Off,
    /// Every connection must start with a header; one without is closed (an optional header could be forged).
    Required,
}

/// A detail of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCertificateField {
    /// SHA-256 of the certificate in hexadecimal.
    Hash,
    /// The certificate.
    Cert,
    /// All that the client showed.
    Chain,
    /// The subject's name.
    Subject,
    /// Alternative names that are URIs.
    Uri,
    /// Alternative names that are DNS names.
    Dns,
}

impl ClientCertificateField {
    /// Every one, in the order of the header.
    pub const ALL: [Self; 6] = [Self::Hash, Self::Cert, Self::Chain, Self::Subject, Self::Uri, Self::Dns];
}

/// Form of the access log, written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
    /// One JSON object a line with the fields of Istio's default format.
    IstioJson,
}
