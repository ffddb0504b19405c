//! The table that `sluice certificates` shows: no secret in it.

use serde::{Deserialize, Serialize};
use sluice_acme::{CertificateKey, State, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `NAMESPACE/NAME` of its Secret.
    pub secret: String,
    /// `NAMESPACE/NAME` of its CertificateIssuer.
    pub issuer: String,
    /// Sorted.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970; absent: there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_s: Option<u64>,
    /// When it is renewed, or tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_s: Option<u64>,
    /// `Valid`, or what it waits for or failed by: `DNS`, `Quota`, ...
    pub state: String,
    /// What is missing and what to do; empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The table, by Secret.
pub fn rows(statuses: &BTreeMap<CertificateKey, Arc<Status>>) -> Vec<Row> {
    statuses.iter().map(|(key, status)| row(key, status)).collect()
}

fn row(key: &CertificateKey, status: &Status) -> Row {
    let (state, message, next) = match &status.state {
        State::Valid { next_renewal } => ("Valid", String::new(), Some(*next_renewal)),
        State::Waiting { reason, message, until } => (reason.as_str(), message.clone(), *until),
        State::Failed { reason, message, retry_at } => (reason.as_str(), message.clone(), Some(*retry_at)),
    };
    Row {
        secret: key.to_string(),
        issuer: status.issuer.to_string(),
        names: status.names.clone(),
        not_after_s: status.current.as_ref().map(|it| seconds(it.not_after)),
        next_s: next.map(seconds),
        state: state.to_owned(),
        message,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
