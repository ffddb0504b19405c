//! The Kubernetes API types that Sluice reads, each named once in this crate.
//!
//! Gateway API kinds come from the `gateway-api` crate (experimental channel; BackendTLSPolicy is only in the standard
//! one), core kinds from `k8s-openapi`;
//! Istio's [`ServiceEntry`], [`WorkloadEntry`], [`DestinationRule`], [`Sidecar`], [`AuthorizationPolicy`], [`PeerAuthentication`] and [`RequestAuthentication`], our own [`GatewayParameters`], [`CertificateIssuer`], [`TrafficPolicy`] and
//! [`HealthCheckPolicy`] are written here. [`Object`] holds one of any kind and [`Object::parse`] reads it from JSON with errors that name the field.
//!
//! Nothing is judged here beyond the shape: what a value means, and whether it makes sense, is the translation's.

mod authorization_policy;
mod deployment;
mod destination_rule;
mod health;
mod issuer;
mod issuer_solvers;
mod istio_targets;
mod kind;
mod name;
mod object;
mod parameters;
mod parse;
mod peer_authentication;
mod request_authentication;
mod service_entry;
mod sidecar;
mod stream_routes;
mod suggest;
mod telemetry;
mod traffic;
mod traffic_auth;
mod traffic_cache;
mod traffic_content;
mod traffic_faults;
mod traffic_rate;
mod traffic_rate_global;
mod traffic_resilience;
mod traffic_status;
mod unknown;
mod workload_entry;

pub use gateway_api::backendtlspolicies;
pub use gateway_api::experimental::{
    gatewayclasses, gateways, grpcroutes, httproutes, listenersets, referencegrants,
};
pub use k8s_openapi;

pub use authorization_policy::{
    AuthorizationConditionSpec, AuthorizationFromSpec, AuthorizationOperationSpec, AuthorizationPolicy,
    AuthorizationPolicySpec, AuthorizationProviderSpec, AuthorizationRuleSpec, AuthorizationSourceSpec,
    AuthorizationToSpec,
};
pub use backendtlspolicies::BackendTlsPolicy;
pub use deployment::{
    AddressSpec, AddressType, AutoscalingSpec, DeploymentSpec, DisruptionSpec, ExternalTrafficPolicy,
    NodePortSpec, PatchesSpec, ResourcesSpec, ServiceSpec, ServiceType,
};
pub use destination_rule::{
    ClientTlsSpec, ConnectionPoolSpec, ConsistentHashSpec, CookieAttributeSpec, DestinationPolicySpec,
    DestinationRule, DestinationRuleSpec, DistributeSpec, FailoverSpec, HashCookieSpec, HttpPoolSpec,
    KeepaliveSpec, LoadBalancerSpec, LocalitySpec, MaglevSpec, OutlierDetectionSpec, PortPolicySpec,
    PortSelectorSpec, ProxyHeaderSpec, RetryBudgetSpec, RingHashSpec, SelectorSpec, SubsetSpec, TcpPoolSpec,
    TunnelSpec, WarmupSpec,
};
pub use gatewayclasses::GatewayClass;
pub use gateways::Gateway;
pub use grpcroutes::GrpcRoute;
pub use health::{
    GrpcHealthSpec, HEALTH_CRD_YAML, HealthCheckPolicy, HealthCheckPolicySpec, HealthCheckType,
    HealthInitialState, HealthMethod, HealthTargetRef, HealthTls, HttpHealthSpec,
};
pub use httproutes::HttpRoute;
pub use issuer::{
    AccountBindingSpec, BudgetsSpec, CertificateIssuer, CertificateIssuerSpec, CertificateIssuerStatus,
    ConfigMapName, DomainRuleSpec, ISSUER_CRD_YAML, IssuerCondition, KeyTypeSpec, OnDemandSpec,
    PreflightSpec,
};
pub use issuer_solvers::{
    FromNamespaces, NamespaceExpression, NamespaceSelector, NamespacesSpec, Rfc2136Spec, SecretName,
    SolverSpec, SolverType, TsigAlgorithmSpec, TsigSpec, WebhookHeaderSpec, WebhookSpec,
};
pub use istio_targets::{IstioTargetRef, MatchLabelsSpec};
pub use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
pub use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use kind::{GATEWAY_API_GROUP, ISTIO_GROUP, Kind, SECURITY_GROUP, SLUICE_GROUP, TELEMETRY_GROUP};
pub use listenersets::ListenerSet;
pub use name::Name;
pub use object::{Object, ObjectName, ObjectRef};
pub use parameters::{
    AccessLogFormat, BalancingPolicy, ClientCertificateField, ClientCertificateHeaderSpec, GatewayParameters,
    GatewayParametersSpec, LimitsSpec, PARAMETERS_CRD_YAML, ProxyProtocolMode,
};
pub use parse::{ParseError, Parsed};
pub use peer_authentication::{MutualTlsSpec, PeerAuthentication, PeerAuthenticationSpec};
pub use referencegrants::ReferenceGrant;
pub use request_authentication::{
    ClaimToHeaderSpec, JwtHeaderSpec, JwtRuleSpec, RequestAuthentication, RequestAuthenticationSpec,
};
pub use service_entry::{
    GivenAddress, ServiceEntry, ServiceEntryEndpoint, ServiceEntryPort, ServiceEntrySpec, ServiceEntryStatus,
    WorkloadSelector,
};
pub use sidecar::{EgressListenerSpec, OutboundTrafficPolicySpec, Sidecar, SidecarPortSpec, SidecarSpec};
pub use stream_routes::{
    StreamBackendRef, StreamParentRef, StreamRule, TcpRoute, TcpRouteSpec, TlsRoute, TlsRouteSpec, UdpRoute,
    UdpRouteSpec,
};
pub use suggest::closest;
pub use telemetry::{
    Telemetry, TelemetryFilterSpec, TelemetryLiteralSpec, TelemetryLoggingSpec, TelemetryMatchSpec,
    TelemetryMetricMatchSpec, TelemetryMetricsSpec, TelemetryNameSpec, TelemetryOverrideSpec,
    TelemetryProviderSpec, TelemetrySpec, TelemetryTagOverrideSpec, TelemetryTagSpec, TelemetryTracingSpec,
};
pub use traffic::{
    ClientsSpec, RequestLimitsSpec, TRAFFIC_CRD_YAML, TrafficPolicy, TrafficPolicySpec, TrafficTargetRef,
    TrafficTimeoutsSpec,
};
pub use traffic_auth::{
    AuthBackendRef, ExtAuthProtocol, ExtAuthSpec, ForwardBodySpec, GrpcAuthSpec, HttpAuthSpec, OnAuthFailure,
};
pub use traffic_cache::{CacheHeaders, CacheSpec};
pub use traffic_content::{
    CodingSpec, CompressionAlgorithmSpec, CompressionSpec, DecompressionSpec, OtherEncodings,
};
pub use traffic_faults::{
    FaultAbortSpec, FaultDelaySpec, FaultsSpec, FractionSpec, HeaderMatchKind, HeaderMatchSpec,
};
pub use traffic_rate::{
    LocalRateLimitSpec, RateKeySpec, RateKeyType, RateLimitHeaders, RateLimitSpec, RateRuleSpec,
};
pub use traffic_rate_global::{GlobalRateLimitSpec, RateLimitFailure, RedisSpec, RedisTlsSpec};
pub use traffic_resilience::{BufferSpec, ConcurrencySpec, HedgingMethod, HedgingSpec};
pub use traffic_status::{PolicyAncestor, PolicyAncestorRef, TrafficPolicyStatus};
pub use workload_entry::{WorkloadEntry, WorkloadEntrySpec};
