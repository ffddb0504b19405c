//! What TrafficPolicies set at one level: a Gateway, a listener, a route or a rule.
//!
//! Each setting stands by itself and carries the policy that it comes from. Which of several policies of one level
//! counts was decided by the translation; what of several levels counts is [`TrafficSettings::over`]: the most specific
//! one that says anything about the setting, whole. Nobody asks while a request is served: a data plane lays the levels
//! over each other when it compiles a configuration.

use crate::duration;
use crate::{
    AdaptiveConcurrency, BackendTarget, Cache, Compression, Decompression, ExtAuth, GlobalRates, HeaderMatch,
    Hedging, Origin, Ratio, RequestBuffer, Timeouts,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A setting and where it comes from; shared by all that inherit it.
pub type Setting<T> = Option<Arc<Given<T>>>;

/// What a policy gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given<T> {
    /// The TrafficPolicy.
    pub policy: Origin,
    /// What it says.
    pub value: T,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $name:literal,)+) => {
        /// The settings of one level, or of several laid over each other.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct TrafficSettings {
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Setting<$type>,
            )+
        }

        impl TrafficSettings {
            /// These settings, and what they leave open as `below` has it.
            #[must_use]
            pub fn over(&self, below: &Self) -> Self {
                Self { $($field: self.$field.clone().or_else(|| below.$field.clone()),)+ }
            }

            /// Each setting that is there: its name in the manifest, and the policy that gives it.
            pub fn given(&self) -> Vec<(&'static str, &Origin)> {
                let mut given = Vec::new();
                $(given.extend(self.$field.as_ref().map(|it| ($name, &it.policy)));)+
                given
            }
        }
    };
}

settings! {
    /// Who may come in.
    clients: ClientRules = "clients",
    /// Bounds on requests, in place of the Gateway's where they say anything.
    limits: RequestLimits = "limits",
    /// How often requests may come.
    rate_limit: RateLimits = "rateLimit",
    /// Time bounds, where the rule has none of its own.
    timeouts: Timeouts = "timeouts",
    /// Requests that are delayed or answered with an error on purpose.
    faults: Faults = "faults",
    /// Request bodies that are unpacked.
    decompression: Decompression = "decompression",
    /// Answers that are kept for those who ask again.
    cache: Cache = "cache",
    /// Answers that are compressed.
    compression: Compression = "compression",
    /// Requests that are read whole before an endpoint is chosen.
    buffer: RequestBuffer = "buffer",
    /// How many requests a backend works on at one time.
    concurrency: AdaptiveConcurrency = "concurrency",
    /// Further tries beside slow ones.
    hedging: Hedging = "hedging",
    /// Who is asked whether a request may go on.
    ext_auth: ExtAuth = "extAuth",
}

impl TrafficSettings {
    /// Nothing when nothing is set.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// The backends that it calls.
    pub fn targets(&self) -> impl Iterator<Item = &BackendTarget> {
        let authorizer = self.ext_auth.as_ref().and_then(|it| it.value.authorizer());
        authorizer.map(|it| &it.target).into_iter()
    }

    /// Levels laid over each other, the most specific first; `None` when none says anything.
    pub fn of_levels<'a>(levels: impl IntoIterator<Item = Option<&'a Self>>) -> Option<Self> {
        levels.into_iter().flatten().fold(None, |above: Option<Self>, level| {
            Some(above.map_or_else(|| level.clone(), |above| above.over(level)))
        })
    }
}

/// What holds for the rules of a route: not within each rule, since there are many of those and few have any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTraffic {
    /// For all of them.
    #[serde(default)]
    pub all: TrafficSettings,
    /// For single ones by their index, above `all`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<u32, TrafficSettings>,
}

impl RouteTraffic {
    /// The backends that it calls, as often as it names them.
    pub fn targets(&self) -> impl Iterator<Item = &BackendTarget> {
        std::iter::once(&self.all).chain(self.rules.values()).flat_map(TrafficSettings::targets)
    }

    /// Nothing when nothing is set.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// Which client addresses are let in. An address that both lists have is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRules {
    /// Only these; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<IpNet>>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

/// Bounds on a request; `None`: as the Gateway's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLimits {
    /// Bytes of the body; 413 above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body_bytes: Option<u64>,
    /// Header fields; 431 above. The Gateway's bound holds too, since it is looked at before the route is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<u32>,
    /// Bytes of names and values of all header fields; 431 above. The Gateway's bound holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_bytes: Option<u32>,
}

/// How often requests may come; without any rule: as often as they like, whatever less specific policies say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Rules that each data plane counts by itself; asked in order, the first that refuses a request answers it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<RateRule>,
    /// Rules that all data planes count together; asked after the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalRates>,
    /// Whether answers tell what is left (`RateLimit`, `RateLimit-Policy`).
    pub tells: bool,
}

/// So many requests of each key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateRule {
    /// For people and for the answer's fields; one of its own within the policy.
    pub name: String,
    /// Requests, at least 1.
    pub requests: u32,
    /// In this time, spread evenly; at least 1 s.
    #[serde(with = "duration::ms")]
    pub per: Duration,
    /// Of them at once, at least 1.
    pub burst: u32,
    /// What requests are counted by; empty: all together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<RateKey>,
    /// Keys that are counted apart, about; more make the rule stricter. 0 for a rule that a server counts.
    pub most_keys: u32,
}

/// A part of what requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RateKey {
    /// The client's address; of IPv6 its first 64 bits.
    ClientAddress,
    /// The first field of this name, lower case; requests without one are counted together.
    Header(String),
    /// The normalised path.
    Path,
    /// The method.
    Method,
    /// A claim of the request's verified token, by its path; requests without it are counted together.
    Claim(Vec<String>),
}

/// Faults on purpose; the delay comes first. With neither: none, whatever less specific policies say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Keeps requests waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<FaultDelay>,
    /// Answers requests with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<FaultAbort>,
}

/// Keeps requests waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDelay {
    /// How long, at most 60 s.
    #[serde(with = "duration::ms")]
    pub duration: Duration,
    /// Which.
    pub of: FaultSelector,
}

/// Answers requests with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultAbort {
    /// Status, 400 to 599.
    pub status: u16,
    /// Status of gRPC in its place, 1 to 16.
    pub grpc_status: u8,
    /// Which.
    pub of: FaultSelector,
}

/// Which requests are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSelector {
    /// This share of those whose header fits.
    pub fraction: Ratio,
    /// All of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Given, RequestLimits, TrafficSettings};
    use crate::{Origin, Timeouts};
    use std::sync::Arc;

    fn limits(policy: &str, bytes: u64) -> TrafficSettings {
        let policy = Origin::new("TrafficPolicy", "shop", policy);
        let value = RequestLimits { request_body_bytes: Some(bytes), ..RequestLimits::default() };
        TrafficSettings { limits: Some(Arc::new(Given { policy, value })), ..TrafficSettings::default() }
    }

    #[test]
    fn the_most_specific_level_wins_setting_by_setting() {
        let (rule, gateway) = (limits("rule", 1), limits("gateway", 2));
        let policy = Origin::new("TrafficPolicy", "shop", "gateway");
        let timeouts = Some(Arc::new(Given { policy, value: Timeouts::default() }));
        let gateway = TrafficSettings { timeouts, ..gateway };
        let merged = TrafficSettings::of_levels([Some(&rule), None, Some(&gateway)]).unwrap();
        let given: Vec<_> = merged.given().into_iter().map(|(name, policy)| (name, &*policy.name)).collect();
        assert_eq!(given, [("limits", "rule"), ("timeouts", "gateway")]);
        assert_eq!(merged.limits, rule.limits);
        assert_eq!(TrafficSettings::of_levels([None, None]), None);
    }
}
