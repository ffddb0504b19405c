//! Taking objects out of the store.

use super::{Store, Touched, touch_gateway, touch_peers, touch_removed, touch_sidecar, touch_telemetry};
use crate::entry::Wishes;
use crate::reads::{Key, Node};
use sluice_crds::{Kind, ObjectRef};

impl Store {
    /// Takes an object out; nothing is touched when it was not there.
    pub(crate) fn remove(&mut self, reference: ObjectRef) -> Touched {
        let mut touched = Touched::default();
        match reference.kind {
            Kind::GatewayClass => {
                if self.classes.remove(&reference).is_some() {
                    touched.nodes.push(Node::Class(reference.clone()));
                    touched.keys.extend([Key::Object(reference), Key::Topology]);
                }
            }
            Kind::Gateway => {
                if self.gateways.remove(&reference).is_some() {
                    touch_gateway(reference, &mut touched);
                }
            }
            Kind::ListenerSet => {
                if let Some(old) = self.sets.remove(&reference) {
                    self.move_set(&reference, Some(old.parent.clone()), None, &mut touched);
                }
            }
            Kind::HttpRoute | Kind::GrpcRoute => {
                if let Some(old) = self.routes.remove(&reference) {
                    self.move_parents(&reference, &old.parents, &[], &mut touched);
                    touched.nodes.push(Node::Route(reference));
                }
            }
            Kind::ReferenceGrant => {
                if self.grants.remove(&reference).is_some() {
                    touched.keys.push(Key::Grants(reference.namespace.clone()));
                }
            }
            Kind::Service => {
                touched.keys.push(Key::Selectors(reference.namespace.clone()));
                touched.nodes.push(Node::Mesh(reference.clone()));
                touch_removed(self.services.remove(&reference), reference, &mut touched);
            }
            Kind::EndpointSlice => {
                if let Some(old) = self.slices.remove(&reference) {
                    self.move_slice(&reference, old.service.clone(), None, &mut touched);
                }
            }
            Kind::Secret => {
                let old = self.secrets.remove(&reference);
                if old.as_ref().is_some_and(|it| it.on_demand.is_some()) {
                    touched.nodes.push(Node::OnDemand(reference.clone()));
                }
                touch_removed(old, reference, &mut touched);
            }
            Kind::ConfigMap => touch_removed(self.config_maps.remove(&reference), reference, &mut touched),
            Kind::BackendTlsPolicy => {
                if let Some(old) = self.policies.remove(&reference) {
                    self.move_policy(&reference, Some(&old), &mut touched);
                }
            }
            Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                if let Some(old) = self.streams.remove(&reference) {
                    self.move_parents(&reference, &old.parents, &[], &mut touched);
                    touched.nodes.push(Node::Stream(reference));
                }
            }
            Kind::Namespace => {
                if let Some(old) = self.namespaces.remove(&reference) {
                    self.move_namespace(&reference, Some(&old), &mut touched);
                    touched.keys.extend([Key::Object(reference), Key::Topology]);
                }
            }
            Kind::Node => touch_removed(self.places.remove(&reference), reference, &mut touched),
            Kind::Pod => {
                let old = self.pods.remove(&reference);
                self.move_pod(&reference, old.as_deref(), &mut touched);
            }
            Kind::Telemetry => {
                if self.telemetries.remove(&reference).is_some() {
                    touch_telemetry(reference, &mut touched);
                }
            }
            Kind::PeerAuthentication => {
                if self.peers.remove(&reference).is_some() {
                    touch_peers(reference, &mut touched);
                }
            }
            Kind::ServiceEntry => {
                if let Some(old) = self.entries.remove(&reference) {
                    self.want_addresses(&reference, Wishes::default(), &mut touched);
                    self.move_entry(&reference, Some(&old), &mut touched);
                }
            }
            Kind::WorkloadEntry => {
                if let Some(old) = self.workloads.remove(&reference) {
                    self.move_workload(&reference, Some(&old), &mut touched);
                }
            }
            Kind::DestinationRule => {
                if let Some(old) = self.destinations.remove(&reference) {
                    self.move_destination(&reference, Some(&old), &mut touched);
                }
            }
            Kind::Sidecar => {
                if self.sidecars.remove(&reference).is_some() {
                    touch_sidecar(reference, &mut touched);
                }
            }
            Kind::AuthorizationPolicy => {
                if let Some(old) = self.authorizations.remove(&reference) {
                    self.move_authorization(&reference, Some(&old), &mut touched);
                }
            }
            Kind::RequestAuthentication => {
                if let Some(old) = self.authentications.remove(&reference) {
                    self.move_authentication(&reference, Some(&old), &mut touched);
                }
            }
            Kind::CertificateIssuer => {
                if self.issuers.remove(&reference).is_some() {
                    touched.nodes.push(Node::Issuer(reference));
                }
            }
            Kind::TrafficPolicy => {
                if let Some(old) = self.traffic.remove(&reference) {
                    self.move_traffic(&reference, Some(&old), &mut touched);
                }
            }
            Kind::HealthCheckPolicy => {
                if let Some(old) = self.health.remove(&reference) {
                    self.move_health(&reference, Some(&old), &mut touched);
                }
            }
            Kind::GatewayParameters => {
                touch_removed(self.parameters.remove(&reference), reference, &mut touched)
            }
        }
        touched
    }
}
