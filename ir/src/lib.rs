//! The contract between Sluice's control plane and its data plane.
//!
//! A [`Snapshot`] is a set of flat, keyed resources: [`Gateway`], [`Listener`], [`Route`], [`StreamRoute`], [`Backend`],
//! [`EndpointSet`], [`Certificate`], [`Challenge`] and [`Workloads`]. Children point at parents by key, never the other way round, so
//! that a change of one resource travels alone. A [`Delta`] turns one snapshot into the next.
//!
//! What is deliberately absent: Kubernetes types, Pingora, tokio, I/O. Everything here was validated by the
//! translation: hostnames are lower case, regular expressions compile, references are resolved or replaced by a
//! [`Fail`]. [`wire`] is the form in which resources travel. Each resource carries its [`Origin`], so that every decision can name the object that caused it.

mod auth;
mod authentication;
mod authorization;
mod backend;
mod certificate;
mod challenge;
mod cipher;
mod destination;
mod duration;
mod filter;
mod gateway;
mod health;
mod host;
mod key;
mod kind;
mod listener;
mod locality;
mod matching;
mod named;
mod networks;
mod origin;
mod password;
mod port;
mod rate_global;
mod resilience;
mod route;
mod scope;
mod snapshot;
mod spiffe;
mod stream;
mod telemetry;
mod traffic;
mod traffic_cache;
mod traffic_content;
mod trust;
pub mod wire;
mod workload;

pub use auth::{AuthProtocol, Authorizer, ExtAuth};
pub use authentication::{Authentication, JwtKeys, JwtRule, KeyReach, TokenHeader};
pub use authorization::{
    Attribute, Authorization, AuthorizationAction, AuthorizationRule, Condition, Operation,
    PathNormalization, PathValue, Segment, Source, ValueMatch, Values,
};
pub use backend::{
    AskedHosts, Backend, BackendProtocol, Balancing, Endpoint, EndpointAddress, EndpointSet, EndpointState,
};
pub use certificate::{Certificate, SecretBytes, fingerprint};
pub use challenge::{Challenge, ChallengeAnswer};
pub use cipher::{CipherSuite, KeyExchangeGroup};
pub use destination::{
    BackendPolicy, CircuitLimits, ConnectionTerms, Ejection, HashCookie, HashKey, HashPolicy, HashTable,
    Keepalive, ProxyVersion, RetryBudget, Tunnel, Warmup,
};
pub use filter::{
    Cors, CorsOrigin, Fail, Filter, HeaderEdit, HeaderField, Mirror, PathEdit, Ratio, Redirect, Rewrite,
};
pub use gateway::{AccessLog, ClientCertificateField, Gateway, Limits, ProxyProtocol, Settings};
pub use health::{HealthCheck, HealthProbe, StatusRange};
pub use host::HostPattern;
pub use key::{
    BackendKey, CertificateKey, ChallengeKey, EndpointSetKey, GatewayKey, ListenerKey, OnDemandKey, RouteKey,
    StreamRouteKey, WorkloadsKey,
};
pub use kind::ResourceKind;
pub use listener::{Listener, ListenerProtocol, Sharing, Tls, TlsVersion};
pub use locality::{
    Distribution, Failover, Locality, LocalityPattern, LocalityPolicy, NotALocality, REGION_LABEL,
    SUBZONE_LABEL, Topology, WantedLabel, ZONE_LABEL,
};
pub use matching::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};
pub use named::{destination_names, network_name};
pub use networks::Networks;
pub use origin::Origin;
pub use password::Password;
pub use port::{ADMIN_PORT, cluster_port, low_port};
pub use rate_global::{GlobalRates, OnRateFailure, RateServer};
pub use resilience::{AdaptiveConcurrency, Hedging, RequestBuffer};
pub use route::{
    Attachment, BackendTarget, Retry, Route, RouteKind, Rule, SessionPersistence, SessionToken, Timeouts,
    WeightedBackend,
};
pub use scope::{Egress, KnownHosts, Scope};
pub use snapshot::{Delta, Resource, ResourceKey, Snapshot};
pub use spiffe::{NotASpiffeId, SpiffeId, is_trust_domain};
pub use stream::{StreamKind, StreamRoute};
pub use telemetry::{
    AccessLogRule, Collector, CustomTag, MetricRule, OtlpProtocol, Telemetry, TelemetryMode, TelemetryReach,
    TelemetrySettings, TracingRule,
};
pub use traffic::{
    ClientRules, FaultAbort, FaultDelay, FaultSelector, Faults, Given, RateKey, RateLimits, RateRule,
    RequestLimits, RouteTraffic, Setting, TrafficSettings,
};
pub use traffic_cache::Cache;
pub use traffic_content::{Coding, CodingLevel, Compression, Decompression};
pub use trust::{ClientValidation, ClientValidationMode, SubjectName, Trust, UpstreamTls};
pub use workload::{
    HostAddresses, MeshTls, MutualTls, MutualTlsMode, Outbound, Selector, Workload, Workloads,
    mutual_tls_mode,
};
