//! Which calls a workload was seen to take, and which hosts outside it was seen to reach that nobody has named: what
//! `sluice suggest policy` makes policies of.
//!
//! In: calls as they end ([`Call`]). Out: their shapes, counted ([`SeenCalls`]): caller, method, path template, port, result.
//! Bounded in number and length; paths are kept without what names one thing of many ([`path`]), so that no token or mail
//! address of a path is kept.

pub mod path;
mod result;
mod shape;
mod table;

pub use result::CallResult;
pub use shape::{Call, OutsideProtocol, To};
pub use table::{MOST_UNANSWERED, SHAPES, Table};

use serde::{Deserialize, Serialize};

/// What was seen, as `/debug/calls` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCalls {
    /// Since when, in seconds since 1970.
    pub since_s: u64,
    /// Calls that are counted here alone: their shapes were too many, or too long.
    pub not_kept: u64,
    /// Calls to the workload.
    pub inbound: Vec<SeenInbound>,
    /// Connections and requests of the workload to hosts that no ServiceEntry and no Service names.
    pub outside: Vec<SeenOutside>,
}

/// A shape of calls to the workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenInbound {
    /// SPIFFE ID of the caller; `None`: nobody proved to be anybody.
    pub caller: Option<String>,
    /// Port of the workload.
    pub port: u16,
    /// Empty of a connection that was carried whole.
    pub method: String,
    /// Path template, with `{*}` for a segment that names one thing of many; empty of the same.
    pub path: String,
    /// Whether it is gRPC.
    pub grpc: bool,
    /// What became of them.
    pub result: CallResult,
    /// How many, and when.
    #[serde(flatten)]
    pub times: Times,
}

/// A host outside, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenOutside {
    /// Its name, or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What was spoken.
    pub protocol: OutsideProtocol,
    /// What became of it.
    pub result: CallResult,
    /// How many, and when.
    #[serde(flatten)]
    pub times: Times,
}

/// How often, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Times {
    /// How many calls.
    pub count: u64,
    /// When the first one ended, in seconds since 1970.
    pub first_seen_s: u64,
    /// When the last one did.
    pub last_seen_s: u64,
}
