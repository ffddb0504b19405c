//! HealthCheckPolicy (a direct policy, GEP-713): what policies say (`read`), which of them holds for a port (here), and
//! what each is told about itself (`status`).
//!
//! The check of a port travels within its backend, so that a data plane learns of checks and of TLS at one time.

mod model;
mod read;
mod status;

pub(crate) use model::HealthModel;
pub(crate) use read::read;
pub(crate) use status::compute as status;

use crate::backend::Caller;
use crate::view::View;
use model::ProbeModel;
use sluice_crds::ObjectRef;
use sluice_ir::{HealthCheck, HealthProbe, Origin, UpstreamTls};
use std::sync::Arc;

/// The check of a port of a Service or ServiceEntry, with its policy; `None`: its endpoints are not asked. `host` is
/// the name that is asked for where neither the policy nor TLS has one.
pub(crate) fn check(
    view: &View<'_>,
    target: &ObjectRef,
    port_name: &str,
    (caller, host): (Caller, &str),
    tls: Option<&UpstreamTls>,
) -> Option<(ObjectRef, Box<HealthCheck>)> {
    let policies = view.health_of(target);
    if policies.is_empty() {
        return None;
    }
    let of_port = winner(&policies, target, Some(port_name).filter(|it| !it.is_empty()));
    // The policy of a port comes before that of the whole (GEP-713 on section names).
    let policy = of_port.or_else(|| winner(&policies, target, None))?;
    if !policy.faults.is_empty() || caller == Caller::Udp && policy.port.is_none() {
        // Whoever takes datagrams is asked only at a port of its own.
        return None;
    }
    let reference = &policy.meta.reference;
    let tls = tls.filter(|_| !policy.is_plain);
    let host = || tls.map_or(host, |it| it.server_name.as_str()).to_owned();
    let probe = match &policy.probe {
        ProbeModel::Http { is_head, path, host: named, statuses } => HealthProbe::Http {
            is_head: *is_head,
            path: path.clone(),
            host: named.clone().unwrap_or_else(host),
            statuses: statuses.clone(),
        },
        ProbeModel::Grpc { service } => HealthProbe::Grpc { host: host(), service: service.clone() },
        ProbeModel::Tcp => HealthProbe::Tcp,
    };
    let check = HealthCheck {
        origin: Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone()),
        probe,
        port: policy.port,
        is_plain: policy.is_plain,
        interval: policy.interval,
        timeout: policy.timeout,
        jitter_percent: policy.jitter_percent,
        unhealthy_after: policy.unhealthy_after,
        healthy_after: policy.healthy_after,
        starts_pending: policy.starts_pending,
        min_healthy_percent: policy.min_healthy_percent,
    };
    Some((reference.clone(), Box::new(check)))
}

/// Of policies in the order in which they win, the first that targets exactly this: a section, or the whole object.
fn winner<'a>(
    policies: &[&'a Arc<HealthModel>],
    target: &ObjectRef,
    section: Option<&str>,
) -> Option<&'a Arc<HealthModel>> {
    policies.iter().find(|it| it.targets(target, section)).copied()
}
