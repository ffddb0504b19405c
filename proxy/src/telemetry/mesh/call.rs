//! What distinguishes one series of `istio_*` metrics from another.

use super::party::{Party, ServiceName};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Which side of a call this data plane is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The workload calls: metrics say `reporter="source"`.
    Outbound,
    /// The workload is called: `reporter="destination"`.
    Inbound,
}

/// What was known of a connection's other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Both showed a certificate of the mesh.
    MutualTls,
    /// They did not.
    None,
    /// There was no connection.
    Unknown,
}

impl Security {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Label `request_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestProtocol {
    /// Requests.
    Http,
    /// Requests of gRPC.
    Grpc,
    /// A connection that is carried whole.
    Tcp,
}

impl RequestProtocol {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// The labels of one series, but for those of this data plane's own workload, which all share.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which side this is.
    pub direction: Direction,
    /// The other end.
    pub peer: Arc<Party>,
    /// What was called.
    pub service: Arc<ServiceName>,
    /// How the ends know each other.
    pub security: Security,
    /// What was spoken.
    pub protocol: RequestProtocol,
    /// Status that the client got; 0 for none.
    pub code: u16,
    /// `grpc-status`; `None` where none was seen.
    pub grpc_status: Option<u8>,
    /// Envoy's response flags.
    pub flags: &'static str,
    /// Whether too many series are there already: neither peer nor service is told, and of the code only its class.
    pub is_overflow: bool,
}

impl Call {
    /// Whether it is the same by pointers: cheap, and never true of different calls.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.peer, &other.peer)
            && Arc::ptr_eq(&self.service, &other.service)
            && self.rest() == other.rest()
    }

    /// A number from the pointers, for the thread's own table.
    pub(super) fn slot(&self, slots: usize) -> usize {
        let peer = Arc::as_ptr(&self.peer) as usize >> 4;
        let service = Arc::as_ptr(&self.service) as usize >> 4;
        let small = usize::from(self.code) ^ (self.protocol as usize) << 3 ^ (self.direction as usize) << 5;
        (peer ^ service.rotate_left(7) ^ small.wrapping_mul(31)).wrapping_mul(0x9E37_79B9) >> 8 & (slots - 1)
    }

    /// The same once no further series may be made.
    pub(super) fn overflow(&self, unknown: &(Arc<Party>, Arc<ServiceName>)) -> Self {
        let (peer, service) = unknown.clone();
        let code = if (100..600).contains(&self.code) { self.code / 100 * 100 } else { 0 };
        Self { peer, service, code, grpc_status: None, flags: "-", is_overflow: true, ..self.clone() }
    }

    fn rest(&self) -> (Direction, Security, RequestProtocol, u16, Option<u8>, &'static str, bool) {
        let Self { direction, security, protocol, code, grpc_status, flags, is_overflow, .. } = self;
        (*direction, *security, *protocol, *code, *grpc_status, flags, *is_overflow)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.rest() == other.rest() && self.peer == other.peer && self.service == other.service
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rest().hash(state);
        self.peer.hash(state);
        self.service.hash(state);
    }
}
