//! RequestAuthentications of Gateways, compiled: kept as long as they say the same, with the tokens that they have
//! verified.

use crate::jwks::Sources;
use crate::policy::Authenticator;
use parking_lot::Mutex;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Gateway's policies and what was compiled of them.
type Kept = (Vec<Arc<ir::Authentication>>, Option<Arc<Authenticator>>);

/// Those of all Gateways.
pub(super) struct Authenticators {
    sources: Sources,
    by_gateway: Mutex<BTreeMap<ir::GatewayKey, Kept>>,
}

impl Authenticators {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, by_gateway: Mutex::default() }
    }

    /// The rules of a Gateway; `None`: it has none.
    pub(super) fn of(&self, gateway: &ir::Gateway) -> Option<Arc<Authenticator>> {
        let mut by_gateway = self.by_gateway.lock();
        if gateway.authentication.is_empty() {
            by_gateway.remove(&gateway.key);
            return None;
        }
        if let Some((known, compiled)) = by_gateway.get(&gateway.key)
            && *known == gateway.authentication
        {
            return compiled.clone();
        }
        // Before the old one goes: both may fetch from the same issuers.
        let compiled = Authenticator::compile(&gateway.authentication, &self.sources).map(Arc::new);
        by_gateway.insert(gateway.key.clone(), (gateway.authentication.clone(), compiled.clone()));
        compiled
    }

    /// Lets go of Gateways that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&ir::GatewayKey) -> bool) {
        self.by_gateway.lock().retain(|key, _| is_there(key));
    }
}
