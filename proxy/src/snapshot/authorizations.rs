//! The compiled AuthorizationPolicies of each Gateway, kept from delta to delta; and word to open streams when they change.

use super::runtime::BackendRuntime;
use crate::policy::AuthorizationRuntime;
use ahash::{AHashMap, AHashSet};
use sluice_ir as ir;
use std::sync::Arc;
use tokio::sync::watch;

/// What a Gateway's policies are; `None`: there are none.
pub(crate) type Policies = Option<Arc<AuthorizationRuntime>>;

/// By Gateway.
#[derive(Default)]
pub(super) struct Authorizations(AHashMap<ir::GatewayKey, watch::Sender<Policies>>);

impl Authorizations {
    /// Compiles what changed, or whose authorisers did; whether anything was. Streams that are open learn of what changed, and
    /// of nothing else.
    pub(super) fn update(
        &mut self,
        gateways: &std::collections::BTreeMap<ir::GatewayKey, Arc<ir::Gateway>>,
        backends: &AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
    ) -> bool {
        let backend = |key: &ir::BackendKey| backends.get(key).cloned();
        let mut is_changed = false;
        self.0.retain(|key, _| gateways.contains_key(key));
        for (key, gateway) in gateways {
            let policies = gateway.authorization.as_slice();
            let sender = self.0.entry(key.clone()).or_default();
            let before = sender.borrow().clone();
            let is_current = match &before {
                Some(before) => before.is_current(policies, &backend),
                None => policies.is_empty(),
            };
            if !is_current {
                sender.send_replace(AuthorizationRuntime::compile(policies, before.as_deref(), &backend));
                is_changed = true;
            }
        }
        is_changed
    }

    /// Whether a policy asks one of these backends.
    pub(super) fn asks(&self, backends: &AHashSet<ir::BackendKey>) -> bool {
        let names = |it: &watch::Sender<Policies>| {
            it.borrow().as_ref().is_some_and(|it| it.names(|key| backends.contains(key)))
        };
        !backends.is_empty() && self.0.values().any(names)
    }

    /// Those of a Gateway.
    pub(super) fn of(&self, gateway: &ir::GatewayKey) -> Policies {
        self.0.get(gateway).and_then(|it| it.borrow().clone())
    }

    /// The same, now and later.
    pub(super) fn watch(&self, gateway: &ir::GatewayKey) -> Option<watch::Receiver<Policies>> {
        self.0.get(gateway).map(watch::Sender::subscribe)
    }
}
