//! What was seen, counted: the same whether access logs or sidecars tell it.

use super::line::{self, Seen};
use sluice_proxy::telemetry::seen::{CallResult, OutsideProtocol, SeenCalls};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};

/// Longest line that is read.
const LINE_BYTES: u64 = 1024 * 1024;
/// Most different calls that are remembered.
const MOST_CALLS: usize = 100_000;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// To where.
    pub to: Destination,
    /// SPIFFE ID of the caller without `spiffe://`; `None`: nobody proved to be anybody.
    pub caller: Option<String>,
    /// Empty of a connection that was carried whole.
    pub method: String,
    /// Without query; empty of the same.
    pub path: String,
    /// Whether it is gRPC.
    pub is_grpc: bool,
}

/// Where a call went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// To what tells of it; its port, where it is known.
    Here(Option<u16>),
    /// To a host or address outside that nobody has named, by what tells of it.
    Outside {
        /// Host or address.
        host: String,
        /// Its port.
        port: u16,
        /// What was spoken.
        protocol: OutsideProtocol,
    },
}

/// What was seen of a workload or Gateway, counted.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Calls that were answered, and how often.
    pub calls: BTreeMap<Call, u64>,
    /// Lines that are no record, or that say too little.
    pub unread: u64,
    /// Calls that were refused or failed by the caller's fault: nobody should allow those by accident.
    pub refused: u64,
    /// Calls beyond what is remembered.
    pub forgotten: u64,
}

impl Observed {
    /// Reads a log, line by line.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&mut self, mut log: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if log.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.line(&line);
        }
    }

    /// Adds what a sidecar has seen.
    pub fn add(&mut self, seen: SeenCalls) {
        self.forgotten += seen.not_kept;
        for it in seen.inbound {
            let call = Call {
                to: Destination::Here(Some(it.port)),
                caller: it.caller.as_deref().map(without_scheme),
                method: it.method,
                path: it.path,
                is_grpc: it.grpc,
            };
            self.count(call, it.result, it.times.count);
        }
        for it in seen.outside {
            let to = Destination::Outside { host: it.host, port: it.port, protocol: it.protocol };
            let call = Call { to, caller: None, method: String::new(), path: String::new(), is_grpc: false };
            self.count(call, it.result, it.times.count);
        }
    }

    /// All calls that were answered.
    pub fn answered(&self) -> u64 {
        self.calls.values().sum()
    }

    fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match line::read(line) {
            Seen::Call(call) => self.count(call, CallResult::Answered, 1),
            Seen::Refused => self.refused += 1,
            Seen::Nothing => self.unread += 1,
        }
    }

    fn count(&mut self, call: Call, result: CallResult, times: u64) {
        if result != CallResult::Answered {
            self.refused += times;
            return;
        }
        if self.calls.len() >= MOST_CALLS && !self.calls.contains_key(&call) {
            self.forgotten += times;
            return;
        }
        *self.calls.entry(call).or_default() += times;
    }
}

/// A SPIFFE ID as policies have it.
pub(super) fn without_scheme(id: &str) -> String {
    id.strip_prefix("spiffe://").unwrap_or(id).to_owned()
}

impl fmt::Display for Call {
    /// `GET /cart on port 8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method.as_str() {
            "" => f.write_str("a connection")?,
            method => write!(f, "{method} {}", self.path)?,
        }
        match &self.to {
            Destination::Here(Some(port)) => write!(f, " on port {port}"),
            Destination::Here(None) => Ok(()),
            Destination::Outside { host, port, .. } => write!(f, " to {host}:{port}"),
        }
    }
}
