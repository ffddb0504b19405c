//! What calls have in common that are counted together.

use super::{CallResult, SeenInbound, SeenOutside, Times, path};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Longest path template that is kept, in bytes.
const PATH_BYTES: usize = 256;
/// Longest method.
const METHOD_BYTES: usize = 32;
/// Longest host (RFC 1035).
const HOST_BYTES: usize = 253;

/// A call as it ended.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// To where.
    pub to: To<'a>,
    /// SPIFFE ID of the caller; `None`: nobody proved to be anybody.
    pub caller: Option<&'a str>,
    /// Empty of a connection that was carried whole.
    pub method: &'a str,
    /// Without query; empty of the same.
    pub path: &'a str,
    /// Whether it is gRPC.
    pub is_grpc: bool,
    /// What became of it.
    pub result: CallResult,
}

/// Where a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum To<'a> {
    /// To the workload, at this port.
    Here(u16),
    /// To a host that nobody has named, in lower case.
    Outside(&'a str, u16, OutsideProtocol),
}

/// What was spoken to a host outside, as ServiceEntries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OutsideProtocol {
    /// Requests.
    Http,
    /// TLS with a server name.
    Tls,
    /// Anything else.
    Tcp,
}

impl OutsideProtocol {
    /// As a ServiceEntry has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }
}

impl Call<'_> {
    fn segments(&self) -> impl Iterator<Item = &str> {
        let is_method = self.is_grpc && path::is_grpc_method(self.path);
        let whole = is_method.then(|| self.path.get(1..).unwrap_or_default());
        let parts = (!is_method).then(|| path::segments(self.path));
        whole.into_iter().chain(parts.into_iter().flatten())
    }

    /// A number that calls of one shape have in common.
    pub(super) fn hash_by(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        (self.to, self.caller, self.method, self.is_grpc, self.result).hash(&mut hasher);
        self.segments().for_each(|it| it.hash(&mut hasher));
        hasher.finish()
    }

    /// Its shape; `None`: it is longer than what is kept.
    pub(super) fn shape(&self, now_s: u64) -> Option<Shape> {
        let mut path = String::new();
        for segment in self.segments().filter(|_| !self.path.is_empty()) {
            path.push('/');
            path.push_str(segment);
        }
        let host = match self.to {
            To::Here(_) => None,
            To::Outside(host, ..) => Some(host),
        };
        let fits = path.len() <= PATH_BYTES
            && self.method.len() <= METHOD_BYTES
            && host.is_none_or(|it| it.len() <= HOST_BYTES);
        fits.then(|| Shape {
            place: match self.to {
                To::Here(port) => Place::Here(port),
                To::Outside(host, port, protocol) => Place::Outside(host.into(), port, protocol),
            },
            caller: self.caller.map(Box::from),
            method: self.method.into(),
            path: path.into(),
            is_grpc: self.is_grpc,
            result: self.result,
            count: AtomicU64::new(0),
            first_s: now_s,
            last_s: AtomicU64::new(now_s),
        })
    }
}

/// [`To`], kept.
enum Place {
    Here(u16),
    Outside(Box<str>, u16, OutsideProtocol),
}

/// What calls have in common, and how many there were.
pub(super) struct Shape {
    place: Place,
    caller: Option<Box<str>>,
    method: Box<str>,
    path: Box<str>,
    is_grpc: bool,
    pub(super) result: CallResult,
    count: AtomicU64,
    first_s: u64,
    last_s: AtomicU64,
}

impl Shape {
    /// Whether a call has it. Cost: a comparison; nothing is allocated.
    pub(super) fn fits(&self, call: &Call<'_>) -> bool {
        let is_there = match (&self.place, call.to) {
            (Place::Here(port), To::Here(its)) => *port == its,
            (Place::Outside(host, port, protocol), To::Outside(its, its_port, its_protocol)) => {
                **host == *its && *port == its_port && *protocol == its_protocol
            }
            (Place::Here(_), To::Outside(..)) | (Place::Outside(..), To::Here(_)) => false,
        };
        is_there
            && (self.is_grpc, self.result) == (call.is_grpc, call.result)
            && self.caller.as_deref() == call.caller
            && *self.method == *call.method
            && self.has_path_of(call)
    }

    fn has_path_of(&self, call: &Call<'_>) -> bool {
        let mut rest = &*self.path;
        for segment in call.segments().filter(|_| !call.path.is_empty()) {
            match rest.strip_prefix('/').and_then(|it| it.strip_prefix(segment)) {
                Some(next) => rest = next,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Counts a call.
    pub(super) fn count(&self, now_s: u64) {
        self.count.fetch_add(1, Relaxed);
        if self.last_s.load(Relaxed) != now_s {
            self.last_s.store(now_s, Relaxed);
        }
    }

    fn times(&self) -> Times {
        Times {
            count: self.count.load(Relaxed),
            first_seen_s: self.first_s,
            last_seen_s: self.last_s.load(Relaxed),
        }
    }

    /// As it is shown.
    pub(super) fn show(&self) -> Result<SeenInbound, SeenOutside> {
        match &self.place {
            Place::Here(port) => Ok(SeenInbound {
                caller: self.caller.as_deref().map(str::to_owned),
                port: *port,
                method: self.method.to_string(),
                path: self.path.to_string(),
                grpc: self.is_grpc,
                result: self.result,
                times: self.times(),
            }),
            Place::Outside(host, port, protocol) => Err(SeenOutside {
                host: host.to_string(),
                port: *port,
                protocol: *protocol,
                result: self.result,
                times: self.times(),
            }),
        }
    }
}
