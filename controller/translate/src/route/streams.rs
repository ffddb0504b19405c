//! Reads TLSRoute, TCPRoute and UDPRoute into the model of stream routes.

use super::faults::Faults;
use super::rule_status::{self, parent_ref};
use crate::model::{BackendModel, BackendReference, FaultReason, Meta, StreamModel};
use sluice_crds::{Kind, StreamParentRef, StreamRule, TcpRoute, TlsRoute, UdpRoute};
use sluice_ir::StreamKind;

/// What the three kinds have in common.
struct Raw<'a> {
    kind: StreamKind,
    meta: Meta,
    parents: &'a [StreamParentRef],
    hostnames: &'a [String],
    rules: &'a [StreamRule],
    wants_default_gateways: bool,
}

/// Reads a TLSRoute.
pub(crate) fn tls(it: &TlsRoute) -> StreamModel {
    read(Raw {
        kind: StreamKind::Tls,
        meta: Meta::read(Kind::TlsRoute, &it.metadata),
        parents: &it.spec.parent_refs,
        hostnames: &it.spec.hostnames,
        rules: &it.spec.rules,
        wants_default_gateways: it.spec.use_default_gateways.is_some(),
    })
}

/// Reads a TCPRoute.
pub(crate) fn tcp(it: &TcpRoute) -> StreamModel {
    read(Raw {
        kind: StreamKind::Tcp,
        meta: Meta::read(Kind::TcpRoute, &it.metadata),
        parents: &it.spec.parent_refs,
        hostnames: &[],
        rules: &it.spec.rules,
        wants_default_gateways: it.spec.use_default_gateways.is_some(),
    })
}

/// Reads a UDPRoute.
pub(crate) fn udp(it: &UdpRoute) -> StreamModel {
    read(Raw {
        kind: StreamKind::Udp,
        meta: Meta::read(Kind::UdpRoute, &it.metadata),
        parents: &it.spec.parent_refs,
        hostnames: &[],
        rules: &it.spec.rules,
        wants_default_gateways: it.spec.use_default_gateways.is_some(),
    })
}

fn read(raw: Raw<'_>) -> StreamModel {
    let mut faults = Faults::default();
    let hostnames = rule_status::hostnames(raw.hostnames, &mut faults);
    let parents = raw.parents.iter().map(|it| parent_ref!(it)).collect();
    // Nothing tells the connections of two rules apart: the API takes exactly one.
    if raw.rules.len() != 1 {
        let message = format!("a {} has one rule, this one has {}", raw.meta.reference.kind, raw.rules.len());
        faults.value("spec.rules".to_owned(), message, "use one rule, and a route for each further one");
    }
    faults.rule = Some(0);
    let backends = raw.rules.first().map(|it| backends(it, raw.kind, &mut faults)).unwrap_or_default();
    StreamModel {
        kind: raw.kind,
        parents,
        hostnames,
        backends: backends.into(),
        faults: faults.list.into(),
        wants_default_gateways: raw.wants_default_gateways,
        meta: raw.meta,
    }
}

fn backends(rule: &StreamRule, kind: StreamKind, faults: &mut Faults) -> Vec<BackendModel> {
    let read = |(index, it): (usize, &sluice_crds::StreamBackendRef)| {
        let (group, kind, namespace) = (it.group.as_ref(), it.kind.as_ref(), it.namespace.as_ref());
        let field = format!("spec.rules[0].backendRefs[{index}]");
        BackendModel {
            reference: BackendReference::new(group, kind, namespace, &it.name, it.port),
            weight: rule_status::weight(it.weight, &field, faults),
            filters: Box::default(),
        }
    };
    let backends: Vec<BackendModel> = rule.backend_refs.iter().enumerate().map(read).collect();
    if !backends.iter().any(|it| it.weight > 0) {
        let message =
            if backends.is_empty() { "the rule has no backend" } else { "every backend has weight 0" };
        let effect = match kind {
            StreamKind::Tls | StreamKind::Tcp => "connections are closed",
            StreamKind::Udp => "datagrams are dropped",
        };
        let field = "spec.rules[0].backendRefs".to_owned();
        faults.add(FaultReason::Warning, field, format!("{message}: {effect}"), "name a backend");
    }
    backends
}
