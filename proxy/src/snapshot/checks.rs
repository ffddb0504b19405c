//! Which health check each pool of endpoints has: that of its backends.

use super::runtime::BackendRuntime;
use crate::mesh::Own;
use crate::upstream::{CheckParts, Upstreams};
use ahash::{AHashMap, AHashSet};
use sluice_ir as ir;
use std::sync::Arc;

/// The endpoint sets whose checks may change with a backend, of which these are the old and the new version.
pub(super) fn sets(versions: [Option<&Arc<ir::Backend>>; 2]) -> impl Iterator<Item = ir::EndpointSetKey> {
    let has_check = versions.iter().flatten().any(|it| it.health.is_some());
    let sets = versions.map(|it| it.filter(|_| has_check).map(|it| it.endpoints.clone()));
    sets.into_iter().flatten()
}

/// Gives the pools of these sets the checks of their backends. Costs a look at each backend when there is any set.
///
/// Several backends may have one pool, for HTTP/1.1, for gRPC and for whole connections. Their endpoints are asked once:
/// as the backend says that speaks TLS, else the first by its key.
pub(super) fn place(
    sets: &AHashSet<ir::EndpointSetKey>,
    backends: &AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
    snapshot: &ir::Snapshot,
    upstreams: &Upstreams,
    own: &Arc<Own>,
) {
    if sets.is_empty() {
        return;
    }
    let mut chosen: AHashMap<&ir::EndpointSetKey, &Arc<ir::Backend>> = AHashMap::new();
    let all = backends.values().map(|it| &it.backend);
    for backend in all.filter(|it| it.health.is_some() && sets.contains(&it.endpoints)) {
        let rank = |it: &ir::Backend| (it.tls.is_none(), it.key.clone());
        let best = chosen.entry(&backend.endpoints).or_insert(backend);
        if rank(backend) < rank(best) {
            *best = backend;
        }
    }
    let certificate = certificate(snapshot);
    for set in sets {
        let Some(pool) = upstreams.pool(set) else { continue };
        let backend = chosen.get(set);
        pool.set_check(backend.and_then(|backend| upstreams.check(CheckParts { backend, certificate, own })));
    }
}

/// The certificate that is shown to endpoints: that of the first Gateway that shows one.
fn certificate(snapshot: &ir::Snapshot) -> Result<Option<&Arc<ir::Certificate>>, &ir::CertificateKey> {
    let Some(key) = snapshot.gateways.values().find_map(|it| it.backend_certificate.as_ref()) else {
        return Ok(None);
    };
    snapshot.certificates.get(key).map(Some).ok_or(key)
}
