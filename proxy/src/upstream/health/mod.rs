//! Active health checks: endpoints are asked whether they are well (HealthCheckPolicy).
//!
//! In: a [`Check`] for each pool that has one, and the pool's endpoints as they come and go. Out: one bit on each
//! endpoint, which the pool's choice asks beside ejection. An endpoint is asked once however many routes, backends or
//! pools lead to it ([`probe`]); what an answer means is pure ([`standing`]); asking is [`ask`]'s. At most
//! [`MOST_AT_ONCE`] endpoints are asked at one time.

mod ask;
mod grpc;
mod probe;
mod standing;

pub use grpc::grpc_health;
pub use probe::HealthSnapshot;
pub(super) use probe::Probe;
pub use standing::HealthState;

use super::tls::TlsClient;
use crate::mesh::{MeshPeers, Own};
use ahash::AHashMap;
use parking_lot::Mutex;
use sluice_ir as ir;
use standing::Standing;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

/// Checks that may be under way at one time; others wait for their turn, which is no failure.
pub const MOST_AT_ONCE: usize = 256;

/// How endpoints are asked, with everything that asking needs.
pub struct Check {
    pub(super) spec: ir::HealthCheck,
    /// TLS that is spoken, as the policy of the backend has it, and the certificate that is shown.
    policy: Option<ir::UpstreamTls>,
    certificate: Option<Arc<ir::Certificate>>,
    /// Whether requests are in HTTP/2.
    is_http2: bool,
    preface: &'static [u8],
    /// The way through the endpoint, where it is a proxy.
    tunnel: Option<ir::Tunnel>,
    /// Why nobody can be asked, where TLS can't be spoken.
    tls: Option<Result<Arc<TlsClient>, String>>,
    /// Whether workloads of the mesh are asked in its TLS, and who speaks that.
    mesh: ir::MeshTls,
    peers: Option<Arc<MeshPeers>>,
    all: Arc<Checks>,
}

/// What a check is made from.
#[derive(Clone, Copy, Debug)]
pub struct CheckParts<'a> {
    /// With a check.
    pub backend: &'a ir::Backend,
    /// The certificate that the Gateway shows to its backends: none, it, or the key of one that is missing.
    pub certificate: Result<Option<&'a Arc<ir::Certificate>>, &'a ir::CertificateKey>,
    /// Who asks endpoints that are workloads of the mesh.
    pub(crate) own: &'a Arc<Own>,
}

/// All checks and probes of a process.
#[derive(Debug)]
pub(super) struct Checks {
    /// By the policy that they come from.
    known: Mutex<AHashMap<ir::Origin, Vec<Weak<Check>>>>,
    probes: Mutex<AHashMap<Asked, Weak<Probe>>>,
    slots: Semaphore,
}

/// Who is asked, and how: the address, the check, and whoever must be there.
type Asked = (SocketAddr, usize, Option<Arc<ir::Workload>>);

impl Default for Checks {
    fn default() -> Self {
        Self { known: Mutex::default(), probes: Mutex::default(), slots: Semaphore::new(MOST_AT_ONCE) }
    }
}

impl Checks {
    /// The check of a backend: the same one for backends that are asked alike, so that endpoints which they share are
    /// asked once. `None` for a backend without a check.
    pub(super) fn check(self: &Arc<Self>, parts: CheckParts<'_>) -> Option<Arc<Check>> {
        let wanted = Check::describe(self, parts)?;
        let mut known = self.known.lock();
        let same = known.entry(wanted.spec.origin.clone()).or_default();
        same.retain(|it| it.strong_count() > 0);
        if let Some(found) = same.iter().filter_map(Weak::upgrade).find(|it| it.is_like(&wanted)) {
            return Some(found);
        }
        let check = Arc::new(wanted.with_clients(parts));
        same.push(Arc::downgrade(&check));
        known.retain(|_, all| all.iter().any(|it| it.strong_count() > 0));
        Some(check)
    }

    /// The probe of an address: the one that is there, else a new one that goes on from `before`.
    fn probe(
        &self,
        check: &Arc<Check>,
        (address, workload): (SocketAddr, Option<&Arc<ir::Workload>>),
        before: Option<Standing>,
    ) -> Arc<Probe> {
        let address = check.spec.port.map_or(address, |port| SocketAddr::new(address.ip(), port));
        let workload = workload.filter(|it| it.mutual_tls && check.peers.is_some()).cloned();
        let key = (address, Arc::as_ptr(check).addr(), workload.clone());
        let mut probes = self.probes.lock();
        if let Some(probe) = probes.get(&key).and_then(Weak::upgrade) {
            return probe;
        }
        let probe = Probe::start((address, workload), check.clone(), before);
        if probes.len() == probes.capacity() {
            probes.retain(|_, it| it.strong_count() > 0);
        }
        probes.insert(key, Arc::downgrade(&probe));
        probe
    }
}

impl Check {
    fn describe(all: &Arc<Checks>, parts: CheckParts<'_>) -> Option<Self> {
        let backend = parts.backend;
        let spec = (**backend.health.as_ref()?).clone();
        let is_http2 = match &spec.probe {
            ir::HealthProbe::Grpc { .. } => true,
            ir::HealthProbe::Http { .. } => backend.protocol == ir::BackendProtocol::H2c,
            ir::HealthProbe::Tcp => false,
        };
        // A port of its own is nobody's but the check's.
        let rule = backend.policy.as_deref().filter(|_| spec.port.is_none());
        let preface = rule.and_then(|it| it.proxy_header).map(super::preface::nobody).unwrap_or_default();
        let tunnel = rule.and_then(|it| it.tunnel.clone());
        let policy = backend.tls.as_deref().filter(|_| !spec.is_plain).cloned();
        let certificate = policy.as_ref().and(parts.certificate.ok().flatten()).cloned();
        let mesh = if spec.is_plain { ir::MeshTls::Off } else { backend.mesh.clone() };
        let (tls, peers, all) = (None, None, all.clone());
        Some(Self { spec, policy, certificate, is_http2, preface, tunnel, tls, mesh, peers, all })
    }

    /// Whether endpoints are asked in the same way.
    fn is_like(&self, other: &Self) -> bool {
        self.spec == other.spec
            && self.policy == other.policy
            && self.certificate == other.certificate
            && self.is_http2 == other.is_http2
            && self.preface == other.preface
            && self.tunnel == other.tunnel
            && self.mesh == other.mesh
    }

    fn with_clients(self, CheckParts { backend, certificate, own }: CheckParts<'_>) -> Self {
        let protocol = match &self.spec.probe {
            ir::HealthProbe::Tcp => ir::BackendProtocol::Tcp,
            _ if self.is_http2 => ir::BackendProtocol::H2c,
            _ => ir::BackendProtocol::Http1,
        };
        let asked = ir::Backend { protocol, mesh: self.mesh.clone(), ..backend.clone() };
        let missing = certificate.err();
        let tls = self.policy.as_ref().map(|policy| {
            if let Some(key) = missing.filter(|_| policy.certificate.is_none()) {
                return Err(format!("client certificate {key} is not part of the configuration"));
            }
            TlsClient::new(&asked, policy, self.certificate.as_deref()).map_err(|error| error.to_string())
        });
        let peers = MeshPeers::of(own, &asked, None);
        Self { tls, peers, ..self }
    }

    /// What is known of an endpoint's health, from now on.
    pub(super) fn probe(
        self: &Arc<Self>,
        endpoint: (SocketAddr, Option<&Arc<ir::Workload>>),
        before: Option<&Probe>,
    ) -> Arc<Probe> {
        self.all.probe(self, endpoint, before.map(Probe::standing))
    }

    /// Waits until the endpoint of this workload can be asked at all. Without an own identity it can't, which says nothing of
    /// its health. Cancel safe.
    async fn ready(&self, workload: Option<&ir::Workload>) {
        if let (Some(peers), Some(_)) = (&self.peers, workload) {
            peers.wait().await;
        }
    }

    /// Who speaks TLS to an endpoint; `Ok(None)`: it is asked in the clear.
    ///
    /// # Errors
    /// Why it can't be asked.
    fn client(&self, workload: Option<&ir::Workload>) -> Result<Option<Arc<TlsClient>>, String> {
        let of_mesh = self.peers.as_ref().map(|peers| peers.client(workload)).transpose();
        match of_mesh.map_err(|unfit| unfit.to_string())?.flatten() {
            Some(client) => Ok(Some(client)),
            None => self.tls.clone().transpose(),
        }
    }

    /// Whether so few of `all` endpoints are healthy that all are used.
    pub(super) fn uses_all(&self, healthy: usize, all: usize) -> bool {
        healthy * 100 < usize::from(self.spec.min_healthy_percent) * all
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
