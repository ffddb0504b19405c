//! The kinds that Sluice reads: their groups, served versions and scope.

use std::fmt;

/// API group of the Gateway API.
pub const GATEWAY_API_GROUP: &str = "gateway.networking.k8s.io";
/// API group of Istio's networking kinds.
pub const ISTIO_GROUP: &str = "networking.istio.io";
/// API group of Istio's security kinds.
pub const SECURITY_GROUP: &str = "security.istio.io";
/// API group of Istio's telemetry kinds.
pub const TELEMETRY_GROUP: &str = "telemetry.istio.io";
/// API group of our own kinds.
pub const SLUICE_GROUP: &str = "sluice.dev";

/// A kind that Sluice reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Gateway API, cluster-scoped.
    GatewayClass,
    /// Gateway API.
    Gateway,
    /// Gateway API.
    ListenerSet,
    /// Gateway API.
    HttpRoute,
    /// Gateway API.
    GrpcRoute,
    /// Gateway API.
    ReferenceGrant,
    /// Gateway API.
    BackendTlsPolicy,
    /// Gateway API.
    TlsRoute,
    /// Gateway API.
    TcpRoute,
    /// Gateway API.
    UdpRoute,
    /// Core.
    Service,
    /// discovery.k8s.io.
    EndpointSlice,
    /// Core.
    Secret,
    /// Core.
    ConfigMap,
    /// Core, cluster-scoped.
    Namespace,
    /// Core, cluster-scoped.
    Node,
    /// Core; only those with a sidecar.
    Pod,
    /// Istio.
    ServiceEntry,
    /// Istio.
    WorkloadEntry,
    /// Istio.
    DestinationRule,
    /// Istio.
    Sidecar,
    /// Istio.
    AuthorizationPolicy,
    /// Istio.
    PeerAuthentication,
    /// Istio.
    RequestAuthentication,
    /// Istio.
    Telemetry,
    /// Our own.
    GatewayParameters,
    /// Our own.
    CertificateIssuer,
    /// Our own.
    TrafficPolicy,
    /// Our own.
    HealthCheckPolicy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 29] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::ReferenceGrant,
        Self::BackendTlsPolicy,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::DestinationRule,
        Self::Sidecar,
        Self::AuthorizationPolicy,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::Telemetry,
        Self::GatewayParameters,
        Self::CertificateIssuer,
        Self::TrafficPolicy,
        Self::HealthCheckPolicy,
    ];

    /// The kind as written in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::DestinationRule => "DestinationRule",
            Self::Sidecar => "Sidecar",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::Telemetry => "Telemetry",
            Self::GatewayParameters => "GatewayParameters",
            Self::CertificateIssuer => "CertificateIssuer",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::HealthCheckPolicy => "HealthCheckPolicy",
        }
    }

    /// The API group; empty for core kinds.
    pub fn group(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::ReferenceGrant
            | Self::BackendTlsPolicy
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::UdpRoute => GATEWAY_API_GROUP,
            Self::Service | Self::Secret | Self::ConfigMap | Self::Namespace | Self::Node | Self::Pod => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::ServiceEntry | Self::WorkloadEntry | Self::DestinationRule | Self::Sidecar => ISTIO_GROUP,
            Self::AuthorizationPolicy | Self::PeerAuthentication | Self::RequestAuthentication => {
                SECURITY_GROUP
            }
            Self::Telemetry => TELEMETRY_GROUP,
            Self::GatewayParameters
            | Self::CertificateIssuer
            | Self::TrafficPolicy
            | Self::HealthCheckPolicy => SLUICE_GROUP,
        }
    }

    /// The versions that are read, the preferred one first. Older versions have the same fields.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::GatewayClass | Self::Gateway | Self::HttpRoute => &["v1", "v1beta1"],
            Self::ListenerSet => &["v1"],
            Self::GrpcRoute => &["v1", "v1alpha2"],
            Self::ReferenceGrant => &["v1", "v1beta1"],
            Self::BackendTlsPolicy => &["v1", "v1alpha3"],
            Self::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
            Self::TcpRoute | Self::UdpRoute => &["v1", "v1alpha2"],
            Self::Service
            | Self::Secret
            | Self::ConfigMap
            | Self::Namespace
            | Self::Node
            | Self::Pod
            | Self::EndpointSlice => &["v1"],
            Self::ServiceEntry | Self::WorkloadEntry | Self::DestinationRule | Self::Sidecar => {
                &["v1", "v1beta1", "v1alpha3"]
            }
            Self::AuthorizationPolicy | Self::PeerAuthentication | Self::RequestAuthentication => {
                &["v1", "v1beta1"]
            }
            Self::Telemetry => &["v1", "v1alpha1"],
            Self::GatewayParameters
            | Self::CertificateIssuer
            | Self::TrafficPolicy
            | Self::HealthCheckPolicy => &["v1alpha1"],
        }
    }

    /// Whether objects of the kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::GatewayClass | Self::Namespace | Self::Node)
    }

    /// `GROUP/VERSION` of the preferred version, `v1` for core kinds.
    pub fn api_version(self) -> String {
        let version = self.versions().first().copied().unwrap_or("v1");
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
