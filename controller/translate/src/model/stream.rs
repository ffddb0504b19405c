//! TLSRoute, TCPRoute and UDPRoute, the same for all three.

use super::{BackendReference, Meta};
use crate::status::ParentRef;
use sluice_crds::{Kind, StreamParentRef, StreamRule, TcpRoute, TlsRoute, UdpRoute};
use std::sync::Arc;

/// A route of whole connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamModel {
    pub(crate) meta: Meta,
    pub(crate) parents: Vec<Arc<ParentRef>>,
    /// Every backendRef with its path.
    pub(crate) backends: Vec<(String, BackendReference)>,
}

impl StreamModel {
    pub(crate) fn read_tls(it: &TlsRoute) -> Self {
        Self::read(Meta::read(Kind::TlsRoute, &it.metadata), &it.spec.parent_refs, &it.spec.rules)
    }

    pub(crate) fn read_tcp(it: &TcpRoute) -> Self {
        Self::read(Meta::read(Kind::TcpRoute, &it.metadata), &it.spec.parent_refs, &it.spec.rules)
    }

    pub(crate) fn read_udp(it: &UdpRoute) -> Self {
        Self::read(Meta::read(Kind::UdpRoute, &it.metadata), &it.spec.parent_refs, &it.spec.rules)
    }

    fn read(meta: Meta, parents: &[StreamParentRef], rules: &[StreamRule]) -> Self {
        let parents = parents.iter().map(|it| {
            Arc::new(ParentRef {
                group: it.group.clone(),
                kind: it.kind.clone(),
                name: it.name.clone(),
                namespace: it.namespace.clone(),
                port: it.port,
                section_name: it.section_name.clone(),
            })
        });
        let backends = rules.iter().enumerate().flat_map(|(rule, it)| {
            it.backend_refs.iter().enumerate().map(move |(index, it)| {
                let (group, kind, namespace) = (it.group.as_ref(), it.kind.as_ref(), it.namespace.as_ref());
                let reference = BackendReference::new(group, kind, namespace, &it.name, it.port);
                (format!("spec.rules[{rule}].backendRefs[{index}]"), reference)
            })
        });
        Self { meta, parents: parents.collect(), backends: backends.collect() }
    }
}
