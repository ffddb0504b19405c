//! How data planes stand, in words for status, `/debug/sync` and `sluice status`.

use serde::{Deserialize, Serialize};
use sluice_ir as ir;

/// How the data planes of a Gateway stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewaySync {
    /// Data planes that are connected, or were a moment ago.
    pub connected: u32,
    /// Those that acknowledged the newest of everything.
    pub in_sync: u32,
    /// At least one data plane is connected and every connected one has acknowledged the newest Gateway, Listener and
    /// Certificate resources. This is what the condition Programmed means.
    pub programmed: bool,
    /// The controller has started a moment ago and no data plane of this Gateway has come yet: nothing is known, so
    /// that `programmed` being false says nothing.
    pub settling: bool,
    /// Each data plane, by name.
    pub proxies: Vec<ProxySync>,
}

/// How one data plane stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySync {
    /// Name of its pod.
    pub name: String,
    /// Its version of Sluice.
    pub version: String,
    /// Replica of the controller that it is connected to.
    pub replica: String,
    /// When it connected, in seconds since 1970.
    pub since_s: u64,
    /// Resources that are newer than what it acknowledged.
    pub behind: u32,
    /// Since when it is behind, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since_s: Option<u64>,
    /// Resources that it did not take over, or listeners that it can't serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<RefusedResource>,
}

impl ProxySync {
    /// Whether it has the newest of everything.
    pub fn in_sync(&self) -> bool {
        self.behind == 0 && self.refusals.is_empty()
    }
}

/// A resource that a data plane refused; it serves the version before, if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedResource {
    /// `Route HTTPRoute/shop/cart`.
    pub resource: String,
    /// The object that caused it: `HTTPRoute shop/cart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Why, in the data plane's words.
    pub message: String,
}

/// A data plane as one replica of the controller tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// `NAMESPACE/NAME` of its Gateway.
    pub(super) gateway: String,
    /// Digest of the Gateway, listeners and certificates that it acknowledged last.
    pub(super) acknowledged: Option<u64>,
    /// Whether that is the newest that its replica knows.
    pub(super) newest: bool,
    /// Digest of the challenges that it acknowledged last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) challenges: Option<u64>,
    /// The rest.
    pub(super) proxy: ProxySync,
}

impl Told {
    pub(super) fn gateway(&self) -> ir::GatewayKey {
        ir::GatewayKey::new(self.gateway.as_str())
    }
}
