//! How a backend is spoken to where a DestinationRule says so.

use crate::{Balancing, LocalityPolicy, Origin, duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a DestinationRule, or a Service's own `trafficDistribution`, says of one backend, TLS aside. What it leaves out is as the Gateway's settings have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendPolicy {
    /// The DestinationRule, or the Service.
    pub origin: Origin,
    /// How an endpoint is chosen; `None`: as the Gateway has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing: Option<Balancing>,
    /// The same endpoint for the same key, in place of `balancing` for who has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<HashPolicy>,
    /// A new endpoint's share grows slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Which places come first; `None`: all are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<LocalityPolicy>,
    /// Connections to endpoints.
    #[serde(default, skip_serializing_if = "is_default")]
    pub connections: ConnectionTerms,
    /// Bounds on what is on its way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub circuit: CircuitLimits,
    /// When an endpoint is left out; `None`: as the Gateway has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Ejection>,
    /// Connections begin with the client's address, and carry one request each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_header: Option<ProxyVersion>,
    /// Endpoints are proxies: each connection is made through one, and carries one request or one stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// Where proxies are asked to connect to, by CONNECT (RFC 9110 §9.3.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Lower-case name or IP address, IPv6 in brackets. Empty: it can't be made.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Tunnel {
    /// One that can't be made: nothing goes past the proxy, nor to it.
    pub fn refused() -> Self {
        Self { host: String::new(), port: 0 }
    }

    /// Whether it is such a one.
    pub fn is_refused(&self) -> bool {
        self.host.is_empty()
    }
}

impl BackendPolicy {
    /// One that asks for nothing.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            balancing: None,
            affinity: None,
            warmup: None,
            locality: None,
            connections: ConnectionTerms::default(),
            circuit: CircuitLimits::default(),
            ejection: None,
            proxy_header: None,
            tunnel: None,
        }
    }
}

/// Version of the PROXY protocol (haproxy.org proxy-protocol.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Consistent hashing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashPolicy {
    /// What is hashed.
    pub key: HashKey,
    /// How hashes find endpoints.
    pub table: HashTable,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashKey {
    /// The first value of this header.
    Header(String),
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// The first parameter of the query with this name, as it is written.
    Query(String),
}

/// A cookie that decides where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// Its path; `None`: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who comes without one gets one for so long; 0: as long as the browser runs. `None`: nobody gets one.
    #[serde(default, with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Further attributes, with an empty value where they have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

/// How hashes find endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashTable {
    /// A ring.
    Ring {
        /// Least points of all endpoints together.
        least: u32,
    },
    /// A table.
    Maglev {
        /// Its slots, a prime.
        size: u32,
    },
}

/// A new endpoint's share grows slowly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmup {
    /// For so long.
    #[serde(with = "duration::ms")]
    pub time: Duration,
    /// Percent of its share at the beginning, 1 to 100.
    pub least_percent: u8,
    /// Hundredths: the share is the elapsed part of the time to the power of 1 / this. 100: evenly.
    pub aggression: u32,
}

/// Connections to endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionTerms {
    /// Time to connect; `None`: the Gateway's.
    #[serde(with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// How long a connection without a request is kept; `None`: a minute.
    #[serde(with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub kept_for: Option<Duration>,
    /// How long a connection that is carried whole may be silent; `None`: the Gateway's.
    #[serde(with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub silent_for: Option<Duration>,
    /// Probes of a silent connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Keepalive>,
    /// Each connection carries one request.
    #[serde(skip_serializing_if = "is_default")]
    pub is_used_once: bool,
    /// Requests that share an HTTP/2 connection, at least 2; `None`: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// How long a connection takes requests, or a stream may last; at least 1 ms. `None`: no bound.
    #[serde(with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub lives_for: Option<Duration>,
    /// Requests that one connection carries in its life, at least 2; `None`: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// HTTP/2 is spoken for clients that speak it, HTTP/1.1 for the others, whatever the backend's own protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub speaks_as_client: bool,
}

/// Probes of a silent connection (tcp(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// Probes without an answer that end it.
    pub probes: u32,
    /// Silence before the first.
    #[serde(with = "duration::ms")]
    pub after: Duration,
    /// Between two.
    #[serde(with = "duration::ms")]
    pub interval: Duration,
}

/// Bounds on what is on its way to a backend, counted in each data plane; `None`: no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitLimits {
    /// Connections in use. Of HTTP/2 each stands for as many requests as share one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Requests that wait for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Requests on their way, waiting ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Requests that are tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The same as a share, in place of `retries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
}

impl CircuitLimits {
    /// Whether there is no bound at all.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// How many of the requests on their way may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Thousandths of a percent: 20,000 is a fifth; at most 100,000.
    pub share: u32,
    /// So many are always allowed.
    pub least: u32,
}

/// When an endpoint is left out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// Answers 5xx in a row; 0: not counted.
    pub server_errors: u32,
    /// Answers 502, 503 and 504 in a row; 0: not counted.
    pub gateway_errors: u32,
    /// Failures to get an answer in a row, when they are counted apart; 0: not counted. `None`: each counts as both of
    /// the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// A healthy endpoint's number of ejections goes down by one in this time. At least 1 ms.
    #[serde(with = "duration::ms")]
    pub interval: Duration,
    /// Length of an ejection, times their number.
    #[serde(with = "duration::ms")]
    pub base: Duration,
    /// Most endpoints that are left out, in percent; one always may be, unless it is 0 or the last one.
    pub most_percent: u8,
    /// With fewer healthy endpoints all are used, in percent.
    pub health_percent: u8,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
