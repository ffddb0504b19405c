//! Which workload an endpoint is, and whether clients speak the mesh's TLS to it.

use crate::model::{has_sidecar, workload};
use crate::view::View;
use sluice_crds::{Name, ServiceEntryEndpoint};
use sluice_ir::{EndpointAddress, MutualTls, MutualTlsMode, Workload, mutual_tls_mode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Looks workloads up; what PeerAuthentications say is asked once a namespace.
pub(crate) struct Peers<'v, 'a> {
    view: &'v View<'a>,
    rules: BTreeMap<Name, Vec<MutualTls>>,
}

impl<'v, 'a> Peers<'v, 'a> {
    pub(crate) fn new(view: &'v View<'a>) -> Self {
        Self { view, rules: BTreeMap::new() }
    }

    /// The workload at an address, if it is a pod with a sidecar.
    pub(crate) fn at(&mut self, address: &EndpointAddress) -> Option<Arc<Workload>> {
        let EndpointAddress::Socket(socket) = address else { return None };
        if !self.view.is_mesh() {
            return None;
        }
        let pod = self.view.pod_at(socket.ip())?;
        match self.speaks(&pod.reference.namespace, &pod.labels, socket.port()) {
            true => Some(pod.workload.clone()),
            false => Some(Arc::new(Workload { mutual_tls: false, ..(*pod.workload).clone() })),
        }
    }

    fn speaks(&mut self, namespace: &Name, labels: &BTreeMap<String, String>, port: u16) -> bool {
        let rules = self.rules.entry(namespace.clone()).or_insert_with(|| self.view.mutual_tls(namespace));
        mutual_tls_mode(rules, labels, port) != MutualTlsMode::Disable
    }
}

/// The workload that an endpoint of a ServiceEntry names itself: it has the label of sidecars, or a service account
/// (Istio).
pub(crate) fn of_entry(
    peers: &mut Peers<'_, '_>,
    (namespace, name): (&Name, &str),
    it: &ServiceEntryEndpoint,
    port: u16,
) -> Option<Arc<Workload>> {
    let account = it.service_account.clone().filter(|it| !it.is_empty());
    if !peers.view.is_mesh() || !(has_sidecar(&it.labels) || account.is_some()) {
        return None;
    }
    let name = it.labels.get("app").cloned().unwrap_or_else(|| name.to_owned());
    let workload = workload(namespace, account, name, &it.labels);
    let mutual_tls = peers.speaks(namespace, &it.labels, port);
    Some(Arc::new(Workload { mutual_tls, ..workload }))
}
