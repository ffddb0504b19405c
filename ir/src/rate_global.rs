//! Rate limits that all data planes count together: the rules, and the server that counts.

use crate::duration;
use crate::{Password, RateRule, UpstreamTls};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits that all data planes count together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalRates {
    /// Asked in order, in one round trip; the first that refuses a request answers it.
    pub rules: Vec<RateRule>,
    /// Who counts.
    pub server: RateServer,
    /// How long a request waits for the server's word, 1 ms to 1 s.
    #[serde(with = "duration::ms")]
    pub timeout: Duration,
    /// What becomes of a request when there is none.
    pub on_failure: OnRateFailure,
}

/// What becomes of a request that nobody counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnRateFailure {
    /// It is let through.
    Allow,
    /// It gets 503.
    Deny,
}

/// A Redis or Valkey server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateServer {
    /// Name or address, an address of IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of the database.
    #[serde(default)]
    pub database: u16,
    /// Begins the names of all keys.
    pub key_prefix: String,
    /// User, where the server knows users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password; `None`: it is not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// TLS; `None`: plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<UpstreamTls>>,
    /// Why it can't be spoken to at all: a Secret that is missing or says nothing. It is never tried then, and every
    /// request meets `on_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<String>,
}
