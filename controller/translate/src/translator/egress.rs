//! The part of the translator that runs what ServiceEntries and Sidecars let forward proxies reach.

use super::Translator;
use crate::egress::{self, Proxies, Proxy};
use crate::gateway::GatewayOutput;
use crate::reads::{Key, Node};
use crate::route::Places;
use crate::status::Status;
use crate::view::View;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{Listener, ListenerProtocol, Resource, ResourceKey};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Translator {
    /// Takes over which listeners of a Gateway are forward proxies.
    pub(super) fn install_forward_proxies(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let (old, new) = (forward_proxies(gateway, old), forward_proxies(gateway, new));
        if old == new {
            return;
        }
        for key in old.keys() {
            // A set that moved to another Gateway took its listeners with it.
            if self.state.forward_proxies.get(key).is_some_and(|it| it.gateway == *gateway) {
                self.state.forward_proxies.remove(key);
            }
        }
        self.state.forward_proxies.extend(new);
        self.mark_readers(&Key::ForwardProxies);
    }

    /// Takes over which ways of ServiceEntries a route shapes. Costs a look at each entry that is a parent.
    pub(super) fn install_shapes(&mut self, route: &ObjectRef, places: &Places) {
        if self.state.shapes.is_empty() && places.is_empty() {
            return;
        }
        let known = self.state.shapes.iter().filter(|(_, shapes)| shapes.0.contains_key(route));
        let entries: BTreeSet<ObjectRef> =
            known.map(|(entry, _)| entry.clone()).chain(places.keys().cloned()).collect();
        for entry in entries {
            let shapes = self.state.shapes.entry(entry.clone()).or_default();
            let old = match places.get(&entry) {
                Some(places) => shapes.0.insert(route.clone(), places.clone()),
                None => shapes.0.remove(route),
            };
            if old.as_ref() != places.get(&entry) {
                self.mark_readers(&Key::Shapes(entry.clone()));
            }
        }
        self.state.shapes.retain(|_, shapes| !shapes.0.is_empty());
    }

    pub(super) fn run_egress(&mut self, node: &Node, reference: &ObjectRef) {
        let store = &self.state.store;
        let ids = match reference.kind {
            Kind::Sidecar => store.sidecars.get(reference).map(|_| egress::outbound_ids(reference)),
            _ => store.entries.get(reference).map(|it| egress::backend_ids(it, &self.state.forward_proxies)),
        };
        let is_there = ids.is_some();
        let ids = self.prepare_backends(ids.unwrap_or_default());
        let view = View::new(&self.state);
        let mut status = None;
        let (ways, problems) = match reference.kind {
            Kind::Sidecar => {
                let told = view.sidecar(reference).map(|it| egress::sidecar(&view, it));
                let (own, problems) = told.unwrap_or_default();
                status = own;
                (egress::outbound(&view, reference), problems)
            }
            _ => egress::compute(&view, reference),
        };
        let reads = if is_there { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.output.set_problems(node, problems);
        if reference.kind == Kind::Sidecar {
            self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        }
        let old = self.egress.remove(reference).unwrap_or_default();
        if old != ways {
            self.count_users(old.backends(), ways.backends());
            let gone = old.requests.iter().filter(|it| !ways.requests.iter().any(|new| new.key == it.key));
            gone.for_each(|it| self.output.remove(ResourceKey::Route(it.key.clone())));
            let gone = old.tunnels.iter().filter(|it| !ways.tunnels.iter().any(|new| new.key == it.key));
            gone.for_each(|it| self.output.remove(ResourceKey::StreamRoute(it.key.clone())));
            for route in &ways.requests {
                self.output.put(Resource::Route(Arc::new(route.clone())));
            }
            for route in &ways.tunnels {
                self.output.put(Resource::StreamRoute(Arc::new(route.clone())));
            }
            self.mark_policies_of(reference);
        }
        if !(ways.requests.is_empty() && ways.tunnels.is_empty()) {
            self.egress.insert(reference.clone(), ways);
        }
    }
}

/// The forward proxies among the listeners of a Gateway and its ListenerSets.
fn forward_proxies(gateway: &ObjectRef, output: Option<&GatewayOutput>) -> Proxies {
    let listeners = output.into_iter().flat_map(|it| &it.listeners);
    let proxies = listeners.filter(|it| it.protocol == ListenerProtocol::ForwardProxy);
    let proxy = |it: &Arc<Listener>| {
        let namespace = Name::from(it.origin.namespace.clone());
        (it.key.clone(), Proxy { gateway: gateway.clone(), namespace })
    };
    proxies.map(proxy).collect()
}
