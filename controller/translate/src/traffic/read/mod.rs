//! From a TrafficPolicy to settings of the IR, or to what is wrong with it.

mod access;
mod cache;
mod content;
mod ext_auth;
mod faults;
mod global;
mod rate;
mod resilience;

use crate::model::{Meta, TrafficModel, TrafficTarget};
use crate::values::Values;
use sluice_crds::{Kind, TrafficPolicy};
use sluice_ir::{Given, Origin, Setting, TrafficSettings};
use std::sync::Arc;

/// Most entries of `targetRefs`: as many as a status has room for (Gateway API PolicyStatus.ancestors).
const MOST_TARGETS: usize = 16;

/// Reads a TrafficPolicy. One with a fault has no effect at all, except that it lets nobody in when it was to say who may
/// come in, by address or by asking: what guards must not fall away by a slip.
pub(crate) fn read(it: &TrafficPolicy) -> TrafficModel {
    let meta = Meta::read(Kind::TrafficPolicy, &it.metadata);
    let reference = &meta.reference;
    let spec = &it.spec;
    let policy = Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone());
    let mut values = Values::default();
    match spec.target_refs.len() {
        0 => values.fault("targetRefs", "names no target", "name what the policy governs"),
        1..=MOST_TARGETS => {}
        more => values.fault("targetRefs", format!("names {more} targets"), "use at most 16"),
    }
    let (auth, mut auth_reference) = spec.ext_auth.as_ref().map(|it| ext_auth::read(it, &mut values)).unzip();
    let mut settings = TrafficSettings {
        clients: given(&policy, spec.clients.as_ref().map(|it| access::clients(it, &mut values))),
        limits: given(&policy, spec.limits.as_ref().map(|it| access::limits(it, &mut values))),
        rate_limit: given(&policy, spec.rate_limit.as_ref().map(|it| rate::limits(it, &policy, &mut values))),
        timeouts: given(&policy, spec.timeouts.as_ref().map(|it| access::timeouts(it, &mut values))),
        faults: given(&policy, spec.faults.as_ref().map(|it| faults::read(it, &mut values))),
        decompression: given(
            &policy,
            spec.decompression.as_ref().map(|it| content::decompression(it, &mut values)),
        ),
        cache: given(&policy, spec.cache.as_ref().map(|it| cache::read(it, &mut values))),
        compression: given(
            &policy,
            spec.compression.as_ref().map(|it| content::compression(it, &mut values)),
        ),
        buffer: given(&policy, spec.buffer.as_ref().map(|it| resilience::buffer(it, &mut values))),
        concurrency: given(
            &policy,
            spec.concurrency.as_ref().map(|it| resilience::concurrency(it, &mut values)),
        ),
        hedging: given(&policy, spec.hedging.as_ref().map(|it| resilience::hedging(it, &mut values))),
        ext_auth: given(&policy, auth),
    };
    if !values.faults.is_empty() {
        let clients = spec.clients.as_ref().map(|_| access::nobody());
        let auth = spec.ext_auth.as_ref().map(|_| ext_auth::closed());
        auth_reference = None;
        settings = TrafficSettings {
            clients: given(&policy, clients),
            ext_auth: given(&policy, auth),
            ..TrafficSettings::default()
        };
    }
    let redis = spec.rate_limit.as_ref().and_then(|it| it.global.as_ref()).map(|it| &it.redis);
    TrafficModel {
        rate_server: redis.map(global::secrets).unwrap_or_default(),
        targets: spec.target_refs.iter().map(|it| TrafficTarget::read(it, &reference.namespace)).collect(),
        settings,
        auth: auth_reference.flatten(),
        faults: values.faults,
        meta,
    }
}

fn given<T>(policy: &Origin, value: Option<T>) -> Setting<T> {
    value.map(|value| Arc::new(Given { policy: policy.clone(), value }))
}
