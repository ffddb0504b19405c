//! Keys of the resources: readable strings, cheap to clone, ordered, one type per kind so that they can't be mixed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The key with this text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The key's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

key!(
    /// `NAMESPACE/NAME` of a Gateway.
    GatewayKey
);
key!(
    /// `Gateway/NAMESPACE/NAME/SECTION` or `ListenerSet/NAMESPACE/NAME/SECTION`.
    ListenerKey
);
key!(
    /// `HTTPRoute/NAMESPACE/NAME` or `GRPCRoute/NAMESPACE/NAME`; `ServiceEntry/NAMESPACE/NAME/HOST:PORT` for requests
    /// that a forward proxy takes.
    RouteKey
);
key!(
    /// `TLSRoute/NAMESPACE/NAME`, `TCPRoute/NAMESPACE/NAME` or `UDPRoute/NAMESPACE/NAME`;
    /// `ServiceEntry/NAMESPACE/NAME/HOST:PORT` for tunnels of a forward proxy.
    StreamRouteKey
);
key!(
    /// `Service/NAMESPACE/NAME:PORT` or `Hostname/HOST:PORT`, with `+h2c` appended where a GRPCRoute speaks HTTP/2
    /// to a port that does not say so itself, `+tcp` and `+udp` where it is spoken to as a whole.
    BackendKey
);
key!(
    /// `Service/NAMESPACE/NAME:PORT` or `Hostname/HOST:PORT`, with `+udp` appended for a port of protocol UDP: what
    /// several backends of one port share.
    EndpointSetKey
);
key!(
    /// `Secret/NAMESPACE/NAME`, with `+on-demand` appended where no listener names it: see
    /// [`Certificate::on_demand`](crate::Certificate::on_demand).
    CertificateKey
);
key!(
    /// `NAMESPACE/ISSUER-NAMESPACE/ISSUER`: listeners of one namespace whose issuer obtains certificates at handshakes,
    /// and those certificates.
    OnDemandKey
);
key!(
    /// `GATEWAY-NAMESPACE/GATEWAY/http-01/HOST/TOKEN` or `GATEWAY-NAMESPACE/GATEWAY/tls-alpn-01/HOST`.
    ChallengeKey
);
key!(
    /// A namespace.
    WorkloadsKey
);

impl WorkloadsKey {
    /// What a data plane of these workloads subscribes to: `Workloads/NAMESPACE`.
    pub fn scope(&self) -> GatewayKey {
        GatewayKey::new(format!("Workloads/{self}"))
    }
}
