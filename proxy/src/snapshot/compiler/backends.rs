//! From backends to what requests meet of them.

use super::Compiler;
use crate::mesh::MeshPeers;
use crate::snapshot::checks;
use crate::snapshot::runtime::BackendRuntime;
use crate::snapshot::tls::BackendTls;
use crate::snapshot::touched::{Touched, names, names_any};
use crate::upstream::{Affinity, EndpointPool};
use ahash::AHashSet;
use sluice_ir as ir;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

impl Compiler {
    /// Rebuilds the backends that changed and marks the routes that name them.
    pub(super) fn compile_backends(&mut self, touched: &mut Touched) {
        let shown = |gateway: &Arc<ir::Gateway>| {
            gateway.backend_certificate.as_ref().is_some_and(|key| touched.certificates.contains(key))
        };
        if touched.gateways || self.snapshot.gateways.values().any(shown) {
            // Gateways may show their backends other certificates now.
            let outdated = self.backends.iter().filter(|(_, backend)| {
                backend.tls.as_ref().is_some_and(|tls| !tls.is_current(&self.snapshot))
            });
            touched.backends.extend(outdated.map(|(key, _)| key.clone()));
        }
        if touched.backends.is_empty() {
            return;
        }
        let mut asked = AHashSet::new();
        for key in &touched.backends {
            let versions = [self.backends.get(key).map(|it| &it.backend), self.snapshot.backends.get(key)];
            asked.extend(checks::sets(versions));
            match self.snapshot.backends.get(key).and_then(|backend| self.backend(backend)) {
                Some(runtime) => drop(self.backends.insert(key.clone(), runtime)),
                None => {
                    self.backends.remove(key);
                }
            }
        }
        checks::place(&asked, &self.backends, &self.snapshot, &self.upstreams, &self.own);
        for (key, route) in &self.snapshot.routes {
            if !touched.routes.contains(key) && names_any(route, &touched.backends) {
                touched.routes.insert(key.clone());
            }
        }
        for (key, route) in &self.snapshot.stream_routes {
            if route.backends.iter().any(|it| names(&it.target, &touched.backends)) {
                touched.streams.insert(key.clone());
            }
        }
    }

    fn backend(&self, backend: &Arc<ir::Backend>) -> Option<Arc<BackendRuntime>> {
        let pool = self.upstreams.pool(&backend.endpoints)?;
        let policy = backend.policy.as_deref();
        let affinity = policy.and_then(|it| it.affinity.as_ref());
        let locality = policy.and_then(|it| it.locality.as_ref());
        pool.arrange(affinity.map(|it| &it.table), locality);
        if locality.is_some() {
            self.say_if_lost(backend, &pool);
        }
        let before = self.backends.get(&backend.key).map(Arc::as_ref);
        let terms = policy.map(|it| &it.connections);
        let counts = terms.is_some_and(|it| it.requests.is_some());
        let mut runtime = BackendRuntime {
            pool,
            permits: self.upstreams.permits(&backend.key, self.pending_requests()),
            group: self.hasher.hash_one(backend.key.as_str()),
            tls: BackendTls::compile(backend, &self.snapshot, before),
            mesh: MeshPeers::of(&self.own, backend, before.and_then(|it| it.mesh.as_ref())),
            circuit: self.upstreams.circuit(backend),
            affinity: affinity.and_then(|it| Affinity::new(&it.key)).map(Box::new),
            backend: backend.clone(),
            uses: counts.then(|| before.and_then(|it| it.uses.clone()).unwrap_or_default()),
            service: OnceLock::new(),
            cluster: OnceLock::new(),
            twin: None,
        };
        if terms.is_some_and(|it| it.speaks_as_client) {
            runtime.twin = self.twin(&runtime, before.and_then(|it| it.twin.as_deref()));
        }
        Some(Arc::new(runtime))
    }

    /// The backend in the other version of HTTP: all is shared but the connections.
    fn twin(&self, of: &BackendRuntime, before: Option<&BackendRuntime>) -> Option<Arc<BackendRuntime>> {
        let protocol = match of.backend.protocol {
            ir::BackendProtocol::Http1 => ir::BackendProtocol::H2c,
            ir::BackendProtocol::H2c => ir::BackendProtocol::Http1,
            ir::BackendProtocol::Tcp | ir::BackendProtocol::Udp => return None,
        };
        let backend = ir::Backend { protocol, ..ir::Backend::clone(&of.backend) };
        Some(Arc::new(BackendRuntime {
            pool: of.pool.clone(),
            permits: of.permits.clone(),
            group: of.group,
            tls: BackendTls::compile(&backend, &self.snapshot, before),
            mesh: MeshPeers::of(&self.own, &backend, before.and_then(|it| it.mesh.as_ref())),
            circuit: of.circuit.clone(),
            affinity: None,
            backend: Arc::new(backend),
            uses: of.uses.clone(),
            service: OnceLock::new(),
            cluster: OnceLock::new(),
            twin: None,
        }))
    }

    /// Tells once that rules go by places and that nobody has said where this data plane runs.
    fn say_if_lost(&self, backend: &ir::Backend, pool: &EndpointPool) {
        let is_lost = self.upstreams.locality().is_none() && pool.knows_places();
        if is_lost && !self.said_lost.swap(true, Relaxed) {
            tracing::info!(
                backend = %backend.key,
                "near endpoints come first by a rule, but where this data plane runs is not known: all are alike; see --locality"
            );
        }
    }

    /// The bound on a backend's pending requests: the largest of the Gateways', since they share it.
    pub(super) fn pending_requests(&self) -> u32 {
        let limits = self.snapshot.gateways.values().map(|gateway| gateway.settings.limits.pending_requests);
        limits.max().unwrap_or_else(|| ir::Limits::default().pending_requests)
    }
}
