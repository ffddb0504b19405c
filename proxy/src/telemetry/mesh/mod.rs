//! What a mesh tells of calls: Istio's standard metrics, who called whom, and what proxies tell each other of that.
//!
//! In: who this data plane stands beside ([`OwnWorkload`]), requests and connections that ended. Out: the `istio_*`
//! families of the exposition, with Istio's names, labels and buckets, so that Kiali and Istio's dashboards read them.
//! Without an `OwnWorkload`, as at an edge that is none of a mesh, nothing here costs a request anything.

mod call;
mod exposition;
mod messages;
pub(crate) mod metadata;
mod overrides;
mod party;
mod series;
mod table;

pub use call::{Call, Direction, RequestProtocol, Security};
pub use metadata::Introduction;
pub use overrides::{Change, Metric, Overrides};
pub use party::{OwnWorkload, Party, ServiceName, UNKNOWN};
pub use series::{BOUNDS, Ended, Series};
pub use table::{RETIRED_AFTER_MIN, SERIES, Table};

pub(crate) use messages::Messages;

use super::{Outcome, seen};
use arc_swap::ArcSwap;
use sluice_ir as ir;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

/// What the keys of Gateways begin with whose ports take calls to the own workload.
pub const INBOUND: &str = "Inbound";

/// A data plane's part in its mesh.
pub struct Mesh {
    /// Who it stands beside.
    pub own: OwnWorkload,
    /// The same as labels name it.
    pub party: Arc<Party>,
    /// What it tells other proxies; `None` where its names can't be told.
    pub introduction: Option<Introduction>,
    /// The own workload as a Service, for calls of which nothing else is known.
    pub service: Arc<ServiceName>,
    /// Which calls were seen.
    pub seen: seen::Table,
    table: Table,
    overrides: ArcSwap<Overrides>,
    unknown: Arc<Party>,
}

impl Mesh {
    /// A part without calls.
    pub fn new(own: OwnWorkload) -> Arc<Self> {
        Arc::new(Self {
            party: Arc::new(Party::of(&own.workload, &own.trust_domain, &own.cluster)),
            introduction: Introduction::of(&own),
            service: Arc::new(ServiceName::of(&own.workload.namespace, &own.workload.canonical_service)),
            seen: seen::Table::default(),
            table: Table::default(),
            overrides: ArcSwap::default(),
            unknown: Arc::default(),
            own,
        })
    }

    /// The series of a call.
    pub fn series(&self, call: &Call, now: Instant) -> Arc<Series> {
        self.table.series(call, now)
    }

    /// Nobody in particular.
    pub fn unknown(&self) -> &Arc<Party> {
        &self.unknown
    }

    /// Another workload as metrics name it.
    pub fn party_of(&self, workload: &ir::Workload) -> Arc<Party> {
        Arc::new(Party::of(workload, &self.own.trust_domain, &self.own.cluster))
    }

    /// Sets what is shown of metrics from now on. What was counted stays.
    pub fn set_overrides(&self, overrides: Overrides) {
        self.overrides.store(Arc::new(overrides));
    }

    /// Appends the families to an exposition.
    pub(crate) fn write(&self, out: &mut String) {
        let series = self.table.list(Instant::now());
        exposition::write(out, &self.party, &series, &self.overrides.load(), self.table.overflowed());
    }
}

/// A data plane's part in its mesh as one of its ports takes it.
#[derive(Clone)]
pub struct MeshContext {
    /// The data plane's.
    pub mesh: Arc<Mesh>,
    /// Whether its workload calls here or is called.
    pub direction: Direction,
    /// What a call is for that comes to no backend.
    pub service: Arc<ServiceName>,
}

impl MeshContext {
    /// For the ports of a Gateway: those of the own workload are known by their key.
    pub fn of(mesh: &Arc<Mesh>, gateway: &ir::GatewayKey) -> Self {
        let is_inbound = gateway.as_str().split('/').next() == Some(INBOUND);
        let (direction, service) = match is_inbound {
            true => (Direction::Inbound, mesh.service.clone()),
            false => (Direction::Outbound, Arc::new(ServiceName::of_gateway(gateway))),
        };
        Self { mesh: mesh.clone(), direction, service }
    }

    /// A call of which no more is known than whom the peer has proven to be and what its handshake asked for.
    pub(crate) fn call(
        &self,
        protocol: RequestProtocol,
        identity: Option<&str>,
        server_name: Option<&str>,
    ) -> Call {
        let (peer, service, security) = match self.direction {
            Direction::Inbound => {
                let peer = identity.map(|identity| metadata::party(None, identity));
                let security = if peer.is_some() { Security::MutualTls } else { Security::None };
                (peer, self.service_of(server_name), security)
            }
            Direction::Outbound => (None, self.service.clone(), Security::Unknown),
        };
        Call {
            direction: self.direction,
            peer: peer.unwrap_or_else(|| self.mesh.unknown().clone()),
            service,
            security,
            protocol,
            code: 0,
            grpc_status: None,
            flags: "-",
            is_overflow: false,
        }
    }

    /// Counts a request, or a connection, that was refused before anything of it was understood.
    pub(crate) fn refused(&self, call: Call, outcome: Outcome) {
        let is_request = call.protocol != RequestProtocol::Tcp;
        let service = match (self.direction, outcome) {
            (Direction::Outbound, Outcome::EgressRefused) => Arc::new(ServiceName::black_hole()),
            _ => call.service.clone(),
        };
        let (code, flags) = match is_request {
            true => (outcome.status().unwrap_or_default(), outcome.flags(false)),
            false => (0, outcome.flags_of_connection()),
        };
        let series = self.mesh.series(&Call { service, code, flags, ..call }, Instant::now());
        if is_request {
            series.ended(&Ended::default());
        } else {
            series.opened();
            series.closed();
        }
    }

    /// What an inbound call is for: the Service that the client's proxy names in the handshake
    /// (`outbound_.PORT_.SUBSET_.HOST`), if it is of the own namespace; else the own workload's.
    pub fn service_of(&self, server_name: Option<&str>) -> Arc<ServiceName> {
        let host =
            server_name.and_then(|name| name.strip_prefix("outbound_.")?.rsplit_once("_.").map(|it| it.1));
        let Some(host) = host else { return self.service.clone() };
        let named = named(host);
        if *named.namespace == *self.mesh.own.workload.namespace { named } else { self.service.clone() }
    }
}

/// Names that a thread remembers.
const RECENT: usize = 16;

thread_local! {
    static NAMED: RefCell<[Option<Arc<ServiceName>>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

/// A host as a Service. Cost: a comparison, for hosts that this thread has seen before.
fn named(host: &str) -> Arc<ServiceName> {
    let hash = host.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let slot = hash % RECENT;
    let known = NAMED.try_with(|all| all.borrow()[slot].clone().filter(|it| *it.host == *host));
    if let Ok(Some(known)) = known {
        return known;
    }
    let new = Arc::new(ServiceName::of_host(host, ""));
    let _ = NAMED.try_with(|all| all.borrow_mut()[slot] = Some(new.clone()));
    new
}

#[cfg(test)]
mod tests;
